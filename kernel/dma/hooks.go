package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/scatterlist"
)

// What a kernel with debug options does behind every call. In the recorded kernels all of it is one patched nop per call, the trace point.

// mapDone comes after a map: kmsan_handle_dma, the trace point, and debug_dma_map_page or _phys if something was mapped.
func (c *Ctx) mapDone(t *cpu.Thread, phys, size, addr uint64, dir kernel.Direction, mmio bool, err error) {
	if c.KMSAN != nil && !mmio {
		c.KMSAN.HandleDMA(t, phys, size, dir)
	}
	c.Env.TracePoint(t, kernel.EventMap, 0, c.Dev)
	if c.Debug != nil && err == nil {
		c.Debug.Map(t, c.Dev, addr, phys, size, dir, mmio)
	}
}

// unmapDone comes after an unmap.
func (c *Ctx) unmapDone(t *cpu.Thread, addr, size uint64, dir kernel.Direction, mmio bool) {
	c.Env.TracePoint(t, kernel.EventUnmap, 0, c.Dev)
	if c.Debug != nil {
		c.Debug.Unmap(t, c.Dev, addr, size, dir, mmio)
	}
}

// syncDone comes after a sync that was not skipped.
func (c *Ctx) syncDone(t *cpu.Thread, addr, size uint64, dir kernel.Direction) {
	c.Env.TracePoint(t, kernel.EventSync, 0, c.Dev)
	if c.Debug != nil {
		c.Debug.Sync(t, c.Dev, addr, size, dir)
	}
}

// mapSGDone comes after the map of a list. The record of the event has address and length of up to 128 entries.
func (c *Ctx) mapSGDone(t *cpu.Thread, l *scatterlist.List, dir kernel.Direction, err error) {
	if err != nil {
		t.Nop(1) // dma_map_sg_err has a trace point of its own, in a path that is not taken
		return
	}
	if c.KMSAN != nil {
		for i := range l.Entries {
			c.KMSAN.HandleDMA(t, l.Entries[i].Phys, l.Entries[i].Size, dir)
		}
	}
	n, m := min(len(l.Entries), kernel.EventArrayMost), min(l.Nents, kernel.EventArrayMost)
	c.Env.TracePoint(t, kernel.EventMapSG, n*8+m*(8+4), c.Dev)
	if c.Debug != nil {
		c.Debug.MapSG(t, c.Dev, l, dir)
	}
}

// unmapSGFirst comes before the unmap of a list.
func (c *Ctx) unmapSGFirst(t *cpu.Thread, l *scatterlist.List, dir kernel.Direction) {
	c.Env.TracePoint(t, kernel.EventUnmapSG, len(l.Entries)*8, c.Dev)
	if c.Debug != nil {
		c.Debug.UnmapSG(t, c.Dev, l, dir)
	}
}
