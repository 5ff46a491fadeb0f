package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapPhysMMIO73 is dma_map_phys and dma_unmap_phys with DMA_ATTR_MMIO: what replaces dma_map_resource.
type mapPhysMMIO73 struct{ mapPhysVariant }

var _ = register(52, mapPhysMMIO73{})

func (mapPhysMMIO73) Name() string { return "map_phys_mmio@7.3" }
func (mapPhysMMIO73) Maps() Memory { return DeviceMemory }

func (mapPhysMMIO73) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	return c.code().mapPhys(c, t, b.Phys, b.Size, dir, attrs|kernel.AttrMMIO)
}

func (mapPhysMMIO73) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.code().unmapPhys(c, t, addr, size, dir, attrs|kernel.AttrMMIO)
}
