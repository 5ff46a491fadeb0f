package smmu

import (
	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
)

// batchEntries is CMDQ_BATCH_ENTRIES: commands collected on the stack before they are put into the queue.
const batchEntries = 64

// batch is struct arm_smmu_cmdq_batch, 1040 bytes on the stack of the function that invalidates.
type batch struct {
	va   uint64 // where it lies
	cmds [batchEntries]smmutable.Command
	num  int
}

// Offsets in struct arm_smmu_cmdq_batch, and its size.
const (
	batchCmdq  = batchEntries * smmutable.CommandSize
	batchNum   = batchCmdq + 8
	batchBytes = batchNum + 8
)

// at returns the address of command i.
func (b *batch) at(i int) uint64 { return b.va + uint64(i)*smmutable.CommandSize }

// cmdq is struct arm_smmu_cmdq. All its words that several CPUs share lie in simulated memory: prod and cons (llq) in a line of their own, the
// bitmap of valid slots, and in one line the index up to which owners have handed over (owner_prod) and the lock that keeps a waiting CPU's slots
// from being overtaken.
type cmdq struct {
	env  *kernel.Env
	ring uint64 // physical address of the commands
	log2 uint8

	llq       uint64 // prod, then cons, 4 bytes each, claimed together
	shift     uint64 // max_n_shift
	base      uint64
	baseDMA   uint64
	entDwords uint64
	prodReg   uint64
	consReg   uint64
	validPtr  uint64
	ownerProd uint64 // 4 bytes
	lock      uint64 // 4 bytes
	supports  uint64
	bitmap    uint64
}

// owned is CMDQ_PROD_OWNED_FLAG: set in prod while the commands behind it have an owner.
const owned = 1 << 31

func (q *cmdq) init(env *kernel.Env, dev uint64, log2 uint8) {
	*q = cmdq{env: env, log2: log2, llq: dev + 64, shift: dev + 128, base: dev + 192 + 8, baseDMA: dev + 192 + 16, entDwords: dev + 192 + 32,
		prodReg: dev + 192 + 40, consReg: dev + 192 + 48, validPtr: dev + 256, ownerProd: dev + 256 + 8, lock: dev + 256 + 12, supports: dev + 256 + 16}
	order := 0
	for 4096<<order < smmutable.CommandSize<<log2 {
		order++
	}
	q.ring = kernel.Phys(env.Pages(order))
	q.bitmap = env.Slab(max(8, 1<<log2/8), 64)
}

// Indexes count modulo twice the size; the bit above the index tells the laps apart.
func (q *cmdq) idx(p uint32) uint32  { return p & (1<<q.log2 - 1) }
func (q *cmdq) wrap(p uint32) uint32 { return p & (1 << q.log2) }

// inc is queue_inc_prod_n.
func (q *cmdq) inc(p, n uint32) uint32 {
	const overflow = 1 << 31
	return p&overflow | (p&(2<<q.log2-1)+n)&(2<<q.log2-1)
}

// space is queue_has_space.
func (q *cmdq) space(prod, cons, n uint32) bool {
	if q.wrap(prod) == q.wrap(cons) {
		return 1<<q.log2-(q.idx(prod)-q.idx(cons)) >= n
	}
	return q.idx(cons)-q.idx(prod) >= n
}

// consumed is queue_consumed: cons has passed prod.
func (q *cmdq) consumed(cons, prod uint32) bool {
	return q.wrap(cons) == q.wrap(prod) == (q.idx(cons) > q.idx(prod))
}

// slot returns the direct-map address of the command at prod.
func (q *cmdq) slot(prod uint32) uint64 {
	return kernel.Virt(q.ring) + uint64(q.idx(prod))*smmutable.CommandSize
}

// word returns the address of the word of the bitmap that has the bit of prod.
func (q *cmdq) word(prod uint32) uint64 { return q.bitmap + uint64(q.idx(prod)/64)*8 }

func (q *cmdq) read64(va uint64) uint64     { return q.env.Mem.Read64(kernel.Phys(va)) }
func (q *cmdq) write64(va uint64, v uint64) { q.env.Mem.Write64(kernel.Phys(va), v) }

func (q *cmdq) read32(va uint64) uint32 { return uint32(q.read64(va&^7) >> (va & 4 * 8)) }

func (q *cmdq) write32(va uint64, v uint32) {
	sh := va & 4 * 8
	q.write64(va&^7, q.read64(va&^7)&^(0xffffffff<<sh)|uint64(v)<<sh)
}

func (q *cmdq) put(prod uint32, c smmutable.Command) {
	q.write64(q.slot(prod), c[0])
	q.write64(q.slot(prod)+8, c[1])
}

// The functions below are the steps at which CPUs meet. Each ends the segment, so that the access asks for its line at the time that other CPUs see,
// emits the access, ends the segment again, and only then looks at or changes memory: what it sees is what the line held when the access was done.

