package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// mapSingle12arm is dma_map_single of 6.12 on arm64, inlined into the driver: 12 instructions, and is_vmalloc_addr. Only its counts
// are recorded.
func (c *Ctx) mapSingle12arm(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	vm := b.Virt != 0
	va := t.ALU(1, 0)
	c.isVmalloc(t, vm)
	t.Branch(vm, t.Last())
	if vm {
		return c.warnVmalloc(t, b)
	}
	c.MM.VirtToPage(t, kernel.Virt(b.Phys), va)
	return c.mapPage12arm(t, b, dir, attrs)
}

// mapSingle73arm is dma_map_single_attrs, which gcc 14 keeps as a function of the driver: 29 instructions, and is_vmalloc_addr. Only
// its counts are recorded.
func (c *Ctx) mapSingle73arm(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	vm := b.Virt != 0
	t.Call(mapSingleAttrs)
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(4)
	va := t.ALU(3, 0)
	c.isVmalloc(t, vm)
	t.Branch(vm, t.Last())
	var addr uint64
	var err error
	if vm {
		addr, err = c.warnVmalloc(t, b)
	} else {
		_, page := c.MM.VirtToPage(t, kernel.Virt(b.Phys), va)
		t.ALU(5, page)
		addr, err = c.mapPage73arm(t, b, dir, attrs)
	}
	t.Pop(6)
	t.Nop(1)
	t.Ret()
	return addr, err
}

// isVmallocArm emits is_vmalloc_addr on arm64, where the area's limits are constants: 7 instructions, whatever the answer is.
func isVmallocArm(t *cpu.Thread) {
	t.Call(isVmalloc)
	t.ALU(1, 0)
	t.Nop(1)
	t.ALU(4, 0)
	t.Ret()
}

// warnVmallocArm is warnVmalloc.
func (c *Ctx) warnVmallocArm(t *cpu.Thread, b Buffer) (uint64, error) {
	once := t.Mem(cpu.Load, c.Env.Sym.VmallocBase+16, 1, t.ALU(1, 0), 0)
	t.Branch(true, once)
	t.ALU(1, 0)
	return c.fail(b, ErrVmalloc)
}
