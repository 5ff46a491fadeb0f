package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var (
	fnMapPage     = cpu.NewFunc("iommu_dma_map_page", file, 0x150)
	fnMapResource = cpu.NewFunc("iommu_dma_map_resource", file, 0x80)
	fnMapIn       = cpu.NewFunc("__iommu_dma_map", file, 0xe0)
	fnAllocIova   = cpu.NewFunc("iommu_dma_alloc_iova", file, 0x150)
)

// Map maps size bytes of physical memory at phys and returns the DMA address. On an error nothing stays allocated.
func (k *Cookie) Map(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if size == 0 {
		panic("iommudma: map of 0 bytes")
	}
	return k.code.mapping(k, t, dev, phys, size, dir, attrs)
}

// mapPage12 is iommu_dma_map_page of 6.12 for a trusted PCI device with coherent DMA. MMIO goes to iommu_dma_map_resource.
func (k *Cookie) mapPage12(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if attrs&kernel.AttrMMIO != 0 {
		return k.mapResource12(t, dev, phys, size, dir, attrs)
	}
	t.Call(fnMapPage)
	t.Nop(2)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	pa := t.LoadOp(k.env.Sym.VmemmapBase, 0, 0)
	pa = t.Chain(4, pa)
	t.ALU(7, 0)
	k.emitDir(t, dir)
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	t.Load(k.dom.At.Cookie, d)
	k.emitMask(t, dev)
	at, err := k.prepare(t, dev, phys, size, dir, attrs)
	a := uint64(kernel.MappingError)
	if err == nil {
		t.ALU(5, pa)
		a, err = k.mapIn12(t, dev, at, size, dir, attrs)
		t.Branch(err != nil, t.ALU(1, 0))
		if err != nil {
			k.unbounce(t, dev, at, size, dir, attrs)
		}
	} else {
		k.failed()
	}
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return a, err
}

// emitDir emits dma_info_to_prot: a chain of compares of the direction.
func (k *Cookie) emitDir(t *cpu.Thread, dir kernel.Direction) {
	t.Branch(dir == kernel.ToDevice, t.Last())
	t.ALU(3, 0)
	t.Branch(dir == kernel.FromDevice, t.Last())
}

// emitMask emits dma_get_mask: the mask through its pointer, or 32 bits without one.
func (k *Cookie) emitMask(t *cpu.Thread, dev *kernel.Device) cpu.Val {
	p := t.Load(dev.At.DmaMask, 0)
	t.Branch(false, t.ALU(1, p))
	m := t.Load(dev.At.MaskValue, p)
	return t.ALU(3, m)
}

// mapResource12 is iommu_dma_map_resource of 6.12.
func (k *Cookie) mapResource12(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnMapResource)
	t.Nop(2)
	t.ALU(2, 0)
	p := t.Load(dev.At.DmaMask, 0)
	t.ALU(3, 0)
	t.Branch(false, p)
	m := t.Load(dev.At.MaskValue, p)
	t.ALU(3, m)
	t.ALU(6, 0)
	t.Branch(dir == kernel.ToDevice, t.Last())
	t.ALU(3, 0)
	t.Branch(dir == kernel.FromDevice, t.Last())
	t.ALU(5, 0)
	t.TailCall(fnMapIn)
	return k.mapInBody12(t, dev, phys, size, dir, attrs)
}

// mapIn12 is __iommu_dma_map of 6.12: allocate I/O addresses, map, give them back if that fails.
func (k *Cookie) mapIn12(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnMapIn)
	return k.mapInBody12(t, dev, phys, size, dir, attrs)
}

func (k *Cookie) mapInBody12(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Nop(1)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.Frame(24)
	t.StackStore(20, 0)
	t.StackStore(8, 0)
	d := getDomain(t, dev)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(1, 0)
	g := t.Load(k.at.granule, c)
	t.ALU(2, g)
	t.Nop(1)
	p := t.Load(dev.At.DmaParms, 0)
	t.Branch(false, t.ALU(1, p))
	a := t.Mem(cpu.Load, dev.At.MinAlignMask, 4, p, 0)
	t.Branch(true, t.ALU(2, a))
	t.ALU(1, g)
	t.StackLoad(8)
	t.ALU(6, g)
	off, length := k.aligned(phys, size)
	addr, ok := k.allocIova12(t, dev, length)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	err := error(ErrNoIOVA)
	if ok {
		t.StackLoad(20)
		t.ALU(6, 0)
		err = k.dom.Map(t, addr, phys-off, length, prot(dir, !coherency.Needed(k.env, dev), attrs))
		t.ALU(3, 0)
		t.Branch(err == nil, t.Last())
		if err != nil {
			t.ALU(3, 0)
			k.freeIova(t, addr, length)
		}
	}
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
	return k.mapped(addr+off, err)
}

