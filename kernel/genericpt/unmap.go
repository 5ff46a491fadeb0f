package genericpt

import (
	"dmapath/cpu"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommupages"
)

// unmapArgs is struct pt_unmap_args.
type unmapArgs struct {
	at       uint64
	gather   *iommucore.Gather
	list     *iommucore.PageList // free_list
	unmapped uint64
}

// Offsets in struct pt_unmap_args.
const (
	uGather   = 0
	uList     = 8
	uUnmapped = 32
)

// UnmapRange is the format's unmap_range: one walk clears the range and stops at the first hole.
func (d *Table) UnmapRange(t *cpu.Thread, target cpu.Val, iova, size uint64, g *iommucore.Gather) uint64 {
	t.CallInd(d.fn.unmapRange, target)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	t.Frame(88)
	r := ptRange{at: t.SP() + 40}
	a := unmapArgs{at: t.SP(), gather: g, list: &d.scratch[t.CPU].detached}
	t.StackStore(80, t.Load(d.guard(t), 0))
	t.ALU(3, 0)
	t.StackStore(0, 0)
	t.ALU(3, 0)
	for _, off := range [...]int{24, 32, 8, 16, 40, 48, 56, 64, 72} {
		t.StackStore(off, 0)
	}
	ok := d.makeRange(t, &r, iova, size)
	t.ALU(1, 0)
	t.Branch(ok, t.Last())
	if ok {
		w := t.Mem(cpu.Load, r.at+rMaxVA, 1, 0, 0)
		va := t.Load(r.at+rVA, 0)
		t.ALU(2, w)
		t.Branch(false, t.Last())
		t.ALU(1, va)
		last := t.Load(r.at+rLast, 0)
		t.ALU(1, va)
		t.Branch(false, t.Last())
		t.ALU(3, last)
		ok = r.last < d.limit()
		t.Branch(!ok, t.Last())
	}
	if ok {
		t.Mem(cpu.Load, r.at+rTop, 1, 0, 0)
		tbl := t.Load(r.at+rTable, 0)
		t.ALU(2, 0)
		d.unmapTable(t, &r, &a, d.depth-1, d.top, tbl)
		t.Load(a.at+uUnmapped, 0)
		t.ALU(2, 0)
		d.gatherPending(t, &a, iova)
		t.Load(a.at+uUnmapped, 0)
		t.Jump()
	}
	c := t.StackLoad(80)
	t.Branch(false, t.LoadOp(d.guard(t), 0, c))
	t.Frame(-88)
	t.Pop(3)
	t.Ret()
	return a.unmapped
}

// gatherPending is gather_range_pending: it adds the unmapped range and the detached tables to the gather.
func (d *Table) gatherPending(t *cpu.Thread, a *unmapArgs, iova uint64) {
	g := a.gather
	t.Call(d.fn.pending)
	t.Nop(1)
	gp := t.Load(a.at+uGather, 0)
	t.ALU(1, gp)
	t.Branch(false, gp)
	t.Branch(!g.Queued, t.Mem(cpu.LoadOp, g.VA+iommucore.GatherQueued, 1, gp, 0))
	if !g.Queued {
		end := iova + a.unmapped - 1
		t.ALU(1, 0)
		s := t.LoadOp(g.VA+iommucore.GatherStart, gp, 0)
		t.Branch(g.Start <= iova, s)
		if g.Start > iova {
			t.Store(g.VA+iommucore.GatherStart, gp, 0)
			g.Start = iova
		}
		e := t.LoadOp(g.VA+iommucore.GatherEnd, gp, 0)
		t.Branch(g.End >= end, e)
		if g.End < end {
			t.Store(g.VA+iommucore.GatherEnd, gp, 0)
			g.End = end
		}
		t.Jump()
	}
	l := t.Load(a.at+uList, 0)
	t.ALU(2, l)
	t.Branch(a.list.Empty(), t.Last())
	if !a.list.Empty() { // list_splice to the gather's list
		p := t.Load(a.at+uList+8, 0)
		h := t.Load(g.VA+iommucore.GatherFreelist, gp)
		t.Store(iommupages.PageOf(a.list.Pages[0])+16, l, 0)
		t.Store(g.VA+iommucore.GatherFreelist, gp, l)
		t.Store(iommupages.PageOf(a.list.Pages[len(a.list.Pages)-1])+8, p, h)
		t.Store(g.VA+iommucore.GatherFreelist+8, h, p)
		g.Freelist.Splice(a.list)
	}
	t.Store(a.at+uList, 0, 0)
	t.Store(a.at+uList+8, 0, 0)
	t.Ret()
}

