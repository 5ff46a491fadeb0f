package smmu

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
	"dmapath/sim"
)

var (
	fnIssue    = cpu.NewFunc("arm_smmu_cmdq_issue_cmdlist", fileSMMU, 1800)
	fnWrite    = cpu.NewFunc("arm_smmu_cmdq_write_entries", fileSMMU, 260)
	fnValidMap = cpu.NewFunc("__arm_smmu_cmdq_poll_set_valid_map", fileSMMU, 480)
	fnPoll     = cpu.NewFunc("queue_poll", fileSMMU, 160)
)

// locals are the variables of one submission that lie on its stack: two copies of prod and cons, each in a line of its own.
type locals struct{ shift, llq, head uint64 }

// frameIssue is the frame of a submission: two queue copies of 128 bytes, aligned to lines, and 320 bytes of the rest.
const frameIssue = 640

// openIssue opens the frame, saves 6 pairs of registers at its bottom and returns where the copies lie.
func openIssue(t *cpu.Thread) locals {
	open(t, frameIssue, 6)
	a := (t.SP() + 320 + 63) &^ 63
	return locals{shift: a + 64, llq: a, head: a + 128}
}

// issue12 is arm_smmu_cmdq_issue_cmdlist of 6.12: the commands, which lie at from, and a CMD_SYNC if sync go into the queue; with sync it
// returns when they are complete. CPUs meet in these places only: they claim slots by a compare-and-exchange of prod and cons; they say which of
// their slots are written in a bitmap; and the first CPU to claim after an owner has closed its group becomes the next owner, which waits until
// the one before has handed over, closes its group, waits until all slots of it are written, and writes the PROD register for all.
func (u *Unit) issue12(t *cpu.Thread, cmds []smmutable.Command, from uint64, sync bool) {
	q := &u.q
	n, extra := uint32(len(cmds)), uint32(0)
	if sync {
		extra = 1
	}
	enter(t, fnIssue, false)
	l := openIssue(t)
	t.ALU(11, 0)
	t.StackStore(96, 0)
	store4(t, t.SP()+108, 0, 0)
	store4(t, t.SP()+104, 0, 0)
	u.canary(t, 112)
	t.ALU(3, 0)
	t.StorePair(t.SP()+128, 0, 0)
	u.memset(t, l.llq, 128)
	t.ALU(3, 0)
	u.memset(t, l.head, 128)
	load4(t, q.shift, 0)
	t.Op(cpu.IrqFlag, 0)
	t.Op(cpu.IrqFlag, 0)
	t.ALU(2, 0)
	prod, cons, v := u.loadLLQ(t)
	start := t.Now()
	t.ALU(8, v)
	t.Nop(1)
	t.Store(l.llq, 0, v)
	top := t.Here()
	var head uint32
	for {
		t.Nop(1)
		v = t.Mem(cpu.Load, l.llq, 8, 0, 0)
		room := t.ALU(9, v)
		fits := q.space(prod, cons, n+extra)
		t.Branch(fits, room)
		if !fits {
			t.Op(cpu.IrqFlag, 0)
			prod, cons = u.notFull(t, l)
			t.Op(cpu.IrqFlag, 0)
			t.Back(top)
			continue
		}
		v = t.ALU(5, v)
		t.Mem(cpu.Store, l.head, 8, 0, v)
		t.Load(l.llq, 0)
		t.ALU(1, v)
		w := t.Load(l.head, 0)
		t.Nop(1)
		t.ALU(1, w)
		head = q.inc(prod, n+extra) | owned
		var ok bool
		prod2, cons2, ok, c := u.claim(t, prod, cons, head, w)
		t.ALU(1, c)
		t.Branch(!ok, t.Last())
		if ok {
			u.Stats.Claiming += t.Now() - start
			break
		}
		prod, cons = prod2, cons2
		t.Store(l.llq, 0, c)
		t.Back(top)
	}
	owner := prod&owned == 0
	head &^= owned
	prod &^= owned
	t.StackLoad(96)
	t.ALU(1, 0)
	load4(t, t.SP()+104, 0)
	t.ALU(1, 0)
	p := load4(t, l.llq, 0)
	store4(t, l.head, 0, 0)
	t.ALU(1, p)
	t.StackStore(120, 0)
	t.ALU(1, p)
	store4(t, l.llq, 0, t.Last())
	u.write12(t, cmds, from, prod)
	s := load4(t, t.SP()+108, 0)
	t.StackLoad(120)
	t.Branch(sync, s)
	at := q.inc(prod, n)
	if sync {
		u.putSync12(t, at)
	}
	t.StackStore(96, 0)
	t.Op(cpu.Fence, 0) // dma_wmb
	load4(t, l.head, 0)
	t.ALU(1, 0)
	t.ALU(2, load4(t, l.llq, 0))
	u.setValid12(t, prod, head)
	t.StackLoad(96)
	t.Branch(!owner, 0)
	if owner {
		u.own(t, prod, func(end uint32) {
			load4(t, l.llq, 0)
			t.ALU(4, 0)
			t.StackStore(96, 0)
			u.pollValid12(t, prod, end)
		})
		t.StackLoad(96)
	}
	t.ALU(1, 0)
	t.Branch(sync, load4(t, t.SP()+108, 0))
	if sync {
		u.waitSync12(t, l, at)
	}
	t.Op(cpu.IrqFlag, 0)
	u.checkCanary(t, 112)
	t.ALU(1, 0)
	for i := range uint64(5) {
		t.LoadPair(t.SP()+16*(i+1), 0)
	}
	t.ALU(1, 0)
	shut(t, frameIssue, 1)
	u.note(cmds, sync, owner)
}

