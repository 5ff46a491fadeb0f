package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
)

// mapSingle is dma_map_single: the caller has a kernel virtual address. It tests for vmalloc memory, converts to a struct
// page and calls dma_map_page_attrs; on 7.3 that converts on to a physical address.
type mapSingle struct{ v kernel.Version }

var (
	_ = register(40, mapSingle{kernel.V6_12})
	_ = register(41, mapSingle{kernel.V7_3})
)

var (
	isVmalloc      = cpu.NewFunc("is_vmalloc_addr", "mm/vmalloc.c", 64)
	mapSingleAttrs = cpu.NewFunc("dma_map_single_attrs", "include/linux/dma-mapping.h", 160)
)

func (m mapSingle) Name() string            { return "map_single@" + m.v.String() }
func (m mapSingle) Version() kernel.Version { return m.v }

func (m mapSingle) Map(t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if b.Page == 0 && b.Virt == 0 {
		return c.fail(b, ErrNoPage)
	}
	if b.Virt == 0 {
		b.Page, _ = c.MM.PfnToPage(nil, b.Phys>>12, 0)
	}
	return c.code().mapSingle(c, t, b, dir, attrs)
}

func (m mapSingle) Unmap(t *cpu.Thread, c *Ctx, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	return c.code().unmapPage(c, t, addr, size, dir, attrs)
}

// mapSingle12 is what gcc 12 inlines into the driver.
func (c *Ctx) mapSingle12(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	vm := b.Virt != 0
	t.StackLoad(0)
	c.isVmalloc(t, vm)
	t.Branch(!vm, t.ALU(1, 0))
	if vm {
		return c.warnVmalloc(t, b)
	}
	// virt_to_page, between the loads of what the driver keeps on its stack
	va := t.Mem(cpu.LoadOp, t.SP()+16, 8, 0, 0)
	t.Load(c.Env.Sym.PhysBase, 0)
	t.Branch(false, va)
	off := t.LoadOp(c.Env.Sym.PageOffsetBase, 0, t.ALU(1, 0))
	t.StackLoad(0)
	t.StackLoad(24)
	t.ALU(3, 0)
	pa := t.ALU2(off, va)
	t.ALU(1, 0)
	if c.MM.Memory().Model == mm.SparseVmemmap {
		t.LoadOp(c.Env.Sym.VmemmapBase, 0, t.Chain(2, pa))
	} else {
		c.MM.PfnToPage(t, b.Phys>>12, t.ALU(1, pa))
	}
	return c.mapPage12(t, b, dir, attrs)
}

// mapSingle73 is dma_map_single_attrs, which gcc 14 keeps as a function of the driver.
func (c *Ctx) mapSingle73(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if addr, err := c.enterSingle73(t, mapSingleAttrs, b, b.Virt != 0); err != nil {
		return addr, err
	}
	t.ALU(1, 0)
	_, v := c.MM.VirtToPage(t, kernel.Virt(b.Phys), 0)
	t.Jump()
	t.ALU(7, v)
	t.Pop(3)
	t.TailCall(mapPageAttrs73)
	return c.mapPageBody73(t, b, dir, attrs)
}

// enterSingle73 emits the beginning of f, an inline function of 7.3 that takes a virtual address: three registers are saved, and
// memory of vmalloc space (vm) is refused with an error, f being over then.
func (c *Ctx) enterSingle73(t *cpu.Thread, f *cpu.Func, b Buffer, vm bool) (uint64, error) {
	t.Call(f)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	c.isVmalloc(t, vm)
	t.Branch(vm, t.ALU(1, 0))
	if vm {
		addr, err := c.warnVmalloc(t, b)
		t.Pop(3)
		t.Ret()
		return addr, err
	}
	return 0, nil
}

// isVmalloc emits is_vmalloc_addr: 7 instructions for a direct-map address, 11 for one in vmalloc space.
func (c *Ctx) isVmalloc(t *cpu.Thread, yes bool) {
	if t.ISA == cpu.A64 {
		isVmallocArm(t)
		return
	}
	t.Call(isVmalloc)
	t.Nop(2)
	base := t.Load(c.Env.Sym.VmallocBase, 0)
	t.ALU(1, 0)
	t.Branch(!yes, t.ALU2(base, 0))
	if yes {
		t.ALU(4, base)
	}
	t.Ret()
}

// warnVmalloc emits what WARN_ON_ONCE does after the first time: a test of its flag. The trap and the message of the first time are
// not modelled.
func (c *Ctx) warnVmalloc(t *cpu.Thread, b Buffer) (uint64, error) {
	if t.ISA == cpu.A64 {
		return c.warnVmallocArm(t, b)
	}
	t.Branch(true, t.Mem(cpu.LoadOp, c.Env.Sym.VmallocBase+16, 1, 0, 0))
	t.ALU(1, 0)
	return c.fail(b, ErrVmalloc)
}
