package vtd

import (
	"fmt"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

const fileQI = "drivers/iommu/intel/dmar.c"

var fnSubmit = cpu.NewFunc("qi_submit_sync", fileQI, 2048)

// queueLength is QI_LENGTH: one page of 16-byte descriptors.
const queueLength = 256

// States of a descriptor slot in desc_status.
const (
	qiFree  = 0
	qiInUse = 1
	qiDone  = 2
	qiAbort = 3
)

// Descriptors (VT-d specification 6.5.2).
const (
	descIOTLB    = 2
	descDevTLB   = 3
	descWait     = 5
	descPageResp = 9
	granDomain   = 2 << 4
	granPage     = 3 << 4
	waitStatus   = 1 << 5
	fstsFailure  = 1<<4 | 1<<5 | 1<<6 // IQE, ICE, ITE
	fstsIQE      = 1 << 4
)

// desc is one 128-bit descriptor of the invalidation queue.
type desc struct{ lo, hi uint64 }

// queue is struct q_inval: the invalidation queue of one unit. The ring and the status words lie in simulated memory;
// the hardware reads the one and writes the other.
type queue struct {
	va         uint64 // struct q_inval
	ring       uint64 // physical address of the descriptors
	status     uint64 // direct-map address of desc_status, an int per slot
	head, tail int    // free_head, free_tail
	free       int    // free_cnt
	lock       cpu.LockWord

	// Polls counts checks of the status word, Waits submissions; Polls - Waits is how often a CPU went round.
	Polls, Waits uint64
}

// Offsets in struct q_inval.
const (
	qDesc   = 8
	qStatus = 16
	qHead   = 24
	qTail   = 28
	qCount  = 32
)

func (q *queue) init(env *kernel.Env) {
	q.va = env.Slab(64, 64)
	q.ring = kernel.Phys(env.Page())
	q.status = env.Slab(queueLength*4, 64)
	q.free = queueLength
	q.lock.VA, q.lock.Name = q.va, "q_lock"
}

func (q *queue) statusVA(i int) uint64 { return q.status + uint64(i)*4 }

// Polls returns how often qi_submit_sync looked at a status word and how many submissions there were.
func (u *Unit) Polls() (checks, submissions uint64) { return u.qi.Polls, u.qi.Waits }

func read32(m *cache.Memory, pa uint64) uint32 { return uint32(m.Read64(pa&^7) >> (pa & 4 * 8)) }

func write32(m *cache.Memory, pa uint64, v uint32) {
	sh := pa & 4 * 8
	m.Write64(pa&^7, m.Read64(pa&^7)&^(0xffffffff<<sh)|uint64(v)<<sh)
}

func (u *Unit) setStatus(i int, v uint32) {
	write32(u.Env.Mem, kernel.Phys(u.qi.statusVA(i)), v)
}

func (u *Unit) getStatus(i int) uint32 { return read32(u.Env.Mem, kernel.Phys(u.qi.statusVA(i))) }

func (u *Unit) putDesc(i int, d desc) {
	pa := u.qi.ring + uint64(i)*16
	u.Env.Mem.Write64(pa, d.lo)
	u.Env.Mem.Write64(pa+8, d.hi)
}

// submit is qi_submit_sync: it copies the descriptors, which lie at from, and a wait descriptor into the ring,
// writes the tail register and spins on the status word of the wait descriptor with interrupts off.
func (u *Unit) submit(t *cpu.Thread, descs []desc, from uint64) {
	if len(descs)+2 > queueLength {
		panic(fmt.Sprintf("vtd: %d descriptors submitted at once", len(descs)))
	}
	if u.Env.Version == kernel.V7_3 {
		u.submit73(t, descs, from)
	} else {
		u.submit12(t, descs, from)
	}
}

// reserve takes q_lock and waits until the ring has room for n descriptors, the wait descriptor and a gap.
func (u *Unit) reserve(t *cpu.Thread, n int) {
	v, q := u.Env.Version, &u.qi
	for {
		locking.SpinLockIrqsave(t, v, &q.lock)
		t.ALU(1, 0)
		c := t.Mem(cpu.LoadOp, q.va+qCount, 4, 0, 0)
		room := q.free >= n+2
		t.Branch(room == (v == kernel.V7_3), c)
		if room {
			return
		}
		t.ALU(1, 0)
		locking.SpinUnlockIrqrestoreNested(t, v, &q.lock)
		t.Op(cpu.Pause, 0)
		t.ALU(1, 0)
	}
}

// ring puts the descriptors into the ring and returns the slot of the first and of the wait descriptor.
func (u *Unit) fill(descs []desc) (first, wait int) {
	q := &u.qi
	first = q.head
	wait = (first + len(descs)) % queueLength
	for i, d := range descs {
		u.putDesc((first+i)%queueLength, d)
		u.setStatus((first+i)%queueLength, qiInUse)
	}
	u.setStatus(wait, qiInUse)
	u.putDesc(wait, desc{descWait | waitStatus | qiDone<<32, kernel.Phys(q.statusVA(wait))})
	q.head = (wait + 1) % queueLength
	q.free -= len(descs) + 1
	return first, wait
}

// wait spins until the hardware has written QI_DONE to the slot's status word. The first check is part of
// the caller's straight-line code. Each further one reads the fault status register and lets another CPU have the
// lock (qi_check_fault and the loop around it).
func (u *Unit) wait(t *cpu.Thread, slot int) {
	v, q := u.Env.Version, &u.qi
	q.Waits++
	st := t.Load(q.va+qStatus, 0)
	t.ALU(2, st)
	word := q.statusVA(slot)
	for {
		s := t.Mem(cpu.Load, word, 4, st, 0)
		t.ALU(1, s)
		t.Sync()
		q.Polls++
		done := u.getStatus(slot) == qiDone
		t.Branch(done, s)
		if done {
			t.Sees("completion seen", kernel.Phys(word))
			return
		}
		s = t.Mem(cpu.LoadOp, word, 4, st, 0)
		t.Branch(false, s) // QI_ABORT
		reg := t.Load(u.at(iommuReg), 0)
		fsts, f := t.MMIOReadAs(u.hw, u.RegVA+table.RegFSTS, reg, cpu.StallInv)
		if fsts&fstsIQE != 0 {
			panic(fmt.Sprintf("vtd: the hardware rejects a descriptor near slot %d of the invalidation queue at %v", slot, t.Now()))
		}
		t.ALU(1, f)
		t.Branch(false, f)
		t.ALU(1, f)
		t.Branch(false, f)
		t.ALU(1, f)
		t.Branch(false, f)
		t.ALU(1, 0)
		locking.SpinUnlock(t, v, &q.lock)
		t.Op(cpu.Pause, 0)
		t.ALU(1, 0)
		locking.SpinLock(t, v, &q.lock)
		st = t.Load(q.va+qStatus, 0)
	}
}

// submit12 is qi_submit_sync of 6.12.
func (u *Unit) submit12(t *cpu.Thread, descs []desc, from uint64) {
	q := &u.qi
	guard := kernel.StackGuard(u.Env.Version, t.CPU)
	t.Call(fnSubmit)
	t.Nop(2)
	t.Push(6)
	t.Frame(120)
	qi := t.Load(u.qiField(), 0)
	t.StackStore(8, 0)
	t.StackStore(0, 0)
	t.StackStore(112, t.Load(guard, 0))
	t.ALU(1, 0)
	t.StackStore(80, 0)
	t.StackStore(88, 0)
	t.StackStore(96, 0)
	t.StackStore(104, 0)
	t.ALU(1, qi)
	t.Branch(false, qi)
	t.ALU(4, 0)
	t.StackStore(24, 0)
	t.StackStore(32, 0)
	t.Jump()
	t.ALU(1, qi)
	u.reserve(t, len(descs))
	head := t.Mem(cpu.Load, q.va+qHead, 4, qi, 0)
	t.StackLoad(0)
	t.ALU(1, 0)
	t.StackStore(32, head)
	t.ALU(1, 0)
	shift := t.LoadOp(u.at(iommuEcap), 0, 0)
	t.ALU(10, shift)
	t.Branch(len(descs) == 0, shift)
	first, wait := u.fill(descs)
	idx := t.StackLoad(32)
	top := t.Here()
	for i := range descs {
		slot := (first + i) % queueLength
		ring := kernel.Virt(q.ring) + uint64(slot)*16
		src := from + uint64(i)*32
		t.ALU(10, idx)
		p := t.StackLoad(8)
		t.ALU(3, p)
		w0 := t.Load(src, p)
		t.ALU(2, p)
		dst := t.LoadOp(q.va+qDesc, 0, idx)
		t.Store(ring, dst, w0)
		t.ALU(1, dst)
		w1 := t.Load(src+8, p)
		t.ALU(1, dst)
		t.Store(ring+8, dst, w1)
		t.ALU(5, dst)
		t.Branch(false, t.Last())
		t.StackStore(16, idx)
		t.ALU(4, dst)
		w1 = t.Load(src+8, p)
		t.Store(ring+8, dst, w1)
		t.ALU(1, dst)
		t.Branch(false, t.Last())
		n := t.StackLoad(16)
		st := t.Load(q.va+qStatus, 0)
		t.ALU(1, n)
		t.Mem(cpu.Store, q.statusVA(slot), 4, st, 0)
		t.Load(src+24, p) // tracepoint arguments
		t.Load(src+16, p)
		t.Load(src+8, p)
		t.Load(src, p)
		t.Nop(1)
		c := t.StackLoad(0)
		t.ALU(2, c)
		t.Loop(top, i+1 < len(descs), t.Last())
	}
	t.ALU(1, 0)
	t.StackLoad(32)
	t.StackLoad(0)
	st := t.Load(q.va+qStatus, 0)
	w := t.ALU(1, 0)
	t.LoadOp(t.SP()+24, 0, 0)
	t.ALU(1, w)
	t.Mem(cpu.Store, q.statusVA(wait), 4, st, 0)
	t.ALU(6, w)
	t.StackStore(80, 0)
	st = t.Load(q.va+qStatus, 0)
	t.ALU(2, st)
	t.Branch(false, st)
	t.ALU(1, 0)
	pa := t.LoadOp(u.Env.Sym.PageOffsetBase, 0, 0)
	t.ALU(3, pa)
	t.StackStore(96, 0)
	t.StackStore(88, pa)
	t.ALU(1, w)
	t.StackStore(104, 0)
	t.ALU(1, w)
	w0 := t.StackLoad(80)
	t.ALU(1, w)
	ring := kernel.Virt(q.ring) + uint64(wait)*16
	dst := t.LoadOp(q.va+qDesc, 0, w)
	t.Store(ring, dst, w0)
	t.ALU(1, dst)
	w1 := t.StackLoad(88)
	t.ALU(1, dst)
	t.Store(ring+8, dst, w1)
	t.ALU(5, dst)
	t.Branch(false, t.Last())
	t.ALU(4, dst)
	w1 = t.StackLoad(88)
	t.Store(ring+8, dst, w1)
	t.ALU(1, dst)
	t.Branch(false, t.Last())
	n := t.StackLoad(0)
	i := t.StackLoad(32)
	h := t.Mem(cpu.LoadOp, q.va+qHead, 4, 0, i)
	t.ALU(2, h)
	t.Mem(cpu.RMW, q.va+qCount, 4, 0, n)
	t.ALU(1, shift)
	t.Mem(cpu.Store, q.va+qHead, 4, 0, h)
	t.ALU(1, h)
	reg := t.Load(u.at(iommuReg), 0)
	t.MMIOWrite(u.hw, u.RegVA+table.RegIQT, uint64(q.head)*16, reg, h)
	u.wait(t, wait)
	t.ALU(1, 0)
	t.Jump()
	u.finish12(t, first, len(descs))
	t.ALU(1, 0)
	locking.SpinUnlockIrqrestoreNested(t, u.Env.Version, &q.lock)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.Jump()
	g := t.StackLoad(112)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.ALU(1, 0)
	t.Frame(-120)
	t.Pop(6)
	t.Ret()
}

// finish12 marks the slots of a completed submission free and reclaims them from the tail on (reclaim_free_desc).
func (u *Unit) finish12(t *cpu.Thread, first, n int) {
	q := &u.qi
	i := t.StackLoad(32)
	c := t.StackLoad(0)
	top := t.Here()
	for k := 0; k < n; k++ {
		t.ALU(9, i)
		t.Mem(cpu.Store, q.statusVA((first+k)%queueLength), 4, i, 0)
		u.setStatus((first+k)%queueLength, qiFree)
		t.ALU(1, c)
		t.Loop(top, k+1 < n, t.Last())
	}
	t.ALU(8, i)
	st := t.Load(q.va+qStatus, 0)
	t.ALU(1, i)
	wait := (first + n) % queueLength
	t.Mem(cpu.Store, q.statusVA(wait), 4, st, 0)
	u.setStatus(wait, qiFree)
	t.ALU(1, c)
	t.Branch(false, t.Last())
	tail := t.Mem(cpu.Load, q.va+qTail, 4, 0, 0)
	st = t.Load(q.va+qStatus, 0)
	s := t.Mem(cpu.Load, q.statusVA(q.tail), 4, st, tail)
	t.ALU(2, s)
	t.Branch(u.getStatus(q.tail) != qiFree, t.Last())
	if u.getStatus(q.tail) != qiFree {
		return
	}
	u.reclaim(t, tail, 6)
}

// reclaim is the loop of reclaim_free_desc: it frees the descriptors from the tail on, up to the head or to the first
// one still in use. advance is how many instructions the compiler takes to step the tail.
func (u *Unit) reclaim(t *cpu.Thread, tail cpu.Val, advance int) {
	q := &u.qi
	head := t.Mem(cpu.Load, q.va+qHead, 4, 0, 0)
	t.Jump()
	top := t.Here()
	for {
		t.ALU(1, head)
		more := q.tail != q.head
		t.Branch(more, t.Last())
		if !more {
			return
		}
		t.ALU(1, tail)
		t.Mem(cpu.RMW, q.va+qCount, 4, 0, 0)
		tail = t.ALU(advance, tail)
		q.tail = (q.tail + 1) % queueLength
		q.free++
		t.Mem(cpu.Store, q.va+qTail, 4, 0, tail)
		s := t.Mem(cpu.Load, q.statusVA(q.tail), 4, tail, 0)
		t.ALU(1, s)
		stop := u.getStatus(q.tail) != qiFree
		t.Branch(stop, t.Last())
		if stop {
			return
		}
		t.Back(top)
	}
}
