package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mapops"
	"dmapath/kernel/scatterlist"
)

// mapOps12 calls ops->map_page. 6.12 does not look whether there is one.
func (c *Ctx) mapOps12(t *cpu.Thread, ops cpu.Val, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	fn := c.Ops.Load(t, mapops.MapPage, ops)
	t.StackStore(0, 0)
	if c.Ops.Missing[mapops.MapPage] {
		c.Env.Report(t, kernel.CallsNothing, 0, false, "ops->map_page is null")
		return kernel.MappingError, mapops.ErrNullCall
	}
	return c.Ops.Map(t, fn, c.Dev, phys, size, dir, attrs)
}

// mapOps73 calls ops->map_phys if there is one.
func (c *Ctx) mapOps73(t *cpu.Thread, ops cpu.Val, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	fn := c.Ops.Load(t, mapops.MapPage, ops)
	none := c.Ops.Missing[mapops.MapPage]
	t.Branch(none, t.ALU(1, fn))
	if none {
		return kernel.MappingError, mapops.ErrNoMapPhys
	}
	t.ALU(5, 0)
	return c.Ops.Map(t, fn, c.Dev, phys, size, dir, attrs)
}

// unmapOps calls ops->unmap_page (6.12) or, if there is one, ops->unmap_phys (7.3).
func (c *Ctx) unmapOps(t *cpu.Thread, ops cpu.Val, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	fn := c.Ops.Load(t, mapops.UnmapPage, ops)
	none := c.Ops.Missing[mapops.UnmapPage]
	if c.Env.Version == kernel.V7_3 {
		t.Branch(none, t.ALU(1, fn))
	}
	switch {
	case none && c.Env.Version == kernel.V7_3:
		return nil
	case none:
		c.Env.Report(t, kernel.CallsNothing, 0, false, "ops->unmap_page is null")
		return mapops.ErrNullCall
	}
	t.ALU(5, 0)
	return c.Ops.Unmap(t, fn, c.Dev, addr, size, dir, attrs)
}

// mapResourceOps12 is what dma_map_resource of 6.12 does with a table: an error unless it has map_resource, which no provider here has.
func (c *Ctx) mapResourceOps12(t *cpu.Thread, ops cpu.Val) (uint64, error) {
	fn := c.Ops.Load(t, mapops.MapResource, ops)
	t.Branch(true, t.ALU(1, fn))
	return kernel.MappingError, mapops.ErrMMIO
}

// mapSGOps and unmapSGOps call ops->map_sg and ops->unmap_sg.
func (c *Ctx) mapSGOps(t *cpu.Thread, ops cpu.Val, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	fn := c.Ops.Load(t, mapops.MapSG, ops)
	if c.Ops.Missing[mapops.MapSG] {
		c.Env.Report(t, kernel.CallsNothing, 0, false, "ops->map_sg is null")
		return mapops.ErrNullCall
	}
	t.ALU(4, 0)
	return c.Ops.MapSG(t, fn, c.Dev, l, dir, attrs)
}

func (c *Ctx) unmapSGOps(t *cpu.Thread, ops cpu.Val, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	fn := c.Ops.Load(t, mapops.UnmapSG, ops)
	t.Branch(c.Ops.Missing[mapops.UnmapSG], t.ALU(1, fn))
	if c.Ops.Missing[mapops.UnmapSG] {
		return nil
	}
	t.ALU(4, 0)
	return c.Ops.UnmapSG(t, fn, c.Dev, l, dir, attrs)
}

// syncOps is a sync of a device with a table: the providers here have no sync functions, which is why dma_skip_sync stays set for their
// devices and only DMA_API_DEBUG comes here.
func (c *Ctx) syncOps(t *cpu.Thread, ops cpu.Val) {
	t.Branch(true, t.ALU(1, t.Load(c.Ops.VA+0x60, ops)))
}
