package iommupages

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
)

const filePages = "drivers/iommu/iommu-pages.c"

var (
	fnAlloc12   = cpu.NewFunc("iommu_alloc_pages_node.constprop.0", "drivers/iommu/iommu-pages.h", 200)
	fnAlloc73   = cpu.NewFunc("iommu_alloc_pages_node_sz", filePages, 256)
	fnFolio     = cpu.NewFunc("__folio_alloc_noprof", "mm/page_alloc.c", 60)
	fnPutPages  = cpu.NewFunc("iommu_put_pages_list", filePages, 208)
	fnModNode   = cpu.NewFunc("mod_node_page_state", "mm/vmstat.c", 160)
	fnModNode12 = cpu.NewFunc("__mod_node_page_state", "mm/vmstat.c", 80)
	fnLruvec    = cpu.NewFunc("lruvec_stat_mod_folio", "mm/memcontrol.c", 160)
	fnLruvec12  = cpu.NewFunc("__lruvec_stat_mod_folio", "mm/memcontrol.c", 192)
	fnRCULock   = cpu.NewFunc("__rcu_read_lock", "kernel/rcu/tree_plugin.h", 36)
	fnRCUUnlock = cpu.NewFunc("__rcu_read_unlock", "kernel/rcu/tree_plugin.h", 60)
	fnClflush   = cpu.NewFunc("clflush_cache_range", "arch/x86/mm/pat/set_memory.c", 56)
)

// Allocator is the kernel's page allocator as far as table pages need it (package kernel/mm).
type Allocator interface {
	// AllocPages emits the allocation of 2^order pages and returns their direct-map address, 0 when there are none.
	AllocPages(t *cpu.Thread, order int) (va uint64)
	// FreePages emits the release of what AllocPages returned.
	FreePages(t *cpu.Thread, va uint64, order int)
}

// Pages hands out and takes back the pages of I/O page tables. One is enough for all units of a driver.
type Pages struct {
	env   *kernel.Env
	alloc Allocator
	stats statistics
	// cpuData is the line of boot_cpu_data with x86_clflush_size.
	cpuData uint64
}

// New returns the pages of a driver, which come from alloc.
func New(env *kernel.Env, alloc Allocator) *Pages {
	return &Pages{env: env, alloc: alloc, stats: newStatistics(env), cpuData: env.Data(64) + 24}
}

// PageOf returns the virtual address of the struct page of the page at direct-map address va.
func PageOf(va uint64) uint64 { return cpu.VmemmapBase + kernel.Phys(va)>>12*64 }

// statistics are where the accounting of table pages lives: NR_IOMMU_PAGES and NR_SECONDARY_PAGETABLE of the node.
type statistics struct {
	nodeData uint64 // node_data[]
	pgdat    uint64 // the line of pgdat with per_cpu_nodestats
	percpu   uint64 // offset of struct per_cpu_nodestat
	task     uint64 // rcu_read_lock_nesting of the running task
}

func newStatistics(env *kernel.Env) statistics {
	return statistics{env.Data(64), env.Data(64), env.PerCPU(64, 64), env.Slab(128, 64) + 60}
}

// zeroed returns the page at va with all its words zero, as the clear_page within the allocator leaves it.
func (p *Pages) zeroed(va uint64) (uint64, bool) {
	if va == 0 {
		return 0, false
	}
	p.env.Mem.Free(kernel.Phys(va))
	return va, true
}

// Alloc emits the allocation of one zeroed page for a table and returns its direct-map address, ok == false when there is none.
func (p *Pages) Alloc(t *cpu.Thread) (va uint64, ok bool) {
	if p.env.Version == kernel.V7_3 {
		return p.alloc73(t)
	}
	return p.alloc12(t)
}

