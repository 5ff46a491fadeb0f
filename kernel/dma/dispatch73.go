package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/mm"
)

var (
	mapPageAttrs73   = cpu.NewFunc("dma_map_page_attrs", "kernel/dma/mapping.c", 64)
	mapPhys73        = cpu.NewFunc("dma_map_phys", "kernel/dma/mapping.c", 460)
	unmapPageAttrs73 = cpu.NewFunc("dma_unmap_page_attrs", "kernel/dma/mapping.c", 32)
	unmapPhys73      = cpu.NewFunc("dma_unmap_phys", "kernel/dma/mapping.c", 640)
	mapResource73    = cpu.NewFunc("dma_map_resource", "kernel/dma/mapping.c", 32)
	unmapResource73  = cpu.NewFunc("dma_unmap_resource", "kernel/dma/mapping.c", 32)
)

// mapPage73 is dma_map_page_attrs of 7.3: page to physical address, a test for AttrMMIO, and a jump to dma_map_phys. 13
// instructions.
func (c *Ctx) mapPage73(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(mapPageAttrs73)
	return c.mapPageBody73(t, b, dir, attrs)
}

func (c *Ctx) mapPageBody73(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	mmio := attrs&kernel.AttrMMIO != 0
	t.Nop(2)
	var p cpu.Val
	if c.MM.Memory().Model == mm.SparseVmemmap { // page_to_phys, interleaved with moving the arguments
		pfn := t.LoadOp(c.Env.Sym.VmemmapBase, 0, 0)
		t.ALU(2, 0)
		off := t.ALU(1, 0)
		p = t.ALU(1, pfn)
		t.ALU(1, 0)
		p = t.ALU2(t.ALU(1, p), off)
	} else {
		_, pa := c.MM.PageToPhys(t, b.Page, 0)
		p = t.ALU2(t.ALU(4, 0), pa)
	}
	t.Branch(mmio, t.ALU(1, 0))
	if mmio {
		t.ALU(1, p)
		t.Ret()
		return c.fail(b, ErrMMIOAttr)
	}
	if c.Debug != nil && c.zoneDevice(t, b, p) {
		t.Ret()
		return c.fail(b, ErrZoneDevice)
	}
	t.TailCall(mapPhys73)
	return c.mapPhysBody73(t, b.Phys, b.Size, dir, attrs)
}

// zoneDevice is the test of DMA_API_DEBUG whether a page is a device's memory, which warns once and fails the map: is_zone_device_page.
func (c *Ctx) zoneDevice(t *cpu.Thread, b Buffer, page cpu.Val) bool {
	r, ok := c.MM.Memory().Map.Find(b.Phys)
	device := ok && r.Kind == mm.ZoneDevice
	t.Branch(device, t.Chain(2, t.Load(b.Page, page)))
	return device
}

// mapPhys73 calls dma_map_phys.
func (c *Ctx) mapPhys73(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(mapPhys73)
	return c.mapPhysBody73(t, phys, size, dir, attrs)
}