// unmapTable is __unmap_range: it clears the entries of one table that the range covers, descending first, and puts the
// tables that the range covers entirely on the list. It reports false at a hole.
func (d *Table) unmapTable(t *cpu.Thread, r *ptRange, a *unmapArgs, level int, tbl uint64, tblv cpu.Val) bool {
	t.Call(d.fn.unmapTable)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(88)
	top := level == d.depth-1
	va := t.Load(r.at+rVA, 0)
	t.StackStore(16, 0)
	t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	var idx cpu.Val
	if top {
		topIndex(t, r, 5)
		t.Branch(false, t.Last())
		t.ALU(1, 0)
		va = t.Load(r.at+rVA, 0)
		idx = t.ALU(1, va)
		t.Jump()
	} else {
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		idx = t.ALU(4, va)
	}
	last := t.Load(r.at+rLast, 0)
	t.ALU(2, last)
	t.Branch(false, t.Last())
	t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	end := endOf(r, level)
	step := uint64(1) << shift(level+1)
	pte := entry(tbl, r.va, level+1)
	var p cpu.Val
	if top {
		topIndex(t, r, 5)
		t.Branch(false, t.Last())
		addr := t.ALU(2, max(idx, tblv))
		p = t.Load(pte, addr)
		t.ALU(1, p)
		t.Branch(false, p)
		t.ALU(3, last)
		t.StackStore(8, t.Last())
		t.Jump()
	} else {
		t.ALU(4, last)
		t.Branch(false, t.Last())
		t.ALU(2, last)
		inside := end == r.last+1
		t.Branch(inside, t.Last())
		t.ALU(4, last)
		t.StackStore(8, t.Last())
		addr := t.ALU(2, max(idx, tblv))
		p = t.Load(pte, addr)
		t.ALU(1, p)
		t.Branch(d.fmt.Kind(d.read(pte), level) != Empty, p)
	}
	w := run{pte: pte, end: end}
	ok := true
	top2 := t.Here()
	for more := true; ok && more; {
		if kind := d.fmt.Kind(d.read(w.pte), level); level == 0 || kind == Page {
			ok, more = d.unmapLeaves(t, r, &w, level, idx, p)
		} else {
			ok, more, p = d.unmapChild(t, r, a, &w, level, idx, p)
		}
		if ok && more {
			t.Back(top2)
		}
	}
	u := t.Mem(cpu.RMW, a.at+uUnmapped, 8, 0, 0)
	a.unmapped += w.leaves * step
	wrote := w.leaves > 0 || w.tables
	t.Branch(!wrote, t.Mem(cpu.LoadOp, t.SP(), 4, 0, u))
	if wrote {
		c := t.Load(r.at+rCommon, 0)
		if d.mustFlush(t, c, true) {
			t.StackLoad(0)
			t.ALU(1, 0)
			t.StackStore(8, 0)
			t.ALU(3, 0)
			d.pages.Clflush(t, pte, w.pte-pte)
			t.StackLoad(8)
		}
	}
	t.Frame(-88)
	t.Pop(6)
	t.Ret()
	return ok
}

// run is the position of __unmap_range in one table.
type run struct {
	pte    uint64 // the entry
	end    uint64 // first I/O virtual address beyond the range or the table
	leaves uint64 // entries that mapped pages and were cleared
	tables bool   // an entry that pointed to a table was cleared
}

