package amdvi

import (
	"dmapath/cpu"
	"dmapath/iommu/amdtable"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

const filePgtable = "drivers/iommu/amd/io_pgtable.c"

var (
	fnMapPages  = cpu.NewFunc("amd_iommu_map_pages", fileDriver, 130)
	fnV1Map     = cpu.NewFunc("iommu_v1_map_pages", filePgtable, 760)
	fnFreeTable = cpu.NewFunc("free_pt_lvl", filePgtable, 220)
)

const pteAddr = 1<<52 - 1<<12

func present(pte uint64) bool { return pte&amdtable.Present != 0 }

// nextLevel is PM_PTE_LEVEL.
func nextLevel(pte uint64) int { return int(pte >> 9 & 7) }

// MapPages is amd_iommu_map_pages of 6.12 and, through a second pointer, iommu_v1_map_pages: for each page of pgsize bytes one
// walk from the root (alloc_pte), one locked compare-and-exchange per entry that empties it, and one store per entry.
func (d *Domain) MapPages(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, pgcount uint64, prot iommucore.Prot) (uint64, error) {
	t.CallInd(fnMapPages, target)
	t.Nop(2)
	t.Push(2)
	t.ALU(3, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, d.at.pdMode, 4, 0, 0))
	t.Branch(false, t.Mem(cpu.LoadOp, d.at.mode, 4, 0, 0))
	t.ALU(6, 0) // IOMMU_READ and IOMMU_WRITE to IOMMU_PROT_IR and IOMMU_PROT_IW
	op := t.Load(d.at.ops, 0)
	t.Branch(false, t.ALU(1, op))
	t.ALU(2, 0)
	t.Push(3)
	n, err := d.mapV1(t, op, iova, phys, pgsize, pgcount, prot)
	t.Frame(-24)
	t.Pop(2)
	t.Ret()
	if err != 0 {
		return n, err
	}
	return n, nil
}

func (d *Domain) mapV1(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, pgcount uint64, prot iommucore.Prot) (mapped uint64, err iommucore.Errno) {
	t.CallInd(fnV1Map, target)
	t.Nop(2)
	t.Push(6)
	t.Frame(104)
	t.StackStore(96, t.Load(d.guard(t), 0))
	t.StackStore(16, 0) // LIST_HEAD(freelist)
	t.StackStore(24, 0)
	t.Mem(cpu.Store, t.SP()+15, 1, 0, 0) // updated
	t.ALU(2, t.Op(cpu.BitScan, 0))
	for range 2 { // BUG_ON of unaligned addresses
		t.Branch(false, t.ALU(2, 0))
	}
	rights := amdtable.Rights(0)
	if prot&iommucore.Read != 0 {
		rights |= amdtable.Read
	}
	if prot&iommucore.Write != 0 {
		rights |= amdtable.Write
	}
	t.Branch(rights == 0, t.ALU(1, 0))
	updated := false
	list := &d.scratch[t.CPU]
	lg2 := uint8(0)
	for 1<<lg2 != pgsize {
		lg2++
	}
	n := uint64(amdtable.LeafCount(lg2))
	if rights == 0 {
		err = iommucore.EINVAL
	}
	for top := t.Here(); err == 0 && pgcount > 0; pgcount-- {
		split(t)
		c := t.Op(cpu.BitScan, 0)
		t.ALU(6, t.Op(cpu.Mul, t.ALU(1, c))) // PAGE_SIZE_PTE_COUNT
		pte, at, replaced, e := d.allocPTE(t, iova+mapped, lg2)
		updated = updated || replaced
		t.Branch(e != 0, t.ALU(1, at))
		if err = e; e != 0 {
			break
		}
		d.emptyEntries(t, pte, n, at, list)
		l := t.StackLoad(16)
		t.Branch(list.Empty(), t.ALU(1, l))
		if !list.Empty() {
			updated = true
			t.Mem(cpu.Store, t.SP()+15, 1, 0, 0)
		}
		v := t.ALU(2, t.LoadOp(d.env.Sym.SmeMeMask, 0, 0))
		t.Branch(n == 1, t.ALU(1, 0))
		if n > 1 {
			v = t.ALU(6, v) // PAGE_SIZE_PTE, level 7
		}
		v = t.ALU(2, v)
		for range 2 { // IOMMU_PROT_IR, IOMMU_PROT_IW
			t.Branch(false, t.ALU(1, 0))
			v = t.ALU(1, v)
		}
		val := amdtable.LeafPTE(phys+mapped, lg2, rights)
		for top, i := t.Here(), uint64(0); i < n; i++ {
			t.Store(pte+8*i, at, v)
			d.write(pte+8*i, val)
			t.Loop(top, i+1 < n, t.ALU(2, 0))
		}
		mapped += pgsize
		t.ALU(3, 0)
		m := t.StackLoad(160)
		t.Branch(false, t.ALU(1, m))
		t.RMW(t.SP()+200, m, 0) // *mapped
		t.Loop(top, pgcount > 1, t.ALU(1, 0))
	}
	u := t.Mem(cpu.LoadOp, t.SP()+15, 1, 0, 0)
	t.Branch(updated, u)
	if updated {
		t.ALU(4, 0)
		locking.SpinLockIrqsave(t, d.env.Version, &d.lock)
		t.ALU(3, 0)
		d.flushPages(t, iova, iova+max(mapped, pgsize)-1, true)
		locking.SpinUnlockIrqrestore(t, d.env.Version, &d.lock)
	}
	t.ALU(1, 0)
	d.u.pages.Put(t, list, t.SP()+16, false)
	g := t.StackLoad(96)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-104)
	t.Pop(6)
	t.Ret()
	return mapped, err
}

