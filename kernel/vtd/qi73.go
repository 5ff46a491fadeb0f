package vtd

import (
	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

// submit73 is qi_submit_sync of 7.3. The tests for latency sampling by descriptor type come to nops and a branch.
func (u *Unit) submit73(t *cpu.Thread, descs []desc, from uint64) {
	q := &u.qi
	guard := kernel.StackGuard(u.Env.Version, t.CPU)
	t.Call(fnSubmit)
	t.Nop(2)
	t.Push(6)
	t.Frame(128)
	t.StackStore(32, 0)
	t.StackStore(120, t.Load(guard, 0))
	qi := t.Load(u.qiField(), 0)
	t.StackStore(88, 0)
	t.StackStore(96, 0)
	t.StackStore(104, 0)
	t.StackStore(112, 0)
	t.ALU(1, qi)
	t.Branch(false, qi)
	t.ALU(8, 0)
	t.StackStore(48, 0)
	t.ALU(1, 0)
	t.StackStore(40, 0)
	t.ALU(1, qi)
	u.reserve(t, len(descs))
	head := t.Mem(cpu.Load, q.va+qHead, 4, qi, 0)
	t.StackStore(0, head)
	t.ALU(2, head)
	t.StackStore(40, head)
	sm := t.Mem(cpu.LoadOp, u.at(iommuEcap)+5, 1, 0, 0) // ecap_smts
	t.Branch(true, sm)
	t.StackStore(0, 0)
	t.ALU(1, 0)
	t.Jump()
	t.ALU(3, 0)
	t.Branch(len(descs) == 0, t.Last())
	t.StackStore(56, 0)
	t.StackStore(72, 0)
	t.StackStore(8, 0)
	t.StackStore(64, 0)
	t.StackLoad(32)
	t.StackStore(16, 0)
	t.ALU(1, qi)
	first, wait := u.fill(descs)
	var idx cpu.Val
	top := t.Here()
	for i := range descs {
		slot := (first + i) % queueLength
		idx = t.StackLoad(0)
		sh := t.StackLoad(0)
		t.ALU(2, 0)
		t.StackLoad(8)
		t.ALU(13, sh)
		dst := t.LoadOp(q.va+qDesc, qi, sh)
		u.Env.Memcpy(t, kernel.Virt(q.ring)+uint64(slot)*16, from+uint64(i)*32, 16, dst, 0)
		st := t.Load(q.va+qStatus, qi)
		t.ALU(1, idx)
		t.Mem(cpu.Store, q.statusVA(slot), 4, st, 0)
		t.Nop(1)
		t.ALU(2, 0)
		t.Loop(top, i+1 < len(descs), t.Last())
	}
	t.ALU(1, qi)
	t.StackLoad(56)
	t.StackLoad(64)
	t.StackLoad(72)
	iommu := t.StackLoad(16)
	w := t.StackLoad(40)
	st := t.Load(q.va+qStatus, qi)
	t.ALU(1, 0)
	t.Mem(cpu.Store, q.statusVA(wait), 4, st, 0)
	t.ALU(1, w)
	x := t.StackLoad(48)
	t.StackStore(88, x)
	st = t.Load(q.va+qStatus, qi)
	t.ALU(2, st)
	t.Branch(false, st)
	t.ALU(1, 0)
	pa := t.LoadOp(u.Env.Sym.PageOffsetBase, 0, 0)
	sh := t.StackLoad(0)
	n := t.StackLoad(40)
	t.ALU(2, pa)
	t.StackStore(96, pa)
	t.ALU(1, sh)
	t.StackStore(8, w)
	t.StackStore(104, 0)
	t.ALU(1, n)
	t.StackStore(112, 0)
	t.ALU(1, n)
	dst := t.LoadOp(q.va+qDesc, qi, n)
	u.Env.Memcpy(t, kernel.Virt(q.ring)+uint64(wait)*16, t.SP()+88, 16, dst, 0)
	n = t.StackLoad(40)
	h := t.Mem(cpu.LoadOp, q.va+qHead, 4, qi, n)
	t.ALU(4, h)
	t.Mem(cpu.RMW, q.va+qCount, 4, qi, 0)
	t.Mem(cpu.Store, q.va+qHead, 4, qi, h)
	t.ALU(1, h)
	reg := t.Load(u.at(iommuReg), iommu)
	t.MMIOWrite(u.hw, u.RegVA+table.RegIQT, uint64(q.head)*16, reg, h)
	t.StackLoad(8)
	u.wait(t, wait)
	t.ALU(1, 0)
	t.Jump()
	i := t.StackLoad(0)
	t.ALU(1, 0)
	t.Nop(5)
	u.finish73(t, first, len(descs), i)
	t.ALU(2, 0)
	locking.SpinUnlockIrqrestoreNested(t, u.Env.Version, &q.lock)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Jump()
	g := t.StackLoad(120)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.Frame(-128)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
}

// finish73 marks the slots of a completed submission free, the wait descriptor's included, and reclaims them.
func (u *Unit) finish73(t *cpu.Thread, first, n int, i cpu.Val) {
	q := &u.qi
	top := t.Here()
	var st cpu.Val
	for k := 0; k <= n; k++ {
		slot := (first + k) % queueLength
		t.ALU(9, i)
		t.Mem(cpu.Store, q.statusVA(slot), 4, st, 0)
		u.setStatus(slot, qiFree)
		st = t.Load(q.va+qStatus, 0)
		t.ALU(1, 0)
		t.Loop(top, k < n, t.Last())
	}
	tail := t.Mem(cpu.Load, q.va+qTail, 4, 0, 0)
	s := t.Mem(cpu.Load, q.statusVA(q.tail), 4, st, tail)
	t.ALU(2, s)
	stop := u.getStatus(q.tail) != qiFree
	t.Branch(stop, t.Last())
	if stop {
		return
	}
	u.reclaim(t, tail, 7)
}
