package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapPage12 is dma_map_page_attrs and dma_unmap_page_attrs of 6.12: the caller passes a struct page.
type mapPage12 struct{}

var _ = register(0, mapPage12{})

func (mapPage12) Name() string            { return "map_page@6.12" }
func (mapPage12) Version() kernel.Version { return kernel.V6_12 }

func (mapPage12) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if b.Page == 0 {
		return c.fail(b, ErrNoPage)
	}
	return c.code().mapPage(c, t, b, dir, attrs)
}

func (mapPage12) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.code().unmapPage(c, t, addr, size, dir, attrs)
}
