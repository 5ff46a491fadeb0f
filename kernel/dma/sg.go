package dma

import (
	"errors"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/scatterlist"
)

// SG is struct sg_table: a scatterlist whose entries lie at VA, scatterlist.Bytes each, and describe Segs. Mapping fills DMA with the
// device addresses (in the field Phys) and sizes of the pieces that the device sees: behind an IOMMU entries that meet without a gap are
// one piece, as far as the limits of the device allow; with dma-direct there are as many as entries.
type SG struct {
	VA    uint64
	Table uint64 // where the struct sg_table itself lies; 0: just before its entries
	Segs  []iommucore.Segment
	DMA   []iommucore.Segment

	list scatterlist.List
}

// ErrEmptyList: a scatterlist without entries.
var ErrEmptyList = errors.New("scatterlist without entries")

var (
	mapSGTable    = cpu.NewFunc("dma_map_sgtable", "kernel/dma/mapping.c", 128)
	mapSGAttrs    = cpu.NewFunc("__dma_map_sg_attrs", "kernel/dma/mapping.c", 420)
	unmapSGAttrs  = cpu.NewFunc("dma_unmap_sg_attrs", "kernel/dma/mapping.c", 240)
	mergeBoundary = cpu.NewFunc("dma_get_merge_boundary", "kernel/dma/mapping.c", 96)
	needUnmap     = cpu.NewFunc("dma_need_unmap", "kernel/dma/mapping.c", 96)
)

// MapSGTable is dma_map_sgtable: __dma_map_sg_attrs, and the number of mapped entries stored.
func (c *Ctx) MapSGTable(t *cpu.Thread, sg *SG, dir kernel.Direction, attrs kernel.Attrs) error {
	l := &sg.list
	l.VA, l.Table = sg.VA, sg.Table
	l.Reset()
	for _, s := range sg.Segs {
		c.AddPiece(l, s.Phys, s.Size)
	}
	err := c.mapSGTable(t, l, dir, attrs)
	sg.DMA = sg.DMA[:0]
	for _, e := range l.Segments() {
		sg.DMA = append(sg.DMA, iommucore.Segment{Phys: e.Addr, Size: e.Len})
	}
	return err
}

func (c *Ctx) mapSGTable(t *cpu.Thread, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	if len(l.Entries) == 0 {
		return ErrEmptyList
	}
	t.Call(mapSGTable)
	t.Nop(2)
	t.Push(1)
	t.ALU(2, 0)
	t.Load(tableOf(l), 0) // sgl
	t.Mem(cpu.Load, tableOf(l)+12, 4, 0, 0)
	err := c.mapSG(t, l, dir, attrs)
	t.Branch(err != nil, t.ALU(1, 0))
	t.Mem(cpu.Store, tableOf(l)+8, 4, 0, t.ALU(2, 0)) // nents
	t.Pop(1)
	t.Ret()
	return err
}

// mapSG is __dma_map_sg_attrs. The dispatch is that of dma_map_page_attrs; no recording contains it, so its instructions are those of
// the recorded dispatch without the conversion, and on 7.3 the test of one more attribute.
func (c *Ctx) mapSG(t *cpu.Thread, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	d := c.Dev
	t.Call(mapSGAttrs)
	t.Nop(2)
	t.Push(6)
	ops := c.getOps(t)
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.LoadOp(d.At.DmaMask, 0, 0))
	t.ALU(4, 0)
	if c.Env.Version == kernel.V7_3 {
		refused := c.mustNotSnoop(attrs)
		t.Branch(refused, t.ALU(1, 0)) // DMA_ATTR_REQUIRE_COHERENT
		if refused {
			t.Pop(6)
			t.Ret()
			return ErrNotCoherent
		}
	} else {
		attrs = known12(attrs)
	}
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	err := c.mapSGBody(t, l, dir, attrs, ops)
	t.Branch(err != nil, t.ALU(2, 0))
	c.mapSGDone(t, l, dir, err)
	t.Pop(6)
	t.Ret()
	return err
}