// note counts a submission.
func (u *Unit) note(cmds []smmutable.Command, sync, owner bool) {
	u.Stats.Commands += uint64(len(cmds))
	if sync {
		u.Stats.Syncs++
	}
	if owner {
		u.Stats.Owners++
	}
	if u.onCommands != nil {
		u.onCommands(cmds, sync)
	}
}

// own is what the owner of a group does (step 4): wait for the one before, close the group, wait until it is written, tell the hardware and
// the next owner. gathered emits the wait for the slots from prod up to its argument.
func (u *Unit) own(t *cpu.Thread, prod uint32, gathered func(end uint32)) {
	q := &u.q
	for {
		t.Sync()
		v := load4(t, q.ownerProd, 0)
		t.Sync()
		mine := q.read32(q.ownerProd) == prod
		if u.Env.Version == kernel.V7_3 {
			t.ALU(1, v)
		} else {
			t.ALU(2, v)
		}
		t.Branch(mine, t.Last())
		if mine {
			break
		}
		u.wfe(t, q.ownerProd)
	}
	t.Nop(1)
	t.ALU(1, 0)
	t.Sync()
	t.Mem(cpu.Atomic, q.llq, 4, 0, 0)
	t.Sync()
	end := q.read32(q.llq) &^ owned
	q.write32(q.llq, end)
	gathered(end)
	reg := t.Load(q.prodReg, 0)
	t.MMIOWrite(u.hw, u.RegVA+smmutable.RegCmdqProd, uint64(end), reg, 0)
	t.ALU(1, 0)
	store4(t, q.ownerProd, 0, 0) // stlr
	t.Sync()
	q.write32(q.ownerProd, end)
}

// write12 is arm_smmu_cmdq_write_entries of 6.12.
func (u *Unit) write12(t *cpu.Thread, cmds []smmutable.Command, from uint64, prod uint32) {
	q := &u.q
	enter(t, fnWrite, true)
	load4(t, q.shift, 0)
	t.ALU(1, 0)
	t.Branch(len(cmds) == 0, t.Last())
	t.ALU(6, 0)
	top := t.Here()
	for i, c := range cmds {
		e := t.Load(q.entDwords, 0)
		t.ALU(3, 0)
		b := t.Load(q.base, 0)
		dst := t.Mem(cpu.Mul, 0, 0, e, b)
		slot := q.slot(q.inc(prod, uint32(i)))
		src := from + uint64(i)*smmutable.CommandSize
		w := t.Load(src, 0)
		t.ALU(1, dst)
		t.Store(slot, dst, w)
		w = t.Load(src+8, 0)
		t.Store(slot+8, dst, w)
		q.put(q.inc(prod, uint32(i)), c)
		t.ALU(1, 0)
		t.Branch(i+1 == len(cmds), t.Last())
		if i+1 < len(cmds) {
			t.Back(top)
		}
	}
	t.Ret()
}

