package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var fnInfoToProt = cpu.NewFunc("dma_info_to_prot", file, 0x60)

// infoToProtArm is dma_info_to_prot of 7.3 on arm64, a function there: 13, 16 or 19 instructions by direction.
func infoToProtArm(t *cpu.Thread, dir kernel.Direction) {
	t.Call(fnInfoToProt)
	t.ALU(1, 0)
	t.Nop(1)
	dirArm(t, dir, t.ALU(9, 0))
	if dir == kernel.Bidirectional {
		t.ALU(3, 0)
	}
	t.Ret()
}

// mapPhys73arm is iommu_dma_map_phys of 7.3 on arm64: 54 instructions of its own for a coherent device, 45 for MMIO, which is not
// asked whether it must bounce.
func (k *Cookie) mapPhys73arm(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	direct := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
	t.Call(fnMapPhys)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.Reserve(16)
	flags := t.Load(dev.At.Flags, 0)
	t.ALU(3, flags)
	infoToProtArm(t, dir)
	t.ALU(2, 0)
	d := getDomain(t, dev)
	maskArm(t, dev)
	t.Branch(!direct, t.ALU(3, 0))
	var err error
	if !direct {
		t.StackStore(8, 0)
		t.ALU(2, 0)
		t.Load(k.dom.At.Cookie, d)
		t.ALU(1, 0)
		use := k.useSwiotlbArm(t, dev, size, dir)
		t.Branch(use, 0)
		if use {
			phys, err = k.bounceArm(t, dev, phys, size, dir, attrs)
		}
		if err == nil {
			sync := k.syncForDevice(dev, attrs)
			t.Branch(!sync, flags)
			if sync {
				coherency.SyncForDevice(t, k.env, phys, size, dir)
				coherency.Flush(t, k.env)
			}
		}
	}
	a := uint64(kernel.MappingError)
	if err == nil {
		t.ALU(5, 0)
		a, err = k.mapIn73arm(t, dev, phys, size, dir, attrs)
		t.Branch(err == nil, t.ALU(1, 0))
		if err != nil && !direct {
			k.unbounce(t, dev, phys, size, dir, attrs)
		}
	} else {
		k.failed()
	}
	if !direct {
		t.StackLoad(8)
	}
	t.Reserve(-16)
	t.Pop(10)
	t.Nop(1)
	t.Ret()
	return a, err
}

// mapIn73arm is __iommu_dma_map of 7.3 on arm64: 55 instructions.
func (k *Cookie) mapIn73arm(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnMapIn)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(4)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(1, 0)
	d := getDomain(t, dev)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(1, 0)
	g := t.Load(k.at.granule, c)
	t.ALU(2, g)
	t.Nop(1)
	p := t.Load(dev.At.DmaParms, 0)
	t.Branch(false, t.ALU(1, p))
	t.Mem(cpu.Load, dev.At.MinAlignMask, 4, p, 0)
	t.Branch(false, t.ALU(2, g))
	t.ALU(7, g)
	off, length := k.aligned(phys, size)
	addr, ok := k.allocIova73arm(t, dev, length)
	t.Branch(!ok, t.ALU(1, 0))
	err := error(ErrNoIOVA)
	if ok {
		t.ALU(6, 0)
		err = k.dom.Map(t, addr, phys-off, length, prot(dir, !coherency.Needed(k.env, dev), attrs))
		t.Branch(err != nil, t.ALU(2, 0))
		if err != nil {
			t.ALU(3, 0)
			k.freeIova(t, addr, length)
		}
	}
	t.Pop(10)
	t.Nop(1)
	t.Ret()
	return k.mapped(addr+off, err)
}

// allocIova73arm is iommu_dma_alloc_iova of 7.3 on arm64: 47 instructions.
func (k *Cookie) allocIova73arm(t *cpu.Thread, dev *kernel.Device, size uint64) (addr uint64, ok bool) {
	t.Call(fnAllocIova)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	typ := t.Mem(cpu.Load, k.dom.At.IsPT-4, 4, 0, 0)
	c := t.Load(k.dom.At.Cookie, 0)
	t.Branch(false, t.ALU(1, typ)) // cookie_type is IOMMU_COOKIE_DMA_MSI
	t.Push(4)
	t.ALU(1, 0)
	g := t.Load(k.at.granule, c)
	addr, ok = k.searchArm(t, dev, size, g)
	t.Pop(4)
	t.Pop(1)
	t.ALU(1, 0)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return addr, ok
}
