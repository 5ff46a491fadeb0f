package vtd

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommupages"
)

var (
	fnUnmapPages = cpu.NewFunc("intel_iommu_unmap_pages", file12, 400)
	fnUnmap12    = cpu.NewFunc("domain_unmap", file12, 160)
	fnClearLevel = cpu.NewFunc("dma_pte_clear_level", file12, 370)
	fnTLBSync    = cpu.NewFunc("intel_iommu_tlb_sync", file12, 54)
)

// UnmapPages is intel_iommu_unmap_pages of 6.12 with intel_iommu_unmap and the gather functions inlined. It walks the
// table twice: once to learn the page size at iova, once to clear.
func (d *Domain) UnmapPages(t *cpu.Thread, target cpu.Val, iova, pgsize, pgcount uint64, g *iommucore.Gather) uint64 {
	t.CallInd(fnUnmapPages, target)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.Op(cpu.BitScan, 0)
	t.ALU(2, t.Last())
	t.Frame(48)
	t.StackStore(40, t.Load(d.guard(t), 0))
	t.ALU(2, 0)
	t.StackStore(32, 0)
	t.StackStore(8, 0)
	_, level, at, _ := d.pfnToPte(t, iova, 0, 32)
	t.ALU(1, at)
	t.Branch(false, t.Last())
	l := t.StackLoad(32)
	t.ALU(1, 0)
	t.StackLoad(8)
	t.ALU(5, l)
	t.StackStore(24, t.Last())
	t.ALU(3, l)
	t.StackStore(16, t.Last())
	t.ALU(2, 0)
	size := max(pgsize*pgcount, 1<<shift(level))
	if size > d.limit()-iova {
		size = d.limit() - iova
	}
	first := iova &^ (1<<shift(level) - 1)
	waiting := len(g.Freelist.Pages)
	d.unmap12(t, first, first+size-1, g)
	e := t.StackLoad(16)
	max := t.LoadOp(d.at.maxAddr, 0, e)
	top := d.maxAddr == iova+size
	t.Branch(!top, max)
	if top {
		t.Store(d.at.maxAddr, 0, 0)
		d.maxAddr = iova
	}
	t.ALU(1, 0)
	t.Branch(false, t.Last()) // no gather
	q := t.Mem(cpu.LoadOp, g.VA+iommucore.GatherQueued, 1, 0, 0)
	t.Branch(!g.Queued, q)
	if !g.Queued {
		d.gatherAddPage(t, g, iova, size, len(g.Freelist.Pages)-waiting)
		t.Jump()
	}
	c := t.StackLoad(40)
	t.Branch(false, t.LoadOp(d.guard(t), 0, c))
	t.ALU(1, 0)
	t.Frame(-48)
	t.Pop(6)
	t.Ret()
	return size
}

// gatherAddPage is iommu_iotlb_gather_add_page: it widens the gathered range, or invalidates what was gathered
// before when the new range is disjoint or of another size. VT-d passes the size of the whole run as the page size, so a range of
// 4 KiB and 2 MiB runs is invalidated run by run. The invalidation frees all tables on the list, those that this very run
// detached (tables of them) included, although the hardware may still hold pointers to them: this run's range is invalidated
// only later, and then with the hint that only leaves changed, because the list is empty. Until other activity evicts
// the pointers, a device reaches freed pages. 7.3 gathers the whole range first.
func (d *Domain) gatherAddPage(t *cpu.Thread, g *iommucore.Gather, iova, size uint64, tables int) {
	p := t.Load(g.VA+iommucore.GatherPgSize, 0)
	t.ALU(1, p)
	t.Branch(g.PgSize == size, t.Last())
	sync := false
	if g.PgSize != size {
		t.ALU(1, p)
		t.Branch(g.PgSize != 0, p)
		sync = g.PgSize != 0
	}
	end := iova + size - 1
	if !sync {
		e := t.Load(g.VA+iommucore.GatherEnd, 0)
		t.Load(g.VA+iommucore.GatherStart, 0)
		t.ALU(1, e)
		t.Branch(g.End == 0, e)
		if g.End != 0 { // is_disjoint
			t.ALU(4, e)
			sync = iova > g.End+1 || end+1 < g.Start
			t.Branch(sync, t.Last())
			t.Branch(false, t.Last())
		}
	}
	if sync {
		d.EarlyFrees += tables
		d.SyncTLB(t, 0, g)
		g.Init(g.VA)
		t.Store(g.VA+iommucore.GatherStart, 0, 0)
		t.Store(g.VA+iommucore.GatherEnd, 0, 0)
	}
	t.Store(g.VA+iommucore.GatherPgSize, 0, 0)
	g.PgSize = size
	t.ALU(1, 0)
	t.Branch(g.Start <= iova, t.Last())
	if g.Start > iova {
		t.Store(g.VA+iommucore.GatherStart, 0, 0)
		g.Start = iova
	}
	t.ALU(1, 0)
	t.Branch(g.End >= end, t.Last())
	if g.End < end {
		t.Store(g.VA+iommucore.GatherEnd, 0, 0)
		g.End = end
	}
}

