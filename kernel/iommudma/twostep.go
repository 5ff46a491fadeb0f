package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
	"dmapath/kernel/iommucore"
)

var (
	fnTryAlloc = cpu.NewFunc("dma_iova_try_alloc", file, 0xf0)
	fnLink     = cpu.NewFunc("dma_iova_link", file, 0x300)
	fnSync     = cpu.NewFunc("dma_iova_sync", file, 0x60)
	fnUnlink   = cpu.NewFunc("dma_iova_unlink", file, 0x280)
	fnFree     = cpu.NewFunc("dma_iova_free", file, 0xa0)
	fnDestroy  = cpu.NewFunc("dma_iova_destroy", file, 0x60)
)

// State is struct dma_iova_state.
type State = iommucore.State

// tryAlloc is dma_iova_try_alloc on x86.
func (l *Layer) tryAlloc(t *cpu.Thread, dev *kernel.Device, st *State, phys, size uint64) bool {
	t.Call(fnTryAlloc)
	t.Nop(2)
	t.Push(6)
	t.Frame(16)
	t.Store(st.VA, 0, 0)
	t.Store(st.VA+8, 0, 0)
	st.Addr, st.Size, st.Bounced = 0, 0, false
	f := t.Load(dev.At.Flags, 0)
	t.Branch(dev.IOMMU, t.ALU(3, f))
	ok := false
	if dev.IOMMU {
		k := l.Of(dev)
		t.ALU(4, 0)
		d := getDomain(t, dev)
		c := t.Load(k.dom.At.Cookie, d)
		t.ALU(1, 0)
		g := t.Load(k.at.granule, c)
		t.Nop(1)
		t.Branch(size == 0, t.ALU(1, 0))
		t.Branch(false, g)
		k.emitMask(t, dev)
		g = t.Load(k.at.granule, c)
		t.ALU(9, g)
		off, length := k.aligned(phys, size)
		var addr uint64
		addr, ok = k.allocIova73(t, dev, length)
		t.Branch(!ok, t.ALU(1, 0))
		if ok {
			t.ALU(1, 0)
			t.Store(st.VA+8, 0, 0)
			t.Store(st.VA, 0, 0)
			t.Jump()
			st.Addr, st.Size = addr+off, size
		} else {
			k.Stats.Failures++
		}
	}
	t.ALU(1, 0)
	t.Frame(-16)
	t.Pop(6)
	t.Ret()
	return ok
}

// link is dma_iova_link on x86. It ends in a jump to iommu_map_nosync.
func (l *Layer) link(t *cpu.Thread, dev *kernel.Device, st *State, phys, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	k := l.Of(dev)
	t.Call(fnLink)
	t.Nop(2)
	for i := 0; i < 6; i++ {
		t.Push(1)
		t.ALU(1, 0)
	}
	t.Frame(24)
	t.StackLoad(88)
	t.StackStore(16, 0)
	d := getDomain(t, dev)
	t.ALU(1, 0)
	t.StackLoad(16)
	c := t.Load(k.dom.At.Cookie, d)
	g := t.Load(k.at.granule, c)
	t.Branch(true, t.ALU(2, g))
	t.Branch(false, t.LoadOp(st.VA+8, 0, 0))
	if k.mayBounce(t, dev, size, dir) {
		in := (phys | (phys + size)) & (1<<k.IOVA.Shift() - 1)
		t.Branch(in == 0, t.ALU(3, 0))
		if in != 0 {
			no := attrs&(kernel.AttrMMIO|kernel.AttrRequireCoherent) != 0
			t.Branch(no, t.ALU(1, 0))
			t.Frame(-24)
			t.Pop(6)
			if no {
				t.Ret()
				return ErrNotPermitted
			}
			t.TailCall(fnLinkBounced)
			return l.linkBounced(t, dev, st, phys, offset, size, dir, attrs)
		}
	}
	k.cleanLines(t, dev, phys, size, dir, attrs)
	t.ALU(2, 0)
	a := t.LoadOp(st.VA, 0, 0)
	t.ALU(17, a)
	k.emitDir(t, dir)
	t.ALU(1, 0)
	getDomain(t, dev)
	t.ALU(6, 0)
	t.Frame(-24)
	t.Pop(6)
	pad, length := k.aligned(phys, size)
	return k.dom.TailMapNosync(t, st.Addr+offset-pad, phys-pad, length, prot(dir, !coherency.Needed(k.env, dev), attrs))
}

// sync is dma_iova_sync on x86.
func (l *Layer) sync(t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64) error {
	k := l.Of(dev)
	t.Call(fnSync)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	if k.maintains(t, dev, 0) {
		coherency.Flush(t, k.env)
	}
	d := getDomain(t, dev)
	a := t.LoadOp(st.VA, 0, 0)
	t.ALU(1, a)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(1, a)
	g := t.Load(k.at.granule, c)
	t.ALU(4, g)
	t.Pop(2)
	t.ALU(2, 0)
	t.Pop(1)
	t.ALU(1, 0)
	addr := st.Addr + offset
	pad, length := k.aligned(addr, size)
	return k.dom.TailSyncMap(t, addr-pad, length)
}

