package amdvi

import (
	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommupages"
	"dmapath/kernel/locking"
)

var (
	fnAllocPTE   = cpu.NewFunc("alloc_pte.constprop.0", filePgtable, 640)
	fnFetchPTE   = cpu.NewFunc("fetch_pte", filePgtable, 340)
	fnIncrease   = cpu.NewFunc("increase_address_space", filePgtable, 300)
	fnUnmapPages = cpu.NewFunc("amd_iommu_unmap_pages", fileDriver, 200)
	fnV1Unmap    = cpu.NewFunc("iommu_v1_unmap_pages", filePgtable, 220)
	fnLookup     = cpu.NewFunc("amd_iommu_iova_to_phys", fileDriver, 32)
	fnV1Lookup   = cpu.NewFunc("iommu_v1_iova_to_phys", filePgtable, 120)
)

// entry returns the direct-map address of the entry for iova in the table of the level at direct-map address tbl.
func entry(tbl, iova uint64, level int) uint64 { return amdtable.EntryAddr(tbl, iova, level) }

func pageOf(va uint64) uint64 { return iommupages.PageOf(va) }

// split ends the segment when a loop has made it long.
func split(t *cpu.Thread) {
	if len(t.Ops) > cpu.SegmentOps {
		t.Sync()
	}
}

// sampleRoot emits the reading of root and mode under the seqcount, which a CPU that makes the table deeper writes.
func (d *Domain) sampleRoot(t *cpu.Thread) (tbl, level cpu.Val) {
	seq := t.Mem(cpu.Load, d.at.seq, 4, 0, 0)
	t.Branch(false, t.ALU(1, seq))
	level = t.Mem(cpu.Load, d.at.mode, 4, 0, 0)
	tbl = t.Load(d.at.root, 0)
	t.ALU(6, max(tbl, level))
	t.Branch(false, t.Mem(cpu.LoadOp, d.at.seq, 4, 0, seq))
	return tbl, level
}

// step emits the way from an entry, in p, down to the entry of the next level.
func (d *Domain) step(t *cpu.Thread, p, level cpu.Val) cpu.Val {
	m := t.Load(d.env.Sym.SmeMeMask, 0)
	a := t.ALU(2, t.ALU2(p, t.ALU(1, m)))
	v := t.LoadOp(d.env.Sym.PageOffsetBase, 0, a)
	return t.ALU2(v, t.ALU(4, level))
}

// allocPTE is alloc_pte: the first entry of the page of 1<<lg2 bytes at iova. It adds levels on top and tables below as needed,
// and takes away large pages that are in the way, which replaced reports.
func (d *Domain) allocPTE(t *cpu.Thread, iova uint64, lg2 uint8) (pte uint64, at cpu.Val, replaced bool, err iommucore.Errno) {
	t.Call(fnAllocPTE)
	t.Nop(1)
	t.Push(6)
	t.Frame(40)
	t.StackStore(8, 0)
	t.Branch(false, t.ALU(3, 0)) // BUG_ON(!is_power_of_2)
	leaf := amdtable.LeafLevel(lg2)
	last := iova + 1<<lg2 - 1
	top := t.Here()
	for {
		m := t.Mem(cpu.Load, d.at.mode, 4, 0, 0)
		small := !amdtable.Covers(last, d.mode) || d.mode < leaf
		t.Branch(small, t.ALU(5, m))
		if !small {
			t.Branch(false, t.ALU(3, t.Op(cpu.BitScan, 0)))
			break
		}
		if err = d.increase(t, last, leaf); err != 0 {
			t.Frame(-40)
			t.Pop(6)
			t.Ret()
			return 0, 0, false, err
		}
		t.Back(top)
	}
	tv, lv := d.sampleRoot(t)
	level, tbl := d.mode, d.root
	pte = entry(tbl, iova, level)
	at = t.ALU(2, tv)
	t.ALU(4, t.Op(cpu.Mul, t.ALU(1, t.Op(cpu.BitScan, 0)))) // PAGE_SIZE_ALIGN, PAGE_SIZE_LEVEL
	top = t.Here()
	for t.Branch(level == leaf, t.ALU(1, lv)); level > leaf; {
		p := t.Load(pte, at)
		val := d.read(pte)
		next := nextLevel(val)
		n := t.ALU(3, p)
		t.Branch(!present(val), n)
		if present(val) && next == amdtable.EncodedSize {
			d.tearDown(t, pte, val, at)
			replaced = true
			t.Back(top)
			continue
		}
		if present(val) {
			t.Branch(next == amdtable.EncodedSize, t.ALU(1, n))
			t.Branch(next == amdtable.DefaultSize, t.ALU(1, n))
		}
		if !present(val) || next == amdtable.DefaultSize {
			var ok bool
			if ok, err = d.addTable(t, pte, val, level, at); err != 0 {
				break
			}
			replaced = replaced || ok && present(val)
			t.Back(top)
			continue
		}
		t.Branch(false, t.ALU(1, n)) // no level skipping
		level--
		at = d.step(t, p, lv)
		pte = entry(kernel.Virt(val&pteAddr), iova, level)
		t.Branch(false, t.ALU(2, 0)) // pte_page is not asked for
		t.Loop(top, level > leaf, t.ALU(1, lv))
	}
	t.ALU(1, 0)
	t.Frame(-40)
	t.Pop(6)
	t.Ret()
	// Smaller pages than the entry's level cover start at any entry of the table; the address was aligned to the page.
	return pte &^ (uint64(amdtable.LeafCount(lg2))*8 - 1), at, replaced, err
}

