package vtd

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

const file12 = "drivers/iommu/intel/iommu.c"

var (
	fnMapPages   = cpu.NewFunc("intel_iommu_map_pages", file12, 1712)
	fnPfnToPte   = cpu.NewFunc("pfn_to_dma_pte", file12, 400)
	fnFreePT     = cpu.NewFunc("dma_pte_free_level", file12, 420)
	fnSyncMap    = cpu.NewFunc("intel_iommu_iotlb_sync_map", file12, 90)
	fnIovaToPhys = cpu.NewFunc("intel_iommu_iova_to_phys", file12, 150)
)

// enter emits the arrival at f through the pointer that target produced.
func enter(t *cpu.Thread, f *cpu.Func, target cpu.Val, tail bool) {
	if tail {
		t.TailCallInd(f, target)
	} else {
		t.CallInd(f, target)
	}
}

// MapPages is intel_iommu_map_pages of 6.12 with intel_iommu_map and __domain_mapping inlined: entries are written one
// by one with an unlocked compare-and-exchange against zero.
func (d *Domain) MapPages(t *cpu.Thread, target cpu.Val, iova, phys, pgsize, pgcount uint64, prot iommucore.Prot) (uint64, error) {
	t.CallInd(fnMapPages, target)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(3)
	t.ALU(3, 0)
	t.Push(2)
	t.Frame(104)
	t.StackStore(96, t.Load(d.guard(t), 0))
	t.ALU(1, 0)
	cnt := t.StackLoad(168)
	t.Op(cpu.BitScan, cnt)
	t.ALU(7, t.Last())
	t.Branch(true, t.Last())
	t.ALU(4, 0)
	t.Branch(false, t.Last())
	t.ALU(3, 0)
	flags := t.Mem(cpu.Load, d.at.flags, 1, 0, 0)
	t.ALU(1, 0)
	t.StackStore(8, 0)
	t.ALU(3, flags)
	size := pgsize * pgcount
	max := t.LoadOp(d.at.maxAddr, 0, 0)
	t.Branch(d.maxAddr >= iova+size, max)
	if d.maxAddr < iova+size {
		gaw := t.Mem(cpu.Load, d.at.gaw, 4, 0, 0)
		t.ALU(4, gaw)
		t.Branch(false, t.Last())
		t.Store(d.at.maxAddr, 0, 0)
		d.maxAddr = iova + size
	}
	t.ALU(2, 0)
	t.StackStore(88, 0)
	t.ALU(3, 0)
	t.StackStore(16, 0)
	t.ALU(5, 0)
	agaw := t.Mem(cpu.Load, d.at.agaw, 4, 0, 0)
	t.StackStore(0, 0)
	t.ALU(5, agaw)
	t.Branch(true, t.Last())
	t.ALU(3, agaw)
	fits := iova+size <= d.limit()
	t.Branch(fits, t.Last())
	if !fits {
		return 0, d.leaveMapPages(t, iommucore.EINVAL)
	}
	pteval := phys
	if prot&iommucore.Read != 0 {
		pteval |= pteRead
	}
	if prot&iommucore.Write != 0 {
		pteval |= pteWrite
	}
	t.ALU(1, flags)
	t.Branch(!present(pteval), t.Last())
	if !present(pteval) {
		return 0, d.leaveMapPages(t, iommucore.EINVAL)
	}
	t.ALU(1, flags)
	t.Branch(pteval&pteWrite == 0, t.Last())
	if pteval&pteWrite == 0 { // a read-only domain must not be a nesting parent
		t.ALU(1, 0)
		t.Branch(false, t.Last())
	}
	t.ALU(1, flags)
	t.Branch(true, flags)
	t.ALU(2, flags)
	t.Jump()
	t.Mem(cpu.RMW, d.at.flags, 1, 0, 0) // has_mappings
	t.ALU(4, flags)
	t.Branch(size == 0, t.Last())
	t.StackStore(32, 0)
	err := d.fill12(t, iova, pteval, size>>12)
	if err != nil {
		return 0, d.leaveMapPages(t, err)
	}
	t.StackStore(232, 0) // *mapped += size
	t.ALU(1, 0)
	t.Jump()
	return size, d.leaveMapPages(t, nil)
}

func (d *Domain) leaveMapPages(t *cpu.Thread, err error) error {
	g := t.StackLoad(96)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-104)
	t.Pop(6)
	t.Ret()
	return err
}

