package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

// pcpList is struct per_cpu_pages of one CPU: pages that the buddy allocator handed out in a batch. lock 0, count 4,
// lists from 32 on. The page freed last is allocated first.
type pcpList struct {
	pages [4][]uint64 // by order, last is next
}

// zone holds the addresses of what the page allocator reads.
type zone struct {
	nodeData  uint64 // node_data[]
	zonelist  uint64 // pgdat's zonelist: zoneref of 16 bytes
	zone      uint64 // struct zone: watermarks 0, lowmem_reserve, per_cpu_pageset 48+64, node 96
	pcpOff    uint64 // per-CPU offset of struct per_cpu_pages
	statOff   uint64 // per-CPU vm statistics
	eventsOff uint64 // per-CPU vm_event_states
	config    uint64 // page_group_by_mobility_disabled, nr_online_nodes and neighbours
	taskOff   []uint64
	baseCrng  uint64
	batchOff  uint64
}

func newZone(e *kernel.Env) zone {
	z := zone{nodeData: e.Data(64), zonelist: e.Data(128), zone: e.Data(512), pcpOff: e.PerCPU(128, 64),
		statOff: e.PerCPU(128, 64), eventsOff: e.PerCPU(64, 64), config: e.Data(64), baseCrng: e.Data(64),
		batchOff: e.PerCPU(128, 64)}
	for range max(e.CPUs, 1) {
		z.taskOff = append(z.taskOff, e.Slab(64*4, 64))
	}
	return z
}

// task returns the address of the task_struct that runs on CPU c; one per CPU stands for whoever runs there.
func (m *MM) task(c int) uint64 { return m.z.taskOff[c] }

// batch is how many pages an empty per-CPU list takes from the buddy allocator at once (pcp->batch of zones above
// 512 MiB: 63).
const batch = 63

var (
	allocPages12   = cpu.NewFunc("__alloc_pages_noprof", "mm/page_alloc.c", 760)
	allocPages73   = cpu.NewFunc("__alloc_frozen_pages_noprof", "mm/page_alloc.c", 720)
	getPage        = cpu.NewFunc("get_page_from_freelist", "mm/page_alloc.c", 7800)
	condAccept     = cpu.NewFunc("cond_accept_memory", "mm/page_alloc.c", 280)
	rmqueuePcp     = cpu.NewFunc("__rmqueue_pcplist", "mm/page_alloc.c", 1800)
	postAlloc      = cpu.NewFunc("post_alloc_hook", "mm/page_alloc.c", 148)
	clearPageErms  = cpu.NewFunc("clear_page_erms", "arch/x86/lib/clear_page_64.S", 16)
	clearHighpages = cpu.NewFunc("clear_highpages_kasan_tagged", "mm/page_alloc.c", 48)
	freeUnref      = cpu.NewFunc("free_unref_page", "mm/page_alloc.c", 700)
	modNodeState   = cpu.NewFunc("mod_node_page_state", "mm/vmstat.c", 150)
)

// AllocPages emits the allocation of 2^order pages, zeroed because of init_on_alloc (__alloc_pages_noprof on 6.12, __alloc_frozen_pages_noprof on
// 7.3) and returns their address in the direct map. Orders 0 to 3 come from the CPU's list.
func (m *MM) AllocPages(t *cpu.Thread, order int) uint64 {
	l := &m.pcp[t.CPU].pages[min(order, 3)]
	refill := 0
	if len(*l) == 0 {
		refill = batch >> order
		for i := 0; i < max(refill, 1); i++ {
			*l = append(*l, m.Env.Pages(order))
		}
		// handed out in ascending order, as a fresh block of the buddy allocator is split
		for i, j := 0, len(*l)-1; i < j; i, j = i+1, j-1 {
			(*l)[i], (*l)[j] = (*l)[j], (*l)[i]
		}
	}
	va := (*l)[len(*l)-1]
	next := m.z.pcp(m, t.CPU) + 32 // the list head, when the page is the last
	if len(*l) > 1 {
		next = m.pageOfVirt((*l)[len(*l)-2]) + 8
	}
	*l = (*l)[:len(*l)-1]
	if m.Env.Version == kernel.V7_3 {
		m.emitAlloc73(t, va, next, order, refill)
	} else {
		m.emitAlloc12(t, va, next, order, refill)
	}
	return va
}

