package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	mapPhys          = cpu.NewFunc("dma_direct_map_phys", "kernel/dma/direct.c", 820)
	forceUnencrypted = cpu.NewFunc("force_dma_unencrypted", "arch/x86/mm/mem_encrypt.c", 64)
	ccPlatformHas    = cpu.NewFunc("cc_platform_has", "arch/x86/coco/core.c", 96)
)

// MapPhys emits dma_direct_map_phys of 7.3: 69 instructions of its own on the RAM path, and with memory encryption
// compiled in 46 more in force_dma_unencrypted and cc_platform_has.
func (x *Direct) MapPhys(t *cpu.Thread, d *kernel.Device, phys, size uint64, attrs kernel.Attrs) (uint64, error) {
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
		x.ccPlatformHas(t)
		host = t.ALU(1, 0)
	}
	tlb := t.Load(d.At.IoTlbMem, dev)
	if mmio {
		t.Branch(true, t.ALU(1, host))
	}
	addr, err := x.mapPhysBody(t, d, phys, size, attrs, tlb, dev, pa, sz, rc, isMMIO)
	t.StackLoad(8)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(16)))
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
	return addr, err
}

func (x *Direct) mapPhysBody(t *cpu.Thread, d *kernel.Device, phys, size uint64, attrs kernel.Attrs, tlb, dev, pa, sz, rc, isMMIO cpu.Val) (uint64, error) {
	g := x.Env.Sym
	mmio := attrs&kernel.AttrMMIO != 0
	coherent := attrs&kernel.AttrRequireCoherent != 0
	t.Branch(!x.Pool.present(), t.ALU(1, tlb))
	if x.Pool.present() {
		t.Branch(!x.Pool.Force, t.Mem(cpu.LoadOp, g.IoTlb+80, 1, tlb, 0))
		if x.Pool.Force {
			t.Branch(mmio || coherent, t.ALU(1, isMMIO))
			if mmio || coherent {
				return x.fail(d, phys, size, ErrForced)
			}
			return x.fail(d, phys, size, ErrBounce)
		}
	}
	t.Branch(true, t.ALU(1, rc)) // not CC_SHARED
	ranges := t.Load(d.At.DmaRangeMap, dev)
	p := t.ALU(1, pa)
	t.Branch(d.Ranges != nil, t.ALU(1, ranges))
	addr, ok := x.rangeWalk(t, d, phys, ranges)
	dma := t.LoadOp(g.SmeMeMask, 0, p)
	t.StackStore(8, dma)
	end := t.ALU2(dma, sz)
	t.Branch(!mmio, t.ALU(1, isMMIO))
	t.Branch(!ok, t.ALU(1, dma))
	if !ok {
		return x.fail(d, phys, size, ErrNoRange)
	}
	if x.Env.MemEncrypt {
		t.ALU(1, dev)
		t.StackStore(0, end)
		x.forceUnencrypted(t)
		end = t.StackLoad(0)
		t.Branch(true, t.ALU(1, 0))
	}
	maskPtr := t.Load(d.At.DmaMask, dev)
	reach := x.emitCapable(t, d, maskPtr, dev, false)
	good := Capable(d, addr, size)
	t.Branch(mmio == good, t.ALU2(reach, end))
	if !good {
		if mmio || coherent {
			return x.fail(d, phys, size, ErrNotCapable)
		}
		return x.fail(d, phys, size, x.incapable())
	}
	return addr, nil
}

// forceUnencrypted emits force_dma_unencrypted of an unencrypted machine: neither a guest nor a host with memory
// encryption. 16 instructions and twice cc_platform_has, 8 (7 of its own and the return).
func (x *Direct) forceUnencrypted(t *cpu.Thread) {
	t.Call(forceUnencrypted)
	t.Nop(1)
	t.Push(1)
	t.ALU(2, 0)
	t.Push(1)
	t.ALU(1, 0)
	x.ccPlatformHas(t)
	guest := t.ALU(1, 0)
	t.Branch(true, t.ALU(1, 0))
	t.ALU(1, 0)
	x.ccPlatformHas(t)
	t.Branch(true, t.ALU(1, 0))
	t.ALU(1, 0)
	t.ALU(1, guest)
	t.Pop(2)
	t.Ret()
}

// ccPlatformHas emits cc_platform_has when cc_vendor is none.
func (x *Direct) ccPlatformHas(t *cpu.Thread) {
	t.Call(ccPlatformHas)
	t.Nop(1)
	vendor := t.Mem(cpu.Load, x.Env.Sym.CcVendor, 4, 0, 0)
	t.Branch(false, t.ALU(1, vendor))
	t.Branch(false, t.ALU(1, vendor))
	t.ALU(1, 0)
	t.Ret()
}

// UnmapPhys73 emits dma_direct_unmap_phys of 7.3, inlined into dma_unmap_phys: 38 instructions, none when the attributes
// say that nothing can have bounced.
func (x *Direct) UnmapPhys73(t *cpu.Thread, d *kernel.Device, addr, size uint64, attrs kernel.Attrs, r Regs) error {
	g := x.Env.Sym
	quick := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
	t.Branch(quick, t.ALU(1, 0))
	if quick {
		return nil
	}
	phys := ToPhys(d, addr)
	sme := t.Load(g.SmeMeMask, 0)
	ranges := t.Load(d.At.DmaRangeMap, 0)
	skip := t.Chain(2, 0)
	p := t.ALU2(t.ALU(1, sme), r.Arg)
	t.Branch(d.Ranges == nil, t.ALU(1, ranges))
	x.reverseWalk(t, d, addr, ranges)
	skips := attrs&kernel.AttrSkipCPUSync != 0
	t.Branch(!skips, t.ALU(1, skip))
	var q cpu.Val
	if !skips {
		q = t.ALU(1, p)
	}
	tlb := t.Load(d.At.IoTlbMem, r.Dev)
	t.Branch(!x.Pool.present(), t.ALU(1, tlb))
	if !x.Pool.present() {
		return nil
	}
	start := t.Load(g.IoTlb, tlb)
	if !skips {
		t.Chain(2, r.Size)
		below := phys < x.Pool.Start
		t.Branch(below, t.ALU2(start, p))
		if !below {
			t.Branch(phys >= x.Pool.End, t.LoadOp(g.IoTlb+8, tlb, p))
		}
		p = t.ALU(1, q)
		t.Jump()
	}
	return x.poolTest(t, phys, size, d, t.ALU2(p, start), tlb, p)
}
