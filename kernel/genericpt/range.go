package genericpt

import (
	"dmapath/cpu"
	"dmapath/kernel/iommucore"
)

// ptRange is struct pt_range on the stack of the function that maps, unmaps or looks up: what is left to do.
type ptRange struct {
	at       uint64 // its address
	va, last uint64
}

// Offsets in struct pt_range.
const (
	rCommon = 0
	rTable  = 8
	rVA     = 16
	rLast   = 24
	rTop    = 32 // top_level, one byte
	rMaxVA  = 33 // max_vasz_lg2, one byte
)

// mapArgs is struct pt_iommu_map_args.
type mapArgs struct {
	at     uint64
	oa     uint64
	bits   uint64 // leaf entry without its address
	lg2    uint   // leaf_pgsize_lg2
	level  int    // leaf_level, 0 is the lowest
	leaves uint64 // num_leaves: entries of this size before a larger size becomes possible
	gather *iommucore.Gather
}

// Offsets in struct pt_iommu_map_args.
const (
	mAttrs  = 16
	mGfp    = 24
	mOA     = 32
	mSize   = 40
	mLevel  = 44
	mLeaves = 48
)

// again is -EAGAIN: the caller repeats with the page size that was computed anew.
const again iommucore.Errno = 11

// makeRange is make_range_ul: it sets up a range and reports whether it fits the table.
func (d *Table) makeRange(t *cpu.Thread, r *ptRange, iova, size uint64) bool {
	r.va, r.last = iova, iova+size-1
	t.Call(d.fn.makeRange)
	t.Nop(1)
	t.ALU(1, 0)
	t.Branch(size == 0, t.Last())
	t.Push(1)
	t.ALU(1, 0)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Branch(r.last < r.va, t.Last())
	top := t.Load(d.At.Top, 0)
	sz := t.Mem(cpu.Load, d.At.VASize, 1, 0, 0)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(4, sz)
	t.Branch(false, t.Last())
	t.Mem(cpu.Store, t.SP(), 1, 0, top) // two bytes that the pop reads back as eight
	t.Mem(cpu.Store, t.SP()+1, 1, 0, sz)
	t.Pop(1)
	t.Store(r.at+rCommon, 0, 0)
	t.Store(r.at+rTable, 0, top)
	t.Store(r.at+rVA, 0, 0)
	t.Store(r.at+rLast, 0, 0)
	t.Store(r.at+rTop, 0, sz)
	t.ALU(2, 0)
	t.Pop(5)
	t.Ret()
	return size > 0 && r.last >= r.va && r.last <= d.Core.ApertureEnd
}

// checkRange is pt_check_range, inlined: the range must not wrap and must lie in the part the table covers.
func (d *Table) checkRange(t *cpu.Thread, r *ptRange) {
	w := t.Mem(cpu.Load, r.at+rMaxVA, 1, 0, 0)
	t.ALU(2, w)
	t.Branch(false, t.Last())
	t.ALU(1, w)
	last := t.Load(r.at+rLast, 0)
	t.ALU(1, w)
	t.Branch(false, t.Last())
	t.ALU(3, last)
	t.Branch(false, t.Last())
}

// MapRange is the format's map_range. A single 4 KiB page takes a fast path of one function per level; everything else, and
// everything where walks do not snoop, goes through __map_range with the largest page size that fits.
func (d *Table) MapRange(t *cpu.Thread, target cpu.Val, iova, phys, size uint64, prot iommucore.Prot) (uint64, error) {
	t.CallInd(d.fn.mapRange, target)
	t.Nop(2)
	t.Push(6)
	t.Frame(200)
	r := ptRange{at: t.SP() + 56}
	m := mapArgs{at: t.SP() + 136, oa: phys, gather: &d.scratch[t.CPU].gather}
	m.gather.Init(t.SP() + 96)
	out := t.StackLoad(256)
	t.ALU(2, 0)
	t.StackStore(0, out)
	t.StackStore(192, t.Load(d.guard(t), 0))
	t.Load(d.Core.At.PgsizeBitmap, 0)
	for _, off := range [...]int{144, 152, 160, 176, 184, 168, 56, 64, 72, 80, 88, 104, 112, 136, 96, 120, 128} {
		t.StackStore(off, 0)
	}
	err := d.mapRange(t, &r, &m, iova, phys, size, prot)
	e := t.StackLoad(192)
	t.Branch(false, t.LoadOp(d.guard(t), 0, e))
	t.ALU(1, 0)
	t.Frame(-200)
	t.Pop(6)
	t.Ret()
	return m.oa - phys, err
}