// unlink is dma_iova_unlink on x86.
func (l *Layer) unlink(t *cpu.Thread, dev *kernel.Device, st *State, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	k := l.Of(dev)
	guard := kernel.StackGuard(k.v, t.CPU)
	t.Call(fnUnlink)
	t.Nop(2)
	t.Push(4)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(120)
	t.StackStore(0, 0)
	t.StackStore(12, 0)
	t.StackStore(16, 0)
	t.StackStore(112, t.Load(guard, 0))
	t.ALU(1, 0)
	d := getDomain(t, dev)
	a := t.LoadOp(st.VA, 0, 0)
	t.ALU(1, a)
	c := t.Load(k.dom.At.Cookie, d)
	t.ALU(2, 0)
	g := t.Load(k.at.granule, c)
	t.ALU(2, g)
	gp := t.SP() + 56
	t.StringSet(gp, iommucore.GatherBytes, 0)
	t.ALU(1, g)
	slow := st.Bounced || k.maintains(t, dev, attrs)
	t.Branch(slow, t.LoadOp(st.VA+8, 0, 0))
	if slow {
		k.unlinkSlow(t, dev, st.Addr+offset, size, dir, attrs)
	}
	t.ALU(1, 0)
	t.StackLoad(0)
	t.ALU(2, 0)
	t.Store(gp+iommucore.GatherEnd, 0, 0)
	t.ALU(1, 0)
	t.Store(gp+iommucore.GatherPgSize, 0, 0)
	t.Store(gp+iommucore.GatherQueued, 0, 0)
	t.Store(gp+iommucore.GatherFreelist, 0, 0)
	t.Store(gp+iommucore.GatherFreelist+8, 0, 0)
	t.Load(k.at.granule, c)
	t.Store(gp+iommucore.GatherStart, 0, 0)
	t.ALU(6, 0)
	gt := k.takeGather(gp)
	addr := st.Addr + offset
	pad, length := k.aligned(addr, size)
	if n := k.dom.Unmap(t, addr-pad, length, gt); n != length {
		k.Stats.NotMapped++
	}
	t.Branch(false, t.ALU(1, 0))
	ops := t.Load(k.dom.At.Ops, 0)
	op := t.Load(k.dom.At.OpSyncTLB, ops)
	t.Branch(false, t.ALU(1, op))
	end := t.Load(gp+iommucore.GatherEnd, 0)
	none := gt.Start > gt.End && gt.Freelist.Empty()
	t.Branch(none, t.LoadOp(gp+iommucore.GatherStart, 0, end))
	if !none {
		t.ALU(2, 0)
		k.dom.SyncTLB(t, gt)
	}
	k.putGather(gt)
	v := t.StackLoad(112)
	t.Branch(false, t.LoadOp(guard, 0, v))
	t.Frame(-120)
	t.Pop(6)
	t.Ret()
}

// free is dma_iova_free on x86 after it was entered.
func (l *Layer) free(t *cpu.Thread, dev *kernel.Device, st *State) {
	k := l.Of(dev)
	s := k.IOVA.Shift()
	t.Nop(2)
	t.Push(4)
	t.ALU(2, 0)
	d := getDomain(t, dev)
	a := t.Load(st.VA, 0)
	t.ALU(1, 0)
	size := t.LoadOp(st.VA+8, 0, 0)
	c := t.Load(k.dom.At.Cookie, d)
	g := t.Load(k.at.granule, c)
	t.ALU(4, g)
	t.ALU(3, a)
	typ := t.Mem(cpu.LoadOp, k.dom.At.IsPT-4, 4, 0, size)
	t.Branch(false, typ)
	b := t.ALU(1, t.Op(cpu.BitScan, g))
	t.Branch(false, b)
	t.ALU(2, b)
	b = t.ALU(1, t.Op(cpu.BitScan, g))
	t.Branch(false, b)
	t.ALU(4, b)
	t.Pop(1)
	t.ALU(1, b)
	t.Pop(3)
	pad, length := k.aligned(st.Addr, st.Size)
	k.IOVA.TailFreeFast(t, t.CPU, (st.Addr-pad)>>s, length>>s)
}

// destroy is dma_iova_destroy on x86.
func (l *Layer) destroy(t *cpu.Thread, dev *kernel.Device, st *State, mapped uint64, dir kernel.Direction, attrs kernel.Attrs) {
	t.Call(fnDestroy)
	t.Nop(2)
	t.Branch(mapped != 0, t.ALU(1, 0))
	if mapped != 0 {
		t.Frame(32)
		t.ALU(4, 0)
		t.StackStore(16, 0)
		t.StackStore(8, 0)
		l.unlink(t, dev, st, 0, mapped, dir, attrs)
		t.StackLoad(16)
		t.StackLoad(8)
		t.Frame(-32)
	}
	t.TailCall(fnFree)
	l.free(t, dev, st)
	l.Of(dev).Stats.Unmaps++
}
