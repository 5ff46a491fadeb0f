package swiotlb

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/sim"
)

var (
	fnFindPool  = cpu.NewFunc("__swiotlb_find_pool", "kernel/dma/swiotlb.c", 160)
	fnAllocPool = cpu.NewFunc("swiotlb_alloc_pool", "kernel/dma/swiotlb.c", 900)
	fnDynAlloc  = cpu.NewFunc("swiotlb_dyn_alloc", "kernel/dma/swiotlb.c", 240)
	fnQueueWork = cpu.NewFunc("queue_work_on", "kernel/workqueue.c", 120)
	fnTransient = cpu.NewFunc("swiotlb_del_transient", "kernel/dma/swiotlb.c", 160)
)

// Sizes of pools that are added while running, in slots.
const (
	minSlots = 1 << 20 >> SlotShift // IO_TLB_MIN_SLABS: a worker gives up below 1 MiB
	maxSlots = 4 << 20 >> SlotShift // what the page allocator gives in one piece (order 10)
)

// Growth is CONFIG_SWIOTLB_DYNAMIC.
type Growth struct {
	// Memory is the range [0], [1) of physical memory that devices reach and from which pools are made.
	Memory [2]uint64
	// Worker runs fn on CPU c from time at on: the kernel thread of the work queue.
	Worker func(c int, at sim.Time, fn func(t *cpu.Thread))
}

// growth is the state of a kernel with dynamic pools.
type growth struct {
	Growth
	next      uint64
	free      [16][]uint64 // returned pieces by order of pages
	pending   bool         // the work is queued
	transient []*Pool      // of all devices
	list      cpu.LockWord // io_tlb_mem.lock
	device    cpu.LockWord // dev->dma_io_tlb_lock
	workVA    uint64
	flagVA    uint64 // dev->dma_uses_io_tlb; one for all devices
}

func newGrowth(m *Mem, c Growth) *growth {
	at := m.Env.Data(192)
	g := &growth{Growth: c, next: c.Memory[0], workVA: at + 128, flagVA: at + 64}
	g.list, g.device = cpu.LockWord{VA: at}, cpu.LockWord{VA: at + 72}
	g.list.Name, g.device.Name = "io_tlb_mem.lock", "dma_io_tlb_lock"
	g.list.Name, g.device.Name = "swiotlb pools", "swiotlb pools of a device"
	return g
}

// Dynamic reports whether there may be more pools than the default one.
func (m *Mem) Dynamic() bool { return m.Present() && m.grow != nil }

// FindDynamic emits swiotlb_find_pool with dynamic pools: a read barrier, the flag whether the device ever bounced and, if so, the walk
// over the list of pools and the device's own.
func (m *Mem) FindDynamic(t *cpu.Thread, d *kernel.Device, pa uint64) *Pool {
	if m.Env.Arch != kernel.X86_64 {
		t.Op(cpu.Fence, 0) // smp_rmb
	}
	uses := t.Mem(cpu.LoadOp, m.grow.flagVA, 1, 0, 0)
	t.Branch(!d.NeedSync, uses)
	if !d.NeedSync {
		return nil
	}
	t.Call(fnFindPool)
	t.Nop(2)
	t.ALU(2, 0)
	found := m.Find(pa)
	top := t.Here()
	walk := func(list []*Pool) bool {
		for _, p := range list {
			next := t.Load(p.va+poolBytes-16, 0)
			in := p == found
			t.Branch(pa < p.Start, t.LoadOp(p.va+poolStart, next, 0))
			if pa >= p.Start {
				t.Branch(in, t.LoadOp(p.va+poolEnd, next, 0))
			}
			if in {
				return true
			}
			t.Jump()
			t.Back(top)
		}
		return false
	}
	if !walk(m.pools) {
		walk(m.grow.transient)
	}
	t.ALU(1, 0)
	t.Ret()
	return found
}

// findGrowing emits swiotlb_find_slots with dynamic pools: area by area, in all pools; then a pool just for this mapping.
func (m *Mem) findGrowing(t *cpu.Thread, q request) (*Pool, int) {
	large := q.size > SegmentSlots*SlotSize
	t.Branch(large, t.ALU(1, 0))
	if large {
		return nil, -1
	}
	for k := range m.pools[0].areas {
		for _, p := range m.pools {
			t.Branch(k >= len(p.areas), t.Mem(cpu.LoadOp, p.va+poolAreas, 4, t.Load(p.va+poolBytes-16, 0), 0))
			if k >= len(p.areas) {
				continue
			}
			t.ALU(3, 0)
			if i := m.searchArea(t, p, (t.CPU+k)&(len(p.areas)-1), q); i >= 0 {
				if k > 0 {
					m.Stats.OtherArea++
				}
				return p, m.published(t, i)
			}
		}
	}
	m.wakeWorker(t)
	p := m.allocPool(t, slotsFor(q.size), 1)
	if p == nil {
		return nil, -1
	}
	p.transient = true
	i := m.searchArea(t, p, 0, q)
	if i < 0 {
		m.freePool(p)
		return nil, -1
	}
	locking.SpinLockIrqsave(t, m.Env.Version, &m.grow.device)
	t.Store(p.va+poolBytes-16, 0, 0)
	t.ALU(3, 0)
	m.grow.transient = append(m.grow.transient, p)
	locking.SpinUnlockIrqrestore(t, m.Env.Version, &m.grow.device)
	m.Stats.Transient++
	return p, m.published(t, i)
}

