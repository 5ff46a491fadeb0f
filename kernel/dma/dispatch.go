package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// dispatch is kernel/dma/mapping.c of one architecture and version. What a version does not have is nil.
type dispatch struct {
	mapPage       func(c *Ctx, t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	unmapPage     func(c *Ctx, t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error
	mapPhys       func(c *Ctx, t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	mapPhysBody   func(c *Ctx, t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) // it was entered
	unmapPhys     func(c *Ctx, t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error
	mapResource   func(c *Ctx, t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	unmapResource func(c *Ctx, t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error
	// mapSingle is what the compiler makes of dma_map_single in a driver.
	mapSingle func(c *Ctx, t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
}

var dispatches = [...][2]dispatch{
	cpu.X86: {
		kernel.V6_12: {mapPage: (*Ctx).mapPage12, unmapPage: (*Ctx).unmapPage12, mapResource: (*Ctx).mapResource12, unmapResource: (*Ctx).unmapResource12,
			mapSingle: (*Ctx).mapSingle12},
		kernel.V7_3: {mapPage: (*Ctx).mapPage73, unmapPage: (*Ctx).unmapPage73, mapPhys: (*Ctx).mapPhys73, mapPhysBody: (*Ctx).mapPhysBody73, unmapPhys: (*Ctx).unmapPhys73,
			mapResource: (*Ctx).mapResource73, unmapResource: (*Ctx).unmapResource73, mapSingle: (*Ctx).mapSingle73},
	},
	cpu.A64: {
		kernel.V6_12: {mapPage: (*Ctx).mapPage12arm, unmapPage: (*Ctx).unmapPage12arm, mapResource: (*Ctx).mapResource12arm,
			unmapResource: (*Ctx).unmapResource12arm, mapSingle: (*Ctx).mapSingle12arm},
		kernel.V7_3: {mapPage: (*Ctx).mapPage73arm, unmapPage: (*Ctx).unmapPage73arm, mapPhys: (*Ctx).mapPhys73arm, mapPhysBody: (*Ctx).mapPhysBody73arm, unmapPhys: (*Ctx).unmapPhys73arm,
			mapResource: (*Ctx).mapResource73arm, unmapResource: (*Ctx).unmapResource73arm, mapSingle: (*Ctx).mapSingle73arm},
	},
}

// code returns the dispatch that c's kernel was built with.
func (c *Ctx) code() *dispatch { return &dispatches[c.Env.Arch.ISA()][c.Env.Version] }

// MapResource is dma_map_resource: MMIO of another device. On 7.3 it is dma_map_phys with AttrMMIO.
func (c *Ctx) MapResource(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	return c.code().mapResource(c, t, phys, size, dir, attrs)
}

// UnmapResource is dma_unmap_resource. With dma-direct on 6.12 there is nothing to undo.
func (c *Ctx) UnmapResource(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.code().unmapResource(c, t, addr, size, dir, attrs)
}