// alloc12 is iommu_alloc_pages_node of 6.12: a zeroed page from the page allocator, accounted.
func (p *Pages) alloc12(t *cpu.Thread) (uint64, bool) {
	guard := kernel.StackGuard(p.env.Version, t.CPU)
	t.Call(fnAlloc12)
	t.Push(1)
	t.ALU(3, 0)
	t.Frame(24)
	t.StackStore(16, t.Load(guard, 0))
	t.ALU(2, 0)
	t.Mem(cpu.LoadOp, kernel.NumaNode(t.CPU), 4, 0, 0)
	t.ALU(1, 0)
	t.StackStore(8, 0)
	t.ALU(1, 0)
	t.Branch(true, t.Last())
	t.ALU(3, 0)
	va, ok := p.zeroed(p.alloc.AllocPages(t, 0))
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	if ok {
		page := PageOf(va)
		fl := t.Load(page, 0)
		t.ALU(3, fl)
		t.Load(p.stats.nodeData, fl)
		p.modNode(t)
		h := t.Load(page+8, 0)
		t.ALU(1, h)
		t.Branch(false, h)
		t.Nop(1)
		t.ALU(2, 0)
		p.modLruvec12(t, page)
		vb := t.LoadOp(p.env.Sym.VmemmapBase, 0, 0)
		t.ALU(2, vb)
		t.LoadOp(p.env.Sym.PageOffsetBase, 0, t.Last())
	}
	g := t.StackLoad(16)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.ALU(1, 0)
	t.Frame(-24)
	t.Pop(1)
	t.Ret()
	return va, ok
}

// alloc73 is iommu_alloc_pages_node_sz of 7.3.
func (p *Pages) alloc73(t *cpu.Thread) (uint64, bool) {
	guard := kernel.StackGuard(p.env.Version, t.CPU)
	t.Call(fnAlloc73)
	t.Nop(2)
	t.Push(3)
	t.Frame(16)
	t.StackStore(8, t.Load(guard, 0))
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.ALU(6, 0)
	t.Op(cpu.BitScan, t.Last())
	t.ALU(1, 0)
	n := t.Mem(cpu.LoadOp, kernel.NumaNode(t.CPU), 4, 0, 0)
	t.ALU(3, 0)
	t.StackStore(0, 0)
	t.Branch(false, t.Last())
	t.ALU(4, n)
	va, ok := p.allocFolio(t)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	if ok {
		page := PageOf(va)
		t.Mem(cpu.Store, page+32, 1, 0, 0)
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		fl := t.Load(page, 0)
		t.ALU(6, fl)
		t.Load(p.stats.nodeData, fl)
		p.modNode(t)
		t.ALU(3, 0)
		p.modLruvec73(t, page)
		t.ALU(1, 0)
		vb := t.LoadOp(p.env.Sym.VmemmapBase, 0, 0)
		t.ALU(2, vb)
		t.LoadOp(p.env.Sym.PageOffsetBase, 0, t.Last())
	}
	g := t.StackLoad(8)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.Frame(-16)
	t.Pop(3)
	t.Ret()
	return va, ok
}

// allocFolio is __folio_alloc_noprof of 7.3.
func (p *Pages) allocFolio(t *cpu.Thread) (uint64, bool) {
	t.Call(fnFolio)
	t.Nop(2)
	t.ALU(2, 0)
	va, ok := p.zeroed(p.alloc.AllocPages(t, 0))
	t.ALU(1, 0)
	t.Branch(!ok, t.Last())
	if ok {
		page := PageOf(va)
		t.Mem(cpu.Store, page+52, 4, 0, 0)
		fl := t.Load(page, 0)
		t.ALU(1, fl)
		t.Branch(true, fl)
	}
	t.Ret()
	return va, ok
}

// modNode is mod_node_page_state of NR_IOMMU_PAGES: a per-CPU difference by an unlocked compare-and-exchange. The
// counter's overflow into the node's total, every few dozen pages, is left out.
func (p *Pages) modNode(t *cpu.Thread) {
	t.Call(fnModNode)
	p.modNodeBody(t)
}

