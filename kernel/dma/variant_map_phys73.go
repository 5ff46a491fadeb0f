package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapPhysVariant is dma_map_phys and dma_unmap_phys of 7.3: the caller passes a physical address.
type mapPhysVariant struct{}

var _ = register(20, mapPhysVariant{})

func (mapPhysVariant) Name() string            { return "map_phys@7.3" }
func (mapPhysVariant) Version() kernel.Version { return kernel.V7_3 }

func (mapPhysVariant) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	return c.code().mapPhys(c, t, b.Phys, b.Size, dir, attrs)
}

func (mapPhysVariant) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.code().unmapPhys(c, t, addr, size, dir, attrs)
}
