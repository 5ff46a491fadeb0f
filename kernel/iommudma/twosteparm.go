package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/iommucore"
)

var fnLinkIn = cpu.NewFunc("__dma_iova_link", file, 0xc0)

// tryAllocArm is dma_iova_try_alloc on arm64: 53 instructions, 16 for a device without translation.
func (l *Layer) tryAllocArm(t *cpu.Thread, dev *kernel.Device, st *State, phys, size uint64) bool {
	v7 := dev.IOMMU
	t.Call(fnTryAlloc)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.StorePair(st.VA, 0, 0)
	st.Addr, st.Size = 0, 0
	t.Branch(v7, t.ALU(1, t.Load(dev.At.Flags, 0)))
	if !v7 {
		t.ALU(2, 0)
		t.Pop(4)
		t.Nop(1)
		t.Ret()
		return false
	}
	k := l.Of(dev)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	c := t.Load(k.dom.At.Cookie, d)
	g := t.Load(k.at.granule, c)
	t.Nop(1)
	t.Branch(size == 0, t.ALU(1, 0))
	t.Branch(false, 0)
	t.Load(k.at.granule, c)
	t.ALU(1, g)
	mask := t.Load(dev.At.DmaMask, 0)
	t.ALU(6, g)
	t.Branch(false, mask)
	t.Load(dev.At.MaskValue, mask)
	t.ALU(5, 0)
	off, length := k.aligned(phys, size)
	addr, ok := k.allocIova73arm(t, dev, length)
	t.Branch(!ok, 0)
	t.ALU(1, 0)
	if ok {
		t.StorePair(st.VA, 0, 0)
		t.ALU(1, 0)
		st.Addr, st.Size = addr+off, size
	} else {
		k.Stats.Failures++
	}
	t.Pop(10)
	t.Nop(1)
	t.Ret()
	return ok
}

// linkArm is dma_iova_link on arm64: 57 instructions, and 38 in __dma_iova_link.
func (l *Layer) linkArm(t *cpu.Thread, dev *kernel.Device, st *State, phys, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	k := l.Of(dev)
	t.Call(fnLink)
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
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	d := getDomain(t, dev)
	c := t.Load(k.dom.At.Cookie, d)
	g := t.Load(k.at.granule, c)
	t.Branch(false, t.ALU(3, g))
	t.Branch(true, t.Load(st.VA+8, 0))
	t.Branch(true, t.Load(dev.At.Flags, 0))
	t.ALU(3, 0)
	use := k.useSwiotlbArm(t, dev, size, dir)
	g = t.Load(k.at.granule, c)
	t.Branch(!use, 0)
	var err error
	switch in := (phys | (phys + size)) & (1<<k.IOVA.Shift() - 1); {
	case use && in != 0 && attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0:
		err = ErrNotPermitted
	case use && in != 0:
		t.Call(fnLinkBounced)
		err = l.linkBounced(t, dev, st, phys, offset, size, dir, attrs)
	default:
		t.Load(st.VA, 0)
		t.ALU(11, g)
		err = k.linkInArm(t, dev, st, phys, offset, size, dir, attrs)
	}
	t.ALU(1, 0)
	t.Pop(2)
	t.ALU(1, 0)
	t.Pop(10)
	t.Nop(1)
	t.Ret()
	return err
}

// linkInArm is __dma_iova_link.
func (k *Cookie) linkInArm(t *cpu.Thread, dev *kernel.Device, st *State, phys, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	t.Call(fnLinkIn)
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
	t.Push(2)
	t.ALU(2, 0)
	flags := t.Load(dev.At.Flags, 0)
	t.ALU(3, flags)
	infoToProtArm(t, dir)
	t.ALU(1, 0)
	sync := k.syncForDevice(dev, attrs)
	t.Branch(!sync, flags)
	if sync {
		coherency.SyncForDevice(t, k.env, phys, size, dir)
	}
	t.ALU(1, 0)
	getDomain(t, dev)
	t.ALU(5, 0)
	pad, length := k.aligned(phys, size)
	err := k.dom.MapNosync(t, st.Addr+offset-pad, phys-pad, length, prot(dir, !coherency.Needed(k.env, dev), attrs))
	t.Pop(10)
	t.Nop(1)
	t.Ret()
	return err
}

// syncArm is dma_iova_sync on arm64: 31 instructions. A device that does not snoop has its buffers flushed here, once.
func (l *Layer) syncArm(t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64) error {
	k := l.Of(dev)
	t.Call(fnSync)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	t.ALU(2, 0)
	d := getDomain(t, dev)
	c := t.Load(k.dom.At.Cookie, d)
	t.Load(st.VA, 0)
	g := t.Load(k.at.granule, c)
	t.ALU(1, 0)
	flags := t.Load(dev.At.Flags, 0)
	t.ALU(2, g)
	sync := coherency.Needed(k.env, dev)
	t.Branch(!sync, flags)
	if sync {
		coherency.Flush(t, k.env)
	}
	t.ALU(5, g)
	addr := st.Addr + offset
	pad, length := k.aligned(addr, size)
	err := k.dom.SyncMap(t, addr-pad, length)
	t.Pop(6)
	t.Nop(1)
	t.Ret()
	return err
}

