package vtd

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

// pageOf returns the struct page of the page at direct-map address va.
func pageOf(va uint64) uint64 { return cpu.VmemmapBase + kernel.Phys(va)>>12*64 }

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
func (u *Unit) zeroed(va uint64) (uint64, bool) {
	if va == 0 {
		return 0, false
	}
	u.Env.Mem.Free(kernel.Phys(va))
	return va, true
}

// allocPages12 is iommu_alloc_pages_node of 6.12: a zeroed page from the page allocator, accounted.
func (u *Unit) allocPages12(t *cpu.Thread) (uint64, bool) {
	guard := kernel.StackGuard(u.Env.Version, t.CPU)
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
	va, ok := u.zeroed(u.pages.AllocPages(t, 0))
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	if ok {
		page := pageOf(va)
		fl := t.Load(page, 0)
		t.ALU(3, fl)
		t.Load(u.stats.nodeData, fl)
		u.modNode(t)
		h := t.Load(page+8, 0)
		t.ALU(1, h)
		t.Branch(false, h)
		t.Nop(1)
		t.ALU(2, 0)
		u.modLruvec12(t, page)
		vb := t.LoadOp(u.Env.Sym.VmemmapBase, 0, 0)
		t.ALU(2, vb)
		t.LoadOp(u.Env.Sym.PageOffsetBase, 0, t.Last())
	}
	g := t.StackLoad(16)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.ALU(1, 0)
	t.Frame(-24)
	t.Pop(1)
	t.Ret()
	return va, ok
}

// allocPages73 is iommu_alloc_pages_node_sz of 7.3.
func (u *Unit) allocPages73(t *cpu.Thread) (uint64, bool) {
	guard := kernel.StackGuard(u.Env.Version, t.CPU)
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
	va, ok := u.allocFolio(t)
	t.ALU(2, 0)
	t.Branch(!ok, t.Last())
	if ok {
		page := pageOf(va)
		t.Mem(cpu.Store, page+32, 1, 0, 0)
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		fl := t.Load(page, 0)
		t.ALU(6, fl)
		t.Load(u.stats.nodeData, fl)
		u.modNode(t)
		t.ALU(3, 0)
		u.modLruvec73(t, page)
		t.ALU(1, 0)
		vb := t.LoadOp(u.Env.Sym.VmemmapBase, 0, 0)
		t.ALU(2, vb)
		t.LoadOp(u.Env.Sym.PageOffsetBase, 0, t.Last())
	}
	g := t.StackLoad(8)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.Frame(-16)
	t.Pop(3)
	t.Ret()
	return va, ok
}

