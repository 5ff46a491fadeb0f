package vtd

import (
	"dmapath/cpu"
)

// iovaToPhys73 is pt_iommu_vtdss_iova_to_phys of 7.3.
func (d *Domain) iovaToPhys73(t *cpu.Thread, target cpu.Val, iova uint64) uint64 {
	t.TailCallInd(fnLookup, target)
	t.Nop(2)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(4)
	t.Frame(64)
	r := ptRange{at: t.SP() + 16}
	t.StackStore(56, t.Load(d.guard(t), 0))
	t.ALU(2, 0)
	t.StackStore(16, 0)
	t.StackStore(24, 0)
	t.ALU(1, 0)
	for _, off := range [...]int{32, 40, 48, 8} {
		t.StackStore(off, 0)
	}
	ok := d.makeRange(t, &r, iova, 1)
	t.ALU(1, 0)
	t.Branch(ok, t.Last())
	phys := uint64(0)
	if ok {
		d.checkRangeLookup(t, &r)
		top := t.Mem(cpu.Load, r.at+rTop, 1, 0, 0)
		tbl := t.Load(r.at+rTable, 0)
		t.ALU(1, top)
		for i := 0; i < 4; i++ {
			t.ALU(1, top)
			t.Branch(i == 3, t.Last())
		}
		t.ALU(3, tbl)
		phys, ok = d.lookup(t, &r, d.levels-1, d.pgd, t.Last(), true)
		t.Jump()
		t.ALU(1, 0)
		t.Branch(!ok, t.Last())
		if ok {
			t.StackLoad(8)
			t.Jump()
		}
	}
	g := t.StackLoad(56)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-64)
	t.Pop(5)
	t.Ret()
	return phys
}

var (
	fnLookup       = cpu.NewFunc("pt_iommu_vtdss_iova_to_phys", file73, 352)
	fnLookupLevels = [...]*cpu.Func{1: cpu.NewFunc("__iova_to_phys1.isra.0", file73, 200), 2: cpu.NewFunc("__iova_to_phys2.isra.0", file73, 120),
		3: cpu.NewFunc("__iova_to_phys3.isra.0", file73, 160), 4: cpu.NewFunc("__iova_to_phys4.isra.0", file73, 160)}
)

func (d *Domain) checkRangeLookup(t *cpu.Thread, r *ptRange) {
	w := t.Mem(cpu.Load, r.at+rMaxVA, 1, 0, 0)
	t.Load(r.at+rLast, 0)
	va := t.Load(r.at+rVA, 0)
	t.ALU(2, w)
	t.Branch(false, t.Last())
	t.ALU(3, va)
	t.Branch(false, t.Last())
}

// lookup is __iova_to_phys of one level.
func (d *Domain) lookup(t *cpu.Thread, r *ptRange, level int, tbl uint64, tblv cpu.Val, top bool) (phys uint64, ok bool) {
	va := enterLevel(t, fnLookupLevels[level], r, top)
	idx := t.ALU(2, max(va, tblv))
	pte := entry(tbl, r.va, level+1)
	p := t.Load(pte, idx)
	val := d.read(pte)
	t.ALU(1, p)
	t.Branch(!present(val), p)
	if !present(val) {
		t.ALU(1, 0)
		t.Pop(4)
		t.Ret()
		return 0, false
	}
	if level > 1 {
		leaf := false
		if level == 2 {
			t.ALU(3, p)
			leaf = val&ptePS != 0
			t.Branch(leaf, t.Last())
		} else {
			t.ALU(4, p)
		}
		if leaf {
			d.lookupEnd(t, r, p)
			return val&pteAddr&^(1<<30-1) | r.va&(1<<30-1), true
		}
		off := t.LoadOp(d.env.Sym.PageOffsetBase, 0, t.Last())
		n := 1
		if level == 2 {
			n = 3
		}
		next := t.ALU(n, off)
		t.Pop(4)
		return d.lookup(t, r, level-1, virt(val), next, false)
	}
	t.ALU(1, p)
	t.Load(r.at+rVA, 0)
	t.ALU(2, p)
	super := val&ptePS != 0
	t.Branch(super, t.Last())
	if super {
		t.ALU(2, 0)
		t.Store(r.at-8, 0, t.Last())
		t.Jump()
		t.ALU(2, 0)
		t.Pop(4)
		t.Ret()
		return val&pteAddr&^(1<<21-1) | r.va&(1<<21-1), true
	}
	t.ALU(1, va)
	off := t.LoadOp(d.env.Sym.PageOffsetBase, 0, t.Last())
	t.ALU(2, off)
	t.Branch(false, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	idx = t.ALU(2, off)
	leaf := entry(virt(val), r.va, 1)
	p = t.Load(leaf, idx)
	val = d.read(leaf)
	t.ALU(1, p)
	t.Branch(!present(val), p)
	if !present(val) {
		t.ALU(1, 0)
		t.Pop(4)
		t.Ret()
		return 0, false
	}
	t.ALU(2, p)
	d.lookupEnd(t, r, p)
	return val&pteAddr | r.va&4095, true
}

// lookupEnd combines entry and offset and leaves __iova_to_phys.
func (d *Domain) lookupEnd(t *cpu.Thread, r *ptRange, p cpu.Val) {
	va := t.Load(r.at+rVA, 0)
	t.ALU(2, va)
	t.Store(r.at-8, 0, t.Last())
	t.ALU(2, 0)
	t.Pop(4)
	t.Ret()
}
