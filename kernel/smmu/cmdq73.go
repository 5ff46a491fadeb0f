package smmu

import (
	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/kernel"
)

var (
	fnIssue73 = cpu.NewFunc("__arm_smmu_cmdq_issue_cmdlist", fileSMMU, 2000)
	fnIncProd = cpu.NewFunc("queue_inc_prod_n", fileSMMU, 144)
)

// issue73 is arm_smmu_cmdq_issue_cmdlist of 7.3, which only passes on for a unit without errata.
func (u *Unit) issue73(t *cpu.Thread, cmds []smmutable.Command, from uint64, sync bool) {
	enter(t, fnIssue, false)
	open(t, 64, 3)
	t.ALU(6, 0)
	t.StackStore(48, 0)
	t.ALU(1, 0)
	u.put73(t, cmds, from, sync)
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Branch(true, 0)
	t.Nop(1)
	t.StackLoad(48)
	t.ALU(1, 0)
	t.LoadPair(t.SP()+16, 0)
	t.LoadPair(t.SP()+32, 0)
	shut(t, 64, 1)
}

// incProd is queue_inc_prod_n of a queue copy at q: 36 instructions, a call of its own in 7.3.
func (u *Unit) incProd(t *cpu.Thread, q uint64) cpu.Val {
	enter(t, fnIncProd, false)
	open(t, 48, 3)
	t.ALU(4, 0)
	s := load4(t, q+64, 0)
	t.ALU(2, s)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	p := load4(t, q, 0)
	p = t.ALU(15, p)
	t.LoadPair(t.SP()+16, 0)
	t.LoadPair(t.SP()+32, 0)
	shut(t, 48, 1)
	return p
}

// put73 is __arm_smmu_cmdq_issue_cmdlist of 7.3: the algorithm of issue12.
func (u *Unit) put73(t *cpu.Thread, cmds []smmutable.Command, from uint64, sync bool) {
	q := &u.q
	n, extra := uint32(len(cmds)), uint32(0)
	if sync {
		extra = 1
	}
	enter(t, fnIssue73, false)
	l := openIssue(t)
	t.ALU(11, 0)
	store4(t, t.SP()+100, 0, 0)
	t.StackStore(112, 0)
	store4(t, t.SP()+120, 0, 0)
	u.canary(t, 104)
	t.ALU(1, 0)
	u.memset(t, l.llq, 128)
	t.ALU(3, 0)
	u.memset(t, l.head, 128)
	store4(t, l.shift, 0, load4(t, q.shift, 0))
	t.Op(cpu.IrqFlag, 0)
	t.Op(cpu.IrqFlag, 0)
	prod, cons, v := u.loadLLQ(t)
	start := t.Now()
	t.ALU(7, 0)
	t.Store(l.llq, 0, v)
	top := t.Here()
	var head uint32
	for {
		t.ALU(3, load4(t, l.shift, 0))
		t.Branch(false, t.Last())
		p := t.ALU(1, load4(t, l.llq, 0))
		p = t.ALU2(p, load4(t, l.llq+4, 0))
		t.ALU(4, p)
		t.Branch(q.wrap(prod) == q.wrap(cons), t.Last())
		p = t.ALU2(p, load4(t, l.shift, 0))
		t.ALU(3, p)
		fits := q.space(prod, cons, n+extra)
		t.Branch(!fits, t.Last())
		if !fits {
			t.Op(cpu.IrqFlag, 0)
			prod, cons = u.notFull(t, l)
			t.Op(cpu.IrqFlag, 0)
			t.Back(top)
			continue
		}
		c := load4(t, l.llq+4, 0)
		t.ALU(2, 0)
		store4(t, l.head+4, 0, c)
		p = u.incProd(t, l.llq)
		store4(t, l.head, 0, t.ALU(1, p))
		t.Load(l.llq, 0)
		w := t.Load(l.head, 0)
		t.Nop(1)
		t.ALU(1, w)
		head = q.inc(prod, n+extra) | owned
		prod2, cons2, ok, got := u.claim(t, prod, cons, head, w)
		t.ALU(1, got)
		t.Branch(!ok, t.Last())
		if ok {
			u.Stats.Claiming += t.Now() - start
			break
		}
		prod, cons = prod2, cons2
		t.Store(l.llq, 0, got)
		t.Back(top)
	}
	owner := prod&owned == 0
	head &^= owned
	prod &^= owned
	t.StackLoad(112)
	t.ALU(1, 0)
	load4(t, t.SP()+100, 0)
	t.ALU(1, 0)
	p := load4(t, l.llq, 0)
	store4(t, l.head, 0, 0)
	store4(t, l.llq, 0, t.ALU(1, p))
	u.write73(t, cmds, from, prod)
	s := load4(t, t.SP()+120, 0)
	t.ALU(1, s)
	t.Branch(sync, s)
	at := q.inc(prod, n)
	if sync {
		u.putSync73(t, l, at)
	}
	t.Op(cpu.Fence, 0)
	load4(t, l.head, 0)
	t.ALU(1, 0)
	load4(t, l.llq, 0)
	t.ALU(1, 0)
	u.setValid73(t, prod, head)
	t.Branch(!owner, 0)
	if owner {
		load4(t, l.llq, 0)
		t.ALU(1, 0)
		u.own(t, prod, func(end uint32) {
			t.ALU(4, 0)
			u.pollValid73(t, prod, end)
		})
	}
	t.ALU(1, 0)
	t.Branch(sync, t.Last())
	if sync {
		u.waitSync73(t, l, at)
	}
	t.Op(cpu.IrqFlag, 0)
	u.checkCanary(t, 104)
	t.ALU(1, 0)
	for i := range uint64(5) {
		t.LoadPair(t.SP()+16*(i+1), 0)
	}
	t.ALU(1, 0)
	shut(t, frameIssue, 1)
	u.note(cmds, sync, owner)
}

