package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapPage73 is dma_map_page_attrs of 7.3: a wrapper that converts to a physical address.
type mapPage73 struct{}

var _ = register(10, mapPage73{})

func (mapPage73) Name() string            { return "map_page@7.3" }
func (mapPage73) Version() kernel.Version { return kernel.V7_3 }

func (mapPage73) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if b.Page == 0 {
		return c.fail(b, ErrNoPage)
	}
	return c.code().mapPage(c, t, b, dir, attrs)
}

func (mapPage73) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.code().unmapPage(c, t, addr, size, dir, attrs)
}