func (z *zone) pcp(m *MM, c int) uint64 { return m.Env.Cpu(z.pcpOff, c) }

// emitAlloc12 is __alloc_pages_noprof of 6.12: 100 instructions of its own.
func (m *MM) emitAlloc12(t *cpu.Thread, va, next uint64, order, refill int) {
	v, g := kernel.V6_12, m.Env.Sym
	t.Call(allocPages12)
	t.Nop(2)
	t.Push(1)
	nid := t.ALU(1, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	gfp := t.ALU(1, 0)
	t.Frame(48)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(40, guard)
	t.ALU(1, 0)
	for o := 0; o < 40; o += 8 {
		t.StackStore(o, 0)
	}
	t.Branch(true, t.ALU(1, gfp))
	t.Branch(true, t.ALU(1, 0))
	task := t.Load(kernel.CurrentTask(v, t.CPU), 0)
	allowed := t.Mem(cpu.LoadOp, g.GfpAllowedMask, 4, 0, gfp)
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, m.task(t.CPU)+44, 4, task, 0)))
	flags := t.ALU2(t.Chain(2, t.ALU(1, allowed)), t.ALU(1, 0))
	t.Mem(cpu.Store, t.SP()+28, 4, 0, t.ALU(1, flags))
	node := t.Load(m.z.nodeData, nid)
	idx := t.Chain(2, allowed)
	t.StackStore(8, 0)
	off := t.Op(cpu.Mul, t.ALU(1, idx))
	zl := t.ALU2(off, node)
	mob := t.Mem(cpu.Load, m.z.config+32, 4, 0, 0)
	t.StackStore(0, zl)
	t.Branch(false, t.ALU(1, mob))
	t.Mem(cpu.Store, t.SP()+24, 4, 0, t.Chain(3, allowed))
	t.Nop(1)
	t.ALU(2, allowed)
	t.Branch(false, t.ALU(1, allowed))
	t.ALU(1, allowed)
	t.StackLoad(8)
	t.StackStore(32, t.Chain(2, allowed))
	ref := t.ALU(1, zl)
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.Mem(cpu.LoadOp, m.z.zonelist+8, 4, zl, flags))
	t.StackStore(16, ref)
	z := t.Load(m.z.zonelist, ref)
	t.Chain(2, allowed)
	t.Branch(false, t.ALU(1, z))
	t.Branch(false, t.ALU(1, t.LoadOp(m.z.zone+64+40, z, t.ALU(1, z))))
	t.Branch(true, t.Mem(cpu.LoadOp, m.z.config+36, 4, 0, 0))
	t.ALU(5, allowed)
	m.emitGetPage12(t, va, next, order, refill)
	page := t.ALU(1, 0)
	t.Branch(false, t.ALU(1, page))
	t.Jump()
	t.Nop(1)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(40)))
	t.Frame(-48)
	t.ALU(1, page)
	t.Pop(5)
	t.Ret()
}

// emitZoneStat is zone_statistics, inlined: hits of the local node.
func (m *MM) emitZoneStat(t *cpu.Thread) {
	nid := t.Mem(cpu.Load, m.z.zone+64+32, 4, 0, 0)
	t.ALU(1, t.Mem(cpu.LoadOp, kernel.NumaNode(t.CPU), 4, 0, nid))
	stats := t.Load(m.z.zone+64+56, 0)
	t.ALU(1, nid)
	t.Branch(true, t.Mem(cpu.LoadOp, m.z.zone+64+32, 4, 0, nid))
	t.RMW(m.Env.Cpu(m.z.statOff, t.CPU)+16, stats, 0)
	t.Jump()
	if m.Env.Version == kernel.V7_3 {
		stats = t.Load(m.z.zone+64+56, 0)
	} else {
		stats = t.LoadOp(m.z.zone+64+56, 0, nid)
	}
	t.RMW(m.Env.Cpu(m.z.statOff, t.CPU)+48, stats, 0)
}

