package genericpt

import (
	"dmapath/cpu"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommupages"
)

// mapLeaf is __map_range_leaf: it writes entries into one table until the range, the table or the run of this page size
// ends.
func (d *Table) mapLeaf(t *cpu.Thread, r *ptRange, m *mapArgs, level int, tbl uint64, tblv cpu.Val) iommucore.Errno {
	t.Call(d.fn.mapLeaf)
	t.Nop(1)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(4)
	t.Frame(168)
	oa := t.Load(m.at+mOA, 0)
	t.StackStore(64, 0)
	t.StackStore(40, tblv)
	t.StackStore(160, t.Load(d.guard(t), 0))
	common := t.Load(r.at+rCommon, 0)
	t.StackStore(112, 0)
	lg := t.Mem(cpu.Load, m.at+mSize, 4, 0, 0)
	t.StackStore(120, 0)
	t.StackStore(0, lg)
	for _, off := range [...]int{128, 136, 144, 80} {
		t.StackStore(off, 0)
	}
	t.ALU(2, 0)
	t.StackStore(152, 0)
	t.StackStore(64, 0)
	t.ALU(2, lg)
	t.StackStore(56, 0)
	t.ALU(2, lg)
	t.Branch(false, t.Last())
	t.ALU(2, lg)
	top := level == d.depth-1
	va := t.Load(r.at+rVA, 0)
	l := t.StackLoad(64)
	t.ALU(1, 0)
	t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, l))
	t.Branch(false, t.LoadOp(t.SP()+56, 0, 0))
	t.ALU(1, va)
	i := t.StackLoad(56)
	idx := t.ALU(3, i)
	t.StackStore(56, idx)
	last := t.Load(r.at+rLast, 0)
	t.ALU(1, last)
	t.Branch(false, t.Last())
	l = t.StackLoad(64)
	t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, l))
	l = t.StackLoad(64)
	t.ALU(3, l)
	t.Branch(false, t.Last())
	t.ALU(2, l)
	end := endOf(r, level)
	inside := end == r.last+1
	t.Branch(inside, t.Last())
	if inside {
		t.StackLoad(56)
		t.ALU(3, last)
		t.StackStore(88, t.Last())
		t.Jump()
	} else {
		t.ALU(2, 0)
		t.StackStore(88, t.Last())
	}
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	step := uint64(1) << m.lg2                   // bytes of a page
	per := uint64(1) << (m.lg2 - shift(level+1)) // entries of a page
	n := (end - r.va + step - 1) / step          // pages in this table
	cnt := t.Load(m.at+mLeaves, 0)
	t.ALU(2, cnt)
	t.Branch(m.leaves < n, t.Last())
	left := uint64(0)
	if m.leaves < n { // stop within the table to change the page size
		n = m.leaves
		t.ALU(2, cnt)
		t.StackStore(72, 0)
	} else {
		left = m.leaves - n
		t.StackStore(72, 0)
	}
	t.ALU(2, 0)
	t.Mem(cpu.LoadOp, t.SP()+56, 2, 0, 0)
	t.StackLoad(0)
	t.ALU(1, 0)
	t.StackStore(32, 0)
	t.ALU(1, 0)
	t.StackStore(88, 0)
	t.ALU(1, 0)
	stop := t.StackLoad(56)
	t.ALU(2, 0)
	t.StackStore(88, 0)
	t.ALU(1, 0)
	t.StackStore(48, 0)
	t.Jump()
	first := entry(tbl, r.va, level+1)
	pte := first
	err := iommucore.Errno(0)
	start := t.Here()
	for k := uint64(0); ; {
		split(t)
		tp := t.StackLoad(40)
		addr := t.ALU(2, tp)
		p := t.Load(pte, addr)
		val := d.read(pte)
		t.StackStore(136, p)
		t.ALU(1, p)
		t.Branch(val != 0, p)
		if val != 0 || per > 1 {
			if err = d.clearContig(t, r, m, level, pte, p, r.va+k*step, per); err != 0 {
				break
			}
		}
		t.StackStore(144, 0)
		c := t.StackLoad(32)
		t.ALU(1, c)
		t.Branch(false, c)
		t.ALU(2, oa)
		t.Branch(false, t.Mem(cpu.LoadOp, t.SP(), 4, 0, 0))
		e := t.LoadOp(m.at+mAttrs, 0, oa)
		t.ALU(1, 0)
		t.Branch(per == 1 && level == 0, t.Last())
		e = d.fmt.EncodeLeaf(t, e, level, m.lg2)
		d.fill(t, pte, per, addr, e, d.fmt.Leaf(m.oa, level, m.lg2, m.bits))
		m.oa += step
		pte += 8 * per
		k++
		t.StackStore(136, e)
		t.Jump()
		s := t.StackLoad(48)
		oa = t.ALU(3, s)
		t.Branch(k == n, stop)
		if k == n {
			break
		}
		t.Back(start)
	}
	t.ALU(1, 0)
	t.StackLoad(88)
	x := t.StackLoad(88)
	t.ALU(1, 0)
	common = t.Load(r.at+rCommon, common)
	t.ALU(1, 0)
	if d.mustFlush(t, common, true) {
		t.StackStore(16, 0)
		t.StackLoad(56)
		t.ALU(1, 0)
		t.StackLoad(40)
		t.ALU(1, 0)
		t.StackStore(8, 0)
		t.ALU(2, 0)
		if pte > first {
			d.pages.Clflush(t, first, pte-first)
		}
		t.StackLoad(16)
		t.StackLoad(8)
		t.Jump()
	}
	nl := t.StackLoad(72)
	t.Store(m.at+mOA, 0, oa)
	t.Store(m.at+mLeaves, 0, nl)
	if err == 0 {
		m.leaves = left
	}
	t.ALU(1, x)
	t.Branch(err != 0 || left != 0, t.Last())
	if err == 0 && left == 0 {
		err = d.leafDone(t, r, m, level, r.va+n*step, end)
	}
	t.ALU(1, 0)
	g := t.StackLoad(160)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-168)
	t.Pop(6)
	t.Ret()
	return err
}

