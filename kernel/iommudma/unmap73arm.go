package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

// unmapPhys73arm is iommu_dma_unmap_phys of 7.3 on arm64: 42 instructions of its own for a coherent device, 15 for what cannot have
// bounced.
func (k *Cookie) unmapPhys73arm(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	direct := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
	t.Call(fnUnmapPhys)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.Branch(direct, t.ALU(3, 0))
	if direct {
		t.Call(fnUnmapIn)
		k.unmapIn73arm(t, dev, addr, size)
		t.Pop(4)
		t.Nop(1)
		t.Ret()
		return
	}
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	getDomain(t, dev)
	t.ALU(1, 0)
	phys := k.dom.IovaToPhys(t, addr)
	t.Branch(phys == 0, t.ALU(1, 0))
	if phys != 0 {
		t.Branch(true, 0)
		k.syncForCPU(t, dev, phys, size, dir, attrs)
		t.ALU(3, 0)
		t.Call(fnUnmapIn)
		k.unmapIn73arm(t, dev, addr, size)
		k.unbounce(t, dev, phys, size, dir, attrs)
	} else {
		k.warn(t)
	}
	t.Pop(8)
	t.Nop(1)
	t.Ret()
}

// unmapIn73arm is __iommu_dma_unmap of 7.3 on arm64 after it was entered: 89 instructions in strict mode, 113 in lazy mode.
func (k *Cookie) unmapIn73arm(t *cpu.Thread, dev *kernel.Device, addr, size uint64) {
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(unmapFrame)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(4)
	t.StackStore(unmapGuard, t.Load(kernel.TaskGuard(k.v, t.CPU), task))
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(5, c)
	g := t.Load(k.at.granule, c)
	t.StackStorePair(unmapGather, 0)
	t.StackStorePair(unmapGather+16, 0)
	t.ALU(2, g)
	t.StackStorePair(unmapGather+32, 0)
	t.ALU(2, g)
	g = t.Load(k.at.granule, c)
	t.StackStore(unmapGather+iommucore.GatherQueued, 0)
	fq := t.Load(k.at.fqDomain, c)
	t.ALU(7, g)
	t.StackStore(unmapGather+iommucore.GatherStart, 0)
	t.StackStorePair(unmapGather+iommucore.GatherEnd, 0)
	t.StackStorePair(unmapGather+iommucore.GatherFreelist, 0)
	gp := t.SP() + unmapGather
	t.Mem(cpu.Store, gp+iommucore.GatherQueued, 1, 0, fq)
	gt, start, length := k.unmapCore(t, gp, addr, size)
	t.Branch(false, t.ALU(1, 0)) // WARN unless everything was unmapped
	t.Branch(!k.lazy, t.Mem(cpu.Load, gp+iommucore.GatherQueued, 1, 0, 0))
	if k.lazy {
		typ := t.Mem(cpu.Load, k.dom.At.IsPT-4, 4, 0, 0)
		c = t.Load(k.dom.At.Cookie, 0)
		t.Branch(true, t.ALU(1, typ))
		k.queueIova73arm(t, start, length, gt, c)
	} else {
		k.syncTLBArm(t, gt)
		c = t.Load(k.dom.At.Cookie, 0)
		t.ALU(1, 0)
		k.emptyArm(t)
		typ := t.Mem(cpu.Load, k.dom.At.IsPT-4, 4, 0, 0)
		t.Branch(false, t.ALU(1, typ))
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

// syncTLBArm is iommu_iotlb_sync of 7.3, inlined: invalidate if anything was gathered.
func (k *Cookie) syncTLBArm(t *cpu.Thread, gt *iommucore.Gather) {
	op := t.Load(k.dom.At.OpSyncTLB, t.Load(k.dom.At.Ops, 0))
	t.Branch(false, op)
	start := t.LoadPair(gt.VA+iommucore.GatherStart, 0)
	none := gt.Start > gt.End && gt.Freelist.Empty()
	t.Branch(none, t.ALU(1, start))
	if !none {
		t.ALU(2, op)
		k.dom.SyncTLB(t, gt)
	}
}