// allocFolio is __folio_alloc_noprof of 7.3.
func (u *Unit) allocFolio(t *cpu.Thread) (uint64, bool) {
	t.Call(fnFolio)
	t.Nop(2)
	t.ALU(2, 0)
	va, ok := u.zeroed(u.pages.AllocPages(t, 0))
	t.ALU(1, 0)
	t.Branch(!ok, t.Last())
	if ok {
		page := pageOf(va)
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
func (u *Unit) modNode(t *cpu.Thread) {
	t.Call(fnModNode)
	u.modNodeBody(t)
}

func (u *Unit) modNodeBody(t *cpu.Thread) {
	diff := u.Env.Cpu(u.stats.percpu, t.CPU)
	t.Nop(2)
	if u.Env.Version == kernel.V7_3 {
		t.Push(1)
		t.ALU(1, 0)
		t.Push(1)
		t.ALU(3, 0)
		t.Push(1)
		t.ALU(2, 0)
		t.Push(1)
		p := t.Load(u.stats.pgdat, 0)
		t.ALU(4, p)
		v := t.Mem(cpu.Load, diff+41, 1, p, 0)
		t.ALU(1, v)
		th := t.Mem(cpu.Load, diff, 1, p, 0)
		t.ALU(8, th)
		t.Mem(cpu.RMW, diff+41, 1, p, th)
		t.Branch(false, t.Last())
		t.ALU(1, th)
		t.Branch(true, th)
		t.Pop(4)
		t.Ret()
		return
	}
	t.ALU(2, 0)
	p := t.Load(u.stats.pgdat, 0)
	t.ALU(3, 0)
	t.Push(1)
	t.ALU(2, p)
	t.Push(1)
	t.ALU(1, 0)
	v := t.Mem(cpu.Load, diff+41, 1, p, 0)
	t.ALU(2, v)
	th := t.Mem(cpu.Load, diff, 1, p, 0)
	t.ALU(8, th)
	t.Mem(cpu.RMW, diff+41, 1, p, th)
	t.Branch(false, t.Last())
	t.ALU(1, th)
	t.Branch(false, th)
	t.Pop(2)
	t.Ret()
}

func (u *Unit) rcu(t *cpu.Thread, lock bool) {
	cur := kernel.CurrentTask(u.Env.Version, t.CPU)
	if lock {
		t.Call(fnRCULock)
		t.Nop(2)
		p := t.Load(cur, 0)
		n := t.Mem(cpu.Load, u.stats.task, 4, p, 0)
		t.ALU(1, n)
		t.Mem(cpu.Store, u.stats.task, 4, p, t.Last())
		t.Ret()
		return
	}
	t.Call(fnRCUUnlock)
	t.Nop(2)
	p := t.Load(cur, 0)
	n := t.Mem(cpu.RMW, u.stats.task, 4, p, 0)
	t.Branch(false, n)
	s := t.Mem(cpu.Load, u.stats.task+4, 4, p, 0)
	t.ALU(1, s)
	t.Branch(false, s)
	t.Ret()
}

// modLruvec12 is lruvec_stat_mod_folio of 6.12 with __lruvec_stat_mod_folio below it.
func (u *Unit) modLruvec12(t *cpu.Thread, page uint64) {
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
	nd := t.Load(u.stats.nodeData, fl)
	u.rcu(t, true)
	m := t.Load(page+56, 0)
	t.ALU(3, m)
	t.Branch(true, m)
	t.ALU(1, m)
	t.ALU(1, m)
	t.Branch(true, m)
	t.StackStore(0, 0)
	u.rcu(t, false)
	t.StackLoad(0)
	t.ALU(2, nd)
	t.Frame(-16)
	t.Pop(4)
	t.TailCall(fnModNode12)
	diff := u.Env.Cpu(u.stats.percpu, t.CPU)
	t.Nop(2)
	p := t.Load(u.stats.pgdat, 0)
	t.ALU(8, p)
	t.Mem(cpu.Load, diff, 1, p, 0)
	v := t.Mem(cpu.Load, diff+40, 1, p, 0)
	t.ALU(5, v)
	t.Branch(false, t.Last())
	t.Mem(cpu.Store, diff+40, 1, p, v)
	t.Ret()
	t.ALU(1, 0)
	t.Branch(true, t.Last())
	t.Pop(1)
	t.Ret()
}

// modLruvec73 is lruvec_stat_mod_folio of 7.3.
func (u *Unit) modLruvec73(t *cpu.Thread, page uint64) {
	t.Call(fnLruvec)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	fl := t.Load(page, 0)
	t.ALU(2, fl)
	nd := t.Load(u.stats.nodeData, fl)
	u.rcu(t, true)
	m := t.Load(page+56, 0)
	t.ALU(1, m)
	t.Branch(true, m)
	u.rcu(t, false)
	t.ALU(2, 0)
	t.Pop(1)
	t.ALU(1, nd)
	t.Pop(3)
	t.TailCall(fnModNode)
	u.modNodeBody(t)
}

// freePage takes one table page out of the account and gives it back.
func (u *Unit) freePage(t *cpu.Thread, va uint64) {
	page := pageOf(va)
	fl := t.Load(page, 0)
	t.ALU(4, fl)
	t.Load(u.stats.nodeData, fl)
	u.modNode(t)
	t.ALU(2, 0)
	if u.Env.Version == kernel.V7_3 {
		u.modLruvec73(t, page)
	} else {
		u.modLruvec12(t, page)
	}
	t.ALU(2, 0)
	u.pages.FreePages(t, va, 0)
}

// PutPages is iommu_put_pages_list called directly, as the flush queue does.
func (d *Domain) PutPages(t *cpu.Thread, l *iommucore.PageList) { d.putPages(t, l, t.SP()+8, false) }

// putPages is iommu_put_pages_list of the list whose head lies at head.
func (d *Domain) putPages(t *cpu.Thread, l *iommucore.PageList, head uint64, tail bool) {
	if tail {
		t.TailCall(fnPutPages)
	} else {
		t.Call(fnPutPages)
	}
	saved := 5
	if d.env.Version == kernel.V7_3 {
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
		page := pageOf(va)
		n := t.Load(page+8, next)
		p := t.Load(page+16, next)
		t.ALU(6, n) // the checks of list_del (CONFIG_LIST_HARDENED)
		t.Branch(false, t.Last())
		t.Store(head, p, n)
		t.Store(page+8, next, 0)
		t.Store(page+16, next, 0)
		d.u.freePage(t, va)
		next = t.Load(head, 0)
		t.ALU(1, next)
		t.Loop(top, i+1 < len(l.Pages), t.Last())
	}
	l.Pages = l.Pages[:0]
	t.Pop(saved)
	t.Ret()
}

// clflush emits clflush_cache_range of n bytes at va: fence, one flush per line, fence.
func (d *Domain) clflush(t *cpu.Thread, va, n uint64) {
	t.Call(fnClflush)
	d.clflushBody(t, va, n)
}

func (d *Domain) clflushBody(t *cpu.Thread, va, n uint64) {
	t.Nop(2)
	t.Op(cpu.Fence, 0)
	sz := t.Mem(cpu.Load, d.u.cpuData, 2, 0, 0)
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