// leafDone is the end of __map_range_leaf when the run of this page size is complete: the range is finished, or the next
// size is chosen. next is the first address not mapped yet, end where the table (or the range) ends.
func (d *Table) leafDone(t *cpu.Thread, r *ptRange, m *mapArgs, level int, next, end uint64) iommucore.Errno {
	t.ALU(2, 0)
	s := t.Mem(cpu.LoadOp, t.SP()+56, 4, 0, 0)
	t.ALU(1, s)
	t.Branch(false, s)
	i := t.StackLoad(56)
	l := t.StackLoad(64)
	t.ALU(1, i)
	t.Branch(false, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, l))
	t.Load(r.at+rCommon, 0)
	t.Mem(cpu.Load, d.At.VASize, 1, 0, 0)
	w := t.StackLoad(64)
	t.ALU(3, w)
	va := t.Load(r.at+rVA, 0)
	t.ALU(1, w)
	t.Branch(false, t.Last())
	t.ALU(4, va)
	lv := t.Mem(cpu.LoadOp, t.SP(), 4, 0, 0)
	t.Store(r.at+rVA, 0, va)
	t.Branch(false, lv)
	t.StackLoad(0)
	t.ALU(1, 0)
	last := t.Load(r.at+rLast, 0)
	t.ALU(5, last)
	done := next == r.last+1
	t.Branch(done, t.Last())
	if done {
		return 0
	}
	t.Store(r.at+rVA, 0, 0)
	// The size changes: choose anew. range.va of a full table is set by the caller from the index.
	keep := r.va
	r.va = next
	best := d.bestSize(t, r, m)
	t.Mem(cpu.Store, m.at+mSize, 4, 0, best)
	d.sizeToArgs(t, r, m)
	t.ALU(1, 0)
	t.Branch(next != end, t.Last())
	if next != end {
		return again
	}
	r.va = keep
	return 0
}

// fill writes val to the n entries of a page from pte on: one store, a loop of stores up to 32, memset64 above.
func (d *Table) fill(t *cpu.Thread, pte, n uint64, addr, v cpu.Val, val uint64) {
	for i := range n {
		d.write(pte+8*i, val)
	}
	switch {
	case n == 1:
		t.Store(pte, addr, v)
	case n <= 32:
		t.ALU(4, v) // the last entry, and whether it is a loop
		t.Branch(false, t.Last())
		for top, i := t.Here(), uint64(0); i < n; i++ {
			t.Store(pte+8*i, addr, v)
			addr = t.ALU(1, addr)
			t.ALU(1, addr)
			t.Loop(top, i+1 < n, t.Last())
		}
	default:
		t.ALU(4, v)
		t.Branch(true, t.Last())
		t.ALU(3, v)
		t.StringSet(pte, int(n)*8, t.Last())
	}
}