// mapSGBody hands the list over to the backend.
func (c *Ctx) mapSGBody(t *cpu.Thread, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs, ops cpu.Val) error {
	if c.Dev.IOMMU {
		return c.IOMMU.MapSG(t, c.Dev, l, dir, attrs)
	}
	t.Branch(c.Ops != nil, t.ALU(1, ops))
	if c.Ops != nil {
		return c.mapSGOps(t, ops, l, dir, attrs)
	}
	return c.Direct.MapSG(t, c.MM, c.Dev, l, dir, attrs)
}

// sgTableBytes is how far before the entries the struct sg_table lies that points to them, as in the drivers that keep both in
// one object.
const sgTableBytes = 16

func tableOf(l *scatterlist.List) uint64 {
	if l.Table != 0 {
		return l.Table
	}
	return l.VA - sgTableBytes
}

// UnmapSGTable is dma_unmap_sgtable, an inline call of dma_unmap_sg_attrs with the entries as they were before mapping.
func (c *Ctx) UnmapSGTable(t *cpu.Thread, sg *SG, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.unmapSGTable(t, &sg.list, dir, attrs)
}

func (c *Ctx) unmapSGTable(t *cpu.Thread, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	d := c.Dev
	t.Load(tableOf(l), 0)
	t.Mem(cpu.Load, tableOf(l)+12, 4, 0, 0)
	t.Call(unmapSGAttrs)
	t.Nop(2)
	t.Push(5)
	ops := c.getOps(t)
	t.Branch(false, t.ALU(1, 0))
	c.unmapSGFirst(t, l, dir)
	t.ALU(4, 0)
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	err := c.unmapSGBody(t, l, dir, attrs, ops)
	t.Pop(5)
	t.Ret()
	return err
}

func (c *Ctx) unmapSGBody(t *cpu.Thread, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs, ops cpu.Val) error {
	if c.Dev.IOMMU {
		c.IOMMU.UnmapSG(t, c.Dev, l, dir, attrs)
		return nil
	}
	t.Branch(c.Ops != nil, t.ALU(1, ops))
	if c.Ops != nil {
		return c.unmapSGOps(t, ops, l, dir, attrs)
	}
	c.Direct.UnmapSG(t, c.Dev, l, dir, attrs)
	return nil
}

// MergeBoundary is dma_get_merge_boundary: the granule of the IOMMU less one, 0 when the device's addresses are not translated.
func (c *Ctx) MergeBoundary(t *cpu.Thread) uint64 {
	d := c.Dev
	t.Call(mergeBoundary)
	t.Nop(2)
	ops := c.getOps(t)
	t.Branch(d.IOMMU, t.ALU(1, t.Load(d.At.Flags, 0)))
	if d.IOMMU {
		return c.IOMMU.MergeBoundary(t, d) // reached by a jump, returns for both
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
	ops := c.getOps(t)
	t.Branch(d.IOMMU, t.ALU(1, t.Load(d.At.Flags, 0)))
	need := d.IOMMU || c.Ops != nil || d.NeedSync || coherency.Needed(c.Env, d) || c.Env.Debug.DMAAPI
	if !d.IOMMU {
		t.Branch(c.Ops != nil, t.ALU(1, ops))
		if c.Ops == nil {
			t.ALU(3, t.Load(d.At.Flags, 0))
		}
	}
	t.Ret()
	return need
}

// getOps emits get_dma_ops where no recording shows it: the device's operations, else the architecture's, of which arm64 has none.
func (c *Ctx) getOps(t *cpu.Thread) cpu.Val {
	own := t.ALU(1, t.Load(c.Dev.At.DmaOps, 0))
	if t.ISA == cpu.A64 {
		return own
	}
	return t.LoadOp(c.Env.Sym.DmaOps, 0, own)
}