// tearDown removes a page that takes several entries from all of them, each by a compare-and-exchange (alloc_pte).
func (d *Domain) tearDown(t *cpu.Thread, pte, val uint64, at cpu.Val) {
	n := uint64(amdtable.LeafCount(amdtable.EncodedShift(val)))
	first := pte &^ (n*8 - 1)
	t.ALU(14, t.Op(cpu.BitScan, 0))
	for top, i := t.Here(), uint64(0); i < n; i++ {
		split(t)
		t.ALU(1, 0)
		t.Mem(cpu.Atomic, first+8*i, 8, at, 0)
		if d.read(first+8*i) == val {
			d.write(first+8*i, 0)
		}
		t.Loop(top, i+1 < n, t.ALU(2, 0))
	}
	d.Replaced++
	u := t.StackLoad(8)
	t.Mem(cpu.Store, t.SP()+16, 1, u, 0)
}

// addTable gives the entry of the level at pte a table, unless another CPU was faster while this one allocated; ok says that it
// did not lose.
func (d *Domain) addTable(t *cpu.Thread, pte, old uint64, level int, at cpu.Val) (ok bool, err iommucore.Errno) {
	t.StackLoad(8)
	t.Mem(cpu.Load, d.at.ops-24, 4, 0, 0) // nid
	page, got := d.u.pages.Alloc(t)
	t.Branch(!got, t.ALU(1, 0))
	if !got {
		return false, iommucore.ENOMEM
	}
	m := t.LoadOp(d.env.Sym.SmeMeMask, 0, t.ALU(1, t.LoadOp(d.env.Sym.PageOffsetBase, 0, 0)))
	v := t.ALU(5, m)
	x := t.Mem(cpu.Atomic, pte, 8, at, v)
	lost := d.read(pte) != old
	t.Branch(lost, x)
	if lost {
		t.ALU(2, 0)
		d.u.pages.Free(t, page)
		return false, 0
	}
	d.write(pte, amdtable.TablePTE(kernel.Phys(page), level-1))
	d.Tables++
	t.Branch(present(old), t.ALU(1, 0))
	if present(old) {
		d.Replaced++
		u := t.StackLoad(8)
		t.Mem(cpu.Store, t.SP()+16, 1, u, 0)
	}
	return true, 0
}

