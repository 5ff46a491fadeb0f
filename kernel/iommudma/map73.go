package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var fnMapPhys = cpu.NewFunc("iommu_dma_map_phys", file, 0x280)

// mapPhys73 is iommu_dma_map_phys of 7.3, recorded for a trusted PCI device with coherent DMA. With AttrMMIO or
// AttrRequireCoherent the test whether the buffer must bounce is skipped.
func (k *Cookie) mapPhys73(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnMapPhys)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.Frame(24)
	t.ALU(3, 0)
	t.StackStore(8, 0)
	t.ALU(1, 0)
	t.StackStore(16, 0)
	t.ALU(7, 0)
	t.Branch(dir == kernel.ToDevice, t.Last())
	t.ALU(3, 0)
	t.Branch(dir == kernel.FromDevice, t.Last())
	if dir == kernel.Bidirectional {
		t.ALU(6, 0)
	} else {
		t.ALU(1, 0)
	}
	t.ALU(2, 0)
	getDomain(t, dev)
	p := t.Load(dev.At.DmaMask, 0)
	t.Branch(false, t.ALU(1, p))
	m := t.Load(dev.At.MaskValue, p)
	t.ALU(4, m)
	direct := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
	t.Branch(direct, t.Last())
	at, err := phys, error(nil)
	if !direct {
		at, err = k.prepare(t, dev, phys, size, dir, attrs)
	} else {
		k.clean(t, dev, phys, size, dir, attrs)
	}
	a := uint64(kernel.MappingError)
	if err == nil {
		t.StackLoad(16)
		t.StackLoad(8)
		t.ALU(3, 0)
		a, err = k.mapIn73(t, dev, at, size, dir, attrs)
		t.Branch(err != nil, t.ALU(1, 0))
		if err != nil && !direct {
			k.unbounce(t, dev, at, size, dir, attrs)
		}
	} else {
		k.failed()
	}
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
	return a, err
}

// mapIn73 is __iommu_dma_map of 7.3.
func (k *Cookie) mapIn73(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(fnMapIn)
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.Frame(16)
	t.StackStore(12, 0)
	d := getDomain(t, dev)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(1, 0)
	g := t.Load(k.at.granule, c)
	t.Nop(1)
	t.ALU(1, 0)
	p := t.Load(dev.At.DmaParms, 0)
	t.Branch(false, t.ALU(1, p))
	a := t.Mem(cpu.Load, dev.At.MinAlignMask, 4, p, 0)
	t.Branch(false, t.ALU(2, a))
	t.ALU(10, g)
	off, length := k.aligned(phys, size)
	addr, ok := k.allocIova73(t, dev, length)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	err := error(ErrNoIOVA)
	if ok {
		t.StackLoad(12)
		t.ALU(6, 0)
		err = k.dom.Map(t, addr, phys-off, length, prot(dir, !coherency.Needed(k.env, dev), attrs))
		t.ALU(3, 0)
		t.Branch(err != nil, t.Last())
		if err != nil {
			t.ALU(3, 0)
			k.freeIova(t, addr, length)
		}
	}
	t.Frame(-16)
	t.Pop(6)
	t.Ret()
	return k.mapped(addr+off, err)
}

// allocIova73 is iommu_dma_alloc_iova of 7.3: as in 6.12, with a check of the shift and a test that the length is not
// zero.
func (k *Cookie) allocIova73(t *cpu.Thread, dev *kernel.Device, size uint64) (addr uint64, ok bool) {
	s := k.IOVA.Shift()
	t.Call(fnAllocIova)
	t.Nop(1)
	t.Push(6)
	t.ALU(1, 0)
	t.Frame(16)
	typ := t.Mem(cpu.LoadOp, k.dom.At.IsPT-4, 4, 0, 0)
	c := t.Load(k.dom.At.Cookie, 0)
	t.Branch(false, typ) // cookie_type is IOMMU_COOKIE_DMA_MSI
	t.ALU(2, 0)
	sh := t.Mem(cpu.LoadOp, k.at.granule, 8, c, 0)
	t.Branch(false, t.ALU(1, sh))
	t.ALU(1, 0)
	bus := t.Load(dev.At.BusDmaLimit, 0)
	t.ALU(3, bus)
	t.Branch(false, t.Last())
	t.ALU(6, bus)
	f := t.Mem(cpu.LoadOp, k.dom.At.Force, 1, 0, 0)
	t.Branch(false, f)
	end := t.Load(k.dom.At.ApertureEnd, 0)
	t.ALU(4, end)
	l := k.limit(dev)
	sac := l > mask32
	t.Branch(sac, t.Last())
	if sac {
		i := t.Load(dev.At.Iommu, 0)
		w := t.Mem(cpu.LoadOp, dev.At.Workaround, 1, i, 0)
		t.Branch(!dev.Workaround32, w)
		if dev.Workaround32 {
			t.Branch(false, t.ALU(4, sh))
			t.ALU(4, sh)
			t.StackStore(8, 0)
			var pfn uint64
			pfn, ok = k.IOVA.AllocFast(t, t.CPU, size>>s, mask32>>s, false)
			t.StackLoad(8)
			t.ALU(1, 0)
			t.Branch(ok, t.Last())
			addr = pfn << s
			if !ok {
				k.giveUp32(t, dev)
			}
		}
	}
	if !ok {
		t.Branch(false, t.ALU(4, sh))
		t.ALU(4, sh)
		var pfn uint64
		pfn, ok = k.IOVA.AllocFast(t, t.CPU, size>>s, l>>s, true)
		addr = pfn << s
	}
	t.Frame(-16)
	t.ALU(1, 0)
	t.Pop(1)
	t.ALU(1, 0)
	t.Pop(5)
	t.Ret()
	return addr, ok
}