// unmap12 is domain_unmap: it clears [first, last] and detaches tables that the range covers entirely.
func (d *Domain) unmap12(t *cpu.Thread, first, last uint64, g *iommucore.Gather) {
	t.Call(fnUnmap12)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	agaw := t.Mem(cpu.Load, d.at.agaw, 4, 0, 0)
	t.ALU(6, agaw)
	t.Branch(false, t.Last())
	t.ALU(3, agaw)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	tbl := t.Load(d.at.pgd, 0)
	t.Push(1) // the freelist as seventh argument
	t.ALU(5, agaw)
	d.clearLevel(t, d.pgd, d.levels, 0, first, last, g, tbl)
	t.Pop(1)
	t.ALU(1, 0)
	whole := first == 0 && last == d.limit()-1
	t.Branch(!whole, t.Last())
	t.Pop(5)
	t.Ret()
}

// clearLevel is dma_pte_clear_level: it clears the entries of one table, which translates from base on, that lie in
// [first, last], descending into tables that the range covers only in part and detaching those it covers entirely.
func (d *Domain) clearLevel(t *cpu.Thread, tbl uint64, level int, base, first, last uint64, g *iommucore.Gather, tblv cpu.Val) {
	t.Call(fnClearLevel)
	t.Nop(1)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.Frame(64)
	t.ALU(2, 0)
	list := t.StackLoad(8 + 64 + 48)
	t.StackStore(28, 0)
	t.ALU(1, 0)
	t.StackStore(0, 0)
	t.ALU(2, 0)
	t.StackStore(24, list)
	t.ALU(8, 0)
	t.StackStore(16, 0)
	idx := t.ALU(4, tblv)
	size := uint64(1) << shift(level)
	at := max(first, base)
	pte := entry(tbl, at, level)
	at &^= size - 1
	firstPte := uint64(0)
	top := t.Here()
	for {
		split(t)
		t.ALU(1, idx)
		p := t.Load(pte, idx)
		val := d.read(pte)
		t.ALU(2, p)
		t.Branch(!present(val), p)
		if present(val) {
			cover := first <= at && last >= at+size-1
			t.ALU(1, 0)
			t.Branch(!cover && first > at, t.Last())
			if first <= at {
				t.StackLoad(16)
				t.ALU(2, 0)
				t.Branch(!cover, t.Last())
			}
			switch {
			case cover:
				t.ALU(1, 0)
				t.Branch(level == 1, t.Last())
				if level > 1 {
					t.ALU(1, p)
					t.Branch(val&ptePS == 0, t.Last())
					if val&ptePS == 0 {
						d.detach12(t, virt(val), level-1, g)
					}
				}
				t.Store(pte, idx, 0)
				d.write(pte, 0)
				t.ALU(2, 0)
				t.Branch(firstPte == 0, t.Last())
				if firstPte == 0 {
					firstPte = pte
					t.ALU(1, 0)
					t.Jump()
				}
			case level > 1:
				// Recurse down into a level that is not entirely covered.
				t.ALU(1, 0)
				t.Branch(false, t.Last())
				off := t.Load(d.env.Sym.PageOffsetBase, 0)
				t.StackStore(48, 0)
				t.ALU(2, 0)
				t.StackStore(56, 0)
				t.ALU(1, p)
				t.Push(1)
				t.Ops[len(t.Ops)-1].Class = cpu.RMW // push of a variable
				child := t.ALU(1, off)
				t.StackLoad(8)
				t.StackLoad(32)
				t.StackStore(48, 0)
				d.clearLevel(t, virt(val), level-1, at, first, last, g, child)
				t.Pop(1)
				t.StackLoad(32)
				t.StackLoad(40)
				t.StackLoad(48)
				t.Jump()
			}
		}
		at += size
		pte += 8
		t.ALU(3, 0)
		end := pte&4095 == 0
		t.Branch(end, t.Last())
		if !end {
			t.ALU(1, 0)
			t.Branch(at <= last, t.Last())
			if at <= last {
				t.Back(top)
				continue
			}
		}
		break
	}
	f := t.StackLoad(0)
	t.ALU(1, f)
	t.Branch(firstPte == 0, t.Last())
	if firstPte != 0 {
		flags := t.Mem(cpu.LoadOp, d.at.flags, 1, 0, 0)
		t.Branch(!d.env.Coherent, flags)
		if !d.env.Coherent {
			d.clearLevelFlush(t, firstPte, pte-firstPte)
			return
		}
	}
	t.Frame(-64)
	t.Pop(6)
	t.Ret()
}