// syncCommand is the CMD_SYNC for slot prod: one that overwrites itself, or one whose completion CMDQ_CONS tells.
func (u *Unit) syncCommand(prod uint32) smmutable.Command {
	if u.caps.msiPoll {
		return smmutable.SyncCommand(smmutable.SignalIRQ, kernel.Phys(u.q.slot(prod)), 0)
	}
	return smmutable.SyncCommand(smmutable.SignalSEV, 0, 0)
}

// putSync12 builds the CMD_SYNC, writes it to slot prod and takes the lock that keeps the slot from being overtaken twice.
func (u *Unit) putSync12(t *cpu.Thread, prod uint32) {
	q := &u.q
	opt := load4(t, u.va+devOptions, 0)
	t.ALU(1, 0)
	load4(t, t.SP()+104, 0)
	t.ALU(1, 0)
	t.StorePair(t.SP()+144, 0, 0)
	t.ALU(1, 0)
	t.Mem(cpu.Store, t.SP()+144, 1, 0, 0)
	t.ALU(1, 0)
	t.StorePair(t.SP()+160, 0, 0)
	t.Branch(u.caps.msiPoll, opt)
	if u.caps.msiPoll {
		b := t.Load(q.baseDMA, 0)
		e := t.Load(q.entDwords, 0)
		t.StackStore(152, t.ALU2(b, t.Mem(cpu.Mul, 0, 0, t.ALU(2, 0), e)))
	}
	t.ALU(2, 0)
	t.StackStore(96, 0)
	u.buildSync(t, t.SP()+144, t.SP()+128)
	t.ALU(1, 0)
	t.StackLoad(96)
	t.ALU(1, 0)
	w := t.StackLoad(128)
	t.Branch(true, 0)
	load4(t, q.shift, 0)
	t.ALU(1, 0)
	e := t.Load(q.entDwords, 0)
	t.ALU(4, 0)
	b := t.Load(q.base, 0)
	dst := t.Mem(cpu.Mul, 0, 0, e, b)
	t.ALU(1, dst)
	t.Store(q.slot(prod), dst, w)
	t.Store(q.slot(prod)+8, dst, t.StackLoad(136))
	q.put(prod, u.syncCommand(prod))
	t.Nop(1)
	a := t.ALU(1, 0)
	u.lockShared(t, a)
	t.Jump()
}

// setValid12 is __arm_smmu_cmdq_poll_set_valid_map of 6.12 when it sets: the slots from prod up to end are written.
func (u *Unit) setValid12(t *cpu.Thread, prod, end uint32) {
	q := &u.q
	u.openValid12(t)
	top := t.Here()
	for prod != end {
		mask, n := q.bits(prod, end)
		t.ALU(4, 0)
		p := t.Load(q.validPtr, 0)
		t.ALU(9, p)
		t.Branch(true, 0)
		t.Nop(1)
		t.Sync()
		t.Atomic(q.word(prod), p, 0)
		t.Sync()
		q.write64(q.word(prod), q.read64(q.word(prod))^mask)
		prod = q.inc(prod, n)
		t.ALU(7, 0)
		t.Branch(prod == end, t.Last())
		t.Back(top)
	}
	u.shutValid12(t)
}

// pollValid12 is the same function when it waits until the slots are written.
func (u *Unit) pollValid12(t *cpu.Thread, prod, end uint32) {
	q := &u.q
	u.openValid12(t)
	top := t.Here()
	for prod != end {
		mask, n := q.bits(prod, end)
		t.ALU(4, 0)
		p := t.Load(q.validPtr, 0)
		t.ALU(9, p)
		t.Branch(false, 0)
		for {
			v := t.Load(q.word(prod), p)
			t.Sync()
			ok := q.read64(q.word(prod))&mask == q.valid(prod, mask)
			t.ALU(4, v)
			t.Branch(ok, t.Last())
			if ok {
				break
			}
			u.wfe(t, q.word(prod))
		}
		prod = q.inc(prod, n)
		t.ALU(7, 0)
		t.Branch(prod == end, t.Last())
		t.Back(top)
	}
	u.shutValid12(t)
}

func (u *Unit) openValid12(t *cpu.Thread) {
	enter(t, fnValidMap, true)
	t.ALU(1, 0)
	load4(t, u.q.shift, 0)
	t.ALU(5, 0)
	t.Branch(false, t.Last())
	t.ALU(2, 0)
	t.Nop(1)
	t.ALU(1, 0)
	open(t, 16, 1)
	t.ALU(7, 0)
	t.Jump()
}

