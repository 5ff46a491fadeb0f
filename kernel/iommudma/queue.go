package iommudma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

var (
	fnRingFree = cpu.NewFunc("fq_ring_free_locked", file, 0x90)
	fnTimeout  = cpu.NewFunc("fq_flush_timeout", file, 0x110)
	fnFlush    = cpu.NewFunc("fq_flush_iotlb", file, 0x40)
	fnFreeIova = cpu.NewFunc("iommu_dma_free_iova", file, 0x1f0)
)

// entry is a struct iova_fq_entry: a range that may be reused once a flush that began after it was queued is over.
type entry struct {
	start, length uint64
	pages         iommucore.PageList
	counter       uint64 // fq_flush_start_cnt when it was queued
}

// queue is a struct iova_fq: one CPU's ring.
type queue struct {
	VA         uint64
	lock       cpu.LockWord // its CPU takes it, and the timer
	head, tail int
	ring       []entry
}

// Offsets in struct iova_fq and struct iova_fq_entry (40 bytes).
const (
	fqHead    = 4
	fqTail    = 8
	fqMask    = 12
	fqEntries = 16
	entBytes  = 40
	entPages  = 8
	entList   = 16
	entCount  = 32
)

// initQueues is iommu_dma_init_fq_percpu.
func (k *Cookie) initQueues() {
	off := k.env.PerCPU(64+fqEntries+entBytes*QueueEntries, 64) + 16
	k.queues = make([]queue, k.env.CPUs)
	for c := range k.queues {
		q := &k.queues[c]
		q.VA = k.env.Cpu(off, c)
		q.lock.VA, q.lock.Name = q.VA, "flush queue lock"
		q.ring = make([]entry, QueueEntries)
	}
}

// Waiting returns how many ranges wait in the flush queue of CPU c.
func (k *Cookie) Waiting(c int) int {
	if !k.lazy {
		return 0
	}
	q := &k.queues[c]
	return (q.tail - q.head + QueueEntries) % QueueEntries
}

func (q *queue) entVA(i int) uint64 { return q.VA + fqEntries + entBytes*uint64(i) }

func (q *queue) full() bool { return (q.tail+1)%QueueEntries == q.head }

// queueIova12 is queue_iova of 6.12, inlined in __iommu_dma_unmap.
func (k *Cookie) queueIova12(t *cpu.Thread, start, length uint64, gt *iommucore.Gather, c cpu.Val) {
	kind := t.Mem(cpu.LoadOp, k.at.kind, 4, c, 0)
	t.Branch(true, kind)
	sh := t.Mem(cpu.LoadOp, k.at.granule, 8, c, 0)
	t.ALU(2, sh)
	t.FenceLockAdd() // pairs with the flush's count
	qt := t.Mem(cpu.LoadOp, k.at.qt, 4, c, 0)
	fq := t.Load(k.at.fq, c)
	t.Branch(false, qt)
	fq = t.LoadOp(kernel.ThisCPUOff(k.v, t.CPU), 0, fq)
	t.ALU(1, fq)
	q := &k.queues[t.CPU]
	locking.SpinLockIrqsave(t, k.v, &q.lock)
	k.enqueue(t, q, start, length, gt)
	t.ALU(2, 0)
	locking.SpinUnlockIrqrestore(t, k.v, &q.lock)
	on := t.Mem(cpu.Load, k.at.timerOn, 4, 0, 0)
	t.Branch(k.timerOn, t.ALU(1, on))
	if !k.timerOn {
		t.ALU(1, 0)
		x := t.Mem(cpu.Atomic, k.at.timerOn, 4, 0, 0)
		t.Branch(false, t.ALU(1, x))
		k.timerOn = true
		t.Mem(cpu.Load, k.at.timeout, 4, 0, 0)
		k.timers.MsecsToJiffies(t)
		j := t.Load(k.timers.JiffiesVA(), 0)
		t.ALU(2, j)
		k.timers.Mod(t, &k.timer, QueueTimeout, false, k.timeout)
		t.Jump()
	}
}