// SyncAlone puts a CMD_SYNC into the queue with nothing before it and waits for its completion (arm_smmu_cmdq_issue_cmdlist with no commands).
func (u *Unit) SyncAlone(t *cpu.Thread) {
	if u.Env.Version == kernel.V7_3 {
		u.issue73(t, nil, t.SP()-4096, true)
		return
	}
	u.issue12(t, nil, t.SP()-4096, true)
}

// loadLLQ reads prod and cons.
func (u *Unit) loadLLQ(t *cpu.Thread) (prod, cons uint32, v cpu.Val) {
	t.Sync()
	v = t.Load(u.q.llq, 0)
	t.Sync()
	w := u.q.read64(u.q.llq)
	return uint32(w), uint32(w >> 32), v
}

// claim is the compare-and-exchange of prod and cons that takes slots. When another CPU was faster it returns what that one left.
func (u *Unit) claim(t *cpu.Thread, prod, cons, next uint32, a cpu.Val) (nowProd, nowCons uint32, ok bool, v cpu.Val) {
	u.Stats.Claims++
	t.Sync()
	v = t.Atomic(u.q.llq, a, 0)
	t.Sync()
	w := u.q.read64(u.q.llq)
	old := uint64(prod) | uint64(cons)<<32
	if w != old {
		u.Stats.ClaimRetries++
		return uint32(w), uint32(w >> 32), false, v
	}
	u.q.write64(u.q.llq, uint64(next)|uint64(cons)<<32)
	return prod, cons, true, v
}

// lockShared is arm_smmu_cmdq_shared_lock. While a CPU that found the queue full holds the lock for itself, the count is negative; the increment
// is lost when that one lets go, so it is made again.
func (u *Unit) lockShared(t *cpu.Thread, a cpu.Val) {
	q := &u.q
	t.Sync()
	v := t.Mem(cpu.Atomic, q.lock, 4, a, 0)
	t.Sync()
	val := int32(q.read32(q.lock))
	q.write32(q.lock, uint32(val+1))
	t.Branch(val < 0, v)
	for val < 0 {
		v = load4(t, q.lock, a)
		t.Sync()
		val = int32(q.read32(q.lock))
		t.Branch(val >= 0, v)
		if val < 0 {
			u.wfe(t, q.lock)
			continue
		}
		v = t.Mem(cpu.Atomic, q.lock, 4, a, v)
		t.Sync()
		if now := int32(q.read32(q.lock)); now == val {
			q.write32(q.lock, uint32(val+1))
		} else {
			val = -1
		}
		t.Branch(val < 0, v)
	}
}

// unlockShared is arm_smmu_cmdq_shared_unlock, 7 instructions.
func (u *Unit) unlockShared(t *cpu.Thread) {
	enter(t, fnSharedUnlock, false)
	v := t.ALU(2, 0)
	t.Sync()
	t.Mem(cpu.Atomic, u.q.lock, 4, v, 0)
	t.Sync()
	u.q.write32(u.q.lock, u.q.read32(u.q.lock)-1)
	t.Ret()
}

// wfe is one __cmpwait: arm the exclusive monitor on the line of va, look again, sleep until the line is taken away. The caller has just read
// the word and found that it must wait.
func (u *Unit) wfe(t *cpu.Thread, va uint64) {
	seen := u.q.read64(va &^ 7)
	t.Nop(1) // sevl
	t.Op(cpu.Pause, 0)
	v := t.Load(va, 0)
	v = t.ALU(1, v)
	t.Branch(false, v)
	t.Op(cpu.Pause, 0)
	t.Sync()
	if u.q.read64(va&^7) != seen {
		return
	}
	start := t.Now()
	fn := t.Fn()
	u.Env.Mem.WaitWrite(t.Proc, kernel.Phys(va))
	if t.Acct != nil && t.Core != nil {
		t.Acct.Wait(fn.ID, cpu.StallInv, t.Core.Between(start, t.Now()))
	}
}

// bits returns the bits of prod's word up to end, which may lie in it.
func (q *cmdq) bits(prod, end uint32) (mask uint64, n uint32) {
	limit := uint32(64)
	if q.idx(prod)/64 == q.idx(end)/64 && q.idx(prod)%64 < q.idx(end)%64 {
		limit = q.idx(end) % 64
	}
	from := q.idx(prod) % 64
	return ^uint64(0) >> (64 - limit) &^ (1<<from - 1), limit - from
}

// valid returns what the bits under mask of prod's word are when its slots are valid: set in even laps, clear in odd ones.
func (q *cmdq) valid(prod uint32, mask uint64) uint64 {
	if q.wrap(prod) != 0 {
		return 0
	}
	return mask
}

var fnSharedUnlock = cpu.NewFunc("arm_smmu_cmdq_shared_unlock", fileSMMU, 32)
