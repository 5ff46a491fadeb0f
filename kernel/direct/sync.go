package direct

import (
	"errors"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/scatterlist"
)

var (
	syncSGCPU    = cpu.NewFunc("dma_direct_sync_sg_for_cpu", "kernel/dma/direct.c", 320)
	syncSGDevice = cpu.NewFunc("dma_direct_sync_sg_for_device", "kernel/dma/direct.c", 320)
)

// SyncSingle emits dma_direct_sync_single_for_cpu and, with toDevice, dma_direct_sync_single_for_device, inlined into their
// callers in both versions: translate the address back, and look whether it lies in the swiotlb pool. 17 instructions when it lies above.
func (x *Direct) SyncSingle(t *cpu.Thread, d *kernel.Device, addr, size uint64, dir kernel.Direction, toDevice bool, r Regs) error {
	g := x.Env.Sym
	phys := ToPhys(d, addr)
	sme := t.Load(g.SmeMeMask, 0)
	ranges := t.Load(d.At.DmaRangeMap, r.Dev)
	p := t.ALU(2, sme)
	t.Branch(d.Ranges == nil, t.ALU(1, ranges))
	x.reverseWalk(t, d, addr, ranges)
	return x.syncPool(t, d, phys, size, dir, toDevice, p)
}

// syncPool emits swiotlb_find_pool and what follows it.
func (x *Direct) syncPool(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, toDevice bool, p cpu.Val) error {
	tlb := t.Load(d.At.IoTlbMem, 0)
	t.Branch(!x.Pool.present(), t.ALU(1, tlb))
	if !x.Pool.present() {
		return nil
	}
	start := t.Load(x.Env.Sym.IoTlb, tlb)
	below := phys < x.Pool.Start
	t.Branch(below, t.ALU2(start, p))
	if !below {
		t.Branch(phys >= x.Pool.End, t.LoadOp(x.Env.Sym.IoTlb+8, tlb, p))
	}
	if x.Pool.contains(phys) {
		return &Error{d.Name, phys, size, Limit(d), ErrBounce}
	}
	return nil
}

// SyncSG emits dma_direct_sync_sg_for_cpu or _for_device: the same for every DMA segment, in a loop.
func (x *Direct) SyncSG(t *cpu.Thread, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, toDevice bool) error {
	fn := syncSGCPU
	if toDevice {
		fn = syncSGDevice
	}
	t.Call(fn)
	t.Nop(2)
	t.Push(6)
	t.Frame(8)
	dev := t.ALU(4, 0)
	var errs error
	top, sg := t.Here(), t.ALU(1, 0)
	for i := range l.Nents {
		e := &l.Entries[i]
		t.Load(l.At(i)+scatterlist.DMAAddr, sg)
		t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, sg, 0)
		if err := x.SyncSingle(t, d, e.Addr, e.Len, dir, toDevice, Regs{Dev: dev}); err != nil {
			errs = errors.Join(errs, err)
		}
		sg = l.Next(t, i, sg)
		t.Loop(top, i+1 < l.Nents, t.ALU(2, 0))
	}
	t.Frame(-8)
	t.Pop(6)
	t.Ret()
	return errs
}