// emitRmqueue is __rmqueue_pcplist: the first page of the CPU's list is unlinked and checked. When the list is empty, a
// batch comes from the buddy allocator under the zone lock; that part is not in the recordings.
func (m *MM) emitRmqueue(t *cpu.Thread, page, next uint64, order, refill int) {
	v := m.Env.Version
	v73 := v == kernel.V7_3
	pcp := m.z.pcp(m, t.CPU)
	t.Call(rmqueuePcp)
	t.Push(6)
	t.ALU(1, 0)
	t.Frame(120)
	for _, o := range []int{88, 16, 64} {
		t.StackStore(o, 0)
	}
	t.ALU(2, 0)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(112, guard)
	t.ALU(1, 0)
	t.StackStore(24, 0)
	a := t.ALU2(t.ALU(1, 0), 0)
	t.StackStore(80, a)
	if v73 {
		t.StackStore(32, t.ALU(1, a))
	} else {
		t.ALU(8, a)
		t.StackStore(104, t.Last())
		t.ALU(4, 0)
		t.StackStore(40, t.ALU(1, t.Last()))
		t.StackStore(48, t.ALU(1, 0))
		t.ALU(3, 0)
	}
	list := t.StackLoad(64)
	first := t.Load(pcp+32, list)
	t.Branch(refill > 0, t.ALU2(first, list))
	if refill > 0 {
		m.emitBulk(t, refill, order)
	}
	list = t.StackLoad(64)
	if v73 {
		t.StackStore(24, 0)
	}
	first = t.Load(pcp+32, list)
	t.ALU(2, first)
	m.listDelValid(t, page+8)
	if v73 {
		t.StackLoad(24)
	}
	t.Branch(false, t.ALU(1, 0))
	n := t.Load(page+8, first)
	p := t.Load(page+16, first)
	t.Store(next+8, n, p)
	t.Store(pcp+32, p, n)
	t.ALU(1, 0)
	t.Store(page+8, first, t.Last())
	t.Store(page+16, first, t.ALU(1, t.Last()))
	if v73 {
		t.StackLoad(16)
	}
	t.Mem(cpu.RMW, pcp+4, 4, 0, 0)
	t.Jump()
	if v73 {
		t.StackLoad(16)
	}
	t.Branch(false, t.ALU(1, 0))
	if v73 {
		t.StackLoad(80)
	}
	t.ALU(4, first)
	t.Jump()
	top := t.Here()
	for i := 0; i < 1<<order; i++ { // check_new_pages
		q := page + uint64(i)*64
		t.Branch(true, t.ALU(1, t.Mem(cpu.Load, q+48, 4, first, 0)))
		f := t.ALU(1, t.Load(q, first))
		x := t.Mem(cpu.Load, q+52, 4, first, 0)
		x = t.LoadOp(q+24, first, x)
		x = t.LoadOp(q+56, first, x)
		x = t.ALU2(x, f)
		l := t.Load(q+8, first)
		l = t.Chain(4, l)
		t.Branch(false, t.ALU2(l, x))
		t.ALU(1, first)
		t.Branch(i+1 == 1<<order, t.ALU(1, first))
		if i+1 < 1<<order {
			t.Back(top)
		}
	}
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(112)))
	t.Frame(-120)
	t.ALU(1, first)
	t.Pop(6)
	t.Ret()
}

var rmqueueBulk = cpu.NewFunc("rmqueue_bulk", "mm/page_alloc.c", 900)

// emitBulk is rmqueue_bulk: n blocks go from the buddy lists to the CPU's list.
func (m *MM) emitBulk(t *cpu.Thread, n, order int) {
	v := m.Env.Version
	t.Call(rmqueueBulk)
	t.Push(6)
	locking.SpinLockIrqsave(t, v, &m.zoneLock)
	top := t.Here()
	l := m.pcp[t.CPU].pages[min(order, 3)]
	for i := len(l) - 1; i >= 0; i-- {
		page := m.pageOfVirt(l[i])
		t.ALU(6, 0)
		head := t.Load(m.z.zone+448, 0)
		next := t.Load(page+8, head)
		prev := t.Load(page+16, head)
		t.Store(m.z.zone+448, 0, next)
		t.ALU(6, prev)
		t.Store(page+8, head, 0)
		t.Store(page+16, head, 0)
		t.Mem(cpu.RMW, page+48, 4, head, 0)
		t.Store(page+40, head, 0)
		t.ALU(8, 0)
		t.Branch(false, t.Last())
		t.Loop(top, i > 0, t.ALU(1, 0))
	}
	locking.SpinUnlockIrqrestore(t, v, &m.zoneLock)
	t.Pop(6)
	t.Ret()
}

