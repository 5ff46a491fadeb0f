package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
)

var (
	fnUnmapPage     = cpu.NewFunc("iommu_dma_unmap_page", file, 0xa0)
	fnUnmapResource = cpu.NewFunc("iommu_dma_unmap_resource", file, 0x10)
	fnUnmapPhys     = cpu.NewFunc("iommu_dma_unmap_phys", file, 0xb0)
	fnUnmapIn       = cpu.NewFunc("__iommu_dma_unmap", file, 0x2a0)
)

// Unmap undoes a Map of size bytes that returned addr.
func (k *Cookie) Unmap(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	k.Stats.Unmaps++
	k.code.unmapping(k, t, dev, addr, size, dir, attrs)
}

// unmapPage12 is iommu_dma_unmap_page of 6.12: the page tables are walked to find the buffer again. MMIO goes to
// iommu_dma_unmap_resource.
func (k *Cookie) unmapPage12(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	if attrs&kernel.AttrMMIO != 0 {
		t.Call(fnUnmapResource)
		t.Nop(2)
		t.TailCall(fnUnmapIn)
		k.unmapIn12(t, dev, addr, size)
		return
	}
	t.Call(fnUnmapPage)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	getDomain(t, dev)
	t.ALU(2, 0)
	phys := k.dom.IovaToPhys(t, addr)
	t.Branch(phys == 0, t.ALU(1, 0))
	if phys != 0 {
		k.invalidateFor(t, dev, phys, size, dir, attrs)
		t.ALU(4, 0)
		t.Call(fnUnmapIn)
		k.unmapIn12(t, dev, addr, size)
		k.unbounce(t, dev, phys, size, dir, attrs)
	} else {
		k.warn(t)
	}
	t.Pop(6)
	t.Ret()
}

// warn is the WARN_ON(!phys) of an unmap of something that is not mapped: ud2 and its handler are not modelled, the
// address range leaks as in the kernel.
func (k *Cookie) warn(t *cpu.Thread) {
	k.Stats.NotMapped++
	t.Jump()
}

// unmapPhys73 is iommu_dma_unmap_phys of 7.3. MMIO and buffers that must not bounce need no walk.
func (k *Cookie) unmapPhys73(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	direct := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
	t.Call(fnUnmapPhys)
	t.Nop(2)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(2, 0)
	t.Branch(direct, t.Last())
	if direct {
		t.Pop(6)
		t.TailCall(fnUnmapIn)
		k.unmapIn73(t, dev, addr, size)
		return
	}
	t.ALU(2, 0)
	getDomain(t, dev)
	t.ALU(2, 0)
	phys := k.dom.IovaToPhys(t, addr)
	t.ALU(2, 0)
	t.Branch(phys == 0, t.Last())
	if phys != 0 {
		k.invalidateFor(t, dev, phys, size, dir, attrs)
		t.ALU(3, 0)
		t.Call(fnUnmapIn)
		k.unmapIn73(t, dev, addr, size)
		k.unbounce(t, dev, phys, size, dir, attrs)
	} else {
		k.warn(t)
	}
	t.Pop(6)
	t.Ret()
}

// unmapIn12 is __iommu_dma_unmap of 6.12 after it was entered: unmap, then invalidate and free the addresses, or leave
// both to the flush queue.
func (k *Cookie) unmapIn12(t *cpu.Thread, dev *kernel.Device, addr, size uint64) {
	guard := kernel.StackGuard(k.v, t.CPU)
	t.Nop(1)
	t.Push(5)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(72)
	t.StackStore(64, t.Load(guard, 0))
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(4, 0)
	g := t.Load(k.at.granule, c)
	t.ALU(2, g)
	gp := k.gather(t)
	t.StringSet(gp, iommucore.GatherBytes, 0)
	t.ALU(4, g)
	t.Store(gp+iommucore.GatherStart, 0, 0)
	t.Load(k.at.granule, c)
	t.ALU(1, 0)
	t.Store(gp+iommucore.GatherFreelist, 0, 0)
	t.Store(gp+iommucore.GatherQueued, 0, 0)
	t.ALU(2, 0)
	t.Store(gp+iommucore.GatherFreelist+8, 0, 0)
	t.Store(gp+iommucore.GatherEnd, 0, 0)
	t.ALU(1, 0)
	t.Store(gp+iommucore.GatherPgSize, 0, 0)
	t.ALU(1, 0)
	fq := t.Load(k.at.fqDomain, c)
	t.ALU(2, fq)
	t.Mem(cpu.Store, gp+iommucore.GatherQueued, 1, 0, fq)
	gt, start, length := k.unmapCore(t, gp, addr, size)
	t.Branch(false, t.ALU(1, 0)) // WARN unless everything was unmapped
	q := t.Mem(cpu.LoadOp, gp+iommucore.GatherQueued, 1, 0, 0)
	t.Branch(!k.lazy, q)
	if k.lazy {
		k.queueIova12(t, start, length, gt, c)
	} else {
		ops := t.Load(k.dom.At.Ops, 0)
		op := t.Load(k.dom.At.OpSyncTLB, ops)
		t.Branch(false, t.ALU(1, op))
		t.ALU(2, 0)
		k.dom.SyncTLB(t, gt)
		t.Nop(1)
		t.Store(gp+iommucore.GatherEnd, 0, 0)
		t.ALU(1, 0)
		for _, off := range []uint64{iommucore.GatherPgSize, iommucore.GatherQueued, iommucore.GatherStart,
			iommucore.GatherFreelist, iommucore.GatherFreelist + 8} {
			t.Store(gp+off, 0, 0)
		}
		kind := t.Mem(cpu.LoadOp, k.at.kind, 4, c, 0)
		t.Branch(false, kind)
		sh := t.Mem(cpu.LoadOp, k.at.granule, 8, c, 0)
		t.ALU(4, sh)
		s := k.IOVA.Shift()
		k.IOVA.FreeFast(t, t.CPU, start>>s, length>>s)
		t.Jump()
	}
	k.putGather(gt)
	v := t.StackLoad(64)
	t.Branch(false, t.LoadOp(guard, 0, v))
	t.Frame(-72)
	t.Pop(6)
	t.Ret()
}

