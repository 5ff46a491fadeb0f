package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/mm"
)

// Regs are the live registers of the caller at the point where an inlined function begins.
type Regs struct {
	Dev, Mask, Arg, Size cpu.Val // device, its dma_mask pointer, page or address, size
}

// MapPage12 emits dma_direct_map_page of 6.12 (kernel/dma/direct.h), inlined into dma_map_page_attrs: from page_to_phys to
// the result, 33 instructions when the device is capable. The stack frame is the caller's; its slot 0 holds the result.
func (x *Direct) MapPage12(t *cpu.Thread, m *mm.MM, d *kernel.Device, page, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs, r Regs) (uint64, cpu.Val, error) {
	g := x.Env.Sym
	var p, ranges, tlb cpu.Val
	if m.Memory().Model == mm.SparseVmemmap { // page_to_phys, interleaved with the loads that follow it
		pfn := t.LoadOp(g.VmemmapBase, 0, t.ALU(1, r.Arg))
		ranges = t.Load(d.At.DmaRangeMap, r.Dev)
		pfn = t.ALU(1, pfn)
		tlb = t.Load(d.At.IoTlbMem, r.Dev)
		p = t.Chain(3, pfn)
	} else {
		_, pa := m.PageToPhys(t, page, r.Arg)
		ranges = t.Load(d.At.DmaRangeMap, r.Dev)
		tlb = t.Load(d.At.IoTlbMem, r.Dev)
		p = t.Chain(2, pa)
	}
	t.Branch(d.Ranges != nil, t.ALU(1, ranges))
	addr, ok := x.Env.WalkRanges(t, d, phys, ranges)
	dma := t.LoadOp(g.SmeMeMask, 0, p)
	t.StackStore(0, dma)
	t.Branch(!x.Tlb.Present(), t.ALU(1, tlb))
	if x.Tlb.Present() {
		t.Branch(x.Tlb.Force, t.Mem(cpu.LoadOp, g.IoTlb+80, 1, tlb, 0))
		if x.Tlb.Force {
			if x.peer(t, d, phys, page) {
				a, err := x.fail(d, phys, size, ErrPeer)
				return a, dma, err
			}
			a, err := x.bounce(t, d, phys, size, dir, attrs)
			t.Jump()
			return a, t.Last() - 1, err
		}
	}
	end := t.ALU2(dma, r.Size)
	t.Branch(!ok, t.ALU(1, dma))
	if !ok {
		a, err := x.fail(d, phys, size, ErrNoRange)
		return a, dma, err
	}
	reach := x.emitCapable(t, d, r.Mask, r.Dev, true)
	good := Capable(d, addr, size)
	t.Branch(!good, t.ALU2(reach, end))
	if !good || coherency.KmallocNeedsBounce(t, x.Env, d, size, dir) {
		if x.peer(t, d, phys, page) {
			a, err := x.fail(d, phys, size, ErrPeer)
			return a, dma, err
		}
		a, err := x.bounceIncapable(t, d, phys, size, dir, attrs)
		t.Jump()
		return a, t.Last() - 1, err
	}
	x.cleanForDevice(t, d, phys, size, dir, attrs, true)
	return addr, dma, nil
}

// peer emits is_pci_p2pdma_page, which 6.12 asks before it bounces: nothing without CONFIG_PCI_P2PDMA, else the flags and the type of the
// struct page. A device's memory is never copied there.
func (x *Direct) peer(t *cpu.Thread, d *kernel.Device, phys, page uint64) bool {
	if !x.Env.P2PDMA {
		return false
	}
	is := x.Env.DeviceMemory != nil && x.Env.DeviceMemory(phys)
	t.Branch(is, t.ALU(2, t.Load(page, 0)))
	return is
}