// increase is increase_address_space: under the domain's lock a new root above the present one, and the device table entries
// changed and flushed.
func (d *Domain) increase(t *cpu.Thread, last uint64, leaf int) (err iommucore.Errno) {
	t.Call(fnIncrease)
	t.Nop(1)
	t.Push(5)
	t.ALU(4, 0)
	page, ok := d.u.pages.Alloc(t)
	t.Branch(!ok, t.ALU(1, 0))
	if !ok {
		t.Pop(5)
		t.Ret()
		return iommucore.ENOMEM
	}
	t.ALU(2, 0)
	locking.SpinLockIrqsave(t, d.env.Version, &d.lock)
	m := t.Mem(cpu.Load, d.at.mode, 4, 0, 0)
	enough := amdtable.Covers(last, d.mode) && d.mode >= leaf // another CPU was faster
	t.Branch(enough, t.ALU(5, m))
	used := false
	if !enough {
		t.Branch(d.mode >= d.max, t.ALU(1, m))
		if d.mode >= d.max {
			err = iommucore.ENOMEM // as alloc_pte has it
		} else {
			root := t.Load(d.at.root, 0)
			v := t.ALU(8, t.LoadOp(d.env.Sym.PageOffsetBase, 0, root))
			t.Store(page, 0, v)
			d.write(page, amdtable.TablePTE(kernel.Phys(d.root), d.mode))
			t.Mem(cpu.RMW, d.at.seq, 4, 0, 0)
			t.Store(d.at.root, 0, 0)
			t.Mem(cpu.RMW, d.at.mode, 4, 0, 0)
			t.Mem(cpu.RMW, d.at.seq, 4, 0, 0)
			d.root = page
			d.mode++
			d.Tables++
			d.Grown++
			used = true
			d.updateDevices(t, kernel.Phys(d.root), d.mode)
		}
	}
	t.ALU(2, 0)
	locking.SpinUnlockIrqrestore(t, d.env.Version, &d.lock)
	t.Branch(used, t.ALU(1, 0))
	if !used {
		d.u.pages.Free(t, page)
	}
	t.Pop(5)
	t.Ret()
	return err
}

// fetchPTE is fetch_pte: the first entry of the page that iova lies in and log2 of its size. It returns 0 when a table on the
// way is absent; the entry itself may be absent.
func (d *Domain) fetchPTE(t *cpu.Thread, iova uint64) (pte uint64, lg2 uint8, at cpu.Val) {
	t.Call(fnFetchPTE)
	t.Nop(1)
	t.Push(3)
	t.Store(t.SP()+40, 0, 0)
	m := t.Mem(cpu.Load, d.at.mode, 4, 0, 0)
	beyond := !amdtable.Covers(iova, d.mode)
	t.Branch(beyond, t.ALU(6, m))
	var val uint64
	if !beyond {
		tv, lv := d.sampleRoot(t)
		level := d.mode
		pte = entry(d.root, iova, level)
		at = t.ALU(2, tv)
		t.Store(t.SP()+40, 0, t.ALU(4, lv))
		t.Branch(false, t.ALU(1, lv))
		for top := t.Here(); level > 1; {
			p := t.Load(pte, at)
			val = d.read(pte)
			t.Branch(!present(val), t.ALU(1, p))
			if !present(val) {
				pte = 0
				break
			}
			next := nextLevel(val)
			n := t.ALU(2, p)
			page := next == amdtable.EncodedSize || next == amdtable.DefaultSize
			t.Branch(page, t.ALU(2, n)) // one test for both, by a mask
			if page {
				break
			}
			t.Branch(false, t.ALU(1, n))
			level--
			at = d.step(t, p, lv)
			pte = entry(kernel.Virt(val&pteAddr), iova, level)
			t.Store(t.SP()+40, 0, t.ALU(3, lv))
			t.Loop(top, level > 1, t.ALU(1, lv))
		}
		lg2 = amdtable.Shift(level)
		if pte != 0 {
			val = d.read(pte)
			p := t.Load(pte, at)
			large := nextLevel(val) == amdtable.EncodedSize
			t.Branch(large, t.ALU(2, p))
			if large { // first_pte_l7
				lg2 = amdtable.EncodedShift(val)
				s := t.ALU(2, t.Op(cpu.BitScan, t.ALU(2, p)))
				t.ALU(8, s)
				t.Store(t.SP()+40, 0, s)
				pte &^= uint64(amdtable.LeafCount(lg2))*8 - 1
			}
		}
	}
	t.ALU(1, 0)
	t.Pop(3)
	t.Ret()
	return pte, lg2, at
}

