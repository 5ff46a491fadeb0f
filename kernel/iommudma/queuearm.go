package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

// queueIova12arm is queue_iova of 6.12 on arm64, inlined in __iommu_dma_unmap. Flushing a full ring and the timer's function run the same
// Go functions as on x86.
func (k *Cookie) queueIova12arm(t *cpu.Thread, start, length uint64, gt *iommucore.Gather, c cpu.Val) {
	kind := t.Mem(cpu.Load, k.at.kind, 4, c, 0)
	t.Branch(true, t.ALU(1, kind))
	k.ringArm(t, c)
	t.ALU(1, 0)
	k.lockedArm(t, start, length, gt, 2)
}

// queueIova73arm is queue_iova of 7.3 on arm64.
func (k *Cookie) queueIova73arm(t *cpu.Thread, start, length uint64, gt *iommucore.Gather, c cpu.Val) {
	k.ringArm(t, c)
	t.ALU(2, 0)
	k.lockedArm(t, start, length, gt, 3)
}

// ringArm emits what comes before the ring's lock: the shift to frames, the barrier that pairs with the flush's count, and
// whose ring it is.
func (k *Cookie) ringArm(t *cpu.Thread, c cpu.Val) {
	g := t.Load(k.at.granule, c)
	t.Op(cpu.BitScan, g)
	t.Op(cpu.BitScan, g)
	t.ALU(2, t.Last())
	t.Op(cpu.Fence, 0)
	qt := t.Mem(cpu.Load, k.at.qt, 4, c, 0)
	t.Load(k.at.fq, c)
	t.Branch(false, t.ALU(1, qt))
	t.Op(cpu.Sysreg, 0)
}

// lockedArm takes the CPU's ring, adds the range and arms the timer if it is not running; args is the number of argument moves of the
// call in between.
func (k *Cookie) lockedArm(t *cpu.Thread, start, length uint64, gt *iommucore.Gather, args int) {
	q := &k.queues[t.CPU]
	locking.SpinLockIrqsave(t, k.v, &q.lock)
	t.ALU(args, 0)
	k.enqueueArm(t, q, start, length, gt)
	if args == 3 {
		t.ALU(2, 0)
	}
	locking.SpinUnlockIrqrestore(t, k.v, &q.lock)
	on := t.Mem(cpu.Load, k.at.timerOn, 4, 0, 0)
	t.Branch(k.timerOn, on)
	if !k.timerOn {
		k.armTimer(t)
		t.Jump()
	}
}

// armTimer emits the compare-and-exchange by which one CPU becomes the one that arms the timer, and mod_timer.
func (k *Cookie) armTimer(t *cpu.Thread) {
	t.ALU(1, 0)
	x := t.Mem(cpu.Atomic, k.at.timerOn, 4, 0, 0)
	t.Branch(false, t.ALU(1, x))
	k.timerOn = true
	t.Mem(cpu.Load, k.at.timeout, 4, 0, 0)
	k.timers.MsecsToJiffies(t)
	t.ALU(2, t.Load(k.timers.JiffiesVA(), t.ALU(1, 0)))
	k.timers.Mod(t, &k.timer, QueueTimeout, false, k.timeout)
}

// enqueueArm is enqueue on arm64.
func (k *Cookie) enqueueArm(t *cpu.Thread, q *queue, start, length uint64, gt *iommucore.Gather) {
	k.ringFreeArm(t, q)
	t.Branch(false, t.Mem(cpu.Load, q.VA, 4, 0, 0)) // WARN unless the lock is held
	ends := t.Mem(cpu.Load, q.VA+fqHead, 8, 0, 0)
	t.Mem(cpu.Load, q.VA+fqMask, 4, 0, 0)
	t.Branch(q.full(), t.ALU(3, ends))
	if q.full() {
		k.Stats.Flushes++
		k.flush(t)
		t.ALU(2, 0)
		k.ringFreeArm(t, q)
		t.Jump()
	}
	t.Branch(false, t.Mem(cpu.Load, q.VA, 4, 0, 0))
	t.ALU(1, ends)
	m := t.Mem(cpu.Load, q.VA+fqMask, 4, 0, 0)
	idx := t.ALU(3, ends)
	t.Mem(cpu.Store, q.VA+fqTail, 4, 0, m)
	t.ALU(1, idx)
	va := q.entVA(q.tail)
	t.StorePair(va, idx, 0)
	t.Store(va+entCount, idx, t.Load(k.at.start, 0))
	list := t.Load(gt.VA+iommucore.GatherFreelist, 0)
	t.Branch(gt.Freelist.Empty(), t.ALU(1, list))
	if !gt.Freelist.Empty() { // splice the gathered table pages
		p := t.LoadPair(va+entList, idx)
		t.StorePair(va+entList, idx, list)
		t.StorePair(gt.VA+iommucore.GatherFreelist, 0, t.ALU(2, p))
	}
	k.add(q, start, length, gt)
}

// ringFreeArm is fq_ring_free_locked on arm64: 33 instructions when nothing can be freed yet.
func (k *Cookie) ringFreeArm(t *cpu.Thread, q *queue) {
	s := k.IOVA.Shift()
	t.Call(fnRingFree)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	fin := t.Load(k.at.finish, 0)
	finish := k.finish
	held := t.Mem(cpu.Load, q.VA, 4, 0, 0)
	t.Push(2)
	t.Branch(false, held) // WARN unless the lock is held
	ends := t.Mem(cpu.Load, q.VA+fqHead, 8, 0, 0)
	empty := q.head == q.tail
	if k.v == kernel.V7_3 {
		t.Branch(empty, t.ALU(2, ends))
	} else {
		t.Branch(empty, t.ALU(1, ends))
	}
	if empty {
		t.Pop(8)
		t.Nop(1)
		t.Ret()
		return
	}
	if k.v == kernel.V7_3 {
		t.ALU(1, 0)
		t.Push(2)
		t.ALU(1, 0)
	} else {
		t.ALU(2, 0)
		t.Push(1)
		t.ALU(1, 0)
	}
	t.Jump()
	top := t.Here()
	for q.head != q.tail {
		e := &q.ring[q.head]
		va := q.entVA(q.head)
		i := t.ALU(3, ends)
		counter := t.Load(va+entCount, i)
		done := e.counter < finish
		t.ALU(1, fin)
		t.Branch(done, counter)
		if !done {
			break
		}
		t.ALU(2, i)
		k.dom.PutPages(t, &e.pages)
		e.pages.Pages = e.pages.Pages[:0]
		pages := t.LoadPair(va, i)
		t.ALU(1, pages)
		k.IOVA.FreeFast(t, t.CPU, e.start>>s, e.length>>s)
		ends = t.Mem(cpu.Load, q.VA+fqHead, 8, 0, 0)
		m := t.Mem(cpu.Load, q.VA+fqMask, 4, 0, 0)
		t.Mem(cpu.Store, q.VA+fqHead, 4, 0, t.ALU2(t.ALU(1, ends), m))
		q.head = (q.head + 1) % QueueEntries
		t.Loop(top, q.head != q.tail, t.ALU(1, m))
	}
	if k.v == kernel.V7_3 {
		t.Pop(10)
	} else {
		t.Pop(1)
		t.Pop(8)
	}
	t.Nop(1)
	t.Ret()
}