// mapRange is what map_range does between its prologue and its epilogue.
func (d *Table) mapRange(t *cpu.Thread, r *ptRange, m *mapArgs, iova, phys, size uint64, prot iommucore.Prot) error {
	t.ALU(1, 0)
	t.Branch(size == 0, t.Last())
	t.ALU(1, 0)
	w := t.Mem(cpu.Load, d.At.OASize, 1, 0, 0)
	t.ALU(5, w)
	t.Branch(false, t.Last())
	t.ALU(1, w)
	t.Branch(false, t.Last())
	t.ALU(2, w)
	over := (phys+size-1)>>52 != 0 || phys+size < phys
	t.Branch(over, t.Last())
	if over {
		return iommucore.ERANGE
	}
	f := t.Mem(cpu.Load, d.At.Features, 4, 0, 0)
	bits, bad := d.fmt.SetProt(t, f, prot)
	if bad != 0 {
		return bad
	}
	m.bits = bits
	t.ALU(3, 0)
	t.StackStore(8, 0)
	t.Store(m.at+mAttrs, 0, f)
	t.ALU(2, 0)
	t.Store(m.at+mGfp, 0, 0)
	t.StackStore(16, 0)
	ok := d.makeRange(t, r, iova, size)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	if !ok {
		return iommucore.ERANGE
	}
	l := t.StackLoad(8)
	t.ALU(1, l)
	single := size == 4096
	t.Branch(!single, t.Last())
	if single {
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		p := t.StackLoad(16)
		t.ALU(2, p)
		t.Branch(false, t.Last())
		t.Load(r.at+rVA, 0)
		t.ALU(1, 0)
		t.Store(m.at+mSize, 0, 0)
		t.Store(m.at+mLeaves, 0, 0)
		m.lg2, m.level, m.leaves = 12, 0, 1
	} else {
		d.firstSize(t, r, m)
	}
	d.checkRange(t, r)
	for r.last >= d.limit() || m.level >= d.depth {
		if err := d.increaseTop(t, r, m); err != 0 && err != again {
			return err
		}
	}
	t.ALU(2, 0)
	t.Branch(!single, t.Last())
	err := again
	if single {
		if !d.mustFlush(t, 0, true) {
			top := t.Mem(cpu.Load, r.at+rTop, 1, 0, 0)
			tbl := t.Load(r.at+rTable, 0)
			for i := 0; i < 4; i++ { // which level is the top one?
				t.ALU(1, top)
				t.Branch(i == 3, t.Last())
			}
			t.ALU(3, tbl)
			err = d.single(t, r, m, d.depth-1, d.top, t.Last(), true)
			t.ALU(1, 0)
			t.Jump()
			t.ALU(1, 0)
			t.Branch(err == again, t.Last())
			if err != again {
				t.Jump()
			}
		}
	}
	if err == again {
		top := t.Here()
		for {
			t.Mem(cpu.Load, r.at+rTop, 1, 0, 0)
			tbl := t.Load(r.at+rTable, 0)
			t.ALU(2, tbl)
			lv := t.Mem(cpu.LoadOp, m.at+mLevel, 4, 0, 0)
			t.Branch(m.level != d.depth-1, lv)
			if m.level == d.depth-1 {
				err = d.mapLeaf(t, r, m, d.depth-1, d.top, tbl)
			} else {
				err = d.mapTable(t, r, m, d.depth-1, d.top, tbl)
			}
			t.ALU(1, 0)
			t.Branch(err != again, t.Last())
			if err != again {
				break
			}
			t.Back(top)
		}
		t.ALU(1, 0)
	}
	e := t.Load(m.gather.VA+iommucore.GatherFreelist, 0)
	t.ALU(1, e)
	t.Branch(m.gather.Freelist.Empty(), t.Last())
	if !m.gather.Freelist.Empty() {
		// Tables were replaced by large entries: the hardware must forget them before they are freed.
		ops := t.Load(d.Core.At.Ops, 0)
		op := t.Load(d.Core.At.OpSyncTLB, ops)
		t.ALU(2, op)
		t.Branch(false, op)
		d.Core.Driver().SyncTLB(t, op, m.gather)
	}
	out := t.StackLoad(0)
	oa := t.Load(m.at+mOA, 0)
	mapped := t.LoadOp(t.SP()+288, out, oa)
	t.ALU(1, mapped)
	t.Store(t.SP()+288, out, t.Last())
	if err != 0 {
		return err
	}
	return nil
}