// UnmapPages is amd_iommu_unmap_pages of 6.12 and, through a second pointer, iommu_v1_unmap_pages: one walk and one rep stos
// per page. Tables stay. What is not mapped counts as unmapped where its table exists.
func (d *Domain) UnmapPages(t *cpu.Thread, target cpu.Val, iova, pgsize, pgcount uint64, g *iommucore.Gather) uint64 {
	t.CallInd(fnUnmapPages, target)
	t.Nop(2)
	t.Push(4)
	t.ALU(4, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, d.at.pdMode, 4, 0, 0))
	t.Branch(false, t.Mem(cpu.LoadOp, d.at.mode, 4, 0, 0))
	op := t.Load(d.at.ops+8, 0)
	t.Branch(false, t.ALU(1, op))
	t.ALU(2, 0)
	n := d.unmapV1(t, op, iova, pgsize*pgcount)
	t.Branch(n == 0, t.ALU(1, 0))
	if n > 0 {
		// amd_iommu_iotlb_gather_add_page: the range grows, whatever the page size and with gaps or without.
		t.Branch(false, t.Mem(cpu.LoadOp, d.u.npCache, 1, 0, 0))
		end := iova + n - 1
		s := t.LoadOp(g.VA+iommucore.GatherStart, t.ALU(2, 0), 0)
		t.Branch(g.Start <= iova, s)
		if g.Start > iova {
			t.Store(g.VA+iommucore.GatherStart, 0, 0)
			g.Start = iova
		}
		e := t.LoadOp(g.VA+iommucore.GatherEnd, 0, 0)
		t.Branch(g.End >= end, e)
		if g.End < end {
			t.Store(g.VA+iommucore.GatherEnd, 0, 0)
			g.End = end
		}
	}
	t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
	return n
}

func (d *Domain) unmapV1(t *cpu.Thread, target cpu.Val, iova, size uint64) (unmapped uint64) {
	t.CallInd(fnV1Unmap, target)
	t.Nop(2)
	t.Push(6)
	t.Frame(24)
	t.StackStore(16, t.Load(d.guard(t), 0))
	t.StackStore(8, 0)
	t.Branch(false, t.ALU(4, t.Op(cpu.BitScan, 0)))
	for top := t.Here(); unmapped < size; {
		split(t)
		t.ALU(3, 0)
		pte, lg2, at := d.fetchPTE(t, iova)
		t.Branch(pte == 0, t.ALU(1, at))
		if pte == 0 {
			break
		}
		n := amdtable.LeafCount(lg2)
		s := t.StackLoad(8)
		c := t.ALU(5, t.Op(cpu.Mul, t.ALU(1, t.Op(cpu.BitScan, s))))
		t.ALU(2, c)
		t.StringSet(pte, n*8, at)
		for i := range uint64(n) {
			d.write(pte+8*i, 0)
		}
		t.ALU(5, s)
		iova = iova&^(1<<lg2-1) + 1<<lg2
		unmapped += 1 << lg2
		t.Loop(top, unmapped < size, t.ALU(1, 0))
	}
	c := t.StackLoad(16)
	t.Branch(false, t.LoadOp(d.guard(t), 0, c))
	t.ALU(1, 0)
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
	return unmapped
}

// iovaToPhys12 is amd_iommu_iova_to_phys, which jumps through a second pointer to iommu_v1_iova_to_phys.
func (d *Domain) iovaToPhys12(t *cpu.Thread, target cpu.Val, iova uint64) (phys uint64) {
	t.TailCallInd(fnLookup, target)
	t.Nop(2)
	op := t.Load(d.at.ops+16, 0)
	t.ALU(1, 0)
	t.TailCallInd(fnV1Lookup, op)
	t.Nop(2)
	t.Push(1)
	t.ALU(2, 0)
	t.Frame(16)
	t.StackStore(8, t.Load(d.guard(t), 0))
	t.StackStore(0, 0)
	pte, lg2, at := d.fetchPTE(t, iova)
	t.Branch(pte == 0, t.ALU(1, at))
	if pte != 0 {
		val := d.read(pte)
		p := t.Load(pte, at)
		t.Branch(!present(val), t.ALU(1, p))
		if present(val) {
			s := t.StackLoad(0)
			t.ALU(7, t.ALU2(s, t.Load(d.env.Sym.SmeMeMask, p)))
			phys = val&pteAddr&^(1<<lg2-1) | iova&(1<<lg2-1)
		}
	}
	c := t.StackLoad(8)
	t.Branch(false, t.LoadOp(d.guard(t), 0, c))
	t.Frame(-16)
	t.Pop(1)
	t.Ret()
	return phys
}
