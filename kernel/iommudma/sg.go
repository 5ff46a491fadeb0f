package iommudma

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

var (
	fnMapSG    = cpu.NewFunc("iommu_dma_map_sg", file, 0x5e0)
	fnFinalise = cpu.NewFunc("__finalise_sg", file, 0x1c0)
	fnUnmapSG  = cpu.NewFunc("iommu_dma_unmap_sg", file, 0x1a0)
)

// MapSG maps a scatterlist as one range (iommu_dma_map_sg, both versions) and returns where it begins: one allocation of
// addresses, one invalidation of the map side, three passes over the entries at list. Every segment but the
// first must start, and every one but the last must end, on a granule, as block requests do. No recording contains a
// scatterlist: the passes are estimated from the structure of the source; what they call is exact.
func (l *Layer) MapSG(t *cpu.Thread, dev *kernel.Device, list uint64, sg []iommucore.Segment, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	k := l.Of(dev)
	if err := k.checkSG(sg); err != nil {
		return kernel.MappingError, err
	}
	t.Call(fnMapSG)
	t.Nop(2)
	t.Push(6)
	t.Frame(56)
	d := getDomain(t, dev)
	c := t.Load(k.dom.At.Cookie, d)
	g := t.Load(k.at.granule, c)
	k.emitMask(t, dev)
	bus := t.LoadOp(dev.At.Bus, 0, 0)
	t.Branch(true, bus)
	t.Branch(true, t.Mem(cpu.LoadOp, dev.At.Untrusted, 1, 0, 0))
	t.ALU(8, g)
	k.emitDir(t, dir)
	// Pass 1: stash offset and length in the DMA fields, align to granules.
	total := uint64(0)
	top := t.Here()
	for i, s := range sg {
		e := list + iommucore.SegBytes*uint64(i)
		p := t.Load(e+iommucore.SegPageLink, 0)
		p = t.ALU(1, p)
		if k.env.P2PDMA { // is_pci_p2pdma_page: the zone in the flags of the struct page
			p = t.Load(cpu.VmemmapBase+s.Phys>>12*64, p)
		}
		t.Branch(false, t.ALU(1, p)) // PCI P2PDMA and the end marker
		off := t.Mem(cpu.Load, e+iommucore.SegOffset, 4, 0, 0)
		ln := t.Mem(cpu.Load, e+iommucore.SegLength, 4, 0, 0)
		o := t.ALU2(off, g)
		t.Store(e+iommucore.SegDMAAddr, 0, o)
		t.Mem(cpu.Store, e+iommucore.SegDMALength, 4, 0, ln)
		t.Mem(cpu.Store, e+iommucore.SegOffset, 4, 0, t.ALU(1, o))
		t.Mem(cpu.Store, e+iommucore.SegLength, 4, 0, t.ALU(3, ln))
		t.Branch(false, t.ALU(4, ln)) // padding for the segment boundary
		t.Loop(top, i+1 < len(sg), t.ALU(2, 0))
		_, n := k.aligned(s.Phys, s.Size)
		total += n
	}
	var addr uint64
	var ok bool
	if k.v == kernel.V7_3 {
		addr, ok = k.allocIova73(t, dev, total)
	} else {
		addr, ok = k.allocIova12(t, dev, total)
	}
	t.Branch(!ok, t.ALU(1, 0))
	err := error(ErrNoIOVA)
	if ok {
		t.ALU(5, 0)
		k.segs = k.segs[:0]
		for _, s := range sg {
			off, n := k.aligned(s.Phys, s.Size)
			k.segs = append(k.segs, iommucore.Segment{Phys: s.Phys - off, Size: n})
		}
		err = k.dom.MapSG(t, addr, list, k.segs, prot(dir, true, attrs))
		t.Branch(err != nil, t.ALU(1, 0))
		if err != nil {
			k.freeIova(t, addr, total)
		} else {
			k.finalise(t, dev, list, len(sg))
		}
	}
	t.Frame(-56)
	t.Pop(6)
	t.Ret()
	return k.mapped(addr+sg[0].Phys&(1<<k.IOVA.Shift()-1), err)
}