// openQueueCopy opens a frame with 5 pairs of registers, a queue copy that it zeroes, and a canary. It returns where the copy lies.
func (u *Unit) openQueueCopy(t *cpu.Thread, alu int) uint64 {
	t.ALU(1, 0)
	open(t, frameCopy, 5)
	u.canary(t, 88)
	t.ALU(alu, 0)
	a := (t.SP() + 112 + 63) &^ 63
	u.memset(t, a, 128)
	store4(t, a, 0, 0)
	store4(t, a+64, 0, load4(t, u.q.shift, 0))
	return a
}

// frameCopy is the frame of a function with one aligned queue copy.
const frameCopy = 320

func (u *Unit) shutQueueCopy(t *cpu.Thread) {
	u.checkCanary(t, 88)
	for i := range uint64(4) {
		t.LoadPair(t.SP()+16*(i+1), 0)
	}
	t.ALU(1, 0)
	shut(t, frameCopy, 1)
}

// write73 is arm_smmu_cmdq_write_entries of 7.3.
func (u *Unit) write73(t *cpu.Thread, cmds []smmutable.Command, from uint64, prod uint32) {
	q := &u.q
	enter(t, fnWrite, false)
	copy := u.openQueueCopy(t, 10)
	t.ALU(1, 0)
	t.Branch(len(cmds) == 0, t.Last())
	t.ALU(2, 0)
	top := t.Here()
	for i, c := range cmds {
		t.ALU(2, 0)
		p := u.incProd(t, copy)
		t.ALU(2, load4(t, q.shift, 0))
		t.Branch(false, t.Last())
		e := t.Load(q.entDwords, 0)
		t.ALU(5, p)
		b := t.Load(q.base, 0)
		dst := t.Mem(cpu.Mul, 0, 0, e, b)
		at := q.inc(prod, uint32(i))
		src := from + uint64(i)*smmutable.CommandSize
		w := t.Load(src, 0)
		t.ALU(1, dst)
		t.Store(q.slot(at), dst, w)
		t.Store(q.slot(at)+8, dst, t.Load(src+8, 0))
		q.put(at, c)
		t.ALU(1, 0)
		t.Loop(top, i+1 < len(cmds), t.Last())
	}
	u.shutQueueCopy(t)
}