// modNodePageState emits mod_node_page_state: one byte counter of this CPU.
func (m *MM) modNodePageState(t *cpu.Thread) {
	t.Call(modNodeState)
	t.Nop(2)
	v73 := m.Env.Version == kernel.V7_3
	stat := m.Env.Cpu(m.z.statOff, t.CPU) + 64
	push := 2
	if v73 {
		push = 4
	}
	t.Push(push)
	a := t.ALU(5, 0)
	p := t.Load(m.z.nodeData+8, 0)
	x := t.ALU2(a, 0)
	y := t.ALU2(p, a)
	t.ALU(2, x)
	cur := t.Mem(cpu.Load, stat+41, 1, y, 0)
	cur = t.ALU(1, cur)
	thr := t.Mem(cpu.Load, stat, 1, p, 0)
	s := t.Chain(3, t.ALU2(cur, x))
	t.ALU(1, 0)
	cmp := t.ALU2(s, thr)
	t.ALU2(cmp, 0)
	last := t.ALU2(cmp, s)
	t.Mem(cpu.RMW, stat+41, 1, y, cmp)
	t.Branch(false, cmp)
	t.Branch(v73, t.ALU(1, last))
	t.Pop(push)
	t.Ret()
}

// ModNodePageState emits the accounting that IOMMU page-table pages cause (iommu_account_pages).
func (m *MM) ModNodePageState(t *cpu.Thread) { m.modNodePageState(t) }

// FreePages emits the freeing of what AllocPages returned: free_unref_page puts the page at the head of the CPU's list.
// Not in the recordings, where page-table pages are never freed. Nothing goes back to the buddy allocator.
func (m *MM) FreePages(t *cpu.Thread, va uint64, order int) {
	v := m.Env.Version
	page := m.pageOfVirt(va)
	pcp := m.z.pcp(m, t.CPU)
	t.Call(freeUnref)
	t.Nop(2)
	t.Push(5)
	p := t.Mem(cpu.Load, page+48, 4, 0, 0)
	t.ALU(12, p)
	t.Branch(false, t.Last())
	flags := t.Load(page, 0)
	t.LoadOp(page+24, 0, flags)
	t.LoadOp(page+8, 0, flags)
	t.ALU(14, flags)
	t.Branch(false, t.Last())
	t.Load(m.z.zone+64+48, t.Last())
	t.LoadOp(kernel.ThisCPUOff(v, t.CPU), 0, t.Last())
	locking.LocalTrylock(t, v, pcp)
	t.RMW(m.Env.Cpu(m.z.eventsOff, t.CPU)+24, 0, 0)
	head := t.Load(pcp+32, 0)
	m.listAddValid(t, pcp+32)
	t.Store(head0(m, t.CPU, order), head, 0)
	t.Store(page+8, 0, head)
	t.Store(page+16, 0, 0)
	t.Store(pcp+32, 0, 0)
	t.Mem(cpu.RMW, pcp+4, 4, 0, 0)
	t.Branch(false, t.ALU(4, t.Last()))
	locking.LocalUnlock(t, v, pcp)
	t.Pop(5)
	t.Ret()
	l := &m.pcp[t.CPU].pages[min(order, 3)]
	*l = append(*l, va)
}

// head0 returns where the back link of the list's first page lies.
func head0(m *MM, c, order int) uint64 {
	if l := m.pcp[c].pages[min(order, 3)]; len(l) > 0 {
		return m.pageOfVirt(l[len(l)-1]) + 16
	}
	return m.z.pcp(m, c) + 40
}