// enqueue reaps, flushes when the ring is full, and adds an entry; the ring's lock is held.
func (k *Cookie) enqueue(t *cpu.Thread, q *queue, start, length uint64, gt *iommucore.Gather) {
	v7 := k.v == kernel.V7_3
	t.ALU(3, 0)
	k.ringFree(t, q)
	l := t.Mem(cpu.Load, q.VA, 4, 0, 0)
	t.Branch(false, t.ALU(1, l)) // WARN unless the lock is held
	tail := t.Mem(cpu.Load, q.VA+fqTail, 4, 0, 0)
	m := t.Mem(cpu.LoadOp, q.VA+fqMask, 4, 0, t.ALU(1, tail))
	t.Branch(q.full(), t.Mem(cpu.LoadOp, q.VA+fqHead, 4, 0, m))
	if q.full() {
		k.Stats.Flushes++
		k.flush(t)
		t.ALU(2, 0)
		k.ringFree(t, q)
		t.Jump()
	}
	l = t.Mem(cpu.Load, q.VA, 4, 0, 0)
	t.Branch(false, t.ALU(1, l))
	i := t.ALU(1, tail)
	if v7 {
		i = t.ALU(1, tail)
	}
	m = t.Mem(cpu.LoadOp, q.VA+fqMask, 4, 0, i)
	idx := m
	if v7 {
		t.ALU(1, m)
		t.Mem(cpu.Store, q.VA+fqTail, 4, 0, m)
		idx = t.ALU(1, tail)
	} else {
		t.Mem(cpu.Store, q.VA+fqTail, 4, 0, m)
		idx = t.Chain(3, tail)
	}
	va := q.entVA(q.tail)
	t.Store(va, idx, 0)
	t.Store(va+entPages, idx, 0)
	t.Store(va+entCount, idx, t.Load(k.at.start, 0))
	lv := t.StackLoad(40)
	if v7 {
		t.ALU(1, 0)
	}
	t.Branch(gt.Freelist.Empty(), t.ALU(1, lv))
	if !gt.Freelist.Empty() { // splice the gathered table pages
		t.StackLoad(48)
		p := t.Load(va+entList, idx)
		t.Store(va+entList, idx, lv)
		t.Store(va+entList+8, idx, lv)
		t.ALU(2, p)
		t.StackStore(40, p)
		t.StackStore(48, p)
	}
	k.add(q, start, length, gt)
}

// add puts a range and its table pages into the ring, with the flush that will make them safe.
func (k *Cookie) add(q *queue, start, length uint64, gt *iommucore.Gather) {
	e := &q.ring[q.tail]
	e.start, e.length, e.counter = start, length, k.start
	e.pages.Splice(&gt.Freelist)
	q.tail = (q.tail + 1) % QueueEntries
	k.Stats.Queued++
}

// ringFree is fq_ring_free_locked: free the ranges at the head that a finished flush has made safe.
func (k *Cookie) ringFree(t *cpu.Thread, q *queue) {
	v7 := k.v == kernel.V7_3
	s := k.IOVA.Shift()
	pushes := 5
	if v7 {
		pushes = 6
	}
	t.Call(fnRingFree)
	t.Nop(1)
	t.Push(pushes)
	fin := t.Load(k.at.finish, 0)
	finish := k.finish
	l := t.Mem(cpu.Load, q.VA, 4, 0, 0)
	t.Branch(false, t.ALU(1, l)) // WARN unless the lock is held
	h := t.Mem(cpu.Load, q.VA+fqHead, 4, 0, 0)
	empty := q.head == q.tail
	if v7 {
		t.ALU(2, 0)
		t.Branch(!empty, t.Mem(cpu.LoadOp, q.VA+fqTail, 4, 0, h))
		if empty {
			t.Jump()
		}
	} else {
		t.ALU(1, 0)
		t.Branch(empty, t.Mem(cpu.LoadOp, q.VA+fqTail, 4, 0, h))
		if !empty {
			t.ALU(1, 0)
			t.Jump()
		}
	}
	top := t.Here()
	for q.head != q.tail {
		e := &q.ring[q.head]
		va := q.entVA(q.head)
		i := t.Chain(4, h)
		done := e.counter < finish
		t.Branch(done, t.LoadOp(va+entCount, i, fin))
		if !done {
			break
		}
		t.ALU(2, i)
		k.dom.PutPages(t, &e.pages)
		e.pages.Pages = e.pages.Pages[:0]
		pages := t.Load(va+entPages, i)
		t.Load(va, i)
		t.ALU(1, pages)
		k.IOVA.FreeFast(t, t.CPU, e.start>>s, e.length>>s)
		h = t.Mem(cpu.Load, q.VA+fqHead, 4, 0, 0)
		h = t.Mem(cpu.LoadOp, q.VA+fqMask, 4, 0, t.ALU(1, h))
		t.Mem(cpu.Store, q.VA+fqHead, 4, 0, h)
		q.head = (q.head + 1) % QueueEntries
		t.Loop(top, q.head != q.tail, t.Mem(cpu.LoadOp, q.VA+fqTail, 4, 0, h))
	}
	t.Pop(pushes)
	t.Ret()
}

// flush is fq_flush_iotlb: invalidate the whole domain between two counters, which tell which entries it covers.
func (k *Cookie) flush(t *cpu.Thread) {
	t.Call(fnFlush)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Atomic(k.at.start, 0, 0)
	t.Sync() // entries queued by other CPUs from here on carry the new count
	k.start++
	d := t.Load(k.at.fqDomain, 0)
	ops := t.Load(k.dom.At.Ops, d)
	op := t.Load(k.dom.At.OpFlushAll, ops)
	t.Branch(false, t.ALU(1, op))
	k.dom.FlushAll(t)
	t.Atomic(k.at.finish, 0, 0)
	t.Sync()
	k.finish++
	t.Pop(1)
	t.Ret()
}

