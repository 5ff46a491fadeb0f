package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

// SG is a scatterlist (struct sg_table): its entries lie at VA, iommucore.SegBytes each, and describe Segs. Mapping fills DMA
// with the device addresses and sizes of the pieces that the device sees: one piece for all of them behind an IOMMU, as many
// as there are entries with dma-direct.
type SG struct {
	VA   uint64
	Segs []iommucore.Segment
	DMA  []iommucore.Segment

	addrs []uint64
}

// Scatter is what a translated backend offers for scatterlists (iommu_dma_map_sg, iommu_dma_unmap_sg) and to those who build
// I/O address ranges themselves.
type Scatter interface {
	MapSG(t *cpu.Thread, d *kernel.Device, list uint64, sg []iommucore.Segment, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	UnmapSG(t *cpu.Thread, d *kernel.Device, list uint64, n int, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs)
	MergeBoundary(t *cpu.Thread, d *kernel.Device) uint64
}

var (
	mapSGTable    = cpu.NewFunc("dma_map_sgtable", "kernel/dma/mapping.c", 128)
	mapSGAttrs    = cpu.NewFunc("__dma_map_sg_attrs", "kernel/dma/mapping.c", 420)
	unmapSGAttrs  = cpu.NewFunc("dma_unmap_sg_attrs", "kernel/dma/mapping.c", 240)
	mergeBoundary = cpu.NewFunc("dma_get_merge_boundary", "kernel/dma/mapping.c", 96)
	needUnmap     = cpu.NewFunc("dma_need_unmap", "kernel/dma/mapping.c", 96)
)

// MapSGTable is dma_map_sgtable: __dma_map_sg_attrs, and the number of mapped entries stored. The dispatch is that of
// dma_map_page_attrs; no recording contains it, so its instructions are those of the recorded dispatch without the conversion.
func (c *Ctx) MapSGTable(t *cpu.Thread, sg *SG, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	g, d := c.Env.Sym, c.Dev
	t.Call(mapSGTable)
	t.Nop(2)
	t.Push(1)
	t.ALU(2, 0)
	t.Load(sg.VA-sgTableBytes, 0) // sgl
	t.Mem(cpu.Load, sg.VA-sgTableBytes+12, 4, 0, 0)
	t.Call(mapSGAttrs)
	t.Nop(2)
	t.Push(6)
	ops := t.LoadOp(g.DmaOps, 0, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(false, t.ALU(1, 0))
	mask := t.LoadOp(d.At.DmaMask, 0, 0)
	t.Branch(false, mask)
	t.ALU(4, 0)
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	sg.DMA = sg.DMA[:0]
	var err error
	if d.IOMMU {
		var addr uint64
		addr, err = c.IOMMU.(Scatter).MapSG(t, d, sg.VA, sg.Segs, dir, attrs)
		if err == nil {
			sg.DMA = append(sg.DMA, iommucore.Segment{Phys: addr, Size: bytes(sg.Segs)})
		}
	} else {
		t.Branch(false, t.ALU(1, ops))
		for len(sg.addrs) < len(sg.Segs) {
			sg.addrs = append(sg.addrs, 0)
		}
		if err = c.Direct.MapSG(t, c.MM, d, sg.VA, sg.Segs, sg.addrs, attrs); err == nil {
			for i, s := range sg.Segs {
				sg.DMA = append(sg.DMA, iommucore.Segment{Phys: sg.addrs[i], Size: s.Size})
			}
		}
	}
	t.Branch(err != nil, t.ALU(2, 0))
	t.Nop(1)
	t.Pop(6)
	t.Ret()
	t.Branch(err != nil, t.ALU(1, 0))
	t.Mem(cpu.Store, sg.VA-sgTableBytes+8, 4, 0, t.ALU(2, 0)) // nents
	t.Pop(1)
	t.Ret()
	return err
}

// sgTableBytes is how far before the entries the struct sg_table lies that points to them, as in the drivers that keep both in
// one object.
const sgTableBytes = 16

// UnmapSGTable is dma_unmap_sgtable, an inline call of dma_unmap_sg_attrs with the entries as they were before mapping.
func (c *Ctx) UnmapSGTable(t *cpu.Thread, sg *SG, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	g, d := c.Env.Sym, c.Dev
	t.Load(sg.VA-sgTableBytes, 0)
	t.Mem(cpu.Load, sg.VA-sgTableBytes+12, 4, 0, 0)
	t.Call(unmapSGAttrs)
	t.Nop(2)
	t.Push(5)
	ops := t.LoadOp(g.DmaOps, 0, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(false, t.ALU(1, 0))
	t.Nop(1)
	t.ALU(4, 0)
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	var err error
	if d.IOMMU {
		c.IOMMU.(Scatter).UnmapSG(t, d, sg.VA, len(sg.Segs), sg.DMA[0].Phys, sg.DMA[0].Size, dir, attrs)
	} else {
		t.Branch(false, t.ALU(1, ops))
		err = c.Direct.UnmapSG(t, d, sg.VA, sg.Segs, sg.addrs, attrs)
	}
	t.Pop(5)
	t.Ret()
	return err
}

func bytes(sg []iommucore.Segment) (n uint64) {
	for _, s := range sg {
		n += s.Size
	}
	return n
}

// MergeBoundary is dma_get_merge_boundary: the granule of the IOMMU less one, 0 when the device's addresses are not translated.
func (c *Ctx) MergeBoundary(t *cpu.Thread) uint64 {
	d := c.Dev
	t.Call(mergeBoundary)
	t.Nop(2)
	ops := t.LoadOp(c.Env.Sym.DmaOps, 0, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(d.IOMMU, t.ALU(1, t.Load(d.At.Flags, 0)))
	if d.IOMMU {
		return c.IOMMU.(Scatter).MergeBoundary(t, d) // reached by a jump, returns for both
	}
	t.Branch(true, t.ALU(1, ops))
	t.ALU(1, 0)
	t.Ret()
	return 0
}

// NeedUnmap is dma_need_unmap of 7.3: whether the device's mappings have to be unmapped at all. Only with dma-direct, as long as
// no buffer of the device has bounced and DMA_API_DEBUG is off, they have not.
func (c *Ctx) NeedUnmap(t *cpu.Thread) bool {
	d := c.Dev
	t.Call(needUnmap)
	t.Nop(2)
	ops := t.LoadOp(c.Env.Sym.DmaOps, 0, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(d.IOMMU, t.ALU(1, t.Load(d.At.Flags, 0)))
	need := d.IOMMU || d.NeedSync || d.NonCoherent || c.Env.Debug.DMAAPI
	if !d.IOMMU {
		t.Branch(false, t.ALU(1, ops))
		t.ALU(3, t.Load(d.At.Flags, 0))
	}
	t.Ret()
	return need
}
