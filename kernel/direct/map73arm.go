package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var ccPlatformHasArm = cpu.NewFunc("cc_platform_has", "arch/arm64/kernel/rsi.c", 48)

// mapPhysArm emits dma_direct_map_phys of 7.3 on arm64: 71 instructions for RAM and a coherent device. Whether the kernel runs in a
// realm, which the MMIO path asks about, is told by a static key.
func (x *Direct) mapPhysArm(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs,
	flush bool) (uint64, error) {
	v := kernel.V7_3
	t.Call(mapPhys)
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(32)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	at := t.ALU(2, 0)
	t.Push(2)
	pa := t.ALU(2, 0)
	t.StackStore(64+16, 0)
	dev := t.ALU(1, 0)
	t.StackStore(64+24, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	t.StackStore(64+8, 0)
	addr, err := x.mapPhysBodyArm(t, physCall{d, phys, size, dir, attrs, flush}, dev, pa, at)
	kernel.CheckGuard(t, v, 64+24)
	t.StackLoad(64 + 16)
	t.Pop(8)
	t.Frame(-32)
	t.Nop(1)
	t.Ret()
	return addr, err
}

func (x *Direct) mapPhysBodyArm(t *cpu.Thread, c physCall, dev, pa, at cpu.Val) (uint64, error) {
	g, d := x.Env.Sym, c.d
	mmio := c.attrs&kernel.AttrMMIO != 0
	shared := c.attrs&kernel.AttrCCShared != 0
	t.Branch(mmio, at)
	if mmio {
		x.realm(t)
	}
	tlb := t.Load(d.At.IoTlbMem, dev)
	t.Branch(!x.Tlb.Present(), tlb)
	if x.Tlb.Present() {
		t.Branch(!x.Tlb.Force, t.Mem(cpu.Load, g.IoTlb+80, 1, tlb, 0))
		if x.Tlb.Force {
			no := c.attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
			t.Branch(no, at)
			if no {
				return x.fail(d, c.phys, c.size, ErrForced)
			}
			a, err := x.bounce(t, d, c.phys, c.size, c.dir, c.attrs)
			t.Jump()
			return a, err
		}
	}
	t.Branch(shared, at)
	ranges := t.Load(d.At.DmaRangeMap, dev)
	p := t.ALU(2, pa)
	t.Branch(d.Ranges != nil, ranges)
	addr, ok := x.Env.WalkRanges(t, d, c.phys, ranges)
	t.StackStore(64+8, p)
	end := t.ALU(2, p)
	t.Branch(!mmio, end)
	t.Branch(!ok, end)
	if !ok {
		return x.fail(d, c.phys, c.size, ErrNoRange)
	}
	t.Nop(1) // force_dma_unencrypted: a static key
	good := Capable(d, addr, c.size)
	x.emitCapable73arm(t, d, dev, end, good)
	switch {
	case mmio && !good:
		return x.fail(d, c.phys, c.size, ErrNotCapable)
	case !mmio:
		if a, done, err := x.ramArm(t, c, dev, good); done {
			return a, err
		}
	}
	t.StackLoad(64 + 8)
	t.Jump()
	return addr, nil
}

// ramArm emits what is asked about RAM: does it have to bounce, and do its lines have to be cleaned. done: it bounced, or failed.
func (x *Direct) ramArm(t *cpu.Thread, c physCall, dev cpu.Val, good bool) (addr uint64, done bool, err error) {
	d := c.d
	maintain := coherency.Needed(x.Env, d)
	if good {
		t.Branch(!maintain, t.ALU(4, t.Load(d.At.Flags, dev)))
	}
	if !good || maintain && coherency.KmallocNeedsBounce(t, x.Env, d, c.size, c.dir) {
		if c.attrs&kernel.AttrRequireCoherent != 0 {
			t.Branch(true, t.ALU(1, 0))
			addr, err = x.fail(d, c.phys, c.size, ErrNotCapable)
		} else {
			addr, err = x.bounceIncapable(t, d, c.phys, c.size, c.dir, c.attrs)
		}
		return addr, true, err
	}
	if maintain {
		x.cleanForDevice(t, d, c.phys, c.size, c.dir, c.attrs, c.flush)
	} else {
		t.Branch(true, t.Load(d.At.Flags, dev))
	}
	return 0, false, nil
}

// realm emits the question whether memory is encrypted: cc_platform_has of arm64, 6 instructions.
func (x *Direct) realm(t *cpu.Thread) {
	t.ALU(1, 0)
	t.Call(ccPlatformHasArm)
	t.ALU(1, 0)
	t.Nop(1)
	t.Branch(false, t.ALU(1, 0))
	t.ALU(1, 0)
	t.Ret()
	t.Branch(false, t.ALU(1, 0))
	t.Jump()
}

// emitCapable73arm emits dma_capable.
func (x *Direct) emitCapable73arm(t *cpu.Thread, d *kernel.Device, dev, end cpu.Val, good bool) {
	ptr := t.Load(d.At.DmaMask, dev)
	bus := t.Load(d.At.BusDmaLimit, dev)
	mask := t.Load(d.At.MaskValue, ptr)
	t.Branch(false, mask)
	t.Branch(d.BusLimit == 0, bus)
	reach := t.ALU(1, mask)
	if d.BusLimit != 0 {
		reach = t.ALU2(reach, bus)
	}
	t.Jump()
	t.Branch(!good, t.ALU2(reach, end))
}

// UnmapPhysArm emits dma_direct_unmap_phys of 7.3 on arm64, inlined into dma_unmap_phys: 31 instructions for a coherent device
// and an address above the swiotlb pool, 3 when the attributes say that nothing can have bounced.
func (x *Direct) UnmapPhysArm(t *cpu.Thread, d *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs, r Regs) {
	quick := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
	t.Branch(!quick, t.ALU(2, 0))
	if quick {
		return
	}
	phys := ToPhys(d, addr)
	t.Nop(1)
	t.ALU(1, 0)
	ranges := t.Load(d.At.DmaRangeMap, r.Dev)
	t.Branch(d.Ranges == nil, ranges)
	x.Env.WalkRangesBack(t, d, addr, ranges)
	skips := attrs&kernel.AttrSkipCPUSync != 0
	t.Branch(!skips, r.Size)
	if !skips {
		t.StackStore(0, r.Arg)
		t.Nop(1)
		t.Branch(false, t.ALU(1, 0)) // DMA_ATTR_CC_SHARED
		t.Jump()
		maintain := coherency.Needed(x.Env, d)
		t.Branch(maintain, t.Load(d.At.Flags, r.Dev))
		if maintain {
			t.ALU(3, 0)
			coherency.SyncForCPU(t, x.Env, phys, size, dir)
			coherency.Flush(t, x.Env)
		}
	}
	x.unmapPoolArm(t, d, phys, size, dir, attrs, r.Dev, true)
}