// topIndex emits what the generic code does at its start where the level is the top one: the width of the address
// space is not that of a full table.
func topIndex(t *cpu.Thread, r *ptRange, alu int) {
	w := t.Mem(cpu.Load, r.at+rMaxVA, 1, 0, 0)
	t.ALU(1, w)
	t.Branch(false, t.Last())
	t.ALU(alu, t.Last())
}

// enterLevel is how the walk functions that descend by tail calls begin: fn is called at the top level and jumped to
// below it. It returns the range's address.
func enterLevel(t *cpu.Thread, fn *cpu.Func, r *ptRange, top bool) (va cpu.Val) {
	if top {
		t.Call(fn)
	} else {
		t.TailCall(fn)
	}
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	va = t.Load(r.at+rVA, 0)
	t.ALU(3, va)
	t.Branch(top, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	if top {
		topIndex(t, r, 5)
		t.Jump()
	}
	return va
}

// single is __map_single_page of one level: it descends by tail calls and stores the entry at level 0. It returns
// again when a table is missing or a superpage is in the way.
func (d *Table) single(t *cpu.Thread, r *ptRange, m *mapArgs, level int, tbl uint64, tblv cpu.Val, top bool) iommucore.Errno {
	va := enterLevel(t, d.fn.single[level], r, top)
	n := 2
	if level == 1 {
		n = 3
	}
	idx := t.ALU(n, max(va, tblv))
	pte := entry(tbl, r.va, level+1)
	p := t.Load(pte, idx)
	val := d.read(pte)
	t.ALU(1, p)
	kind := d.fmt.Kind(val, level)
	t.Branch(kind == Empty, p)
	if kind != Empty {
		d.fmt.TestLeaf(t, p, val, level)
	}
	if kind != Down {
		t.ALU(2, 0)
		t.Pop(4)
		t.Ret()
		return again
	}
	if level > 1 {
		t.ALU(4, d.fmt.TableAddr(t, d.At.Features, p))
		off := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, t.Last())
		next := t.ALU(1, off)
		t.Pop(4)
		return d.single(t, r, m, level-1, d.child(val), next, false)
	}
	p = d.fmt.TableAddr(t, d.At.Features, p)
	t.ALU(1, p)
	t.Load(r.at+rVA, 0)
	t.ALU(1, p)
	off := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, t.Last())
	t.ALU(3, va)
	t.Branch(false, t.Mem(cpu.LoadOp, r.at+rTop, 1, 0, 0))
	idx = t.ALU(3, off)
	leaf := entry(d.child(val), r.va, 1)
	p = t.Load(leaf, idx)
	t.ALU(1, p)
	used := d.read(leaf) != 0
	t.Branch(!used, p)
	err := iommucore.Errno(0)
	if used {
		err = iommucore.EADDRINUSE
	} else {
		t.ALU(1, 0)
		oa := t.Load(m.at+mOA, 0)
		t.Ops[len(t.Ops)-1].Class = cpu.LoadOp
		t.ALU(1, oa)
		e := t.LoadOp(m.at+mAttrs, 0, oa)
		t.Store(leaf, idx, d.fmt.EncodeLeaf(t, e, 0, 12))
		d.write(leaf, d.fmt.Leaf(m.oa, 0, 12, m.bits))
		t.ALU(1, 0)
		t.RMW(m.at+mOA, 0, 0)
		m.oa += 4096
	}
	t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
	return err
}