// unlinkArm is dma_iova_unlink on arm64: 82 instructions.
func (l *Layer) unlinkArm(t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	k := l.Of(dev)
	const local = 96 // below the locals: the saved registers
	const gather, guard = local + 24, local + 88
	t.Call(fnUnlink)
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(96)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Reserve(local - 16)
	t.Mem(cpu.Store, t.SP()+local+8, 4, 0, 0)
	t.StackStorePair(16, 0)
	t.ALU(2, 0)
	t.StackStorePair(32, 0)
	t.ALU(2, 0)
	t.StackStore(local, 0)
	t.ALU(1, 0)
	t.StackStorePair(48, 0)
	t.StackStorePair(64, 0)
	t.ALU(1, 0)
	t.StackStore(guard, t.Load(kernel.TaskGuard(k.v, t.CPU), task))
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	c := t.Load(k.dom.At.Cookie, d)
	t.StackStore(local+16, c)
	t.ALU(1, 0)
	t.LoadPair(st.VA, 0)
	t.ALU(1, 0)
	g := t.Load(k.at.granule, c)
	t.StackStorePair(gather, 0)
	t.ALU(1, g)
	t.StackStorePair(gather+16, 0)
	t.ALU(1, g)
	t.StackStore(80, g)
	t.StackStorePair(gather+32, 0)
	t.Branch(st.Bounced, 0)
	slow := st.Bounced
	if !slow {
		slow = k.syncForDevice(dev, attrs)
		t.Branch(slow, t.Load(dev.At.Flags, 0))
	}
	if slow {
		k.unlinkSlow(t, dev, st.Addr+offset, size, dir, attrs)
	}
	t.ALU(2, c)
	t.StackStore(gather+iommucore.GatherStart, 0)
	t.ALU(1, 0)
	t.StackStorePair(gather+iommucore.GatherEnd, 0)
	t.ALU(1, 0)
	t.StackLoadPair(local)
	t.StackStorePair(gather+iommucore.GatherFreelist, 0)
	t.StackStore(gather+iommucore.GatherQueued, 0)
	t.StackLoad(80)
	g = t.Load(k.at.granule, 0)
	t.ALU(6, g)
	gt := k.takeGather(t.SP() + gather)
	addr := st.Addr + offset
	pad, length := k.aligned(addr, size)
	if n := k.dom.Unmap(t, addr-pad, length, gt); n != length {
		k.Stats.NotMapped++
	}
	t.Branch(false, t.ALU(1, 0))
	k.syncTLBArm(t, gt)
	k.putGather(gt)
	kernel.CheckGuard(t, k.v, guard)
	for off := 16; off < 80; off += 16 {
		t.StackLoadPair(off)
	}
	t.Reserve(16 - local)
	t.Pop(2)
	t.Frame(-96)
	t.Nop(1)
	t.Ret()
}

// freeArm is dma_iova_free on arm64 after it was entered: 32 instructions.
func (l *Layer) freeArm(t *cpu.Thread, dev *kernel.Device, st *State) {
	k := l.Of(dev)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	d := getDomain(t, dev)
	t.Mem(cpu.Load, k.dom.At.IsPT-4, 4, d, 0)
	c := t.Load(k.dom.At.Cookie, d)
	t.LoadPair(st.VA, 0)
	g := t.Load(k.at.granule, c)
	t.Branch(false, t.ALU(9, g))
	t.Op(cpu.BitScan, g)
	t.ALU(1, g)
	sh := t.Op(cpu.BitScan, g)
	t.ALU(2, sh)
	pad, length := k.aligned(st.Addr, st.Size)
	s := k.IOVA.Shift()
	k.IOVA.FreeFast(t, t.CPU, (st.Addr-pad)>>s, length>>s)
	t.Pop(1)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
}

// destroyArm is dma_iova_destroy on arm64: 21 instructions.
func (l *Layer) destroyArm(t *cpu.Thread, dev *kernel.Device, st *State, mapped uint64, dir kernel.Direction, attrs kernel.Attrs) {
	t.Call(fnDestroy)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.Branch(mapped != 0, t.ALU(2, 0))
	if mapped != 0 {
		t.ALU(4, 0)
		l.unlinkArm(t, dev, st, 0, mapped, dir, attrs)
	}
	t.ALU(2, 0)
	t.Call(fnFree)
	l.freeArm(t, dev, st)
	t.Pop(4)
	t.Nop(1)
	t.Ret()
	l.Of(dev).Stats.Unmaps++
}
