package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var fnUseSwiotlb = cpu.NewFunc("dev_use_swiotlb", file, 0x50)

// useSwiotlbArm is dev_use_swiotlb on arm64: 19 instructions for a trusted coherent PCI device.
func (k *Cookie) useSwiotlbArm(t *cpu.Thread, dev *kernel.Device, size uint64, dir kernel.Direction) bool {
	bytes := 2
	if k.v == kernel.V7_3 {
		bytes = 4
	}
	t.Call(fnUseSwiotlb)
	t.ALU(1, 0)
	t.Nop(1)
	t.ALU(2, 0)
	t.Branch(true, t.ALU(2, t.Load(dev.At.Bus, 0))) // dev_is_pci
	t.Branch(!dev.Untrusted, t.ALU(1, t.Mem(cpu.Load, dev.At.Untrusted, bytes, 0, 0)))
	use := dev.Untrusted
	if !use {
		maintain := coherency.Needed(k.env, dev)
		t.Branch(!maintain, t.ALU(4, t.Load(dev.At.Flags, 0)))
		use = maintain && coherency.KmallocNeedsBounce(t, k.env, dev, size, dir)
	}
	t.ALU(1, 0)
	t.Ret()
	return use
}

// bounceArm emits the test whether a buffer that has to bounce fills its granules, and the bounce if it does not. It returns the
// physical address that is to be mapped.
func (k *Cookie) bounceArm(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	in := (phys | size) & (1<<k.IOVA.Shift() - 1)
	t.Branch(in == 0, t.ALU(3, 0))
	if in == 0 {
		return phys, nil
	}
	return k.bounce(t, dev, phys, size, dir, attrs)
}

// maskArm emits dma_get_mask.
func maskArm(t *cpu.Thread, dev *kernel.Device) {
	p := t.Load(dev.At.DmaMask, 0)
	t.Branch(false, p)
	t.Load(dev.At.MaskValue, p)
}

// dirArm emits the compares of dma_info_to_prot.
func dirArm(t *cpu.Thread, dir kernel.Direction, d cpu.Val) {
	t.Branch(dir == kernel.ToDevice, d)
	if dir != kernel.ToDevice {
		t.Branch(dir == kernel.FromDevice, t.ALU(2, d))
	}
}

// mapPage12arm is iommu_dma_map_page of 6.12 on arm64: 67 instructions of its own for a coherent device.
func (k *Cookie) mapPage12arm(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if attrs&kernel.AttrMMIO != 0 {
		return k.mapResource12arm(t, dev, phys, size, dir, attrs)
	}
	t.Call(fnMapPage)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	start := t.Load(k.env.Sym.PhysBase, t.ALU(2, 0)) // page_to_phys
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, start)
	t.Push(2)
	t.ALU(2, start)
	flags := t.Load(dev.At.Flags, 0)
	dirArm(t, dir, t.ALU(9, flags))
	t.ALU(1, 0)
	d := getDomain(t, dev)
	p := t.Load(dev.At.DmaMask, 0)
	t.Load(k.dom.At.Cookie, d)
	t.Branch(false, p)
	t.Load(dev.At.MaskValue, p)
	t.ALU(6, 0)
	use := k.useSwiotlbArm(t, dev, size, dir)
	t.Branch(!use, t.ALU(1, 0))
	var err error
	if use {
		phys, err = k.bounceArm(t, dev, phys, size, dir, attrs)
	}
	a := uint64(kernel.MappingError)
	if err == nil {
		sync := k.syncForDevice(dev, attrs)
		t.Branch(sync, flags)
		if sync {
			coherency.SyncForDevice(t, k.env, phys, size, dir)
		}
		t.ALU(5, 0)
		a, err = k.mapIn12arm(t, dev, phys, size, dir, attrs)
		t.Branch(err != nil, t.ALU(1, 0))
		if err != nil {
			k.unbounce(t, dev, phys, size, dir, attrs)
		}
	} else {
		k.failed()
	}
	t.Pop(12)
	t.Nop(1)
	t.Ret()
	return a, err
}

// syncForDevice says whether the caches are maintained for a mapping with attrs.
func (k *Cookie) syncForDevice(dev *kernel.Device, attrs kernel.Attrs) bool {
	return attrs&(kernel.AttrSkipCPUSync|kernel.AttrMMIO) == 0 && coherency.Needed(k.env, dev)
}

