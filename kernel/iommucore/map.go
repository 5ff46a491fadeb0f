package iommucore

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

const file = "drivers/iommu/iommu.c"

var (
	fnMap       = cpu.NewFunc("iommu_map", file, 117)
	fnMap12     = cpu.NewFunc("__iommu_map", file, 560)
	fnMapNosync = cpu.NewFunc("iommu_map_nosync", file, 480)
	fnSyncMap   = cpu.NewFunc("iommu_sync_map", file, 110)
)

// Map maps size bytes of physical memory at phys to iova and makes the mapping visible to the hardware (iommu_map).
// All three must be multiples of the smallest page. On an error nothing stays mapped.
func (d *Domain) Map(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	return d.code.mapping(d, t, iova, phys, size, prot)
}

// map12 is iommu_map of 6.12.
func (d *Domain) map12(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	t.Call(fnMap)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(3)
	t.ALU(2, 0)
	t.Frame(16)
	ops := t.Load(d.At.Ops, 0)
	t.ALU(1, 0)
	t.Branch(false, t.Last()) // gfp & (__GFP_COMP | ...)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(3, 0)
	err := d.mapLoop(t, iova, phys, size, prot)
	t.ALU(2, 0)
	t.Branch(err != nil, t.Last())
	if err == nil {
		op := t.Load(d.At.OpSyncMap, ops)
		t.ALU(1, op)
		t.Branch(false, op)
		t.ALU(3, 0)
		err = d.driver.SyncMap(t, op, false, iova, size)
		t.Nop(1)
		t.ALU(2, 0)
		t.Branch(err != nil, t.Last())
	}
	t.ALU(1, 0)
	t.Frame(-16)
	t.Pop(5)
	t.Ret()
	return err
}

// mapLoop maps without making the mapping visible: __iommu_map of 6.12, iommu_map_nosync of 7.3.
func (d *Domain) mapLoop(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	if d.Env.Version == kernel.V7_3 {
		t.Call(fnMapNosync)
	} else {
		t.Call(fnMap12)
	}
	return d.code.nosync(d, t, iova, phys, size, prot)
}

// map12Loop is __iommu_map of 6.12 after it was entered: one call of map_pages for each run of pages of one size.
func (d *Domain) map12Loop(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	d.typed(t, phys, prot)
	t.Nop(1)
	t.Push(6)
	t.Frame(72)
	ops := t.Load(d.At.Ops, 0)
	t.StackStore(40, 0)
	t.StackStore(0, 0)
	t.StackStore(8, 0)
	t.StackStore(64, t.Load(kernel.StackGuard(d.Env.Version, t.CPU), 0))
	t.ALU(1, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, d.At.Type, 1, 0, 0)) // type & __IOMMU_DOMAIN_PAGING
	t.Branch(false, t.LoadOp(d.At.OpMap, ops, 0))
	t.ALU(1, 0)
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.ALU(2, sizes)
	t.Branch(true, sizes)
	sz := t.StackLoad(40)
	t.ALU(2, 0)
	min := t.Op(cpu.BitScan, sizes)
	t.StackStore(32, sz)
	t.ALU(7, min)
	minPage := d.PgsizeBitmap & -d.PgsizeBitmap
	bad := (iova|phys|size)&(minPage-1) != 0
	t.Branch(bad, t.Last())
	if bad {
		t.ALU(4, 0)
		d.guardExit12(t)
		return EINVAL
	}
	t.Nop(1)
	t.ALU(1, 0)
	t.Branch(size == 0, t.Last())
	left := t.StackLoad(40)
	t.StackStore(16, 0)
	t.ALU(2, 0)
	t.StackStore(24, 0)
	t.ALU(1, left)
	t.StackLoad(8)
	t.Jump()
	var err error
	done := uint64(0)
	top := t.Here()
	for done < size {
		bitmap := t.Load(d.At.PgsizeBitmap, 0)
		t.ALU(3, left)
		t.StackStore(48, 0)
		t.ALU(1, 0)
		t.StackStore(56, 0)
		pgsize, count := d.pgsize(t, iova+done, phys+done, size-done, 48, bitmap)
		t.Nop(1)
		t.ALU(1, 0)
		t.StackLoad(48)
		t.ALU(2, 0)
		t.Push(1)
		t.ALU(2, 0)
		t.Push(1)
		op := t.Load(d.At.OpMap, ops)
		t.StackLoad(16)
		var n uint64
		n, err = d.driver.MapPages(t, op, iova+done, phys+done, pgsize, count, prot)
		done += n
		t.Nop(1)
		m := t.StackLoad(72)
		t.ALU(1, 0)
		t.Pop(2)
		t.ALU(2, m)
		t.Branch(err == nil, t.Last())
		if err != nil {
			break
		}
		left = t.StackLoad(40)
		t.ALU(2, left)
		t.StackStore(40, t.Last())
		t.ALU(1, m)
		t.Branch(done >= size, t.Last())
		if done < size { // phys += mapped; the loop goes on
			t.ALU(3, m)
			t.Loop(top, true, t.Last())
		}
	}
	if err != nil {
		t.ALU(4, 0)
		if done > 0 {
			g := Gather{}
			g.Init(t.SP())
			d.unmapLoop(t, iova, done, &g)
			d.driver.SyncTLB(t, 0, &g)
		}
	} else {
		t.StackLoad(16)
		t.StackLoad(24)
		d.Env.TraceIOMMU(t, false, iova, phys, size, size)
		t.ALU(1, 0)
		t.Jump()
	}
	d.guardExit12(t)
	return err
}

