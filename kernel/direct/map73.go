package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var mapPhys = cpu.NewFunc("dma_direct_map_phys", "kernel/dma/direct.c", 820)

// MapPhys emits dma_direct_map_phys of 7.3: 69 instructions of its own on the RAM path, and with memory encryption
// compiled in 46 more in force_dma_unencrypted and cc_platform_has; 45 around swiotlb_map when bouncing is forced. flush says that the
// caller maps nothing else: cache maintenance is then completed here.
func (x *Direct) MapPhys(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs, flush bool) (uint64, error) {
	if t.ISA == cpu.A64 {
		return x.mapPhysArm(t, d, phys, size, dir, attrs, flush)
	}
	v := kernel.V7_3
	mmio := attrs&kernel.AttrMMIO != 0
	t.Call(mapPhys)
	t.Nop(2)
	t.Push(1)
	at := t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	sz := t.ALU(1, 0)
	t.Push(2)
	dev := t.ALU(1, 0)
	t.Push(1)
	pa := t.ALU(1, 0)
	t.Frame(24)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(16, guard)
	rc := t.ALU(1, 0)
	t.StackStore(8, 0)
	isMMIO := t.ALU(1, at)
	t.Branch(mmio, isMMIO)
	var host cpu.Val
	if mmio {
		t.ALU(1, 0)
		x.Env.PlatformHas(t, kernel.HostEncrypted)
		host = t.ALU(1, 0)
	}
	tlb := t.Load(d.At.IoTlbMem, dev)
	if mmio {
		t.Branch(true, t.ALU(1, host))
	}
	call := physCall{d, phys, size, dir, attrs, flush}
	var addr uint64
	var err error
	if x.testForced(t, tlb) {
		no := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
		t.Branch(no, t.ALU(1, isMMIO))
		if no {
			addr, err = x.fail(d, phys, size, ErrForced)
		} else {
			addr, err = x.bounce(t, d, phys, size, dir, attrs)
			t.Jump()
		}
	} else {
		addr, err = x.mapPhysBody(t, call, dev, pa, sz, rc, isMMIO)
		t.StackLoad(8)
	}
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(16)))
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
	return addr, err
}

// physCall is the arguments of dma_direct_map_phys.
type physCall struct {
	d          *kernel.Device
	phys, size uint64
	dir        kernel.Direction
	attrs      kernel.Attrs
	flush      bool
}

// testForced emits is_swiotlb_force_bounce.
func (x *Direct) testForced(t *cpu.Thread, tlb cpu.Val) bool {
	t.Branch(!x.Tlb.Present(), t.ALU(1, tlb))
	if !x.Tlb.Present() {
		return false
	}
	t.Branch(!x.Tlb.Force, t.Mem(cpu.LoadOp, x.Env.Sym.IoTlb+80, 1, tlb, 0))
	return x.Tlb.Force
}

// mapPhysBody emits what follows when bouncing is not forced.
func (x *Direct) mapPhysBody(t *cpu.Thread, c physCall, dev, pa, sz, rc, isMMIO cpu.Val) (uint64, error) {
	g, d := x.Env.Sym, c.d
	mmio := c.attrs&kernel.AttrMMIO != 0
	shared := c.attrs&kernel.AttrCCShared != 0
	t.Branch(!shared, t.ALU(1, rc))
	ranges := t.Load(d.At.DmaRangeMap, dev)
	p := t.ALU(1, pa)
	t.Branch(d.Ranges != nil, t.ALU(1, ranges))
	addr, ok := x.Env.WalkRanges(t, d, c.phys, ranges)
	dma := p
	if !shared {
		dma = t.LoadOp(g.SmeMeMask, 0, p)
	}
	t.StackStore(8, dma)
	end := t.ALU2(dma, sz)
	t.Branch(!mmio, t.ALU(1, isMMIO))
	t.Branch(!ok, t.ALU(1, dma))
	if !ok {
		return x.fail(d, c.phys, c.size, ErrNoRange)
	}
	good := true
	if x.Env.MemEncrypt && !shared {
		t.ALU(1, dev)
		t.StackStore(0, end)
		good = !x.Env.ForceUnencrypted(t)
		end = t.StackLoad(0)
		t.Branch(good, t.ALU(1, 0))
	}
	if good {
		maskPtr := t.Load(d.At.DmaMask, dev)
		reach := x.emitCapable(t, d, maskPtr, dev, false)
		good = Capable(d, addr, c.size)
		t.Branch(mmio == good, t.ALU2(reach, end))
	}
	if mmio {
		if !good {
			return x.fail(d, c.phys, c.size, ErrNotCapable)
		}
		return addr, nil
	}
	if !good || coherency.KmallocNeedsBounce(t, x.Env, d, c.size, c.dir) {
		if c.attrs&kernel.AttrRequireCoherent != 0 {
			t.Branch(true, t.ALU(1, 0))
			return x.fail(d, c.phys, c.size, ErrNotCapable)
		}
		return x.bounceIncapable(t, d, c.phys, c.size, c.dir, c.attrs)
	}
	x.cleanForDevice(t, d, c.phys, c.size, c.dir, c.attrs, c.flush)
	return addr, nil
}

// UnmapPhys73 emits dma_direct_unmap_phys of 7.3, inlined into dma_unmap_phys: 38 instructions, none when the attributes
// say that nothing can have bounced.
func (x *Direct) UnmapPhys73(t *cpu.Thread, d *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs, r Regs) {
	g := x.Env.Sym
	quick := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
	t.Branch(quick, t.ALU(1, 0))
	if quick {
		return
	}
	phys := ToPhys(d, addr)
	sme := t.Load(g.SmeMeMask, 0)
	ranges := t.Load(d.At.DmaRangeMap, 0)
	skip := t.Chain(2, 0)
	p := t.ALU2(t.ALU(1, sme), r.Arg)
	t.Branch(d.Ranges == nil, t.ALU(1, ranges))
	x.Env.WalkRangesBack(t, d, addr, ranges)
	skips := attrs&kernel.AttrSkipCPUSync != 0
	t.Branch(!skips, t.ALU(1, skip))
	var q cpu.Val
	if !skips {
		q = t.ALU(1, p)
		x.invalidateForCPU(t, d, phys, size, dir)
	}
	tlb := t.Load(d.At.IoTlbMem, r.Dev)
	t.Branch(!x.Tlb.Present(), t.ALU(1, tlb))
	if !x.Tlb.Present() {
		return
	}
	start := t.Load(g.IoTlb, tlb)
	if !skips {
		t.Chain(2, r.Size)
		if x.findPool(t, d, phys, t.ALU2(start, p), tlb, p) {
			t.ALU(4, 0)
			x.Tlb.SyncForCPU(t, d, phys, size, dir)
			t.Jump()
			tlb = t.Load(d.At.IoTlbMem, r.Dev)
			t.ALU(1, 0)
			t.Jump()
			t.ALU(2, p)
			t.Branch(false, t.ALU(1, tlb))
			start = t.Load(g.IoTlb, tlb)
		} else {
			p = t.ALU(1, q)
			t.Jump()
		}
	}
	x.unmapBounced(t, d, phys, size, dir, attrs, t.ALU2(p, start), tlb, p)
}