func (p *Pages) modNodeBody(t *cpu.Thread) {
	diff := p.env.Cpu(p.stats.percpu, t.CPU)
	t.Nop(2)
	if p.env.Version == kernel.V7_3 {
		t.Push(1)
		t.ALU(1, 0)
		t.Push(1)
		t.ALU(3, 0)
		t.Push(1)
		t.ALU(2, 0)
		t.Push(1)
		pg := t.Load(p.stats.pgdat, 0)
		t.ALU(4, pg)
		v := t.Mem(cpu.Load, diff+41, 1, pg, 0)
		t.ALU(1, v)
		th := t.Mem(cpu.Load, diff, 1, pg, 0)
		t.ALU(8, th)
		t.Mem(cpu.RMW, diff+41, 1, pg, th)
		t.Branch(false, t.Last())
		t.ALU(1, th)
		t.Branch(true, th)
		t.Pop(4)
		t.Ret()
		return
	}
	t.ALU(2, 0)
	pg := t.Load(p.stats.pgdat, 0)
	t.ALU(3, 0)
	t.Push(1)
	t.ALU(2, pg)
	t.Push(1)
	t.ALU(1, 0)
	v := t.Mem(cpu.Load, diff+41, 1, pg, 0)
	t.ALU(2, v)
	th := t.Mem(cpu.Load, diff, 1, pg, 0)
	t.ALU(8, th)
	t.Mem(cpu.RMW, diff+41, 1, pg, th)
	t.Branch(false, t.Last())
	t.ALU(1, th)
	t.Branch(false, th)
	t.Pop(2)
	t.Ret()
}

func (p *Pages) rcu(t *cpu.Thread, lock bool) {
	cur := kernel.CurrentTask(p.env.Version, t.CPU)
	if lock {
		t.Call(fnRCULock)
		t.Nop(2)
		task := t.Load(cur, 0)
		n := t.Mem(cpu.Load, p.stats.task, 4, task, 0)
		t.ALU(1, n)
		t.Mem(cpu.Store, p.stats.task, 4, task, t.Last())
		t.Ret()
		return
	}
	t.Call(fnRCUUnlock)
	t.Nop(2)
	task := t.Load(cur, 0)
	n := t.Mem(cpu.RMW, p.stats.task, 4, task, 0)
	t.Branch(false, n)
	s := t.Mem(cpu.Load, p.stats.task+4, 4, task, 0)
	t.ALU(1, s)
	t.Branch(false, s)
	t.Ret()
}

// modLruvec12 is lruvec_stat_mod_folio of 6.12 with __lruvec_stat_mod_folio below it.
func (p *Pages) modLruvec12(t *cpu.Thread, page uint64) {
	t.Call(fnLruvec)
	t.Push(1)
	t.ALU(1, 0)
	locking.IrqSave(t)
	t.ALU(1, 0)
	t.Call(fnLruvec12)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(3)
	t.ALU(2, 0)
	t.Frame(16)
	fl := t.Load(page, 0)
	t.ALU(1, fl)
	nd := t.Load(p.stats.nodeData, fl)
	p.rcu(t, true)
	m := t.Load(page+56, 0)
	t.ALU(3, m)
	t.Branch(true, m)
	t.ALU(1, m)
	t.ALU(1, m)
	t.Branch(true, m)
	t.StackStore(0, 0)
	p.rcu(t, false)
	t.StackLoad(0)
	t.ALU(2, nd)
	t.Frame(-16)
	t.Pop(4)
	t.TailCall(fnModNode12)
	diff := p.env.Cpu(p.stats.percpu, t.CPU)
	t.Nop(2)
	pg := t.Load(p.stats.pgdat, 0)
	t.ALU(8, pg)
	t.Mem(cpu.Load, diff, 1, pg, 0)
	v := t.Mem(cpu.Load, diff+40, 1, pg, 0)
	t.ALU(5, v)
	t.Branch(false, t.Last())
	t.Mem(cpu.Store, diff+40, 1, pg, v)
	t.Ret()
	t.ALU(1, 0)
	t.Branch(true, t.Last())
	t.Pop(1)
	t.Ret()
}

