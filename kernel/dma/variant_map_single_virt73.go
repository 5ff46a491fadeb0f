package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapSingleVirt73 is a design that was proposed in the debate, on the code of 7.3: the virtual address is an input of its own. It is
// converted to a physical address at once (virt_to_phys), without a struct page in between, and the vmalloc test is kept. No
// kernel has it: 7.3 goes from the virtual address to a struct page and from there to the physical address (map_single@7.3).
// Unmapping is the same as map_phys@7.3.
type mapSingleVirt73 struct{ mapPhysVariant }

var _ = register(42, mapSingleVirt73{})

var mapSingleVirt = cpu.NewFunc("dma_map_single (virt)", "include/linux/dma-mapping.h", 128)

func (mapSingleVirt73) Name() string { return "map_single_virt@7.3" }

func (mapSingleVirt73) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	// Memory that the linear map does not contain has a virtual address in vmalloc space, if it has one at all (ioremap).
	vm := b.Virt != 0 || b.Page == 0
	if addr, err := c.enterSingle73(t, mapSingleVirt, b, vm); err != nil {
		return addr, err
	}
	phys, v := c.MM.VirtToPhys(t, kernel.Virt(b.Phys), t.ALU(1, 0))
	t.ALU(3, v)
	t.Pop(3)
	t.TailCall(mapPhys73)
	return c.code().mapPhysBody(c, t, phys, b.Size, dir, attrs)
}
