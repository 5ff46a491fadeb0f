package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/direct"
)

var (
	syncForCPU      = cpu.NewFunc("__dma_sync_single_for_cpu", "kernel/dma/mapping.c", 420)
	syncForDevice   = cpu.NewFunc("__dma_sync_single_for_device", "kernel/dma/mapping.c", 420)
	syncSGForCPU    = cpu.NewFunc("__dma_sync_sg_for_cpu", "kernel/dma/mapping.c", 180)
	syncSGForDevice = cpu.NewFunc("__dma_sync_sg_for_device", "kernel/dma/mapping.c", 180)
	skipSync        = cpu.NewFunc("dev_dma_skip_sync", "include/linux/dma-mapping.h", 32)
)

// NeedSync is dma_dev_need_sync: whether a sync call does anything at all for the device. It does not once the device has bounced a
// buffer, when it does not snoop, and in a kernel with DMA_API_DEBUG.
func (c *Ctx) NeedSync() bool {
	return c.Dev.NeedSync || coherency.Needed(c.Env, c.Dev) || c.Env.Debug.DMAAPI
}

// inlineSync emits the test that is inlined into every caller of a sync: one load, 2 instructions on 6.12 and 3 on 7.3.
func (c *Ctx) inlineSync(t *cpu.Thread) bool {
	need, d := c.NeedSync(), c.Dev
	if c.Env.Debug.DMAAPI { // constant
		return true
	}
	switch {
	case t.ISA == cpu.A64: // one bit of the loaded word is tested by the branch
		t.Branch(!need, t.Load(d.At.Flags, 0))
	case c.Env.Version == kernel.V7_3:
		t.Branch(!need, t.ALU(1, t.Load(d.At.Flags, 0)))
	default:
		t.Branch(!need, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	}
	return need
}

// SyncSingleForCPU is dma_sync_single_for_cpu: the device has written, the CPU is going to read. Only where NeedSync says so is there
// more than the inlined test: a call that maintains the caches and copies a bounced buffer. A sync has no attributes: it cannot know that a mapping is MMIO.
func (c *Ctx) SyncSingleForCPU(t *cpu.Thread, addr, size uint64, dir kernel.Direction) error {
	if !c.inlineSync(t) {
		return nil
	}
	return c.syncSingle(t, addr, size, dir, false)
}

// SyncSingleForDevice is dma_sync_single_for_device: the CPU has written, the device is going to read.
func (c *Ctx) SyncSingleForDevice(t *cpu.Thread, addr, size uint64, dir kernel.Direction) error {
	if !c.inlineSync(t) {
		return nil
	}
	return c.syncSingle(t, addr, size, dir, true)
}

// syncSingle is the function that the inline part calls: with dma-direct 41 instructions on 6.12 and 42 on 7.3 when the address is
// above the bounce pool, 47 on 7.3 around the copy when it is in it.
func (c *Ctx) syncSingle(t *cpu.Thread, addr, size uint64, dir kernel.Direction, toDevice bool) error {
	checkDirection(dir)
	g, d := c.Env.Sym, c.Dev
	f := syncForCPU
	if toDevice {
		f = syncForDevice
	}
	t.Call(f)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	ops := t.Load(d.At.DmaOps, 0)
	t.ALU(1, 0)
	t.Branch(true, t.ALU(1, ops))
	if t.ISA != cpu.A64 {
		ops = t.Load(g.DmaOps, 0)
		t.Branch(false, t.ALU(1, 0))
	}
	if c.Env.Version == kernel.V7_3 {
		t.Branch(d.IOMMU, t.ALU(1, t.Load(d.At.Flags, 0)))
	} else {
		t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	}
	called := d.IOMMU
	var err error
	if d.IOMMU {
		t.ALU(3, 0)
		err = c.IOMMU.SyncSingle(t, d, addr, size, dir, toDevice)
	} else if t.Branch(c.Ops != nil, t.ALU(1, ops)); c.Ops != nil {
		c.syncOps(t, ops)
	} else {
		called = c.Direct.SyncSingle(t, d, addr, size, dir, toDevice, direct.Regs{})
	}
	if called {
		t.Jump()
	}
	c.syncDone(t, addr, size, dir)
	t.Pop(5)
	t.Ret()
	return err
}

// SyncSG is dma_sync_sg_for_cpu, or _for_device, of a mapped list. No recording contains it: dispatch and pool test are those of
// a single sync, the loop is estimated from the structure of the source.
func (c *Ctx) SyncSG(t *cpu.Thread, sg *SG, dir kernel.Direction, toDevice bool) error {
	if !c.inlineSync(t) {
		return nil
	}
	checkDirection(dir)
	g, d := c.Env.Sym, c.Dev
	fn := syncSGForCPU
	if toDevice {
		fn = syncSGForDevice
	}
	t.Call(fn)
	t.Nop(2)
	t.Push(4)
	t.ALU(4, 0)
	t.Branch(true, t.ALU(1, t.Load(d.At.DmaOps, 0)))
	if t.ISA != cpu.A64 {
		t.Branch(false, t.ALU(1, t.Load(g.DmaOps, 0)))
	}
	t.Branch(d.IOMMU, t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0))
	var err error
	if d.IOMMU {
		err = c.IOMMU.SyncSG(t, d, &sg.list, dir, toDevice)
	} else if c.Ops != nil {
		c.syncOps(t, 0)
	} else {
		c.Direct.SyncSG(t, d, &sg.list, dir, toDevice)
	}
	c.Env.TracePoint(t, kernel.EventSyncSG, sg.list.Nents*(8+4), d)
	if c.Debug != nil {
		c.Debug.SyncSG(t, d, &sg.list, dir)
	}
	t.Pop(4)
	t.Ret()
	return err
}

// SyncSingleCold is a sync where the compiler did not inline the test: gcc 14 calls it from code that it takes for cold. On 6.12
// (gcc 12) it is inlined there too.
func (c *Ctx) SyncSingleCold(t *cpu.Thread, addr, size uint64, dir kernel.Direction, toDevice bool) error {
	need := c.NeedSync()
	if c.Env.Version == kernel.V7_3 {
		t.ALU(1, 0)
		t.Call(skipSync)
		v := t.ALU(1, t.Load(c.Dev.At.Flags, 0))
		if t.ISA != cpu.A64 {
			v = t.ALU(1, v)
		}
		t.Ret()
		if t.ISA != cpu.A64 {
			v = t.ALU(1, v)
		}
		t.Branch(!need, v)
		if need {
			t.ALU(4, 0)
		}
	} else {
		need = c.inlineSync(t)
	}
	if !need {
		return nil
	}
	return c.syncSingle(t, addr, size, dir, toDevice)
}