// published emits the store that tells swiotlb_find_pool of other CPUs to look at the pools, and the barrier that orders it before the
// driver's store of the address.
func (m *Mem) published(t *cpu.Thread, i int) int {
	t.Mem(cpu.Store, m.grow.flagVA, 1, 0, 0)
	t.FenceLockAdd()
	return i
}

// wakeWorker emits schedule_work(&mem->dyn_alloc). The worker starts on this CPU when the caller's segment has ended.
func (m *Mem) wakeWorker(t *cpu.Thread) {
	g := m.grow
	t.Call(fnQueueWork)
	t.Nop(2)
	t.Push(3)
	locking.IrqSave(t)
	set := t.Atomic(g.workVA, 0, 0)
	t.Branch(g.pending, set)
	if !g.pending {
		g.pending = true
		t.ALU(30, 0)
		t.Store(g.workVA+8, 0, 0)
		t.Sync()
		g.Worker(t.CPU, t.Now(), m.dynAlloc)
	}
	t.Op(cpu.IrqFlag, 0)
	t.Pop(3)
	t.Ret()
}

// dynAlloc is swiotlb_dyn_alloc on the worker: a pool as large as the page allocator gives, linked into the list.
func (m *Mem) dynAlloc(t *cpu.Thread) {
	g := m.grow
	t.Call(fnDynAlloc)
	t.Nop(2)
	t.Push(2)
	g.pending = false
	def := m.pools[0]
	var p *Pool
	for n := min(len(def.slots), maxSlots); n >= minSlots && p == nil; n /= 2 {
		p = m.allocPool(t, n, Areas(len(def.areas), n))
	}
	if p != nil {
		locking.SpinLock(t, m.Env.Version, &g.list)
		t.Store(p.va+poolBytes-16, 0, 0)
		t.RMW(m.va+memSlots, 0, 0)
		m.pools = append(m.pools, p)
		locking.SpinUnlock(t, m.Env.Version, &g.list)
		m.Stats.Grown++
	}
	t.Pop(2)
	t.Ret()
}

// allocPool emits swiotlb_alloc_pool: n slots in areas areas, or nil when there is no memory in one piece. What the page and slab allocators
// execute is not in it; initialising every slot is.
func (m *Mem) allocPool(t *cpu.Thread, n, areas int) *Pool {
	t.Call(fnAllocPool)
	t.Nop(1)
	t.Push(6)
	t.ALU(20, 0)
	start, ok := m.grow.take(n)
	t.Branch(!ok, t.Last())
	var p *Pool
	if ok {
		p = m.newPool(m.Env.Slab(poolBytes, 64), start, n, areas)
		for i := range areas {
			t.Store(p.areaVA(i), 0, 0)
			t.Store(p.areaVA(i)+8, 0, 0)
		}
		top := t.Here()
		for i := range n {
			left := t.ALU(3, 0)
			t.Mem(cpu.Store, p.slotVA(i)+slotList, 2, 0, left)
			t.Store(p.slotVA(i)+slotOrig, 0, 0)
			t.Store(p.slotVA(i)+slotAlloc, 0, 0)
			t.Mem(cpu.Store, p.slotVA(i)+slotPad, 2, 0, 0)
			t.Loop(top, i+1 < n, t.ALU(2, 0))
			if len(t.Ops) > cpu.SegmentOps {
				t.Sync()
			}
		}
	}
	t.Pop(6)
	t.Ret()
	return p
}

// order returns log2 of the pages that n slots take.
func order(n int) int { return bits.Len(uint((n+1)/2 - 1)) }

// take returns memory for n slots, in whole powers of two pages as the page allocator gives it.
func (g *growth) take(n int) (pa uint64, ok bool) {
	o := order(n)
	if k := len(g.free[o]); k > 0 {
		pa = g.free[o][k-1]
		g.free[o] = g.free[o][:k-1]
		return pa, true
	}
	size := uint64(4096) << o
	pa = (g.next + size - 1) &^ (size - 1)
	if pa+size > g.Memory[1] {
		return 0, false
	}
	g.next = pa + size
	return pa, true
}

// freePool gives the memory of a pool back.
func (m *Mem) freePool(p *Pool) {
	o := order(len(p.slots))
	m.grow.free[o] = append(m.grow.free[o], p.Start)
}

// dropTransient emits swiotlb_del_transient: a pool made for one mapping goes with it.
func (m *Mem) dropTransient(t *cpu.Thread, d *kernel.Device, p *Pool) bool {
	t.Call(fnTransient)
	t.Nop(1)
	t.Branch(p.transient, t.Mem(cpu.LoadOp, p.va+poolBytes-24, 1, 0, 0))
	if p.transient {
		locking.SpinLockIrqsave(t, m.Env.Version, &m.grow.device)
		t.Load(p.va+poolBytes-16, 0)
		t.Store(p.va+poolBytes-16, 0, 0)
		t.ALU(4, 0)
		list := m.grow.transient
		for i, q := range list {
			if q == p {
				m.grow.transient = append(list[:i], list[i+1:]...)
				break
			}
		}
		locking.SpinUnlockIrqrestore(t, m.Env.Version, &m.grow.device)
		t.ALU(12, 0) // call_rcu
		m.freePool(p)
	}
	t.Ret()
	return p.transient
}