// emitCapable emits the comparison limits of dma_capable: min_not_zero of the device's mask and the bus limit, built
// with conditional moves. With cold, the compiler placed it out of line, behind a taken branch and a jump.
func (x *Direct) emitCapable(t *cpu.Thread, d *kernel.Device, maskPtr, dev cpu.Val, cold bool) cpu.Val {
	mask := t.Load(d.At.MaskValue, maskPtr)
	bus := t.Load(d.At.BusDmaLimit, dev)
	t.Branch(cold, t.ALU(1, mask))
	least := t.ALU2(bus, mask)
	least = t.ALU2(t.ALU(1, mask), least)
	noBus := t.ALU(1, bus)
	t.ALU(1, mask)
	reach := t.ALU2(least, noBus)
	if cold {
		t.Jump()
	}
	return reach
}

// UnmapPage12 emits dma_direct_unmap_page of 6.12, inlined into dma_unmap_page_attrs: 31 instructions when the address is
// above the swiotlb pool. The range test is made twice, for synchronising and for unmapping.
func (x *Direct) UnmapPage12(t *cpu.Thread, d *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs, r Regs) {
	g := x.Env.Sym
	phys := ToPhys(d, addr)
	sme := t.Load(g.SmeMeMask, 0)
	ranges := t.Load(d.At.DmaRangeMap, r.Dev)
	skip := t.Chain(2, r.Size)
	p := t.ALU(1, sme)
	t.Branch(d.Ranges == nil, t.ALU(1, ranges))
	x.Env.WalkRangesBack(t, d, addr, ranges)
	p = t.ALU(1, p)
	skips := attrs&kernel.AttrSkipCPUSync != 0
	t.Branch(!skips, t.ALU(1, skip))
	q := p
	if !skips {
		q = t.ALU(1, p)
		x.invalidateForCPU(t, d, phys, size, dir)
	}
	tlb := t.Load(d.At.IoTlbMem, r.Arg)
	t.Branch(!x.Tlb.Present(), t.ALU(1, tlb))
	if !x.Tlb.Present() {
		return
	}
	start := t.Load(g.IoTlb, tlb)
	if !skips {
		bounced := x.findPool(t, d, phys, t.ALU2(start, q), tlb, q)
		if bounced {
			t.ALU(4, 0)
			x.Tlb.SyncForCPU(t, d, phys, size, dir)
		}
		t.Chain(2, r.Size)
		t.Jump()
		if bounced {
			tlb = t.Load(d.At.IoTlbMem, r.Arg)
			t.Branch(false, t.ALU(1, tlb))
			start = t.Load(g.IoTlb, tlb)
		}
	}
	x.unmapBounced(t, d, phys, size, dir, attrs, t.ALU2(start, p), tlb, p)
}

// unmapBounced emits the second range test and, for a bounced buffer, the call that gives its slots back. The copy has been made.
func (x *Direct) unmapBounced(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs, below, tlb, p cpu.Val) {
	if x.findPool(t, d, phys, below, tlb, p) {
		t.ALU(3, 0)
		x.Tlb.Unmap(t, d, phys, size, dir, attrs|kernel.AttrSkipCPUSync)
		t.Jump()
	}
}

var mapResource = cpu.NewFunc("dma_direct_map_resource", "kernel/dma/direct.c", 220)

// MapResource12 emits dma_direct_map_resource of 6.12: the physical address is the bus address, whatever dma_range_map
// says, and swiotlb is not looked at. 30 instructions.
func (x *Direct) MapResource12(t *cpu.Thread, d *kernel.Device, phys, size uint64) (uint64, error) {
	v := kernel.V6_12
	t.Call(mapResource)
	t.Nop(2)
	t.ALU(1, 0)
	end := t.ALU(1, 0)
	t.Frame(16)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(8, guard)
	t.ALU(1, 0)
	t.StackStore(0, 0)
	t.Branch(false, t.Last()-1)
	maskPtr := t.Load(d.At.DmaMask, 0)
	t.ALU(1, 0)
	reach := x.emitCapable(t, d, maskPtr, 0, true)
	good := Capable(d, phys, size)
	t.Branch(!good, t.ALU2(reach, end))
	addr, err := phys, error(nil)
	if !good {
		t.ALU(2, 0)
		addr, err = x.fail(d, phys, size, ErrNotCapable)
	}
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(8)))
	t.Frame(-16)
	t.Ret()
	return addr, err
}