// modLruvec73 is lruvec_stat_mod_folio of 7.3.
func (p *Pages) modLruvec73(t *cpu.Thread, page uint64) {
	t.Call(fnLruvec)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	fl := t.Load(page, 0)
	t.ALU(2, fl)
	nd := t.Load(p.stats.nodeData, fl)
	p.rcu(t, true)
	m := t.Load(page+56, 0)
	t.ALU(1, m)
	t.Branch(true, m)
	p.rcu(t, false)
	t.ALU(2, 0)
	t.Pop(1)
	t.ALU(1, nd)
	t.Pop(3)
	t.TailCall(fnModNode)
	p.modNodeBody(t)
}

// Free takes one table page out of the account and gives it back.
func (p *Pages) Free(t *cpu.Thread, va uint64) {
	page := PageOf(va)
	fl := t.Load(page, 0)
	t.ALU(4, fl)
	t.Load(p.stats.nodeData, fl)
	p.modNode(t)
	t.ALU(2, 0)
	if p.env.Version == kernel.V7_3 {
		p.modLruvec73(t, page)
	} else {
		p.modLruvec12(t, page)
	}
	t.ALU(2, 0)
	p.alloc.FreePages(t, va, 0)
}

// Put emits iommu_put_pages_list of the list l, whose head lies at head: every page of it is freed. tail says that it is jumped to.
func (p *Pages) Put(t *cpu.Thread, l *iommucore.PageList, head uint64, tail bool) {
	if tail {
		t.TailCall(fnPutPages)
	} else {
		t.Call(fnPutPages)
	}
	saved := 5
	if p.env.Version == kernel.V7_3 {
		saved = 2
		t.Nop(2)
		t.Push(1)
		t.ALU(1, 0)
		t.Push(1)
		t.Load(head, 0)
	} else {
		t.Push(1)
		t.ALU(1, 0)
		t.Push(1)
		t.ALU(1, 0)
		t.Push(1)
		t.ALU(1, 0)
		t.Push(2)
	}
	next := t.Load(head, 0)
	t.ALU(1, next)
	t.Branch(l.Empty(), t.Last())
	top := t.Here()
	for i, va := range l.Pages {
		page := PageOf(va)
		n := t.Load(page+8, next)
		prev := t.Load(page+16, next)
		t.ALU(6, n) // the checks of list_del (CONFIG_LIST_HARDENED)
		t.Branch(false, t.Last())
		t.Store(head, prev, n)
		t.Store(page+8, next, 0)
		t.Store(page+16, next, 0)
		p.Free(t, va)
		next = t.Load(head, 0)
		t.ALU(1, next)
		t.Loop(top, i+1 < len(l.Pages), t.Last())
	}
	l.Pages = l.Pages[:0]
	t.Pop(saved)
	t.Ret()
}

// Clflush emits clflush_cache_range of n bytes at va: fence, one flush per line, fence.
func (p *Pages) Clflush(t *cpu.Thread, va, n uint64) {
	t.Call(fnClflush)
	p.clflush(t, va, n)
}

// TailClflush is Clflush as the last thing a function does: it is jumped to and returns to the function's caller.
func (p *Pages) TailClflush(t *cpu.Thread, va, n uint64) {
	t.TailCall(fnClflush)
	p.clflush(t, va, n)
}

func (p *Pages) clflush(t *cpu.Thread, va, n uint64) {
	t.Nop(2)
	t.Op(cpu.Fence, 0)
	sz := t.Mem(cpu.Load, p.cpuData, 2, 0, 0)
	t.ALU(6, sz)
	t.Branch(n == 0, t.Last())
	top := t.Here()
	for line := va &^ 63; line < va+n; line += 64 {
		t.Mem(cpu.Flush, line, 64, t.Last(), 0)
		t.ALU(2, 0)
		t.Loop(top, line+64 < va+n, t.Last())
	}
	t.Op(cpu.Fence, 0)
	t.Ret()
}
