package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapResource is dma_map_resource and dma_unmap_resource: device memory by its physical address.
type mapResource struct{ v kernel.Version }

var (
	_ = register(50, mapResource{kernel.V6_12})
	_ = register(51, mapResource{kernel.V7_3})
)

func (m mapResource) Name() string            { return "map_resource@" + m.v.String() }
func (m mapResource) Version() kernel.Version { return m.v }
func (m mapResource) Maps() Memory            { return DeviceMemory }

func (m mapResource) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	return c.MapResource(t, b.Phys, b.Size, dir, attrs)
}

func (m mapResource) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.UnmapResource(t, addr, size, dir, attrs)
}