// aligned returns the offset of phys in its granule and the length of the range of whole granules around the buffer.
func (k *Cookie) aligned(phys, size uint64) (off, length uint64) {
	g := uint64(1) << k.IOVA.Shift()
	off = phys & (g - 1)
	return off, (off + size + g - 1) &^ (g - 1)
}

// mapped counts a map's outcome.
func (k *Cookie) mapped(addr uint64, err error) (uint64, error) {
	k.Stats.Maps++
	if err != nil {
		k.Stats.Failures++
		return kernel.MappingError, err
	}
	return addr, nil
}

// limit returns the highest address that dev may be given: mask, bus and aperture.
func (k *Cookie) limit(dev *kernel.Device) uint64 {
	l := dev.Mask
	if dev.BusLimit != 0 {
		l = min(l, dev.BusLimit)
	}
	return min(l, k.dom.ApertureEnd)
}

const mask32 = 1<<32 - 1

// allocIova12 is iommu_dma_alloc_iova of 6.12: below 4 GiB first for a PCI device, as long as that has never failed.
func (k *Cookie) allocIova12(t *cpu.Thread, dev *kernel.Device, size uint64) (addr uint64, ok bool) {
	s := k.IOVA.Shift()
	t.Call(fnAllocIova)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(4)
	c := t.Load(k.dom.At.Cookie, 0)
	kind := t.Mem(cpu.LoadOp, k.at.kind, 4, c, 0)
	t.Branch(false, kind) // IOMMU_DMA_MSI_COOKIE
	t.ALU(1, 0)
	bus := t.Load(dev.At.BusDmaLimit, 0)
	t.ALU(1, bus)
	sh := t.Mem(cpu.LoadOp, k.at.granule, 8, c, 0)
	t.ALU(4, sh)
	t.Branch(false, t.Last())
	t.ALU(6, bus)
	f := t.Mem(cpu.LoadOp, k.dom.At.Force, 1, 0, 0)
	t.Branch(true, f)
	end := t.Load(k.dom.At.ApertureEnd, 0)
	t.ALU(2, end)
	t.Jump()
	t.ALU(2, 0)
	l := k.limit(dev)
	sac := l > mask32
	t.Branch(!sac, t.Last())
	if sac {
		i := t.Load(dev.At.Iommu, 0)
		w := t.Mem(cpu.LoadOp, dev.At.Workaround, 1, i, 0)
		t.Branch(dev.Workaround32, w)
		if dev.Workaround32 {
			t.ALU(5, sh)
			var pfn uint64
			pfn, ok = k.IOVA.AllocFast(t, t.CPU, size>>s, mask32>>s, false)
			t.ALU(1, 0)
			t.Branch(ok, t.Last())
			addr = pfn << s
			if !ok {
				k.giveUp32(t, dev)
			}
		}
	}
	if !ok {
		t.ALU(5, sh)
		var pfn uint64
		pfn, ok = k.IOVA.AllocFast(t, t.CPU, size>>s, l>>s, true)
		addr = pfn << s
	}
	t.ALU(1, 0)
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(3)
	t.Ret()
	return addr, ok
}

var fnNotice = cpu.NewFunc("_dev_notice", "drivers/base/core.c", 128)

// giveUp32 clears the device's preference for addresses below 4 GiB for good; the kernel prints a notice.
func (k *Cookie) giveUp32(t *cpu.Thread, dev *kernel.Device) {
	dev.Workaround32 = false
	k.Stats.Fallback64++
	i := t.Load(dev.At.Iommu, 0)
	t.Mem(cpu.RMW, dev.At.Workaround, 1, i, 0)
	t.ALU(3, 0)
	t.Op(cpu.BitScan, 0)
	t.Call(fnNotice) // printk, once in the life of a device, is not modelled
	t.Nop(2)
	t.Ret()
}
