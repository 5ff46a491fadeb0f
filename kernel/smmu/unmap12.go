package smmu

import (
	"dmapath/cpu"
	"dmapath/iommu/smmutable"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

var (
	fnLpaeUnmapPages = cpu.NewFunc("arm_lpae_unmap_pages", filePgt, 200)
	fnLpaeUnmap      = cpu.NewFunc("__arm_lpae_unmap", filePgt, 1500)
	fnLpaeFree       = cpu.NewFunc("__arm_lpae_free_pgtable", filePgt, 240)
	fnAddPage        = cpu.NewFunc("arm_smmu_tlb_inv_page_nosync", fileSMMU, 160)
)

// unmapping is what the levels of one arm_lpae_unmap_pages pass down. Without a gather nothing is told to the hardware.
type unmapping struct {
	size, count uint64
	gather      *iommucore.Gather
}

// unmapPages12 is arm_lpae_unmap_pages of 6.12.
func (d *Domain) unmapPages12(t *cpu.Thread, op cpu.Val, iova, size, count uint64, g *iommucore.Gather) uint64 {
	p := &d.pgt
	enterInd(t, fnLpaeUnmapPages, op, true)
	t.ALU(3, 0)
	ias := load4(t, p.ias, 0)
	pgd := t.Load(p.pgd, 0)
	t.ALU(1, ias)
	t.Branch(count == 0, 0)
	t.ALU(2, 0)
	t.ALU(2, t.Load(p.sizes, 0))
	t.Branch(true, t.Last())
	t.ALU(2, t.Load(p.quirks, 0))
	t.Branch(false, t.Last())
	t.Nop(1)
	open(t, 16, 1)
	t.ALU(2, 0)
	start := load4(t, p.start, 0)
	t.ALU(2, start)
	n := d.unmap12(t, &unmapping{size, count, g}, d.pgd, pgd, iova, d.g.StartLevel())
	shut(t, 16, 1)
	return n
}

// unmap12 is __arm_lpae_unmap of 6.12 for the level lvl, whose table lies at tbl. It returns the bytes unmapped.
func (d *Domain) unmap12(t *cpu.Thread, u *unmapping, tbl uint64, tv cpu.Val, iova uint64, lvl int) uint64 {
	split(t)
	p := &d.pgt
	enter(t, fnLpaeUnmap, false)
	t.Reserve(112)
	t.StorePair(t.SP(), 0, 0)
	t.ALU(1, 0)
	t.StorePair(t.SP()+16, 0, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	for i := range uint64(3) {
		t.StorePair(t.SP()+32+16*i, 0, 0)
		t.ALU(2, tv)
	}
	w := t.LoadPair(p.start, 0)
	t.ALU(2, 0)
	i := t.ALU(3, t.Mem(cpu.Mul, 0, 0, w, 0))
	start := lvl == d.g.StartLevel()
	t.Branch(start, i)
	if start {
		load4(t, p.pgdBits, i)
		t.Jump()
	} else {
		t.ALU(1, i)
	}
	i = t.ALU(5, i)
	at := t.ALU2(i, tv)
	ent := d.entry(tbl, iova, lvl)
	v := t.Load(ent, at)
	pte := d.read(ent)
	t.Branch(pte == 0, v)
	var done uint64
	switch {
	case pte == 0: // a warning
	case u.size == d.block(lvl):
		t.ALU(3, 0)
		t.Branch(true, t.Last())
		return d.clear12(t, u, tbl, ent, at, iova, lvl)
	default:
		t.ALU(3, 0)
		t.Branch(false, t.Last())
		f := load4(t, p.fmt, 0)
		t.ALU(3, f)
		t.Branch(leaf(pte, lvl), t.Last())
		if leaf(pte, lvl) {
			done = d.splitBlock(t, u, pte, ent, at, iova, lvl)
			break
		}
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		v = t.Chain(3, t.ALU(1, v))
		v = t.ALU2(v, t.Load(d.env.Sym.PhysBase, 0))
		t.ALU(10, 0)
		v = t.Chain(2, v)
		done = d.unmap12(t, u, d.virt(pte, lvl), v, iova, lvl+1)
	}
	d.leaveUnmap12(t)
	return done
}

func (d *Domain) leaveUnmap12(t *cpu.Thread) {
	t.ALU(1, 0)
	for i := range uint64(3) {
		t.LoadPair(t.SP()+32+16*i, 0)
	}
	t.ALU(1, 0)
	shutTwo(t, 112)
}

// shutTwo restores the two lowest pairs, the frame pointer's last, closes the frame and returns.
func shutTwo(t *cpu.Thread, n int) {
	t.LoadPair(t.SP()+16, 0)
	shut(t, n, 1)
}

// clear12 is the last level: entries that point to tables go one by one, the leaves with one memset; then each is given to the gather.
func (d *Domain) clear12(t *cpu.Thread, u *unmapping, tbl, ent uint64, at cpu.Val, iova uint64, lvl int) uint64 {
	p := &d.pgt
	n := min(u.count, d.entriesAt(iova, lvl))
	t.ALU(9, at)
	t.Branch(false, t.Last())
	t.ALU(3, 0)
	t.StorePair(t.SP()+80, 0, 0)
	t.ALU(2, 0)
	t.StackStore(96, 0)
	t.ALU(1, 0)
	store4(t, t.SP()+104, 0, 0)
	t.Jump()
	n = d.scan(t, u, ent, at, iova, lvl, n)
	t.ALU(2, 0)
	t.Jump()
	t.ALU(3, 0)
	d.clearEntries(t, ent, n)
	t.Mem(cpu.Mul, 0, 0, 0, 0)
	t.Branch(u.gather == nil, 0)
	if g := u.gather; g != nil {
		t.Branch(g.Queued, t.Mem(cpu.Load, g.VA+iommucore.GatherQueued, 1, 0, 0))
		if !g.Queued {
			t.ALU(1, 0)
			top := t.Here()
			for i := range n {
				split(t)
				tlb := t.Load(p.tlb, 0)
				t.ALU(5, 0)
				t.Branch(false, tlb)
				op := t.Load(d.u.flush+40, tlb)
				t.Branch(false, op)
				t.Load(p.cookie, 0)
				d.addPage(t, op, g, iova+i*u.size, u.size)
				t.ALU(1, 0)
				t.Loop(top, i+1 < n, t.Last())
			}
		}
	}
	t.LoadPair(t.SP()+32, 0)
	t.ALU(1, 0)
	t.LoadPair(t.SP()+48, 0)
	t.LoadPair(t.SP()+64, 0)
	t.LoadPair(t.SP()+80, 0)
	shutTwo(t, 112)
	return n * u.size
}

// scan looks at n entries for tables under blocks and frees them. It returns how many entries from the first on were present.
func (d *Domain) scan(t *cpu.Thread, u *unmapping, ent uint64, at cpu.Val, iova uint64, lvl int, n uint64) uint64 {
	p := &d.pgt
	top := t.Here()
	for i := uint64(0); i < n; i++ {
		split(t)
		e := ent + 8*i
		v := t.Load(e, at)
		if d.env.Version == kernel.V7_3 {
			store4(t, t.SP()+104, 0, 0)
		}
		pte := d.read(e)
		t.Branch(pte == 0, v)
		if pte == 0 { // a warning
			return i
		}
		f := load4(t, p.fmt, 0)
		t.ALU(3, v)
		t.Branch(false, f)
		t.ALU(1, v)
		t.Branch(leaf(pte, lvl), t.Last())
		if !leaf(pte, lvl) {
			t.ALU(4, 0)
			t.Store(e, at, 0)
			d.write(e, 0)
			if !d.env.Coherent {
				d.clean(t, e, 1)
			}
			d.u.flushWalk(t, d, iova+i*u.size, u.size)
			d.freeTable(t, pte, lvl)
		} else if d.each() {
			t.Store(e, at, 0)
			d.write(e, 0)
			d.clean(t, e, 1)
		}
		t.ALU(4, 0)
		t.Loop(top, i+1 < n, t.Last())
	}
	return n
}

// freeTable is __arm_lpae_free_pgtable of the table that pte points to: every table below it goes, depth first.
func (d *Domain) freeTable(t *cpu.Thread, pte uint64, lvl int) {
	tbl := d.virt(pte, lvl)
	enter(t, fnLpaeFree, false)
	open(t, 48, 3)
	t.ALU(6, 0)
	t.Branch(lvl+1 == smmutable.LastLevel, t.Last())
	if lvl+1 < smmutable.LastLevel {
		top := t.Here()
		for i := range uint64(512) {
			split(t)
			v := t.Load(tbl+8*i, 0)
			sub := d.read(tbl + 8*i)
			down := sub != 0 && !leaf(sub, lvl+1)
			t.ALU(3, v)
			t.Branch(!down, t.Last())
			if down {
				d.freeTable(t, sub, lvl+1)
			}
			t.ALU(1, 0)
			t.Loop(top, i < 511, t.Last())
		}
	}
	d.u.pages.Free(t, tbl)
	d.Tables--
	shut(t, 48, 3)
}

// splitBlock is arm_lpae_split_blk_unmap of 6.12: part of a block is unmapped, so a table with what stays replaces it. No recording contains
// it; 7.3 refuses instead.
func (d *Domain) splitBlock(t *cpu.Thread, u *unmapping, pte, ent uint64, at cpu.Val, iova uint64, lvl int) uint64 {
	va, ok := d.u.pages.Alloc(t)
	t.ALU(4, 0)
	t.Branch(!ok, t.Last())
	if !ok {
		return 0
	}
	lvl++
	size := d.block(lvl)
	base := d.g.Addr(pte, lvl-1, table.Leaf)
	first := d.g.Index(iova, lvl)
	n := uint64(0)
	if u.size == size {
		n = min(u.count, d.entriesAt(iova, lvl))
	}
	bits := pte &^ (1<<48 - 1<<12) &^ smmutable.PTETypeMask
	typ := smmutable.PTETypeBlock
	if lvl == smmutable.LastLevel {
		typ = smmutable.PTETypePage
	}
	top := t.Here()
	for i := range uint64(512) {
		split(t)
		keep := n == 0 || i < first || i >= first+n
		t.Branch(!keep, t.ALU(3, 0))
		if keep {
			t.Store(va+8*i, 0, t.ALU(5, 0))
			d.write(va+8*i, bits|typ|base+i*size)
		}
		t.ALU(2, 0)
		t.Loop(top, i < 511, t.Last())
	}
	t.ALU(6, t.Load(d.env.Sym.PhysBase, 0))
	t.Op(cpu.Fence, 0)
	t.Atomic(ent, at, t.Last())
	t.Sync()
	t.Branch(d.read(ent) != pte, t.ALU(1, t.Last()))
	if now := d.read(ent); now != pte {
		d.u.pages.Free(t, va)
		return d.unmap12(t, u, d.virt(now, lvl-1), 0, iova, lvl)
	}
	d.write(ent, smmutable.TablePTE(kernel.Phys(va)))
	d.Splits++
	d.Tables++
	if n == 0 { // only some levels further down
		return d.unmap12(t, u, va, 0, iova, lvl)
	}
	if g := u.gather; g != nil && !g.Queued {
		for i := range n {
			op := t.Load(d.u.flush+40, t.Load(d.pgt.tlb, 0))
			t.Load(d.pgt.cookie, 0)
			d.addPage(t, op, g, iova+i*size, size)
		}
	}
	return n * size
}

// addPage is arm_smmu_tlb_inv_page_nosync, which is iommu_iotlb_gather_add_page: a page of another size, or apart from what was gathered, makes
// the hardware forget that first.
func (d *Domain) addPage(t *cpu.Thread, target cpu.Val, g *iommucore.Gather, iova, size uint64) {
	enterInd(t, fnAddPage, target, false)
	t.Reserve(48)
	t.StorePair(t.SP(), 0, 0)
	t.ALU(1, 0)
	t.StorePair(t.SP()+16, 0, 0)
	t.ALU(2, 0)
	t.StackStore(32, 0)
	t.ALU(1, 0)
	pg := t.Load(g.VA+iommucore.GatherPgSize, 0)
	t.ALU(2, pg)
	t.Branch(g.PgSize != 0, t.Last())
	w := t.LoadPair(g.VA+iommucore.GatherStart, 0)
	t.Branch(g.End != 0, w)
	if g.PgSize != 0 {
		t.ALU(1, pg)
		t.Branch(g.PgSize != size, t.Last())
		t.ALU(2, w)
		apart := g.End != 0 && (iova+size < g.Start || iova > g.End+1)
		t.Branch(apart, t.Last())
		t.ALU(1, w)
		t.Branch(false, t.Last())
		if apart || g.PgSize != size {
			d.SyncTLB(t, t.Load(d.Core.At.OpSyncTLB, t.Load(d.Core.At.Ops, 0)), g)
			g.Start, g.End, g.PgSize = ^uint64(0), 0, 0
		}
	}
	t.ALU(1, 0)
	t.Store(g.VA+iommucore.GatherPgSize, 0, 0)
	t.ALU(2, w)
	t.Branch(iova >= g.Start, t.Last())
	if iova < g.Start {
		t.Store(g.VA+iommucore.GatherStart, 0, 0)
	}
	t.ALU(1, w)
	t.Branch(iova+size-1 <= g.End, t.Last())
	if iova+size-1 > g.End {
		t.Store(g.VA+iommucore.GatherEnd, 0, 0)
	}
	g.PgSize, g.Start, g.End = size, min(g.Start, iova), max(g.End, iova+size-1)
	t.LoadPair(t.SP()+16, 0)
	t.StackLoad(32)
	shut(t, 48, 1)
}
