package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
)

// mapPage12arm is dma_map_page_attrs of 6.12 on arm64: 80 instructions with dma-direct inlined, 46 to hand over to iommu-dma. There
// is no architecture's dma_ops to fall back to.
func (c *Ctx) mapPage12arm(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	checkDirection(dir)
	attrs = known12(attrs)
	v, d := kernel.V6_12, c.Dev
	t.Call(mapPageAttrs12)
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(16)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.StackStore(24, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	ops := t.Load(d.At.DmaOps, 0)
	t.Branch(false, t.ALU(1, 0))
	t.Push(2)
	dev := t.ALU(1, 0)
	mask := t.Load(d.At.DmaMask, dev)
	t.Branch(false, mask)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	size := t.ALU(2, 0)
	t.Branch(d.IOMMU, t.Load(d.At.Flags, dev))
	t.Reserve(16)
	var addr uint64
	var err error
	if d.IOMMU {
		addr, err = c.IOMMU.Map(t, d, b.Phys, b.Size, dir, attrs)
		t.ALU(1, 0)
		t.Jump()
	} else if t.Branch(c.Ops != nil, ops); c.Ops != nil {
		t.Reserve(16) // a slot for the provider's path
		addr, err = c.mapOps12(t, ops, b.Phys, b.Size, dir, attrs)
		t.Reserve(-16)
		t.ALU(1, 0)
		t.Jump()
	} else {
		addr, err = c.Direct.MapPage12arm(t, c.MM, d, b.Page, b.Phys, b.Size, dir, attrs, direct.Regs{Dev: dev, Mask: mask, Size: size})
	}
	c.mapDone(t, b.Phys, b.Size, addr, dir, false, err)
	t.Reserve(-16)
	t.Pop(6)
	kernel.CheckGuard(t, v, 40)
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(2)
	t.Frame(-16)
	t.Nop(1)
	t.Ret()
	return addr, err
}

// unmapPage12arm is dma_unmap_page_attrs of 6.12 on arm64: 51 instructions with dma-direct inlined, 29 to hand over.
func (c *Ctx) unmapPage12arm(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	attrs = known12(attrs)
	d := c.Dev
	t.Call(unmapPageAttrs12)
	t.ALU(1, 0)
	t.Nop(1)
	ops := t.Load(d.At.DmaOps, 0)
	t.Branch(false, t.ALU(1, 0))
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	dev := t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	flags := t.Load(d.At.Flags, 0)
	t.Branch(d.IOMMU, flags)
	var err error
	if d.IOMMU {
		c.IOMMU.Unmap(t, d, addr, size, dir, attrs)
		t.Jump()
	} else if t.Branch(c.Ops != nil, ops); c.Ops != nil {
		err = c.unmapOps(t, ops, addr, size, dir, attrs)
		t.Jump()
	} else {
		c.Direct.UnmapPage12arm(t, d, addr, size, dir, attrs, flags, direct.Regs{Dev: dev})
	}
	c.unmapDone(t, addr, size, dir, false)
	t.Pop(9)
	t.Nop(1)
	t.Ret()
	return err
}

// mapResource12arm is dma_map_resource of 6.12 on arm64: 33 instructions. Only its counts are recorded.
func (c *Ctx) mapResource12arm(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	checkDirection(dir)
	attrs = known12(attrs)
	d := c.Dev
	t.Call(mapResource12)
	t.ALU(1, 0)
	t.Nop(2)
	ops := t.Load(d.At.DmaOps, 0)
	t.Branch(false, t.ALU(1, 0))
	t.Push(2)
	t.ALU(1, 0)
	t.Push(4)
	t.Branch(false, t.Load(d.At.DmaMask, 0))
	t.ALU(2, 0)
	t.Push(3)
	t.ALU(4, 0)
	t.Branch(d.IOMMU, t.Load(d.At.Flags, 0))
	var addr uint64
	var err error
	if d.IOMMU {
		t.ALU(1, 0)
		addr, err = c.IOMMU.Map(t, d, phys, size, dir, attrs|kernel.AttrMMIO)
	} else if t.Branch(c.Ops != nil, ops); c.Ops != nil {
		addr, err = c.mapResourceOps12(t, ops)
	} else {
		addr, err = c.Direct.MapResource12arm(t, d, phys, size)
	}
	t.ALU(1, 0)
	c.mapDone(t, phys, size, addr, dir, true, err)
	t.Pop(9)
	t.Nop(1)
	t.Ret()
	return addr, err
}

// unmapResource12arm is dma_unmap_resource of 6.12 on arm64. Only its counts are recorded. With dma-direct there is nothing to undo.
func (c *Ctx) unmapResource12arm(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	attrs = known12(attrs)
	d := c.Dev
	t.Call(unmapResource12)
	t.ALU(1, 0)
	t.Nop(1)
	ops := t.Load(d.At.DmaOps, 0)
	t.Branch(false, t.ALU(1, 0))
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(6)
	t.ALU(5, 0)
	t.Branch(d.IOMMU, t.Load(d.At.Flags, 0))
	if d.IOMMU {
		c.IOMMU.Unmap(t, d, addr, size, dir, attrs|kernel.AttrMMIO)
		t.Jump()
	} else {
		t.Branch(c.Ops == nil, ops)
	}
	c.unmapDone(t, addr, size, dir, true)
	t.Pop(8)
	t.Nop(1)
	t.Ret()
	return nil
}
