package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var syncSingle = cpu.NewFunc("__dma_sync_single_for_cpu", "kernel/dma/mapping.c", 420)

// SyncSingle is dma_sync_single_for_cpu and _for_device (they cost the same on a coherent machine). The inline part tests
// whether the device needs syncing at all: one load, 2 instructions on 6.12 and 3 on 7.3. Only after a buffer of the
// device has bounced (Device.NeedSync) is there a call, which looks whether the address lies in the swiotlb pool.
func (c *Ctx) SyncSingle(t *cpu.Thread, addr, size uint64, dir kernel.Direction) {
	d := c.Dev
	if c.Env.Version == kernel.V7_3 {
		t.Branch(!d.NeedSync, t.ALU(1, t.Load(d.At.Flags, 0)))
	} else {
		t.Branch(!d.NeedSync, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	}
	if d.NeedSync {
		c.syncSingle(t)
	}
}

// syncSingle is __dma_sync_single_for_cpu with dma-direct.
func (c *Ctx) syncSingle(t *cpu.Thread) {
	g, d := c.Env.Sym, c.Dev
	t.Call(syncSingle) // 41 instructions when the address is above the pool
	t.Nop(2)
	t.Push(5)
	t.ALU(5, 0)
	t.Branch(true, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	t.Branch(false, t.ALU(1, t.Load(g.DmaOps, 0)))
	t.Branch(false, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	sme := t.Load(g.SmeMeMask, 0)
	ranges := t.Load(d.At.DmaRangeMap, 0)
	p := t.ALU(2, sme)
	t.Branch(d.Ranges == nil, t.ALU(1, ranges))
	tlb := t.Load(d.At.IoTlbMem, 0)
	t.Branch(false, t.ALU(1, tlb))
	start := t.Load(g.IoTlb, tlb)
	t.Branch(false, t.ALU2(start, p))
	t.Branch(true, t.LoadOp(g.IoTlb+8, tlb, p))
	t.Nop(1)
	t.Pop(5)
	t.Ret()
}

var skipSync = cpu.NewFunc("dev_dma_skip_sync", "include/linux/dma-mapping.h", 32)

// SyncSingleCold is SyncSingle where the compiler did not inline the test: gcc 14 calls it from code that it takes for cold.
// On 6.12 (gcc 12) it is SyncSingle.
func (c *Ctx) SyncSingleCold(t *cpu.Thread, addr, size uint64, dir kernel.Direction) {
	if c.Env.Version != kernel.V7_3 {
		c.SyncSingle(t, addr, size, dir)
		return
	}
	d := c.Dev
	t.ALU(1, 0)
	t.Call(skipSync)
	v := t.ALU(2, t.Load(d.At.Flags, 0))
	t.Ret()
	t.Branch(!d.NeedSync, t.ALU(1, v))
	if d.NeedSync {
		c.syncSingle(t)
	}
}