func (u *Unit) shutValid12(t *cpu.Thread) { shut(t, 16, 1) }

// waitSync12 waits for the CMD_SYNC in slot at and gives the lock back; the last CPU that leaves tells the others how far the queue has got.
func (u *Unit) waitSync12(t *cpu.Thread, l locals, at uint32) {
	q := &u.q
	load4(t, l.llq, 0)
	load4(t, t.SP()+104, 0)
	t.ALU(1, 0)
	opt := load4(t, u.va+devOptions, 0)
	t.ALU(4, 0)
	store4(t, l.llq, 0, 0)
	t.Branch(!u.caps.msiPoll, opt)
	load4(t, u.va+devFeatures, 0)
	t.ALU(1, 0)
	t.StorePair(t.SP()+144, 0, 0)
	t.ALU(3, 0)
	t.StackStore(160, 0)
	t.StackStore(96, 0)
	t.StackStore(152, 0)
	t.Mem(cpu.Store, t.SP()+160, 1, 0, 0)
	u.ktimeGet(t)
	start := t.Now()
	var cons uint32
	if u.caps.msiPoll {
		cons = u.pollMSI(t, at)
	} else {
		cons = u.pollCons12(t, l, at)
	}
	u.Stats.Waiting += t.Now() - start
	t.ALU(1, 0)
	t.Sync()
	v := load4(t, q.lock, 0)
	t.StackStore(96, 0)
	t.Sync()
	last := q.read32(q.lock) == 1
	t.ALU(1, v)
	t.Branch(last, t.Last())
	if last {
		load4(t, l.llq+4, 0)
		t.ALU(1, 0)
		t.Sync()
		store4(t, q.llq+4, 0, 0)
		t.Sync()
		q.write32(q.llq+4, cons)
	}
	u.unlockShared(t)
	t.StackLoad(96)
	t.Jump()
}

// pollCons12 reads CMDQ_CONS until it has passed slot at, and returns it.
func (u *Unit) pollCons12(t *cpu.Thread, l locals, at uint32) uint32 {
	q := &u.q
	_, cons, v := u.loadLLQ(t)
	t.ALU(1, 0)
	t.StackLoad(96)
	t.Store(l.llq, 0, v)
	t.ALU(3, v)
	t.StackStore(144, 0)
	t.ALU(3, v)
	t.Branch(true, t.Last())
	t.ALU(1, v)
	t.Branch(q.consumed(cons, at), t.Last())
	p := newPoll(t)
	top := t.Here()
	for !q.consumed(cons, at) {
		t.ALU(1, 0)
		t.StackStore(96, 0)
		u.queuePoll(t, &p)
		cons = u.readCons(t, func() { t.ALU(1, 0) })
		store4(t, l.llq+4, 0, 0)
		t.StackLoad(96)
		t.Branch(true, 0)
		t.ALU(3, 0)
		t.Branch(true, t.Last())
		t.ALU(1, 0)
		t.Branch(q.consumed(cons, at), t.Last())
		t.Back(top)
	}
	t.Sees("completion seen", kernel.Phys(q.slot(at)))
	return cons
}

// readCons is readl of CMDQ_CONS, which orders what follows behind it. pre emits what stands before the load of the register's address.
func (u *Unit) readCons(t *cpu.Thread, pre func()) uint32 {
	u.Stats.SyncPolls++
	pre()
	reg := t.Load(u.q.consReg, 0)
	if u.Env.Version == kernel.V7_3 {
		t.Nop(1)
	}
	val, v := t.MMIOReadAs(u.hw, u.RegVA+smmutable.RegCmdqCons, reg, cpu.StallInv)
	if e := val >> smmutable.CmdqErrShift & 127; e != 0 {
		panic(fmt.Sprintf("smmu: the command queue stopped at an error (%d) at %v", e, t.Now()))
	}
	t.Op(cpu.Fence, 0)
	t.ALU(2, v)
	t.Branch(false, t.Last())
	return uint32(val) & (2<<u.q.log2 - 1)
}

