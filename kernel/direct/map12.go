package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
)

// Regs are the live registers of the caller at the point where an inlined function begins.
type Regs struct {
	Dev, Mask, Arg, Size cpu.Val // device, its dma_mask pointer, page or address, size
}

// MapPage12 emits dma_direct_map_page of 6.12 (kernel/dma/direct.h), inlined into dma_map_page_attrs: from page_to_phys to
// the result, 33 instructions when the device is capable. The stack frame is the caller's; its slot 0 holds the result.
func (x *Direct) MapPage12(t *cpu.Thread, m *mm.MM, d *kernel.Device, page, phys, size uint64, r Regs) (uint64, cpu.Val, error) {
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
	addr, ok := x.rangeWalk(t, d, phys, ranges)
	dma := t.LoadOp(g.SmeMeMask, 0, p)
	t.StackStore(0, dma)
	t.Branch(!x.Pool.present(), t.ALU(1, tlb))
	if x.Pool.present() {
		t.Branch(x.Pool.Force, t.Mem(cpu.LoadOp, g.IoTlb+80, 1, tlb, 0))
		if x.Pool.Force {
			a, err := x.fail(d, phys, size, ErrBounce)
			return a, dma, err
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
	if !good {
		a, err := x.fail(d, phys, size, x.incapable())
		return a, dma, err
	}
	return addr, dma, nil
}

// incapable is what happens to a buffer out of reach: it bounces if there is a pool.
func (x *Direct) incapable() error {
	if x.Pool.present() {
		return ErrBounce
	}
	return ErrNotCapable
}

// rangeWalk emits the walk over dma_range_map and returns the bus address.
func (x *Direct) rangeWalk(t *cpu.Thread, d *kernel.Device, phys uint64, ranges cpu.Val) (uint64, bool) {
	addr, ok := toDMA(d, phys)
	if d.Ranges == nil {
		return addr, ok
	}
	va := x.rangeMap(d)
	top := t.Here()
	for i, r := range d.Ranges {
		e := va + uint64(i)*24
		size := t.Load(e+16, ranges)
		t.Branch(false, t.ALU(1, size))
		start := t.LoadOp(e, ranges, 0)
		hit := phys-r.CPU < r.Size
		t.Branch(hit, t.ALU2(start, size))
		if hit {
			t.LoadOp(e+8, ranges, start)
			break
		}
		ranges = t.ALU(1, ranges)
		t.Jump()
		t.Back(top)
	}
	return addr, ok
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
func (x *Direct) UnmapPage12(t *cpu.Thread, d *kernel.Device, addr, size uint64, attrs kernel.Attrs, r Regs) error {
	g := x.Env.Sym
	phys := ToPhys(d, addr)
	sme := t.Load(g.SmeMeMask, 0)
	ranges := t.Load(d.At.DmaRangeMap, r.Dev)
	skip := t.Chain(2, r.Size)
	p := t.ALU(1, sme)
	t.Branch(d.Ranges == nil, t.ALU(1, ranges))
	x.reverseWalk(t, d, addr, ranges)
	return x.unmapTail12(t, d, phys, size, attrs, p, skip, r)
}

func (x *Direct) unmapTail12(t *cpu.Thread, d *kernel.Device, phys, size uint64, attrs kernel.Attrs, p, skip cpu.Val, r Regs) error {
	g := x.Env.Sym
	p = t.ALU(1, p)
	skips := attrs&kernel.AttrSkipCPUSync != 0
	t.Branch(!skips, t.ALU(1, skip))
	if skips {
		tlb := t.Load(d.At.IoTlbMem, r.Dev)
		t.Branch(!x.Pool.present(), t.ALU(1, tlb))
		if !x.Pool.present() {
			return nil
		}
		start := t.Load(g.IoTlb, tlb)
		return x.poolTest(t, phys, size, d, t.ALU2(start, p), tlb, p)
	}
	q := t.ALU(1, p)
	tlb := t.Load(d.At.IoTlbMem, r.Arg)
	t.Branch(!x.Pool.present(), t.ALU(1, tlb))
	if !x.Pool.present() {
		return nil
	}
	start := t.Load(g.IoTlb, tlb)
	below := phys < x.Pool.Start
	t.Branch(below, t.ALU2(start, q))
	if !below {
		t.Branch(phys >= x.Pool.End, t.LoadOp(g.IoTlb+8, tlb, q))
	}
	t.Chain(2, r.Size)
	t.Jump()
	return x.poolTest(t, phys, size, d, t.ALU2(start, p), tlb, p)
}

// poolTest emits the second test of swiotlb_find_pool.
func (x *Direct) poolTest(t *cpu.Thread, phys, size uint64, d *kernel.Device, cmp, tlb, p cpu.Val) error {
	below := phys < x.Pool.Start
	t.Branch(below, cmp)
	if !below {
		t.Branch(phys >= x.Pool.End, t.LoadOp(x.Env.Sym.IoTlb+8, tlb, p))
	}
	if x.Pool.contains(phys) {
		return &Error{d.Name, phys, size, Limit(d), ErrBounce}
	}
	return nil
}

// reverseWalk emits dma_to_phys over a range map.
func (x *Direct) reverseWalk(t *cpu.Thread, d *kernel.Device, addr uint64, ranges cpu.Val) {
	if d.Ranges == nil {
		return
	}
	va := x.rangeMap(d)
	top := t.Here()
	for i, r := range d.Ranges {
		e := va + uint64(i)*24
		size := t.Load(e+16, ranges)
		t.Branch(false, t.ALU(1, size))
		start := t.LoadOp(e+8, ranges, 0)
		hit := addr-r.DMA < r.Size
		t.Branch(hit, t.ALU2(start, size))
		if hit {
			t.LoadOp(e, ranges, start)
			return
		}
		ranges = t.ALU(1, ranges)
		t.Jump()
		t.Back(top)
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