// clearLevelFlush ends dma_pte_clear_level where walks do not snoop: the flush of the cleared entries is a tail call.
func (d *Domain) clearLevelFlush(t *cpu.Thread, va, n uint64) {
	t.ALU(3, 0)
	t.Frame(-64)
	t.Pop(6)
	d.u.pages.TailClflush(t, va, n)
}

// detach12 is dma_pte_list_pagetables: it moves the table at tbl and all tables below it to the freelist.
func (d *Domain) detach12(t *cpu.Thread, tbl uint64, level int, g *iommucore.Gather) {
	t.Call(fnListTables)
	t.Nop(1)
	t.Push(4)
	t.ALU(6, 0)
	base := t.LoadOp(d.env.Sym.VmemmapBase, 0, 0)
	t.ALU(4, base)
	page := iommupages.PageOf(tbl)
	next := t.Load(g.VA+iommucore.GatherFreelist, 0)
	t.Branch(level <= 1, t.Last())
	t.Store(page+8, base, next) // page->lru
	t.Store(page+16, base, 0)
	t.Store(g.VA+iommucore.GatherFreelist, 0, base)
	t.Store(g.VA+iommucore.GatherFreelist+8, 0, base)
	g.Freelist.Add(tbl)
	d.Tables--
	if level > 1 {
		top := t.Here()
		for i := uint64(0); i < 512; i++ {
			split(t)
			e := t.Load(tbl+8*i, 0)
			val := d.read(tbl + 8*i)
			table := present(val) && val&ptePS == 0
			t.ALU(2, e)
			t.Branch(table, e)
			if table {
				t.ALU(3, e)
				d.detach12(t, virt(val), level-1, g)
			}
			t.ALU(1, 0)
			t.ALU(1, 0)
			t.Loop(top, i < 511, t.Last())
		}
	}
	t.Pop(4)
	t.Ret()
}

var fnListTables = cpu.NewFunc("dma_pte_list_pagetables", file12, 200)

// SyncTLB is intel_iommu_tlb_sync of both versions: invalidate what was gathered, then free the tables.
func (d *Domain) SyncTLB(t *cpu.Thread, target cpu.Val, g *iommucore.Gather) {
	t.CallInd(fnTLBSync, target)
	t.Nop(2)
	t.Push(1)
	l := t.Load(g.VA+iommucore.GatherFreelist, 0)
	t.ALU(2, 0)
	t.Load(g.VA+iommucore.GatherEnd, 0)
	t.Load(g.VA+iommucore.GatherStart, 0)
	t.ALU(2, l)
	if d.env.Version == kernel.V6_12 {
		t.ALU(1, 0)
	}
	d.flushRange(t, g.Start, g.End, g.Freelist.Empty())
	t.ALU(1, 0)
	t.Pop(1)
	d.u.pages.Put(t, &g.Freelist, g.VA+iommucore.GatherFreelist, true)
}
