package genericpt

import (
	"dmapath/cpu"
)

// Lookup is the format's iova_to_phys, reached by a jump: the physical address that iova is mapped to, 0 if it is not.
func (d *Table) Lookup(t *cpu.Thread, target cpu.Val, iova uint64) uint64 {
	t.TailCallInd(d.fn.lookup, target)
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
		ok = r.last < d.limit()
		d.checkRangeLookup(t, &r, ok)
	}
	if ok {
		top := t.Mem(cpu.Load, r.at+rTop, 1, 0, 0)
		tbl := t.Load(r.at+rTable, 0)
		t.ALU(1, top)
		for i := 0; i < 4; i++ {
			t.ALU(1, top)
			t.Branch(i == 3, t.Last())
		}
		t.ALU(3, tbl)
		phys, ok = d.lookup(t, &r, d.depth-1, d.top, t.Last(), true)
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

func (d *Table) checkRangeLookup(t *cpu.Thread, r *ptRange, ok bool) {
	w := t.Mem(cpu.Load, r.at+rMaxVA, 1, 0, 0)
	t.Load(r.at+rLast, 0)
	va := t.Load(r.at+rVA, 0)
	t.ALU(2, w)
	t.Branch(false, t.Last())
	t.ALU(3, va)
	t.Branch(!ok, t.Last())
}

// lookup is __iova_to_phys of one level.
func (d *Table) lookup(t *cpu.Thread, r *ptRange, level int, tbl uint64, tblv cpu.Val, top bool) (phys uint64, ok bool) {
	va := enterLevel(t, d.fn.lookupLevel[level], r, top)
	idx := t.ALU(2, max(va, tblv))
	pte := entry(tbl, r.va, level+1)
	p := t.Load(pte, idx)
	val := d.read(pte)
	kind := d.fmt.Kind(val, level)
	t.ALU(1, p)
	t.Branch(kind == Empty, p)
	if kind == Empty {
		t.ALU(1, 0)
		t.Pop(4)
		t.Ret()
		return 0, false
	}
	if level > 1 {
		if level <= d.fmt.TopLeaf() {
			t.ALU(3, p)
			t.Branch(kind == Page, t.Last())
		} else {
			t.ALU(4, p)
		}
		if kind == Page {
			d.fmt.EncodedSize(t, p)
			d.lookupEnd(t, r, p)
			return d.exact(val, level, r.va), true
		}
		d.fmt.TableAddr(t, d.At.Features, p)
		off := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, t.Last())
		n := 1
		if level == 2 {
			n = 3
		}
		next := t.ALU(n, off)
		t.Pop(4)
		return d.lookup(t, r, level-1, d.child(val), next, false)
	}
	t.ALU(1, p)
	t.Load(r.at+rVA, 0)
	t.ALU(2, p)
	t.Branch(kind == Page, t.Last())
	if kind == Page {
		d.fmt.EncodedSize(t, p)
		t.ALU(2, 0)
		t.Store(r.at-8, 0, t.Last())
		t.Jump()
		t.ALU(2, 0)
		t.Pop(4)
		t.Ret()
		return d.exact(val, level, r.va), true
	}
	d.fmt.TableAddr(t, d.At.Features, p)
	t.ALU(1, va)
	off := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, t.Last())
	t.ALU(2, off)
	t.Branch(false, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	idx = t.ALU(2, off)
	leaf := entry(d.child(val), r.va, 1)
	p = t.Load(leaf, idx)
	val = d.read(leaf)
	t.ALU(1, p)
	absent := d.fmt.Kind(val, 0) == Empty
	t.Branch(absent, p)
	if absent {
		t.ALU(1, 0)
		t.Pop(4)
		t.Ret()
		return 0, false
	}
	t.ALU(2, p)
	d.fmt.EncodedSize(t, p)
	d.lookupEnd(t, r, p)
	return d.exact(val, 0, r.va), true
}

// lookupEnd combines entry and offset and leaves __iova_to_phys.
func (d *Table) lookupEnd(t *cpu.Thread, r *ptRange, p cpu.Val) {
	va := t.Load(r.at+rVA, 0)
	t.ALU(2, va)
	t.Store(r.at-8, 0, t.Last())
	t.ALU(2, 0)
	t.Pop(4)
	t.Ret()
}