func (k *Cookie) checkSG(sg []iommucore.Segment) error {
	if len(sg) == 0 {
		return fmt.Errorf("scatterlist without entries")
	}
	m := uint64(1)<<k.IOVA.Shift() - 1
	for i, s := range sg {
		if s.Size == 0 || i > 0 && s.Phys&m != 0 || i < len(sg)-1 && (s.Phys+s.Size)&m != 0 {
			return fmt.Errorf("scatterlist entry %d: %d bytes at %#x leave a gap between granules of %d bytes", i, s.Size, s.Phys, m+1)
		}
	}
	return nil
}

// finalise is __finalise_sg: restore the entries and concatenate them to one DMA segment.
func (k *Cookie) finalise(t *cpu.Thread, dev *kernel.Device, list uint64, n int) {
	t.Call(fnFinalise)
	t.Nop(1)
	t.Push(6)
	p := t.Load(dev.At.DmaParms, 0)
	t.ALU(6, p)
	top := t.Here()
	for i := 0; i < n; i++ {
		e := list + iommucore.SegBytes*uint64(i)
		off := t.Load(e+iommucore.SegDMAAddr, 0)
		ln := t.Mem(cpu.Load, e+iommucore.SegDMALength, 4, 0, 0)
		t.Mem(cpu.LoadOp, e+iommucore.SegLength, 4, 0, ln)
		t.Mem(cpu.RMW, e+iommucore.SegOffset, 4, 0, off)
		t.Mem(cpu.Store, e+iommucore.SegLength, 4, 0, ln)
		t.Store(e+iommucore.SegDMAAddr, 0, 0)
		t.Mem(cpu.Store, e+iommucore.SegDMALength, 4, 0, 0)
		t.Branch(i == 0, t.ALU(4, off))
		t.ALU(3, ln)
		if i > 0 {
			t.Mem(cpu.RMW, list+iommucore.SegDMALength, 4, 0, ln)
		} else {
			t.Store(e+iommucore.SegDMAAddr, 0, 0)
			t.Mem(cpu.Store, e+iommucore.SegDMALength, 4, 0, ln)
		}
		t.Load(e+iommucore.SegPageLink, 0)
		t.Loop(top, i+1 < n, t.ALU(3, 0))
	}
	t.Pop(6)
	t.Ret()
}

// UnmapSG undoes a MapSG of n entries and size bytes that returned addr (iommu_dma_unmap_sg): the range is found through
// the DMA fields of the first entries and unmapped at once.
func (l *Layer) UnmapSG(t *cpu.Thread, dev *kernel.Device, list uint64, n int, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	k := l.Of(dev)
	k.Stats.Unmaps++
	t.Call(fnUnmapSG)
	t.Nop(2)
	t.Push(5)
	t.ALU(6, 0)
	// The first entry holds the whole range, the second (if there is one) a length of 0, which ends the list.
	for i := range min(n, 2) {
		e := list + iommucore.SegBytes*uint64(i)
		t.Branch(false, t.ALU(1, t.Mem(cpu.Load, e+iommucore.SegDMALength, 4, 0, 0)))
		t.Load(e+iommucore.SegPageLink, 0)
		t.ALU(3, t.Load(e+iommucore.SegDMAAddr, 0))
	}
	t.ALU(4, 0)
	t.Pop(5)
	t.TailCall(fnUnmapIn)
	if k.v == kernel.V7_3 {
		k.unmapIn73(t, dev, addr, size)
	} else {
		k.unmapIn12(t, dev, addr, size)
	}
}

var fnMergeBoundary = cpu.NewFunc("iommu_dma_get_merge_boundary", file, 0x30)

// MergeBoundary is iommu_dma_get_merge_boundary: the smallest page of the domain less one. dma_get_merge_boundary jumps here.
func (l *Layer) MergeBoundary(t *cpu.Thread, dev *kernel.Device) uint64 {
	k := l.Of(dev)
	t.TailCall(fnMergeBoundary)
	t.Nop(2)
	getDomain(t, dev)
	sizes := t.Load(k.dom.At.PgsizeBitmap, 0)
	t.ALU(2, t.Op(cpu.BitScan, sizes))
	t.Ret()
	return k.dom.PgsizeBitmap&-k.dom.PgsizeBitmap - 1
}