// putSync73 writes the CMD_SYNC to slot prod and takes the lock that keeps the slot from being overtaken twice.
func (u *Unit) putSync73(t *cpu.Thread, l locals, prod uint32) {
	q := &u.q
	load4(t, t.SP()+100, 0)
	t.ALU(1, 0)
	p := u.incProd(t, l.llq)
	load4(t, q.shift, 0)
	t.ALU(1, 0)
	opt := load4(t, u.va+devOptions, 0)
	t.ALU(2, p)
	t.Branch(true, t.Last())
	t.Branch(!u.caps.msiPoll, opt)
	if u.caps.msiPoll {
		b := t.Load(q.baseDMA, 0)
		e := t.Load(q.entDwords, 0)
		t.ALU(3, t.Mem(cpu.Mul, 0, 0, b, e))
	}
	t.ALU(3, 0)
	t.Jump()
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(2, 0)
	e := t.Load(q.entDwords, 0)
	t.ALU(3, p)
	b := t.Load(q.base, 0)
	dst := t.Mem(cpu.Mul, 0, 0, e, b)
	t.ALU(1, dst)
	t.Store(q.slot(prod), dst, 0)
	t.Store(q.slot(prod)+8, dst, 0)
	q.put(prod, u.syncCommand(prod))
	t.Nop(1)
	u.lockShared(t, t.ALU(1, 0))
	t.Jump()
}

// setValid73 is __arm_smmu_cmdq_poll_set_valid_map of 7.3 when it sets.
func (u *Unit) setValid73(t *cpu.Thread, prod, end uint32) {
	q := &u.q
	copy := u.openValid73(t)
	top := t.Here()
	for prod != end {
		mask, n := q.bits(prod, end)
		p := u.validWord73(t, copy)
		t.Branch(false, t.Last())
		t.Nop(1)
		t.Sync()
		t.Atomic(q.word(prod), p, 0)
		t.Sync()
		q.write64(q.word(prod), q.read64(q.word(prod))^mask)
		prod = u.nextWord73(t, copy, prod, n)
		t.Branch(prod == end, t.ALU(1, 0))
		t.Back(top)
	}
	t.LoadPair(t.SP()+104, 0)
	u.shutQueueCopy(t)
}

// pollValid73 is the same function when it waits until the slots are written.
func (u *Unit) pollValid73(t *cpu.Thread, prod, end uint32) {
	q := &u.q
	copy := u.openValid73(t)
	top := t.Here()
	for prod != end {
		mask, n := q.bits(prod, end)
		p := u.validWord73(t, copy)
		t.Branch(true, t.Last())
		load4(t, copy+64, 0)
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		for {
			v := t.Load(q.word(prod), p)
			t.Sync()
			ok := q.read64(q.word(prod))&mask == q.valid(prod, mask)
			t.ALU(6, v)
			t.Branch(ok, t.Last())
			if ok {
				break
			}
			u.wfe(t, q.word(prod))
		}
		prod = u.nextWord73(t, copy, prod, n)
		t.Branch(prod == end, t.ALU(1, 0))
		t.Back(top)
	}
	t.LoadPair(t.SP()+104, 0)
	u.shutQueueCopy(t)
}