// guardExit12 checks the stack protector and leaves __iommu_map.
func (d *Domain) guardExit12(t *cpu.Thread) {
	g := t.StackLoad(64)
	t.Branch(false, t.LoadOp(kernel.StackGuard(d.Env.Version, t.CPU), 0, g))
	t.ALU(1, 0)
	t.Frame(-72)
	t.Pop(6)
	t.Ret()
}

// map73 is iommu_map of 7.3.
func (d *Domain) map73(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	t.Call(fnMap)
	t.Nop(2)
	t.Push(1)
	t.ALU(3, 0)
	t.Push(3)
	err := d.MapNosync(t, iova, phys, size, prot)
	t.ALU(2, 0)
	t.Branch(err != nil, t.Last())
	if err == nil {
		ops := t.Load(d.At.Ops, 0)
		op := t.Load(d.At.OpSyncMap, ops)
		t.ALU(1, op)
		t.Branch(false, op)
		t.ALU(3, 0)
		err = d.driver.SyncMap(t, op, false, iova, size)
		t.ALU(2, 0)
		t.Branch(err != nil, t.Last())
	}
	t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
	return err
}

// MapNosync is iommu_map_nosync of 7.3: it maps without making the mapping visible, which SyncMap does later.
func (d *Domain) MapNosync(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	t.Call(fnMapNosync)
	return d.code.nosync(d, t, iova, phys, size, prot)
}

// TailMapNosync is MapNosync reached by a jump: dma_iova_link ends that way.
func (d *Domain) TailMapNosync(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	t.TailCall(fnMapNosync)
	return d.code.nosync(d, t, iova, phys, size, prot)
}

func (d *Domain) mapNosync(t *cpu.Thread, iova, phys, size uint64, prot Prot) error {
	d.typed(t, phys, prot)
	t.Nop(2)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(4)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(64)
	pt := t.Mem(cpu.LoadOp, d.At.IsPT, 1, 0, 0)
	t.StackStore(0, 0)
	t.StackStore(56, t.Load(kernel.StackGuard(d.Env.Version, t.CPU), 0))
	t.ALU(1, 0)
	t.Branch(false, pt)
	t.ALU(1, 0)
	t.StackStore(24, 0)
	t.ALU(1, 0)
	t.Branch(size == 0, t.Last())
	t.Branch(false, t.Mem(cpu.LoadOp, d.At.Type, 1, 0, 0))
	sizes := t.Load(d.At.PgsizeBitmap, 0)
	t.ALU(1, sizes)
	t.Branch(false, sizes)
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	minPage := d.PgsizeBitmap & -d.PgsizeBitmap
	bad := (iova|phys|size)&(minPage-1) != 0
	t.Branch(bad, sizes)
	var err error
	if bad {
		t.ALU(2, 0)
		err = EINVAL
	} else {
		ptops := t.Load(d.At.PTOps, 0)
		t.ALU(3, 0)
		t.Push(1)
		t.ALU(1, 0)
		t.StackLoad(8)
		t.ALU(1, 0)
		op := t.Load(d.At.OpMap, ptops)
		t.ALU(1, 0)
		var n uint64
		n, err = d.driver.MapRange(t, op, iova, phys, size, prot)
		t.StackLoad(32)
		t.Pop(1)
		t.ALU(1, 0)
		d.Env.TraceIOMMU(t, false, iova, phys, size, size)
		t.ALU(1, 0)
		t.Branch(err != nil, t.Last())
		if err != nil && n > 0 {
			g := Gather{}
			g.Init(t.SP())
			d.unmapLoop(t, iova, n, &g)
			d.driver.SyncTLB(t, 0, &g)
		}
	}
	g := t.StackLoad(56)
	t.Branch(false, t.LoadOp(kernel.StackGuard(d.Env.Version, t.CPU), 0, g))
	t.Frame(-64)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return err
}

// SyncMap makes mappings made by MapNosync visible to the hardware (iommu_sync_map of 7.3).
func (d *Domain) SyncMap(t *cpu.Thread, iova, size uint64) error {
	t.Call(fnSyncMap)
	return d.code.syncMap(d, t, iova, size)
}

// TailSyncMap is SyncMap reached by a jump: dma_iova_sync ends that way.
func (d *Domain) TailSyncMap(t *cpu.Thread, iova, size uint64) error {
	t.TailCall(fnSyncMap)
	return d.code.syncMap(d, t, iova, size)
}

func (d *Domain) syncMap(t *cpu.Thread, iova, size uint64) error {
	t.Nop(2)
	ops := t.Load(d.At.Ops, 0)
	op := t.Load(d.At.OpSyncMap, ops)
	t.ALU(1, op)
	t.Branch(false, op)
	return d.driver.SyncMap(t, op, true, iova, size)
}

// typed reports a mapping whose attributes are those of another kind of memory. The kernel does not look.
func (d *Domain) typed(t *cpu.Thread, phys uint64, prot Prot) {
	if d.Env.DeviceMemory == nil {
		return
	}
	switch device := d.Env.DeviceMemory(phys); {
	case device && prot&Cache != 0:
		d.Env.Report(t, kernel.WrongMemoryType, phys, true, "device memory is mapped with IOMMU_CACHE, as RAM is")
	case !device && prot&MMIO != 0:
		d.Env.Report(t, kernel.WrongMemoryType, phys, true, "RAM is mapped with IOMMU_MMIO, as device memory is")
	}
}
