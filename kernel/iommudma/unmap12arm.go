package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/iommucore"
)

// unmapPage12arm is iommu_dma_unmap_page of 6.12 on arm64: 39 instructions of its own for a coherent device. MMIO goes to
// iommu_dma_unmap_resource.
func (k *Cookie) unmapPage12arm(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	if attrs&kernel.AttrMMIO != 0 {
		t.Call(fnUnmapResource)
		t.ALU(1, 0)
		t.Nop(2)
		t.Push(2)
		t.ALU(1, 0)
		t.Call(fnUnmapIn)
		k.unmapIn12arm(t, dev, addr, size)
		t.Pop(2)
		t.Nop(1)
		t.Ret()
		return
	}
	t.Call(fnUnmapPage)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(2, 0)
	getDomain(t, dev)
	t.ALU(1, 0)
	phys := k.dom.IovaToPhys(t, addr)
	t.Branch(phys == 0, 0)
	if phys != 0 {
		t.Branch(true, t.ALU(1, 0))
		k.syncForCPU(t, dev, phys, size, dir, attrs)
		t.ALU(3, 0)
		t.Call(fnUnmapIn)
		k.unmapIn12arm(t, dev, addr, size)
		k.unbounce(t, dev, phys, size, dir, attrs)
	} else {
		k.warn(t)
	}
	t.Pop(8)
	t.Nop(1)
	t.Ret()
}

// syncForCPU emits the test for a device that does not snoop, and the maintenance of its buffer after the device has used it.
func (k *Cookie) syncForCPU(t *cpu.Thread, dev *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	sync := k.syncForDevice(dev, attrs)
	t.Branch(!sync, t.Load(dev.At.Flags, 0))
	if sync {
		coherency.SyncForCPU(t, k.env, phys, size, dir)
		coherency.Flush(t, k.env)
	}
}

// Frame of __iommu_dma_unmap on arm64, below which four pairs of registers are saved.
const (
	unmapFrame  = 80
	unmapSaved  = 64
	unmapGather = unmapSaved + 16
	unmapGuard  = unmapSaved + 72
)

// unmapIn12arm is __iommu_dma_unmap of 6.12 on arm64 after it was entered: 85 instructions in strict mode, 115 in lazy mode.
func (k *Cookie) unmapIn12arm(t *cpu.Thread, dev *kernel.Device, addr, size uint64) {
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(unmapFrame)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.StackStore(unmapGuard, t.Load(kernel.TaskGuard(k.v, t.CPU), task))
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(5, c)
	fq := t.Load(k.at.fqDomain, c)
	g := t.Load(k.at.granule, c)
	t.StackStorePair(unmapGather, 0)
	t.ALU(1, 0)
	t.StackStorePair(unmapGather+16, 0)
	t.ALU(2, g)
	t.StackStorePair(unmapGather+32, 0)
	t.ALU(2, g)
	g = t.Load(k.at.granule, c)
	t.StackStore(unmapGather+iommucore.GatherQueued, 0)
	t.ALU(1, g)
	t.StackStore(unmapGather+iommucore.GatherStart, 0)
	t.ALU(3, g)
	t.StackStorePair(unmapGather+iommucore.GatherFreelist, 0)
	t.ALU(2, g)
	t.StackStorePair(unmapGather+iommucore.GatherEnd, 0)
	gp := t.SP() + unmapGather
	t.Mem(cpu.Store, gp+iommucore.GatherQueued, 1, 0, fq)
	gt, start, length := k.unmapCore(t, gp, addr, size)
	t.Branch(false, t.ALU(1, 0)) // WARN unless everything was unmapped
	t.Branch(!k.lazy, t.Mem(cpu.Load, gp+iommucore.GatherQueued, 1, 0, 0))
	if k.lazy {
		k.queueIova12arm(t, start, length, gt, c)
	} else {
		op := t.Load(k.dom.At.OpSyncTLB, t.Load(k.dom.At.Ops, 0))
		t.Branch(false, op)
		t.ALU(2, op)
		k.dom.SyncTLB(t, gt)
		t.ALU(1, 0)
		k.emptyArm(t)
		kind := t.Mem(cpu.Load, k.at.kind, 4, c, 0)
		t.Branch(false, t.ALU(1, kind))
		g = t.Load(k.at.granule, c)
		t.ALU(1, 0)
		k.freeRangeArm(t, start, length, g)
		t.Jump()
	}
	k.putGather(gt)
	kernel.CheckGuard(t, k.v, unmapGuard)
	t.Pop(8)
	t.Frame(-unmapFrame)
	t.Nop(1)
	t.Ret()
}

// emptyArm empties the gather after an invalidation.
func (k *Cookie) emptyArm(t *cpu.Thread) {
	t.StackStore(unmapGather+iommucore.GatherStart, 0)
	t.StackStorePair(unmapGather+iommucore.GatherEnd, 0)
	t.StackStorePair(unmapGather+iommucore.GatherFreelist, 0)
	t.StackStore(unmapGather+iommucore.GatherQueued, 0)
}

// freeRangeArm emits the shift to frames and the call of free_iova_fast.
func (k *Cookie) freeRangeArm(t *cpu.Thread, start, length uint64, g cpu.Val) {
	s := k.IOVA.Shift()
	t.Op(cpu.BitScan, g)
	sh := t.Op(cpu.BitScan, g)
	t.ALU(2, sh)
	k.IOVA.FreeFast(t, t.CPU, start>>s, length>>s)
}