// fill12 is the loop of __domain_mapping: n pages of 4 KiB from iova on, with as large entries as both addresses and
// the hardware allow (hardware_largepage_caps).
func (d *Domain) fill12(t *cpu.Thread, iova, pteval, n uint64) error {
	var pte, first uint64
	var at cpu.Val
	lvlPages := uint64(1)
	level := 1
	top := t.Here()
	for n > 0 {
		split(t)
		if pte == 0 {
			level = d.largepage12(t, iova, pteval&pteAddr, n)
			t.StackLoad(160)
			t.StackLoad(0)
			t.StackStore(88, 0)
			t.ALU(1, 0)
			t.StackLoad(8)
			var ok bool
			pte, _, at, ok = d.pfnToPte(t, iova, level, 88)
			t.ALU(2, at)
			t.Branch(!ok, t.Last())
			if !ok {
				return iommucore.ENOMEM
			}
			first = pte
			lvlPages = 1 << (9 * (level - 1))
			lvl := t.StackLoad(88)
			t.ALU(7, lvl)
			t.Branch(level == 1, t.Last())
			if level > 1 {
				pteval |= ptePS
				left := (4096 - pte&4095) / 8
				remove := min(n, left*lvlPages) / lvlPages
				d.switchToSuper(t, iova, remove, level, at)
			} else {
				pteval &^= ptePS
				t.ALU(1, 0)
				t.Jump()
			}
		}
		t.ALU(2, 0)
		t.Mem(cpu.RMW, pte, 8, at, 0) // cmpxchg without lock
		set := d.read(pte) != 0
		t.Branch(set, t.Last())
		if set {
			d.AlreadySet++
			t.ALU(6, 0)
			t.Branch(false, t.Last())
		} else {
			d.write(pte, pteval)
		}
		n -= lvlPages
		iova += lvlPages << 12
		pteval += lvlPages << 12
		pte += 8
		t.ALU(2, 0)
		t.Branch(n == 0, t.Last())
		if n > 0 {
			// Add to iova, pfn, pteval and pte; the end of the table and a tail too short for a superpage end the run.
			at = t.ALU(6, 0)
			end := pte&4095 == 0
			t.Branch(end, at)
			if !end {
				t.ALU(1, 0)
				t.Branch(level > 1, t.Last())
				if level > 1 {
					t.ALU(1, 0)
					t.Branch(n < lvlPages, t.Last())
				}
				if level == 1 || n >= lvlPages {
					t.Loop(top, true, t.Last())
					continue
				}
			}
		}
		t.ALU(3, 0)
		t.StackLoad(32)
		t.ALU(1, 0)
		f := t.Mem(cpu.LoadOp, d.at.flags, 1, 0, 0)
		t.Branch(d.env.Coherent, f)
		if !d.env.Coherent {
			t.ALU(2, 0)
			d.u.pages.Clflush(t, first, pte-first)
		}
		t.ALU(1, 0)
		t.Branch(n > 0, t.Last())
		pte = 0
	}
	return nil
}

// largepage12 is hardware_largepage_caps: the level at which one entry can map the start of n pages of 4 KiB.
func (d *Domain) largepage12(t *cpu.Thread, iova, phys, n uint64) int {
	support := bits.OnesCount64(d.u.caps.super) - 1
	merge := (iova | phys) >> 12
	t.ALU(2, 0)
	t.StackLoad(0)
	pa := t.StackLoad(16)
	super := t.Mem(cpu.Load, d.at.super, 4, 0, 0)
	t.ALU(2, super)
	t.Branch(support == 0, super)
	t.ALU(1, pa)
	t.Branch(merge&511 != 0, pa)
	if support == 0 || merge&511 != 0 {
		t.ALU(1, 0)
		t.Jump()
		return 1
	}
	n >>= 9
	t.ALU(2, pa)
	t.Branch(n == 0, t.Last())
	if n == 0 {
		t.ALU(1, 0)
		t.Jump()
		return 1
	}
	t.ALU(2, 0)
	t.Jump()
	level := 2
	for top := t.Here(); ; t.Back(top) {
		merge >>= 9
		t.ALU(2, pa)
		fits := level <= support && merge&511 == 0
		t.Branch(!fits, t.Last())
		if fits {
			n >>= 9
		}
		t.ALU(1, 0)
		t.Branch(!fits || n == 0, t.Last())
		if !fits || n == 0 {
			return level
		}
		level++
		t.ALU(3, 0)
	}
}

// SyncMap is intel_iommu_iotlb_sync_map. It flushes only where the hardware caches absent entries (caching mode) or
// has a write buffer to flush; elsewhere it is six instructions.
func (d *Domain) SyncMap(t *cpu.Thread, target cpu.Val, tail bool, iova, size uint64) error {
	enter(t, fnSyncMap, target, tail)
	t.Nop(2)
	f := t.Mem(cpu.LoadOp, d.at.syncMap, 1, 0, 0)
	t.Branch(d.syncMap, f)
	if d.syncMap {
		t.Push(1)
		t.ALU(3, 0)
		d.flushRange(t, iova, iova+size-1, true)
		t.Pop(1)
	}
	t.ALU(1, 0)
	t.Ret()
	return nil
}

// IovaToPhys is intel_iommu_iova_to_phys of 6.12 and pt_iommu_vtdss_iova_to_phys of 7.3.
func (d *Domain) IovaToPhys(t *cpu.Thread, target cpu.Val, iova uint64) uint64 {
	if d.env.Version == kernel.V7_3 {
		return d.Lookup(t, target, iova)
	}
	t.TailCallInd(fnIovaToPhys, target)
	t.Nop(2)
	t.Push(1)
	t.ALU(4, 0)
	t.Frame(16)
	t.StackStore(8, t.Load(d.guard(t), 0))
	t.ALU(2, 0)
	t.StackStore(0, 0)
	pte, level, at, _ := d.pfnToPte(t, iova, 0, 0)
	t.ALU(3, at)
	t.Branch(false, t.Last())
	v := t.Load(pte, at)
	val := d.read(pte)
	t.ALU(2, v)
	t.Branch(present(val), t.Last())
	phys := uint64(0)
	if present(val) {
		l := t.StackLoad(0)
		t.ALU(7, l)
		t.Jump()
		off := iova & (1<<shift(level) - 1)
		phys = val&pteAddr&^(1<<shift(level)-1) | off
	}
	g := t.StackLoad(8)
	t.Branch(false, t.LoadOp(d.guard(t), 0, g))
	t.Frame(-16)
	t.Pop(1)
	t.Ret()
	return phys
}
