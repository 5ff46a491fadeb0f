package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/mm"
)

var (
	mapPageAttrs12   = cpu.NewFunc("dma_map_page_attrs", "kernel/dma/mapping.c", 640)
	unmapPageAttrs12 = cpu.NewFunc("dma_unmap_page_attrs", "kernel/dma/mapping.c", 560)
	mapResource12    = cpu.NewFunc("dma_map_resource", "kernel/dma/mapping.c", 260)
	unmapResource12  = cpu.NewFunc("dma_unmap_resource", "kernel/dma/mapping.c", 200)
)

// mapPage12 is dma_map_page_attrs of 6.12: 74 instructions with dma-direct inlined, 52 to hand over to iommu-dma.
func (c *Ctx) mapPage12(t *cpu.Thread, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	checkDirection(dir)
	attrs = known12(attrs)
	v, g, d := kernel.V6_12, c.Env.Sym, c.Dev
	frame := 16
	if d.IOMMU || c.Ops != nil {
		frame = 40
	}
	t.Call(mapPageAttrs12)
	t.Nop(2)
	t.Push(6)
	t.Frame(frame)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(frame-8, guard)
	ops := t.LoadOp(g.DmaOps, 0, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(false, t.ALU(1, 0))
	dev := t.ALU(1, 0)
	mask := t.Load(d.At.DmaMask, 0)
	t.Branch(false, t.ALU(1, mask))
	t.ALU(2, 0)
	size := t.ALU(1, 0)
	t.ALU(2, 0)
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, dev, 0))
	var addr uint64
	var err error
	if !d.IOMMU {
		t.Branch(c.Ops != nil, t.ALU(1, ops))
	}
	if d.IOMMU || c.Ops != nil {
		if d.IOMMU {
			t.ALU(1, dev)
			t.StackStore(0, 0)
			addr, err = c.IOMMU.Map(t, d, b.Phys, b.Size, dir, attrs)
		} else {
			addr, err = c.mapOps12(t, ops, b.Phys, b.Size, dir, attrs)
		}
		t.Jump()
		// the trace point's argument: page_to_phys again, then the offset
		t.ALU(1, 0)
		var pfn cpu.Val
		if c.MM.Memory().Model == mm.SparseVmemmap {
			pfn = t.LoadOp(g.VmemmapBase, 0, t.Last())
		} else {
			_, pfn = c.MM.PageToPhys(t, b.Page, t.Last())
		}
		t.StackLoad(0)
		ret := t.ALU(1, 0)
		t.Chain(3, pfn)
		t.Jump()
		c.mapDone(t, b.Phys, b.Size, addr, dir, false, err)
		t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(frame-8)))
		t.Frame(-frame)
		t.ALU(1, ret)
	} else {
		var dma cpu.Val
		addr, dma, err = c.Direct.MapPage12(t, c.MM, d, b.Page, b.Phys, b.Size, dir, attrs, direct.Regs{Dev: dev, Mask: mask, Size: size})
		c.mapDone(t, b.Phys, b.Size, addr, dir, false, err)
		t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(frame-8)))
		t.Frame(-frame)
		t.ALU(1, dma)
	}
	t.Pop(6)
	t.Ret()
	return addr, err
}

// unmapPage12 is dma_unmap_page_attrs of 6.12: 57 instructions with dma-direct inlined, 35 to hand over.
func (c *Ctx) unmapPage12(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	attrs = known12(attrs)
	g, d := c.Env.Sym, c.Dev
	t.Call(unmapPageAttrs12)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	at := t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	dev := t.ALU(1, 0)
	t.Push(1)
	ops := t.Load(d.At.DmaOps, 0)
	t.ALU(1, 0)
	t.Branch(c.Ops == nil, t.ALU(1, ops))
	t.Branch(false, t.ALU(1, 0))
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	var err error
	if d.IOMMU {
		t.ALU(5, at)
		c.IOMMU.Unmap(t, d, addr, size, dir, attrs)
		t.Jump()
	} else if c.Ops != nil {
		t.Branch(true, t.ALU(1, ops))
		err = c.unmapOps(t, ops, addr, size, dir, attrs)
		t.Jump()
	} else {
		t.Branch(false, t.ALU(1, t.Load(g.DmaOps, 0)))
		c.Direct.UnmapPage12(t, d, addr, size, dir, attrs, direct.Regs{Arg: dev, Size: at})
	}
	c.unmapDone(t, addr, size, dir, false)
	t.Pop(6)
	t.Ret()
	return err
}

// mapResource12 is dma_map_resource of 6.12.
func (c *Ctx) mapResource12(t *cpu.Thread, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	checkDirection(dir)
	attrs = known12(attrs)
	g, d := c.Env.Sym, c.Dev
	t.Call(mapResource12)
	t.Nop(2)
	ops := t.LoadOp(g.DmaOps, 0, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(false, t.ALU(1, 0))
	t.Push(6)
	mask := t.LoadOp(d.At.DmaMask, 0, 0)
	t.ALU(1, 0)
	t.Branch(false, mask)
	t.ALU(4, 0)
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	var addr uint64
	var err error
	if d.IOMMU {
		addr, err = c.IOMMU.Map(t, d, phys, size, dir, attrs|kernel.AttrMMIO)
	} else if t.Branch(c.Ops != nil, t.ALU(1, ops)); c.Ops != nil {
		addr, err = c.mapResourceOps12(t, ops)
	} else {
		addr, err = c.Direct.MapResource12(t, d, phys, size)
	}
	ret := t.ALU(1, 0)
	if d.IOMMU {
		t.Jump()
	}
	c.mapDone(t, phys, size, addr, dir, true, err)
	t.Pop(1)
	t.ALU(1, ret)
	t.Pop(5)
	t.Ret()
	return addr, err
}

// unmapResource12 is dma_unmap_resource of 6.12. With dma-direct there is nothing to undo.
func (c *Ctx) unmapResource12(t *cpu.Thread, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	checkDirection(dir)
	attrs = known12(attrs)
	g, d := c.Env.Sym, c.Dev
	t.Call(unmapResource12)
	t.Nop(2)
	for range 4 {
		t.Push(1)
		t.ALU(1, 0)
	}
	t.Push(1)
	ops := t.Load(d.At.DmaOps, 0)
	t.ALU(1, 0)
	t.Branch(c.Ops == nil, t.ALU(1, ops))
	t.Branch(false, t.ALU(1, 0))
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	if d.IOMMU {
		t.ALU(5, 0)
		c.IOMMU.Unmap(t, d, addr, size, dir, attrs|kernel.AttrMMIO)
		t.Jump()
	} else {
		t.Branch(c.Ops == nil, t.ALU(1, t.Load(g.DmaOps, 0)))
	}
	c.unmapDone(t, addr, size, dir, true)
	t.Pop(5)
	t.Ret()
	return nil
}
