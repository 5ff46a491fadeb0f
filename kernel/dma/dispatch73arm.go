package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
)

// mapPage73arm is dma_map_page_attrs of 7.3 on arm64: page to physical address, a test for AttrMMIO, and a call of dma_map_phys. Of
// its 22 instructions only the counts are recorded.
func (c *Ctx) mapPage73arm(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	mmio := attrs&kernel.AttrMMIO != 0
	t.Call(mapPageAttrs73)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	_, p := c.MM.PageToPhys(t, b.Page, t.ALU(2, 0))
	t.Branch(mmio, t.ALU(1, p))
	addr, err := kernel.MappingError, error(nil)
	if mmio {
		addr, err = c.fail(b, ErrMMIOAttr)
	} else if c.Debug != nil && c.zoneDevice(t, b, p) {
		addr, err = c.fail(b, ErrZoneDevice)
	} else {
		addr, err = c.mapPhys73arm(t, b.Phys, b.Size, dir, attrs)
	}
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return addr, err
}

// mapPhys73arm is dma_map_phys of 7.3 on arm64: 44 instructions to call dma_direct_map_phys, 47 for iommu_dma_map_phys.
func (c *Ctx) mapPhys73arm(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(mapPhys73)
	return c.mapPhysBody73arm(t, phys, size, dir, attrs)
}

func (c *Ctx) mapPhysBody73arm(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	checkDirection(dir)
	d := c.Dev
	t.ALU(1, 0)
	t.Nop(1)
	t.Branch(false, t.ALU(1, 0))
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	dev := t.ALU(1, 0)
	t.Push(2)
	t.Branch(false, t.Load(d.At.DmaMask, 0))
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	at := t.ALU(2, 0)
	incoherent := c.mustNotSnoop(attrs)
	t.Branch(!incoherent, t.Load(d.At.Flags, dev))
	var addr uint64
	var err error
	if incoherent {
		addr, err = c.fail(Buffer{Phys: phys, Size: size}, ErrNotCoherent)
		t.Jump()
	} else {
		ops := t.Load(d.At.DmaOps, dev)
		flags := t.Load(d.At.Flags, dev)
		other := d.IOMMU || c.Ops != nil
		t.Branch(other, t.ALU(4, flags))
		if other {
			addr, err = c.mapElsewhere73arm(t, phys, size, dir, attrs, ops, at)
			t.ALU(1, 0)
			t.Jump()
		} else {
			t.ALU(6, at)
			addr, err = c.Direct.MapPhys(t, d, phys, size, dir, attrs, true)
			t.ALU(1, 0)
		}
	}
	c.mapDone(t, phys, size, addr, dir, attrs&kernel.AttrMMIO != 0, err)
	t.Pop(4)
	t.ALU(1, 0)
	t.Pop(6)
	t.Nop(1)
	t.Ret()
	return addr, err
}

// mapElsewhere73arm hands over to iommu-dma or to a provider of operations.
func (c *Ctx) mapElsewhere73arm(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs, ops, at cpu.Val) (uint64, error) {
	d := c.Dev
	shared := attrs&kernel.AttrCCShared != 0
	t.Branch(shared, at)
	if shared { // only dma-direct knows unencrypted addresses
		return c.fail(Buffer{Phys: phys, Size: size}, ErrCCShared)
	}
	t.Branch(d.IOMMU, t.Load(d.At.Flags, 0))
	if !d.IOMMU {
		return c.mapOps73(t, ops, phys, size, dir, attrs)
	}
	t.ALU(5, at)
	return c.IOMMU.Map(t, d, phys, size, dir, attrs)
}

// unmapPage73arm is dma_unmap_page_attrs of 7.3 on arm64: a test and a call, 10 instructions.
func (c *Ctx) unmapPage73arm(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	mmio := attrs&kernel.AttrMMIO != 0
	t.Call(unmapPageAttrs73)
	t.ALU(1, 0)
	t.Nop(1)
	t.Branch(mmio, 0)
	if mmio {
		if c.Dev.IOMMU || c.Ops != nil {
			c.Env.Report(t, kernel.Leak, addr, false, "DMA_ATTR_MMIO makes it return without unmapping")
		}
		t.Ret()
		return nil
	}
	t.Nop(1)
	t.Push(2)
	t.ALU(1, 0)
	err := c.unmapPhys73arm(t, addr, size, dir, attrs)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return err
}

// unmapPhys73arm is dma_unmap_phys of 7.3 on arm64: 60 instructions with dma-direct inlined, 34 to hand over.
func (c *Ctx) unmapPhys73arm(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	d := c.Dev
	t.Call(unmapPhys73)
	t.ALU(1, 0)
	t.Nop(1)
	ops := t.Load(d.At.DmaOps, 0)
	t.Branch(false, t.ALU(1, 0))
	t.Nop(1)
	t.Push(2)
	t.ALU(3, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	dev := t.ALU(2, 0)
	t.Reserve(16)
	flags := t.Load(d.At.Flags, dev)
	other := d.IOMMU || c.Ops != nil
	t.Branch(other, t.ALU(2, flags))
	var err error
	if other {
		t.Branch(false, dev)
		t.Branch(d.IOMMU, t.Load(d.At.Flags, dev))
		if d.IOMMU {
			c.IOMMU.Unmap(t, d, addr, size, dir, attrs)
		} else {
			err = c.unmapOps(t, ops, addr, size, dir, attrs)
		}
		c.unmapDone(t, addr, size, dir, attrs&kernel.AttrMMIO != 0)
		t.Jump()
	} else {
		c.Direct.UnmapPhysArm(t, d, addr, size, dir, attrs, direct.Regs{Dev: dev, Arg: dev, Size: dev})
		c.unmapDone(t, addr, size, dir, attrs&kernel.AttrMMIO != 0)
	}
	t.Reserve(-16)
	t.Pop(8)
	t.Nop(1)
	t.Ret()
	return err
}

// mapResource73arm and unmapResource73arm set AttrMMIO and call: 10 instructions each.
func (c *Ctx) mapResource73arm(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(mapResource73)
	resourceArm(t)
	addr, err := c.mapPhys73arm(t, phys, size, dir, attrs|kernel.AttrMMIO)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return addr, err
}

func (c *Ctx) unmapResource73arm(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	t.Call(unmapResource73)
	resourceArm(t)
	err := c.unmapPhys73arm(t, addr, size, dir, attrs|kernel.AttrMMIO)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
	return err
}

func resourceArm(t *cpu.Thread) {
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(2, 0)
}
