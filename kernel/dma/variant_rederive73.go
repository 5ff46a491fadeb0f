package dma

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
)

// rederive73 is the design as it was attacked when dma_map_phys was proposed, on the code of 7.3: the caller has a struct
// page and converts it with page_to_phys(), and the implementation, which has thrown the page away, asks pfn_valid() and
// derives it again with phys_to_page(), on every call. No merged kernel does this (the 2025 postings asked pfn_valid() only
// where they were about to bounce). What it costs depends on the memory model and on where the section tables are.
// Unmapping is the same as map_phys@7.3.
type rederive73 struct{ mapPhysVariant }

var _ = register(30, rederive73{})

var mapPhysRederive = cpu.NewFunc("dma_map_phys (rederive)", "kernel/dma/mapping.c", 620)

func (rederive73) Name() string { return "map_phys_rederive@7.3" }

func (rederive73) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	phys, pv := b.Phys, cpu.Val(0)
	if b.Page != 0 {
		phys, pv = c.MM.PageToPhys(t, b.Page, 0)
		phys += b.Phys & 4095
		pv = t.ALU2(pv, 0) // + offset
	}
	t.Call(mapPhysRederive)
	if attrs&kernel.AttrMMIO == 0 {
		pfn := t.ALU(1, pv) // PHYS_PFN
		ok := c.MM.PfnValid(t, phys>>12, pfn)
		t.Branch(!ok, t.Last())
		if !ok {
			t.ALU(1, 0)
			t.Ret()
			return c.fail(b, fmt.Errorf("pfn_valid(%#x) is false: %w", phys>>12, ErrNoPage))
		}
		c.MM.PhysToPage(t, phys, pv)
		t.ALU(1, pv) // offset within the page
	}
	return c.code().mapPhysBody(c, t, phys, b.Size, dir, attrs)
}