func (u *Unit) openValid73(t *cpu.Thread) uint64 {
	enter(t, fnValidMap, false)
	copy := u.openQueueCopy(t, 11)
	t.ALU(4, 0)
	store4(t, t.SP()+96, 0, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(3, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.StorePair(t.SP()+104, 0, 0)
	t.ALU(3, 0)
	t.StackStore(80, 0)
	t.Jump()
	return copy
}

// validWord73 emits the computation of the word, its mask and its bits.
func (u *Unit) validWord73(t *cpu.Thread, copy uint64) cpu.Val {
	t.ALU(4, load4(t, copy+64, 0))
	t.Branch(false, t.Last())
	t.ALU(2, load4(t, copy, 0))
	p := t.Load(u.q.validPtr, 0)
	t.ALU(1, 0)
	t.ALU(4, load4(t, t.SP()+96, 0))
	t.Branch(true, t.Last())
	t.Mem(cpu.Load, t.SP()+80, 1, 0, 0)
	t.ALU(4, p)
	return p
}

func (u *Unit) nextWord73(t *cpu.Thread, copy uint64, prod, n uint32) uint32 {
	t.ALU(2, 0)
	v := u.incProd(t, copy)
	store4(t, copy, 0, v)
	return u.q.inc(prod, n)
}

// waitSync73 waits for the CMD_SYNC in slot at and gives the lock back.
func (u *Unit) waitSync73(t *cpu.Thread, l locals, at uint32) {
	q := &u.q
	load4(t, t.SP()+100, 0)
	t.ALU(1, 0)
	store4(t, l.llq, 0, u.incProd(t, l.llq))
	opt := load4(t, u.va+devOptions, 0)
	t.ALU(1, 0)
	t.Branch(!u.caps.msiPoll, opt)
	t.Load(u.va+devFeatures, 0)
	t.ALU(1, 0)
	t.StorePair(t.SP()+136, 0, 0)
	t.ALU(2, 0)
	t.StackStore(152, 0)
	t.StackStore(144, 0)
	t.Mem(cpu.Store, t.SP()+152, 1, 0, 0)
	u.ktimeGet(t)
	start := t.Now()
	var cons uint32
	if u.caps.msiPoll {
		cons = u.pollMSI(t, at)
	} else {
		cons = u.pollCons73(t, l, at)
	}
	u.Stats.Waiting += t.Now() - start
	t.Sync()
	v := load4(t, q.lock, 0)
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
	t.Jump()
}

// pollCons73 reads CMDQ_CONS until it has passed slot at, and returns it.
func (u *Unit) pollCons73(t *cpu.Thread, l locals, at uint32) uint32 {
	q := &u.q
	_, cons, v := u.loadLLQ(t)
	t.ALU(3, v)
	t.StackStore(136, 0)
	t.Store(l.llq, 0, v)
	u.consumed73(t, l, q.consumed(cons, at))
	p := newPoll(t)
	top := t.Here()
	for again := false; !q.consumed(cons, at); again = true {
		if !again {
			t.ALU(2, load4(t, l.shift, 0))
			t.Branch(false, t.Last())
			t.ALU(5, load4(t, l.llq+4, 0))
			t.Branch(false, t.Last())
		}
		t.ALU(1, 0)
		u.queuePoll(t, &p)
		cons = u.readCons(t, func() {})
		store4(t, l.llq+4, 0, 0)
		t.Branch(true, 0)
		u.consumed73(t, l, q.consumed(cons, at))
		if !q.consumed(cons, at) {
			t.Back(top)
		}
	}
	t.Sees("completion seen", kernel.Phys(q.slot(at)))
	t.ALU(1, 0)
	t.Jump()
	return cons
}

// consumed73 emits queue_consumed.
func (u *Unit) consumed73(t *cpu.Thread, l locals, yes bool) {
	t.ALU(1, load4(t, l.shift, 0))
	t.Branch(false, t.Last())
	v := t.ALU(3, load4(t, l.llq+4, 0))
	t.Branch(true, v)
	t.ALU(8, v)
	t.Branch(yes, t.Last())
}

// Queue returns the physical address of the command queue and log2 of its entries.
func (u *Unit) Queue() (ring uint64, log2 uint8) { return u.q.ring, u.q.log2 }