// gather returns the address of the iommu_iotlb_gather on the stack of __iommu_dma_unmap.
func (k *Cookie) gather(t *cpu.Thread) uint64 { return t.SP() + 16 }

// unmapCore is the call of iommu_unmap_fast on the whole granules around the buffer, with a gather at gp.
func (k *Cookie) unmapCore(t *cpu.Thread, gp, addr, size uint64) (gt *iommucore.Gather, start, length uint64) {
	off, length := k.aligned(addr, size)
	start = addr - off
	gt = k.takeGather(gp)
	gt.Queued = k.lazy
	if n := k.dom.Unmap(t, start, length, gt); n != length {
		k.Stats.NotMapped++ // WARN_ON(unmapped != size)
	}
	return gt, start, length
}

// unmapIn73 is __iommu_dma_unmap of 7.3 after it was entered.
func (k *Cookie) unmapIn73(t *cpu.Thread, dev *kernel.Device, addr, size uint64) {
	guard := kernel.StackGuard(k.v, t.CPU)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(4)
	t.ALU(1, 0)
	t.Frame(72)
	t.StackStore(64, t.Load(guard, 0))
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(3, 0)
	g := t.Load(k.at.granule, c)
	t.ALU(2, g)
	gp := k.gather(t)
	t.StringSet(gp, iommucore.GatherBytes, 0)
	t.ALU(4, g)
	t.Store(gp+iommucore.GatherStart, 0, 0)
	t.Load(k.at.granule, c)
	t.Store(gp+iommucore.GatherQueued, 0, 0)
	t.Store(gp+iommucore.GatherEnd, 0, 0)
	t.Store(gp+iommucore.GatherPgSize, 0, 0)
	t.ALU(4, 0)
	t.Store(gp+iommucore.GatherFreelist, 0, 0)
	t.ALU(1, 0)
	fq := t.Load(k.at.fqDomain, c)
	t.ALU(1, 0)
	t.Store(gp+iommucore.GatherFreelist+8, 0, 0)
	t.ALU(2, fq)
	t.Mem(cpu.Store, gp+iommucore.GatherQueued, 1, 0, fq)
	gt, start, length := k.unmapCore(t, gp, addr, size)
	t.Branch(false, t.ALU(1, 0))
	q := t.Mem(cpu.LoadOp, gp+iommucore.GatherQueued, 1, 0, 0)
	t.Branch(!k.lazy, q)
	if !k.lazy {
		k.syncTLB73(t, gt)
		t.Jump()
	}
	t.ALU(4, 0)
	k.freeIova73(t, start, length, gt)
	k.putGather(gt)
	v := t.StackLoad(64)
	t.Branch(false, t.LoadOp(guard, 0, v))
	t.Frame(-72)
	t.Pop(5)
	t.Ret()
}

// syncTLB73 is iommu_iotlb_sync of 7.3, inlined: invalidate if anything was gathered, and empty the gather.
func (k *Cookie) syncTLB73(t *cpu.Thread, gt *iommucore.Gather) {
	gp := gt.VA
	ops := t.Load(k.dom.At.Ops, 0)
	op := t.Load(k.dom.At.OpSyncTLB, ops)
	t.Branch(false, t.ALU(1, op))
	end := t.Load(gp+iommucore.GatherEnd, 0)
	none := gt.Start > gt.End && gt.Freelist.Empty()
	t.Branch(none, t.LoadOp(gp+iommucore.GatherStart, 0, end))
	t.ALU(2, 0)
	if !none {
		k.dom.SyncTLB(t, gt)
	}
	for _, off := range []uint64{iommucore.GatherEnd, iommucore.GatherPgSize, iommucore.GatherQueued,
		iommucore.GatherStart, iommucore.GatherFreelist, iommucore.GatherFreelist + 8} {
		t.Store(gp+off, 0, 0)
	}
}