// timeout is fq_flush_timeout, the timer's function: flush and reap the queues of all CPUs, onto the magazines of the
// CPU it runs on.
func (k *Cookie) timeout(t *cpu.Thread) {
	k.Stats.TimerFlushes++
	t.Call(fnTimeout)
	t.Nop(2)
	t.Push(5)
	t.ALU(4, 0)
	t.Mem(cpu.Atomic, k.at.timerOn, 4, 0, 0)
	t.Sync()
	k.timerOn = false
	k.flush(t)
	t.Branch(false, t.Mem(cpu.LoadOp, k.at.qt, 4, 0, 0))
	top := t.Here()
	for c := range k.queues {
		q := &k.queues[c]
		fq := t.Load(k.at.fq, 0)
		t.ALU(4, fq)
		locking.SpinLockIrqsave(t, k.v, &q.lock)
		t.ALU(3, 0)
		k.ringFree(t, q)
		t.ALU(2, 0)
		locking.SpinUnlockIrqrestore(t, k.v, &q.lock)
		t.Loop(top, c+1 < len(k.queues), t.ALU(2, 0))
	}
	t.Pop(5)
	t.Ret()
}

// freeIova73 is iommu_dma_free_iova of 7.3 with queue_iova inlined. Without a flush queue it ends in a jump to
// free_iova_fast.
func (k *Cookie) freeIova73(t *cpu.Thread, start, length uint64, gt *iommucore.Gather) {
	s := k.IOVA.Shift()
	t.Call(fnFreeIova)
	t.Nop(1)
	t.Push(6)
	t.ALU(1, 0)
	t.Frame(16)
	typ := t.Mem(cpu.LoadOp, k.dom.At.IsPT-4, 4, 0, 0)
	c := t.Load(k.dom.At.Cookie, 0)
	t.Branch(false, typ)
	g := t.Load(k.at.granule, c)
	t.ALU(3, 0)
	t.Branch(false, t.Last())
	queued := gt != nil && gt.Queued
	if gt != nil {
		t.Branch(!queued, t.Mem(cpu.LoadOp, gt.VA+iommucore.GatherQueued, 1, 0, 0))
	}
	if !queued {
		b := t.ALU(1, t.Op(cpu.BitScan, g))
		t.Branch(false, b)
		t.ALU(1, b)
		b = t.ALU(1, t.Op(cpu.BitScan, g))
		t.Branch(false, b)
		t.ALU(3, b)
		t.Frame(-16)
		t.Pop(1)
		t.ALU(1, b)
		t.Pop(5)
		k.IOVA.TailFreeFast(t, t.CPU, start>>s, length>>s)
		return
	}
	t.ALU(1, 0)
	b := t.ALU(1, t.Op(cpu.BitScan, g))
	t.Branch(false, b)
	t.ALU(1, b)
	b = t.ALU(1, t.Op(cpu.BitScan, g))
	t.Branch(false, b)
	c = t.Load(k.dom.At.Cookie, 0)
	t.ALU(1, b)
	t.FenceLockAdd()
	off := t.Load(kernel.ThisCPUOff(k.v, t.CPU), 0)
	fq := t.Load(k.at.fq, c)
	t.ALU(1, fq)
	t.Mem(cpu.LoadOp, k.at.qt, 4, c, 0)
	t.ALU(2, off)
	q := &k.queues[t.CPU]
	locking.SpinLockIrqsave(t, k.v, &q.lock)
	k.enqueue(t, q, start, length, gt)
	t.ALU(2, 0)
	locking.SpinUnlockIrqrestore(t, k.v, &q.lock)
	on := t.Mem(cpu.Load, k.at.timerOn, 4, 0, 0)
	t.Branch(k.timerOn, t.ALU(1, on))
	if k.timerOn {
		t.Frame(-16)
		t.Pop(6)
		t.Ret()
		return
	}
	t.ALU(1, 0)
	x := t.Mem(cpu.Atomic, k.at.timerOn, 4, 0, 0)
	t.Branch(false, t.ALU(1, x))
	k.timerOn = true
	t.Mem(cpu.Load, k.at.timeout, 4, 0, 0)
	k.timers.MsecsToJiffies(t)
	t.Load(k.timers.JiffiesVA(), 0)
	t.ALU(1, 0)
	t.Frame(-16)
	t.Pop(1)
	t.ALU(1, 0)
	t.Pop(5)
	k.timers.Mod(t, &k.timer, QueueTimeout, true, k.timeout)
}

// freeIova gives addresses back that were never mapped: iommu_dma_free_iova without a gather.
func (k *Cookie) freeIova(t *cpu.Thread, start, length uint64) {
	if k.v == kernel.V7_3 {
		k.freeIova73(t, start, length, nil)
		return
	}
	s := k.IOVA.Shift()
	t.Call(fnFreeIova)
	t.Nop(1)
	c := t.Load(k.dom.At.Cookie, 0)
	kind := t.Mem(cpu.LoadOp, k.at.kind, 4, c, 0)
	t.Branch(false, kind)
	sh := t.Mem(cpu.LoadOp, k.at.granule, 8, c, 0)
	t.ALU(4, sh)
	k.IOVA.TailFreeFast(t, t.CPU, start>>s, length>>s)
}