// mapPhysBody73 is dma_map_phys: 40 instructions to call dma_direct_map_phys, 47 for iommu_dma_map_phys.
func (c *Ctx) mapPhysBody73(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	checkDirection(dir)
	g, d := c.Env.Sym, c.Dev
	t.Nop(2)
	ops := t.LoadOp(g.DmaOps, 0, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(false, t.ALU(1, 0))
	t.Push(6)
	dev := t.ALU(1, 0)
	t.Frame(8)
	t.Branch(false, t.LoadOp(d.At.DmaMask, 0, 0))
	t.ALU(1, 0)
	flags := t.Load(d.At.Flags, 0)
	t.ALU(3, 0)
	at := t.Last()
	if c.mustNotSnoop(attrs) {
		t.Branch(true, t.ALU(1, flags))
		t.Frame(-8)
		t.ALU(1, 0)
		t.Pop(6)
		t.Ret()
		return c.fail(Buffer{Phys: phys, Size: size}, ErrNotCoherent)
	}
	t.Branch(d.IOMMU, t.ALU(1, flags))
	var addr uint64
	var err error
	var ret cpu.Val
	if !d.IOMMU {
		t.Branch(c.Ops != nil, t.ALU(1, ops))
	}
	if d.IOMMU || c.Ops != nil {
		shared := attrs&kernel.AttrCCShared != 0
		t.ALU(1, 0)
		t.Branch(shared, t.ALU(1, at))
		if shared { // only dma-direct knows unencrypted addresses
			addr, err = c.fail(Buffer{Phys: phys, Size: size}, ErrCCShared)
		} else {
			t.Branch(d.IOMMU, t.ALU(1, t.Load(d.At.Flags, dev)))
			if d.IOMMU {
				t.ALU(5, at)
				addr, err = c.IOMMU.Map(t, d, phys, size, dir, attrs)
			} else {
				addr, err = c.mapOps73(t, ops, phys, size, dir, attrs)
			}
		}
		ret = t.ALU(1, 0)
		t.Jump()
		c.mapDone(t, phys, size, addr, dir, attrs&kernel.AttrMMIO != 0, err)
	} else {
		t.ALU(2, 0)
		addr, err = c.Direct.MapPhys(t, d, phys, size, dir, attrs, true)
		ret = t.ALU(1, 0)
		c.mapDone(t, phys, size, addr, dir, attrs&kernel.AttrMMIO != 0, err)
	}
	t.Frame(-8)
	t.ALU(1, ret)
	t.Pop(6)
	t.Ret()
	return addr, err
}

// unmapPage73 is dma_unmap_page_attrs of 7.3: a test and a jump. With AttrMMIO it returns without unmapping anything.
func (c *Ctx) unmapPage73(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	mmio := attrs&kernel.AttrMMIO != 0
	t.Call(unmapPageAttrs73)
	t.Nop(2)
	t.Branch(mmio, t.ALU(1, 0))
	if mmio {
		if c.Dev.IOMMU || c.Ops != nil {
			c.Env.Report(t, kernel.Leak, addr, false, "DMA_ATTR_MMIO makes it return without unmapping")
		}
		t.Ret()
		return nil
	}
	t.TailCall(unmapPhys73)
	return c.unmapPhysBody73(t, addr, size, dir, attrs)
}

func (c *Ctx) unmapPhys73(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	t.Call(unmapPhys73)
	return c.unmapPhysBody73(t, addr, size, dir, attrs)
}

// unmapPhysBody73 is dma_unmap_phys: 61 instructions with dma-direct inlined, 41 to hand over.
func (c *Ctx) unmapPhysBody73(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	g, d := c.Env.Sym, c.Dev
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	arg := t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	at := t.ALU(1, 0)
	t.Push(1)
	ops := t.Load(d.At.DmaOps, 0)
	dev := t.ALU(1, 0)
	t.Branch(c.Ops == nil, t.ALU(1, ops))
	if c.Ops == nil {
		ops = t.Load(g.DmaOps, 0)
	}
	t.Branch(false, t.ALU(1, 0))
	t.Branch(d.IOMMU, t.ALU(1, t.Load(d.At.Flags, 0)))
	var err error
	if d.IOMMU {
		t.Branch(true, t.ALU(1, at))
		t.Branch(true, t.ALU(1, t.Load(d.At.Flags, dev)))
		t.ALU(5, at)
		c.IOMMU.Unmap(t, d, addr, size, dir, attrs)
		t.Jump()
	} else if t.Branch(c.Ops != nil, t.ALU(1, ops)); c.Ops != nil {
		t.Branch(false, t.ALU(1, at))
		t.Branch(false, t.ALU(1, t.Load(d.At.Flags, dev)))
		err = c.unmapOps(t, ops, addr, size, dir, attrs)
		t.Jump()
	} else {
		c.Direct.UnmapPhys73(t, d, addr, size, dir, attrs, direct.Regs{Dev: dev, Arg: arg, Size: at})
	}
	c.unmapDone(t, addr, size, dir, attrs&kernel.AttrMMIO != 0)
	t.Pop(6)
	t.Ret()
	return err
}

// mapResource73 and unmapResource73 set AttrMMIO and jump.
func (c *Ctx) mapResource73(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	t.Call(mapResource73)
	t.Nop(2)
	t.ALU(1, 0)
	t.TailCall(mapPhys73)
	return c.mapPhysBody73(t, phys, size, dir, attrs|kernel.AttrMMIO)
}

func (c *Ctx) unmapResource73(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	t.Call(unmapResource73)
	t.Nop(2)
	t.ALU(1, 0)
	t.TailCall(unmapPhys73)
	return c.unmapPhysBody73(t, addr, size, dir, attrs|kernel.AttrMMIO)
}