// pollMSI waits until the hardware has written over the CMD_SYNC in slot at: it looks, spins a little, and sleeps until the line is taken
// away. It returns the index behind the slot.
func (u *Unit) pollMSI(t *cpu.Thread, at uint32) uint32 {
	q := &u.q
	p := newPoll(t)
	slot := q.slot(at)
	t.ALU(2, t.Mem(cpu.Mul, 0, 0, t.Load(q.entDwords, 0), t.Load(q.base, 0)))
	for {
		u.Stats.SyncPolls++
		v := load4(t, slot, 0)
		t.Sync()
		done := q.read32(slot) == 0
		t.Branch(done, v)
		if done {
			t.Sees("completion seen", kernel.Phys(slot))
			t.ALU(4, 0)
			return q.inc(at, 1)
		}
		u.queuePoll(t, &p)
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		if q.read32(slot) != 0 {
			u.wfe(t, slot)
		}
	}
}

// poll is struct arm_smmu_queue_poll.
type poll struct {
	spins   int
	delay   sim.Time
	timeout sim.Time // when it gives up
}

// newPoll is queue_poll_init without its look at the clock.
func newPoll(t *cpu.Thread) poll {
	return poll{delay: sim.Microsecond, timeout: t.Now() + pollTimeout}
}

// pollTimeout is ARM_SMMU_POLL_TIMEOUT_US.
const pollTimeout = sim.Second

// spinCount is ARM_SMMU_POLL_SPIN_COUNT.
const spinCount = 10

// queuePoll is queue_poll without wfe: a look at the clock and one yield; after ten of them a pause of 1 us, then 2, 4 and so on. It reports
// whether a second has passed.
func (u *Unit) queuePoll(t *cpu.Thread, p *poll) (late bool) {
	enter(t, fnPoll, false)
	open(t, 32, 1)
	t.ALU(1, 0)
	t.StackStore(16, 0)
	t.ALU(1, 0)
	u.ktimeGet(t)
	t.ALU(1, t.StackLoad(24))
	late = t.Now() > p.timeout
	t.Branch(late, t.Last())
	if late {
		t.StackLoad(16)
		shut(t, 32, 1)
		return true
	}
	w := t.Mem(cpu.Load, t.SP()+40, 1, 0, 0)
	t.Branch(true, w)
	s := load4(t, t.SP()+44, 0)
	s = t.ALU(1, s)
	store4(t, t.SP()+44, 0, s)
	t.ALU(1, s)
	p.spins++
	t.Branch(p.spins >= spinCount, s)
	if p.spins >= spinCount {
		p.spins = 0
		t.ALU(4, 0)
		t.WaitUntil(cpu.StallInv, t.Now()+p.delay)
		p.delay *= 2
	} else {
		t.Op(cpu.Pause, 0)
		t.Jump()
	}
	t.StackLoad(16)
	t.ALU(1, 0)
	shut(t, 32, 1)
	return false
}

// notFull is arm_smmu_cmdq_poll_until_not_full: one CPU takes the lock for itself, which proves that nobody waits for a CMD_SYNC, and brings cons
// up to date; the others look at cons until there is room. No recording contains it.
func (u *Unit) notFull(t *cpu.Thread, l locals) (prod, cons uint32) {
	q := &u.q
	u.Stats.Full++
	t.ALU(2, 0)
	v := t.Mem(cpu.Atomic, q.lock, 4, 0, 0)
	t.Sync()
	mine := q.read32(q.lock) == 0
	if mine {
		q.write32(q.lock, 1<<31)
	}
	t.Branch(mine, v)
	if mine {
		t.Op(cpu.IrqFlag, 0)
		c := u.readCons(t, func() {})
		t.Sync()
		store4(t, q.llq+4, 0, 0)
		t.Sync()
		q.write32(q.llq+4, c)
		store4(t, q.lock, 0, 0) // stlr
		t.Sync()
		q.write32(q.lock, 0)
		t.Op(cpu.IrqFlag, 0)
		prod, cons, v = u.loadLLQ(t)
		t.Store(l.llq, 0, v)
		return prod, cons
	}
	u.ktimeGet(t)
	t.ALU(4, 0)
	p := newPoll(t)
	for {
		prod, cons, v = u.loadLLQ(t)
		t.Store(l.llq, 0, v)
		t.ALU(6, v)
		full := q.idx(prod) == q.idx(cons) && q.wrap(prod) != q.wrap(cons)
		t.Branch(!full, t.Last())
		if !full {
			return prod, cons
		}
		if u.queuePoll(t, &p) { // "CMDQ timeout"
			u.Stats.Timeouts++
			return prod, cons
		}
	}
}
