package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/mm"
)

// MapPage12arm emits dma_direct_map_page of 6.12 on arm64, inlined into dma_map_page_attrs: 36 instructions when the device is
// capable and coherent. The caller's frame holds the result at offset 0.
func (x *Direct) MapPage12arm(t *cpu.Thread, m *mm.MM, d *kernel.Device, page, phys, size uint64, dir kernel.Direction,
	attrs kernel.Attrs, r Regs) (uint64, error) {
	g := x.Env.Sym
	var p, ranges, tlb cpu.Val
	if m.Memory().Model == mm.SparseVmemmap { // page_to_phys, interleaved with the loads that follow it
		start := t.Load(g.PhysBase, t.ALU(3, 0))
		ranges = t.Load(d.At.DmaRangeMap, r.Dev)
		pfn := t.ALU(1, start)
		tlb = t.Load(d.At.IoTlbMem, r.Dev)
		p = t.Chain(5, pfn)
	} else {
		_, pa := m.PageToPhys(t, page, r.Arg)
		ranges = t.Load(d.At.DmaRangeMap, r.Dev)
		tlb = t.Load(d.At.IoTlbMem, r.Dev)
		p = t.Chain(1, pa)
	}
	t.Branch(d.Ranges != nil, ranges)
	addr, ok := x.Env.WalkRanges(t, d, phys, ranges)
	t.StackStore(0, p)
	t.Branch(!x.Tlb.Present(), tlb)
	if x.Tlb.Present() {
		t.Branch(x.Tlb.Force, t.Mem(cpu.Load, g.IoTlb+80, 1, tlb, 0))
		if x.Tlb.Force {
			if x.peer(t, d, phys, page) {
				return x.fail(d, phys, size, ErrPeer)
			}
			a, err := x.bounce(t, d, phys, size, dir, attrs)
			t.Jump()
			return a, err
		}
	}
	end := t.ALU(3, p)
	t.Branch(!ok, end)
	if !ok {
		return x.fail(d, phys, size, ErrNoRange)
	}
	good := Capable(d, addr, size)
	x.emitCapable12arm(t, d, r.Mask, r.Dev, end, good)
	maintain := coherency.Needed(x.Env, d)
	if good {
		t.Branch(!maintain, t.ALU(3, r.Size))
	}
	if !good || maintain && coherency.KmallocNeedsBounce(t, x.Env, d, size, dir) {
		if x.peer(t, d, phys, page) {
			return x.fail(d, phys, size, ErrPeer)
		}
		a, err := x.bounceIncapable(t, d, phys, size, dir, attrs)
		t.Jump()
		return a, err
	}
	t.Branch(maintain, r.Size)
	if maintain {
		x.cleanForDevice(t, d, phys, size, dir, attrs, true)
	}
	t.StackLoad(0)
	t.Jump()
	return addr, nil
}

// emitCapable12arm emits dma_capable: the smaller of the device's mask and the bus limit, which is usually absent.
func (x *Direct) emitCapable12arm(t *cpu.Thread, d *kernel.Device, maskPtr, dev, end cpu.Val, good bool) {
	mask := t.Load(d.At.MaskValue, maskPtr)
	bus := t.Load(d.At.BusDmaLimit, dev)
	t.Branch(false, mask)
	t.Branch(d.BusLimit == 0, bus)
	reach := t.ALU(1, mask)
	if d.BusLimit != 0 {
		reach = t.ALU2(reach, bus)
	}
	t.Jump()
	t.Branch(!good, t.ALU2(reach, end))
}

