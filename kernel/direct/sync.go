package direct

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/scatterlist"
)

var (
	syncSGCPU    = cpu.NewFunc("dma_direct_sync_sg_for_cpu", "kernel/dma/direct.c", 320)
	syncSGDevice = cpu.NewFunc("dma_direct_sync_sg_for_device", "kernel/dma/direct.c", 320)
)

// SyncSingle emits dma_direct_sync_single_for_cpu or, with toDevice, _for_device, inlined into the function that dispatches: the physical address, cache
// maintenance, and the copy if the buffer bounced. For the device the copy comes first, for the CPU it comes last. It reports
// whether it made a call, after which the caller has a jump to its end.
func (x *Direct) SyncSingle(t *cpu.Thread, d *kernel.Device, addr, size uint64, dir kernel.Direction, toDevice bool, r Regs) (called bool) {
	g := x.Env.Sym
	phys := d.PhysAddress(addr)
	sme := t.Load(g.SmeMeMask, 0)
	ranges := t.Load(d.At.DmaRangeMap, r.Dev)
	p := t.ALU2(t.ALU(1, sme), 0)
	t.Branch(d.Ranges == nil, t.ALU(1, ranges))
	x.Env.WalkRangesBack(t, d, addr, ranges)
	if !toDevice {
		x.invalidateForCPU(t, d, phys, size, dir)
	}
	tlb := t.Load(d.At.IoTlbMem, 0)
	t.Branch(!x.Tlb.Present(), t.ALU(1, tlb))
	if x.Tlb.Present() && x.findPool(t, d, phys, t.LoadOp(g.IoTlb, tlb, p), tlb, p) {
		t.ALU(3, 0)
		called = true
		if toDevice {
			x.Tlb.SyncForDevice(t, d, phys, size, dir)
		} else {
			x.Tlb.SyncForCPU(t, d, phys, size, dir)
		}
	}
	if toDevice {
		x.cleanForDevice(t, d, phys, size, dir, 0, true)
	}
	return called
}

// SyncSG emits dma_direct_sync_sg_for_cpu or _for_device: the same for every DMA segment, in a loop.
func (x *Direct) SyncSG(t *cpu.Thread, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, toDevice bool) {
	fn := syncSGCPU
	if toDevice {
		fn = syncSGDevice
	}
	t.Call(fn)
	t.Nop(2)
	t.Push(6)
	t.Frame(8)
	dev := t.ALU(4, 0)
	top, sg := t.Here(), t.ALU(1, 0)
	for i := range l.Nents {
		e := &l.Entries[i]
		t.Load(l.At(i)+scatterlist.DMAAddr, sg)
		t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, sg, 0)
		x.SyncSingle(t, d, e.Addr, e.Len, dir, toDevice, Regs{Dev: dev})
		sg = l.Next(t, i, sg)
		t.Loop(top, i+1 < l.Nents, t.ALU(2, 0))
	}
	t.Frame(-8)
	t.Pop(6)
	t.Ret()
}