// emptyEntries is the loop of free_clear_pte over the n entries of a page: each is exchanged for 0, and the tables that it
// pointed to go to the list.
func (d *Domain) emptyEntries(t *cpu.Thread, pte, n uint64, at cpu.Val, list *iommucore.PageList) {
	for top, i := t.Here(), uint64(0); i < n; i++ {
		split(t)
		e := pte + 8*i
		old := d.read(e)
		v := t.Load(e, at)
		t.ALU(1, 0)
		x := t.Mem(cpu.Atomic, e, 8, at, v)
		d.write(e, 0)
		t.Branch(false, x)
		t.Branch(!present(old), t.ALU(1, v))
		if present(old) {
			t.ALU(5, v)
			switch l := nextLevel(old); l {
			case amdtable.DefaultSize, amdtable.EncodedSize: // a page: the entry is simply overwritten
				t.Branch(true, t.ALU(2, v))
				d.Replaced++
			default:
				t.JumpInd(8, t.ALU(2, v))
				d.freeTables12(t, kernel.Virt(old&pteAddr), l, v, list)
			}
		}
		t.Loop(top, i+1 < n, t.ALU(2, 0))
	}
}

// freeTables12 is free_sub_pt and free_pt_lvl: it puts a table of the level and all tables below it on the list, without
// looking for pages.
func (d *Domain) freeTables12(t *cpu.Thread, tbl uint64, level int, tv cpu.Val, list *iommucore.PageList) {
	if level > 1 {
		t.Call(fnFreeTable)
		t.Nop(1)
		t.Push(5)
		t.ALU(4, tv)
		for top, i := t.Here(), uint64(0); i < 512; i++ {
			split(t)
			e := t.Load(tbl+8*i, tv)
			val := d.read(tbl + 8*i)
			t.Branch(!present(val), t.ALU(1, e))
			if l := nextLevel(val); present(val) && l != amdtable.DefaultSize && l != amdtable.EncodedSize {
				t.ALU(8, e)
				t.Branch(level > 2, t.Last())
				d.freeTables12(t, kernel.Virt(val&pteAddr), level-1, e, list)
			}
			t.Loop(top, i < 511, t.ALU(2, 0))
		}
		d.listTable(t, tbl, tv, list)
		t.Pop(5)
		t.Ret()
		return
	}
	d.listTable(t, tbl, tv, list)
}

// listTable is free_pt_page: list_add_tail of the table's struct page.
func (d *Domain) listTable(t *cpu.Thread, tbl uint64, tv cpu.Val, list *iommucore.PageList) {
	page := pageOf(tbl)
	b := t.ALU(4, t.LoadOp(d.env.Sym.VmemmapBase, 0, tv))
	t.Store(page+8, b, 0)
	t.Store(page+16, b, 0)
	list.Add(tbl)
	d.Tables--
}