// clearContig is clear_contig: the n entries that are to become one page are empty or hold tables, which may go if nothing is
// mapped below them.
func (d *Table) clearContig(t *cpu.Thread, r *ptRange, m *mapArgs, level int, pte uint64, p cpu.Val, va, n uint64) iommucore.Errno {
	if n == 1 {
		return d.clearOne(t, m, level, pte, p, va)
	}
	t.Call(d.fn.clearContig)
	t.Nop(1)
	t.Push(6)
	t.ALU(12, p)
	err := iommucore.Errno(0)
	top := t.Here()
	for i := uint64(0); i < n && err == 0; i++ {
		split(t)
		p = t.Load(pte+8*i, 0)
		t.ALU(1, p)
		used := d.read(pte+8*i) != 0
		t.Branch(used, p)
		if used {
			err = d.clearOne(t, m, level, pte+8*i, p, va+i<<shift(level+1))
		}
		t.ALU(3, 0)
		t.Loop(top, i+1 < n, t.Last())
	}
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return err
}

// clearOne is what clear_contig does with one entry that is not empty.
func (d *Table) clearOne(t *cpu.Thread, m *mapArgs, level int, pte uint64, p cpu.Val, va uint64) iommucore.Errno {
	t.StackLoad(64)
	t.ALU(8, p)
	t.Branch(level == 0, t.Last())
	val := d.read(pte)
	if d.fmt.Kind(val, level) == Page {
		return iommucore.EADDRINUSE
	}
	t.ALU(4, p)
	had := len(m.gather.Freelist.Pages)
	if !d.collect(t, d.child(val), level-1, p, &m.gather.Freelist) {
		m.gather.Freelist.Pages = m.gather.Freelist.Pages[:had]
		return iommucore.EADDRINUSE
	}
	d.Tables -= len(m.gather.Freelist.Pages) - had
	t.ALU(2, 0)
	t.Store(pte, 0, 0)
	d.write(pte, 0)
	if d.mustFlush(t, 0, true) {
		d.pages.Clflush(t, pte, 8)
	}
	// gather_range_pending: the tables wait on the gather's freelist.
	t.ALU(4, 0)
	t.Load(m.gather.VA+iommucore.GatherFreelist, 0)
	t.Store(m.gather.VA+iommucore.GatherFreelist, 0, 0)
	t.Store(m.gather.VA+iommucore.GatherFreelist+8, 0, 0)
	size := uint64(1) << shift(level+1)
	start := va &^ (size - 1)
	m.gather.Start = min(m.gather.Start, start)
	m.gather.End = max(m.gather.End, start+size-1)
	t.Store(m.gather.VA+iommucore.GatherStart, 0, 0)
	t.Store(m.gather.VA+iommucore.GatherEnd, 0, 0)
	return 0
}

// collect is __collect_tables: it puts the table and all tables below it on the list; false when a page is mapped.
func (d *Table) collect(t *cpu.Thread, tbl uint64, level int, tblv cpu.Val, l *iommucore.PageList) bool {
	t.Call(d.fn.collect)
	t.Nop(1)
	t.Push(6)
	t.ALU(20, tblv)
	ok := true
	top := t.Here()
	for i := uint64(0); i < 512 && ok; i++ {
		split(t)
		p := t.Load(tbl+8*i, tblv)
		val := d.read(tbl + 8*i)
		t.ALU(2, p)
		t.Branch(val != 0, p)
		if val != 0 {
			if d.fmt.Kind(val, level) == Page {
				ok = false
				break
			}
			t.ALU(6, p)
			ok = d.collect(t, d.child(val), level-1, t.Last(), l)
		}
		t.ALU(2, 0)
		t.Loop(top, i < 511, t.Last())
	}
	if ok {
		l.Add(tbl)
		page := iommupages.PageOf(tbl)
		t.ALU(4, 0)
		t.Store(page+8, 0, 0)
		t.Store(page+16, 0, 0)
	}
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return ok
}
