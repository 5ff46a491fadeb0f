package genericpt

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

// mapTable is __map_range: it walks the entries of one table above the leaf level, installs missing tables, and
// descends.
func (d *Table) mapTable(t *cpu.Thread, r *ptRange, m *mapArgs, level int, tbl uint64, tblv cpu.Val) iommucore.Errno {
	t.Call(d.fn.mapTable)
	t.Nop(1)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(48)
	top := level == d.depth-1
	va := t.Load(r.at+rVA, 0)
	t.StackStore(16, tblv)
	t.StackStore(24, 0)
	t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	if top {
		topIndex(t, r, 6)
		t.Branch(false, t.Last())
		t.ALU(1, 0)
		t.Load(r.at+rVA, 0)
		t.ALU(1, 0)
		t.Jump()
	} else {
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.ALU(4, va)
	}
	idx := t.Last()
	last := t.Load(r.at+rLast, 0)
	t.ALU(2, idx)
	t.StackStore(24, 0)
	t.ALU(1, last)
	t.Branch(false, t.Last())
	t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	if top {
		topIndex(t, r, 7)
		t.Branch(false, t.Last())
		t.ALU(3, last)
		t.StackStore(32, t.Last())
		t.Jump()
	} else {
		t.ALU(1, last)
		t.Branch(false, t.Mem(cpu.LoadOp, t.SP()+24, 4, 0, 0))
		l := t.StackLoad(24)
		t.ALU(2, l)
		same := r.va>>shift(level+2) == r.last>>shift(level+2)
		t.Branch(same, t.Last())
		if same {
			t.ALU(4, last)
			t.StackStore(32, t.Last())
			t.Jump()
		} else {
			t.ALU(2, 0)
			t.StackStore(32, t.Last())
		}
	}
	t.StackStore(0, idx)
	t.ALU(2, idx)
	t.StackStore(32, 0)
	t.ALU(1, idx)
	t.StackStore(8, 0)
	end := endOf(r, level)
	err := iommucore.Errno(0)
	start := t.Here()
	for {
		tp := t.StackLoad(16)
		t.ALU(1, idx)
		t.StackStore(8, idx)
		addr := t.ALU(2, tp)
		pte := entry(tbl, r.va, level+1)
		p := t.Load(pte, addr)
		val := d.read(pte)
		kind := d.fmt.Kind(val, level)
		t.ALU(1, p)
		t.Branch(kind == Empty, p)
		var child uint64
		if kind == Empty {
			child, err = d.newTable(t, r, m, pte, addr, level)
			if err == again {
				t.Back(start)
				continue
			}
			if err != 0 {
				break
			}
		} else {
			l := t.StackLoad(24)
			t.ALU(1, l)
			t.Branch(false, l)
			t.ALU(1, l)
			t.Branch(level > d.fmt.TopLeaf(), l)
			d.fmt.TestLeaf(t, p, val, level)
			if kind == Page {
				err = iommucore.EADDRINUSE
				break
			}
			t.ALU(1, 0)
			t.Load(r.at+rCommon, 0)
			t.ALU(1, p)
			off := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, d.fmt.TableAddr(t, d.At.Features, p))
			t.ALU(1, off)
			child = d.child(val)
			if d.mustFlush(t, 0, true) {
				t.FenceLockAdd()
				t.ALU(1, p)
				synced := val&d.fmt.Synced() != 0
				t.Branch(synced, t.Last())
				if !synced {
					t.ALU(2, 0)
					d.pages.Clflush(t, pte, 8)
				}
			}
		}
		t.StackLoad(8)
		t.ALU(1, 0)
		t.StackLoad(32)
		next := t.ALU(5, p)
		leaf := m.level == level-1
		t.Branch(leaf, t.Mem(cpu.LoadOp, m.at+mLevel, 4, 0, 0))
		if leaf {
			err = d.mapLeaf(t, r, m, level-1, child, next)
			t.Jump()
		} else {
			err = d.mapTable(t, r, m, level-1, child, next)
		}
		t.ALU(1, 0)
		t.Branch(err != 0, t.Last())
		if err != 0 {
			break
		}
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.Branch(false, t.Mem(cpu.LoadOp, t.SP(), 4, 0, 0))
		i := t.StackLoad(0)
		t.ALU(1, 0)
		t.StackLoad(24)
		t.ALU(1, i)
		t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
		if top {
			t.Mem(cpu.Load, r.at+rMaxVA, 1, 0, 0)
			t.Jump()
		} else {
			t.Load(r.at+rCommon, 0)
			t.StackLoad(24)
			w := t.Mem(cpu.Load, d.At.VASize, 1, 0, 0)
			t.ALU(2, w)
		}
		// pt_index_to_va: the start of the next entry, unless the range ends here.
		t.Load(r.at+rVA, 0)
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.ALU(4, 0)
		t.Store(r.at+rVA, 0, t.Last())
		at := (r.va>>shift(level+1) + 1) << shift(level+1)
		n := t.StackLoad(32)
		done := at >= end
		t.Branch(done, t.Mem(cpu.LoadOp, t.SP()+8, 2, 0, n))
		if done {
			break
		}
		r.va = at
		t.ALU(2, 0)
		t.Branch(m.level == level, t.Mem(cpu.LoadOp, m.at+mLevel, 4, 0, 0))
		if m.level == level {
			err = again
			break
		}
		t.Back(start)
	}
	t.Frame(-48)
	t.Pop(6)
	t.Ret()
	return err
}

// endOf returns the end of what the table of a level that holds r.va covers of the range.
func endOf(r *ptRange, level int) uint64 {
	limit := (r.va>>shift(level+2) + 1) << shift(level+2)
	if r.last < limit-1 {
		return r.last + 1
	}
	return limit
}

// newTable is pt_iommu_new_table: allocate a table and install it with a compare-and-exchange in the entry of the level.
func (d *Table) newTable(t *cpu.Thread, r *ptRange, m *mapArgs, pte uint64, idx cpu.Val, level int) (child uint64, err iommucore.Errno) {
	t.Load(r.at+rCommon, 0)
	t.Mem(cpu.Load, m.at+mGfp, 4, 0, 0)
	t.ALU(1, 0)
	t.Mem(cpu.Load, d.At.NID, 4, 0, 0)
	page, ok := d.pages.Alloc(t)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	if !ok {
		return 0, iommucore.ENOMEM
	}
	d.Tables++
	if d.mustFlush(t, 0, false) {
		t.ALU(3, 0)
		d.pages.Clflush(t, page, 4096)
		t.ALU(1, 0)
		t.Branch(false, t.Last())
	}
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	off := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, t.Last())
	v := t.ALU(6, off)
	t.Mem(cpu.Atomic, pte, 8, idx, v)
	lost := d.read(pte) != 0 // another CPU was faster while this one allocated
	t.Branch(lost, t.Last())
	if lost {
		d.Tables--
		t.ALU(3, 0)
		d.pages.Free(t, page)
		return 0, again
	}
	d.write(pte, d.fmt.Table(kernel.Phys(page), level))
	t.Load(r.at+rCommon, 0)
	if d.mustFlush(t, 0, false) {
		t.ALU(3, 0)
		d.pages.Clflush(t, pte, 8)
		// Say that the line of this entry is flushed, so that others who find the table need not flush it again.
		t.ALU(2, 0)
		t.Mem(cpu.Atomic, pte+1, 1, 0, 0)
		d.write(pte, d.read(pte)|d.fmt.Synced())
	}
	return page, 0
}