// unmapLeaves clears entries that map pages, from w.pte to the end of the range or of the table, to a hole (ok is false) or
// to a table (more is true).
func (d *Table) unmapLeaves(t *cpu.Thread, r *ptRange, w *run, level int, idx, p cpu.Val) (ok, more bool) {
	step := uint64(1) << shift(level+1)
	t.ALU(1, 0)
	t.Branch(level == 0, t.Last())
	if level > 0 {
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.ALU(1, p)
		t.Branch(true, p)
	}
	val := d.read(w.pte)
	if d.fmt.Kind(val, level) == Empty {
		t.ALU(2, 0)
		return false, false
	}
	t.ALU(4, 0)
	d.fmt.EncodedSize(t, p)
	n := d.entries(val, level)
	inside := r.va&(n*step-1) != 0 // in the middle of a page, which is never split
	t.Branch(inside, t.Mem(cpu.LoadOp, r.at+rVA, 8, 0, 0))
	if inside {
		return false, false
	}
	addr := t.ALU(2, idx)
	d.fill(t, w.pte, n, addr, 0, 0)
	t.ALU(1, 0)
	t.StackStore(0, 0)
	t.ALU(1, 0)
	r.va += n * step
	w.pte += 8 * n
	w.leaves += n
	more = r.va < w.end
	t.Branch(more, t.Mem(cpu.LoadOp, t.SP()+8, 2, 0, 0))
	if !more {
		t.ALU(4, 0)
		return true, false
	}
	t.StackStore(80, 0)
	ok = true
	for top := t.Here(); ; {
		split(t)
		addr = t.ALU(2, addr)
		p := t.Load(w.pte, addr)
		val := d.read(w.pte)
		kind := d.fmt.Kind(val, level)
		t.ALU(1, p)
		t.Branch(kind == Empty, p)
		if kind == Empty {
			ok, more = false, false
			break
		}
		t.Branch(level == 0, t.Mem(cpu.LoadOp, t.SP()+16, 1, 0, 0))
		if level > 0 {
			t.ALU(2, p)
			t.Branch(kind == Page, t.Last())
			if kind == Down {
				break
			}
		}
		i := t.StackLoad(0)
		t.Mem(cpu.RMW, t.SP()+80, 4, 0, 0)
		d.fmt.EncodedSize(t, p)
		n := d.entries(val, level)
		d.fill(t, w.pte, n, addr, 0, 0)
		t.ALU(4, i)
		t.StackStore(0, t.Last())
		t.ALU(1, 0)
		w.pte += 8 * n
		r.va += n * step
		w.leaves += n
		more = r.va < w.end
		t.Loop(top, more, t.Mem(cpu.LoadOp, t.SP()+8, 2, 0, 0))
		if !more {
			break
		}
	}
	c := t.StackLoad(80)
	t.ALU(2, c)
	t.Jump()
	return ok, more
}

// unmapChild descends into the table that w.pte points to, detaches it when the range covers it, and loads the next
// entry.
func (d *Table) unmapChild(t *cpu.Thread, r *ptRange, a *unmapArgs, w *run, level int, idx, p cpu.Val) (ok, more bool, next cpu.Val) {
	step := uint64(1) << shift(level+1)
	val := d.read(w.pte)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Branch(level > d.fmt.TopLeaf(), t.Last())
	d.fmt.TestLeaf(t, p, val, level)
	if d.fmt.Kind(val, level) == Empty {
		t.ALU(2, 0)
		return false, false, 0
	}
	t.StackStore(0, 0)
	t.ALU(2, idx)
	t.StackStore(80, 0)
	t.ALU(3, p)
	off := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, d.fmt.TableAddr(t, d.At.Features, p))
	t.StackStore(32, off)
	t.ALU(3, 0)
	t.StackStore(24, 0)
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	v := t.Load(r.at+rVA, 0)
	base := r.va &^ (step - 1)
	covered := r.va == base && r.last >= base+step-1
	t.Branch(!covered, t.LoadOp(t.SP()+24, 0, v))
	child := t.StackLoad(32)
	t.ALU(3, child)
	t.StackStore(56, 0)
	t.StackStore(48, idx)
	t.StackStore(40, idx)
	t.StackStore(24, 0)
	sub := *r
	ok = d.unmapTable(t, &sub, a, level-1, d.child(val), child)
	t.StackLoad(24)
	t.StackLoad(40)
	t.ALU(1, 0)
	t.StackLoad(48)
	t.StackLoad(56)
	t.Branch(!covered, t.Last())
	if !ok {
		return false, false, 0
	}
	if covered {
		// iommu_pages_list_add and pt_clear_entries: the table is freed once the hardware has forgotten it.
		page := iommupages.PageOf(d.child(val))
		b := t.LoadOp(d.Env.Sym.VmemmapBase, 0, child)
		t.ALU(4, b)
		h := t.Load(a.at+uList, 0)
		t.Store(page+8, b, h)
		t.Store(page+16, b, 0)
		t.Store(a.at+uList, 0, b)
		t.Store(a.at+uList+8, h, b)
		t.Store(w.pte, idx, 0)
		a.list.Add(d.child(val))
		d.Tables--
		d.write(w.pte, 0)
		w.tables = true
	}
	i := t.StackLoad(80)
	t.ALU(6, i)
	r.va = base + step
	w.pte += 8
	more = r.va < w.end
	t.Branch(!more, t.Mem(cpu.LoadOp, t.SP()+8, 2, 0, 0))
	if !more {
		t.ALU(1, 0)
		t.Branch(!w.tables, t.Last())
		return true, false, 0
	}
	// pt_index_to_va, then the next entry.
	t.ALU(6, 0)
	t.Store(r.at+rVA, 0, t.Last())
	addr := t.ALU(2, idx)
	next = t.Load(w.pte, addr)
	t.ALU(1, next)
	t.Branch(d.fmt.Kind(d.read(w.pte), level) != Empty, next)
	return true, true, next
}