// UnmapPage12arm emits dma_direct_unmap_page of 6.12 on arm64, inlined into dma_unmap_page_attrs: 25 instructions for a coherent
// device and an address above the swiotlb pool. flags is device.flags.
func (x *Direct) UnmapPage12arm(t *cpu.Thread, d *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs, flags cpu.Val, r Regs) {
	phys := ToPhys(d, addr)
	ranges := t.Load(d.At.DmaRangeMap, r.Dev)
	skip := t.ALU(1, 0)
	t.Branch(d.Ranges == nil, ranges)
	x.Env.WalkRangesBack(t, d, addr, ranges)
	skips := attrs&kernel.AttrSkipCPUSync != 0
	t.ALU(1, 0)
	t.Branch(skips, skip)
	if !skips {
		t.ALU(1, 0)
		t.Jump()
		maintain := coherency.Needed(x.Env, d)
		t.Branch(maintain, flags)
		if maintain {
			t.ALU(3, 0)
			coherency.SyncForCPU(t, x.Env, phys, size, dir)
		}
	}
	x.unmapPoolArm(t, d, phys, size, dir, attrs, r.Dev, false)
}

// unmapPoolArm emits the end of an unmap: the copy back if the buffer bounced, and the slots given back. The range test is made
// twice, for synchronising and for unmapping. spilled: the address is on the stack in between.
func (x *Direct) unmapPoolArm(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs,
	dev cpu.Val, spilled bool) {
	skips := attrs&kernel.AttrSkipCPUSync != 0
	tlb := t.Load(d.At.IoTlbMem, dev)
	t.Branch(!x.Tlb.Present(), tlb)
	if !x.Tlb.Present() {
		return
	}
	start := t.Load(x.Env.Sym.IoTlb, tlb)
	if !skips {
		bounced := x.findPoolArm(t, d, phys, start, tlb)
		if bounced {
			t.ALU(4, 0)
			x.Tlb.SyncForCPU(t, d, phys, size, dir)
		}
		if spilled {
			t.StackLoad(0)
		}
		t.ALU(1, 0)
		t.Jump()
		if bounced {
			tlb = t.Load(d.At.IoTlbMem, dev)
			t.Branch(false, tlb)
			start = t.Load(x.Env.Sym.IoTlb, tlb)
		}
	}
	if x.findPoolArm(t, d, phys, start, tlb) {
		t.ALU(3, 0)
		x.Tlb.Unmap(t, d, phys, size, dir, attrs|kernel.AttrSkipCPUSync)
		t.Jump()
	}
}

// findPoolArm emits one look whether phys lies in a bounce pool; the start of the default pool has been loaded. With dynamic pools it is
// a call.
func (x *Direct) findPoolArm(t *cpu.Thread, d *kernel.Device, phys uint64, start, tlb cpu.Val) bool {
	if x.Tlb.Dynamic() {
		found := x.Tlb.FindDynamic(t, d, phys) != nil
		t.Branch(!found, t.ALU(1, 0))
		return found
	}
	boot := x.Tlb.Boot()
	t.Branch(phys < boot.Start, t.ALU(1, start))
	if phys < boot.Start {
		return false
	}
	end := t.Load(x.Env.Sym.IoTlb+8, tlb)
	t.Branch(phys >= boot.End, t.ALU(1, end))
	return phys < boot.End
}

// MapResource12arm emits dma_direct_map_resource of 6.12 on arm64: 35 instructions. Only its counts are recorded.
func (x *Direct) MapResource12arm(t *cpu.Thread, d *kernel.Device, phys, size uint64) (uint64, error) {
	v := kernel.V6_12
	t.Call(mapResource)
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(16)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.StackStore(24, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	t.StackStore(16, 0)
	maskPtr := t.Load(d.At.DmaMask, 0)
	end := t.ALU(2, 0)
	t.Branch(false, maskPtr)
	good := Capable(d, phys, size)
	x.emitCapable12arm(t, d, maskPtr, 0, end, good)
	addr, err := phys, error(nil)
	if !good {
		t.ALU(2, 0)
		addr, err = x.fail(d, phys, size, ErrNotCapable)
	}
	t.ALU(2, 0)
	kernel.CheckGuard(t, v, 24)
	t.Pop(2)
	t.Frame(-16)
	t.Nop(1)
	t.Ret()
	return addr, err
}
