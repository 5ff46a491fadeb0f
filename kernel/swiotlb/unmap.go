package swiotlb

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

var (
	fnUnmap      = cpu.NewFunc("__swiotlb_tbl_unmap_single", "kernel/dma/swiotlb.c", 96)
	fnRelease    = cpu.NewFunc("swiotlb_release_slots", "kernel/dma/swiotlb.c", 480)
	fnSyncCPU    = cpu.NewFunc("__swiotlb_sync_single_for_cpu", "kernel/dma/swiotlb.c", 48)
	fnSyncDevice = cpu.NewFunc("__swiotlb_sync_single_for_device", "kernel/dma/swiotlb.c", 48)
	decUsed      = cpu.NewFunc("dec_used_nop", "kernel/dma/swiotlb.c", 16)
	decUsed12    = cpu.NewFunc("dec_used", "kernel/dma/swiotlb.c", 16)
)

// Unmap emits __swiotlb_tbl_unmap_single: it copies size bytes back from the pool at tlb if the device may have written them and attrs do not
// say otherwise, and frees all slots of the mapping. tlb must be what TblMap returned.
func (m *Mem) Unmap(t *cpu.Thread, d *kernel.Device, tlb, size uint64, dir kernel.Direction, attrs kernel.Attrs) {
	p := m.Find(tlb)
	m.Stats.Unmaps++
	t.Call(fnUnmap)
	t.Nop(2)
	skip := attrs&kernel.AttrSkipCPUSync != 0
	t.Branch(skip, t.ALU(1, 0))
	if !skip {
		back := dir == kernel.FromDevice || dir == kernel.Bidirectional
		t.Branch(!back, t.ALU(1, 0))
		if back {
			t.Push(3)
			t.ALU(3, 0)
			m.bounce(t, d, p, tlb, size, fromPool)
			t.ALU(3, 0)
			t.Pop(3)
		}
	}
	t.ALU(1, 0)
	if m.grow != nil && m.dropTransient(t, d, p) {
		t.Ret()
		return
	}
	t.TailCall(fnRelease)
	m.release(t, d, p, tlb)
}

// SyncForCPU emits __swiotlb_sync_single_for_cpu: the copy back, if the device may have written.
func (m *Mem) SyncForCPU(t *cpu.Thread, d *kernel.Device, tlb, size uint64, dir kernel.Direction) {
	m.sync(t, d, fnSyncCPU, tlb, size, dir == kernel.FromDevice || dir == kernel.Bidirectional, fromPool)
}

// SyncForDevice emits __swiotlb_sync_single_for_device: the copy into the pool, if the device may read.
func (m *Mem) SyncForDevice(t *cpu.Thread, d *kernel.Device, tlb, size uint64, dir kernel.Direction) {
	m.sync(t, d, fnSyncDevice, tlb, size, dir == kernel.ToDevice || dir == kernel.Bidirectional, toPool)
}

// sync emits f, one of the two: it copies when the direction asks for it.
func (m *Mem) sync(t *cpu.Thread, d *kernel.Device, f *cpu.Func, tlb, size uint64, copies bool, w way) {
	t.Call(f)
	t.Nop(2)
	t.Branch(copies, t.ALU(1, 0))
	if !copies {
		t.Branch(false, t.ALU(1, 0))
		t.Ret()
		return
	}
	t.ALU(1, 0)
	m.tailBounce(t, d, m.Find(tlb), tlb, size, w)
}

// release emits swiotlb_release_slots after it was jumped to: the slots count as free again, with those behind and before them.
func (m *Mem) release(t *cpu.Thread, d *kernel.Device, p *Pool, tlb uint64) {
	v := m.Env.Version
	t.Nop(1)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	off := offset(d, 0, tlb)
	first := int((tlb - off - p.Start) >> SlotShift)
	i := first - int(p.slots[first].pad)
	n := slotsFor(p.slots[i].alloc + off)
	a := i / p.areaSlots
	ar := &p.areas[a]
	parms := t.Load(d.At.DmaParms, 0)
	t.ALU(1, 0)
	t.Branch(false, t.ALU(1, parms))
	mask := t.Mem(cpu.Load, d.At.MinAlignMask, 4, parms, 0)
	at := t.LoadOp(p.va+poolStart, 0, t.ALU(4, mask))
	t.ALU(1, at)
	slots := t.Load(p.va+poolSlotArray, 0)
	at = t.Chain(3, at)
	pad := t.Mem(cpu.Load, p.slotVA(first)+slotPad, 2, at, slots)
	idx := t.Chain(3, pad)
	alloc := t.LoadOp(p.slotVA(i)+slotAlloc, idx, slots)
	t.ALU(2, 0)
	per := t.Mem(cpu.LoadOp, p.va+poolAreaSlots, 4, 0, 0) // div with a memory source
	t.ALU(1, alloc)
	which := t.Op(cpu.Div, per)
	t.ALU(1, which)
	arVA := t.LoadOp(p.va+poolAreaArray, 0, which)
	t.Branch(false, t.Mem(cpu.LoadOp, p.va+poolAreas, 4, 0, which))
	t.ALU(2, arVA)
	locking.SpinLockIrqsave(t, v, &ar.lock)
	count := 0
	inside := i+n < (i+SegmentSlots)&^(SegmentSlots-1)
	t.Branch(!inside, t.ALU(6, 0))
	if inside {
		t.ALU(1, 0)
		s := t.Load(p.va+poolSlotArray, 0)
		s = t.ALU2(t.ALU(2, 0), s)
		t.Mem(cpu.Load, p.slotVA(i+n)+slotList, 2, s, 0)
		count = int(p.slots[i+n].list)
		t.Branch(false, t.ALU(1, 0))
	}
	top := t.Here()
	for k := i + n - 1; k >= i; k-- {
		count++
		p.slots[k] = slot{orig: invalid, list: uint16(count)}
		t.ALU(1, 0)
		s := t.Load(p.va+poolSlotArray, 0)
		c := t.ALU(3, 0)
		t.Mem(cpu.Store, p.slotVA(k)+slotList, 2, s, c)
		t.Store(p.slotVA(k)+slotOrig, t.Load(p.va+poolSlotArray, 0), 0)
		s = t.Load(p.va+poolSlotArray, 0)
		t.Store(p.slotVA(k)+slotAlloc, s, t.ALU(1, 0))
		t.Mem(cpu.Store, p.slotVA(k)+slotPad, 2, t.Load(p.va+poolSlotArray, 0), 0)
		t.Loop(top, k > i, t.ALU(2, 0))
	}
	m.backfill(t, p, i, count)
	ar.used -= n
	t.RMW(p.areaVA(a)+areaUsed, 0, t.ALU(1, 0))
	t.ALU(2, 0)
	locking.SpinUnlockIrqrestore(t, v, &ar.lock)
	t.Load(d.At.IoTlbMem, 0)
	t.Pop(1)
	t.ALU(1, 0)
	t.Pop(5)
	m.countFreed(t, n)
}

// countFreed emits dec_used as the last thing a function does.
func (m *Mem) countFreed(t *cpu.Thread, n int) {
	if m.Env.Version == kernel.V7_3 {
		t.TailCall(decUsed)
		t.Nop(2)
		t.Ret()
		return
	}
	t.TailCall(decUsed12)
	t.Nop(1)
	t.Atomic(m.va+memTotalUsed, 0, 0)
	m.total -= n
	t.Ret()
}