// mapResource12arm is iommu_dma_map_resource of 6.12 on arm64: 26 instructions. Only its counts are recorded.
func (k *Cookie) mapResource12arm(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnMapResource)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	maskArm(t, dev)
	dirArm(t, dir, t.ALU(5, 0))
	t.ALU(5, 0)
	a, err := k.mapIn12arm(t, dev, phys, size, dir, attrs)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return a, err
}

// mapIn12arm is __iommu_dma_map of 6.12 on arm64: 58 instructions.
func (k *Cookie) mapIn12arm(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnMapIn)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.Push(1)
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(1, c)
	g := t.Load(k.at.granule, c)
	t.ALU(2, g)
	t.Nop(1)
	p := t.Load(dev.At.DmaParms, 0)
	t.Branch(false, t.ALU(1, p))
	t.Mem(cpu.Load, dev.At.MinAlignMask, 4, p, 0)
	t.Branch(true, t.ALU(2, g))
	t.ALU(7, g)
	off, length := k.aligned(phys, size)
	addr, ok := k.allocIova12arm(t, dev, length)
	t.Branch(!ok, t.ALU(1, 0))
	err := error(ErrNoIOVA)
	if ok {
		t.ALU(6, 0)
		err = k.dom.Map(t, addr, phys-off, length, prot(dir, !coherency.Needed(k.env, dev), attrs))
		t.Branch(err == nil, t.ALU(2, 0))
		if err != nil {
			t.ALU(3, 0)
			k.freeIova(t, addr, length)
		}
	}
	t.Pop(1)
	t.Pop(10)
	t.Nop(1)
	t.Ret()
	return k.mapped(addr+off, err)
}

// allocIova12arm is iommu_dma_alloc_iova of 6.12 on arm64: 48 instructions.
func (k *Cookie) allocIova12arm(t *cpu.Thread, dev *kernel.Device, size uint64) (addr uint64, ok bool) {
	t.Call(fnAllocIova)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	c := t.Load(k.dom.At.Cookie, 0)
	t.ALU(1, c)
	kind := t.Mem(cpu.Load, k.at.kind, 4, c, 0)
	t.Branch(false, t.ALU(1, kind)) // IOMMU_DMA_MSI_COOKIE
	t.Push(2)
	t.Push(1)
	t.ALU(1, 0)
	g := t.Load(k.at.granule, c)
	addr, ok = k.searchArm(t, dev, size, g)
	t.Pop(1)
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(4)
	t.Nop(1)
	t.Ret()
	return addr, ok
}

// searchArm is the rest of iommu_dma_alloc_iova, the same in both versions: the limit, and one or two calls of the allocator.
func (k *Cookie) searchArm(t *cpu.Thread, dev *kernel.Device, size uint64, g cpu.Val) (addr uint64, ok bool) {
	s := k.IOVA.Shift()
	bus := t.Load(dev.At.BusDmaLimit, 0)
	t.Op(cpu.BitScan, g)
	sh := t.Op(cpu.BitScan, g)
	t.Branch(false, t.ALU(1, sh))
	t.Branch(true, bus)
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, k.dom.At.Force, 1, 0, 0)))
	t.Jump()
	end := t.Load(k.dom.At.ApertureEnd, 0)
	t.ALU(2, end)
	t.Jump()
	l := k.limit(dev)
	sac := l > mask32
	t.Branch(!sac, t.ALU(2, end))
	if sac {
		w := t.Mem(cpu.Load, dev.At.Workaround, 1, t.Load(dev.At.Iommu, 0), 0)
		t.Branch(dev.Workaround32, w)
		if dev.Workaround32 {
			t.ALU(4, sh)
			var pfn uint64
			pfn, ok = k.IOVA.AllocFast(t, t.CPU, size>>s, mask32>>s, false)
			t.Branch(ok, 0)
			addr = pfn << s
			if !ok {
				k.giveUp32(t, dev)
			}
		}
	}
	if !ok {
		t.ALU(4, sh)
		var pfn uint64
		pfn, ok = k.IOVA.AllocFast(t, t.CPU, size>>s, l>>s, true)
		addr = pfn << s
	}
	return addr, ok
}
