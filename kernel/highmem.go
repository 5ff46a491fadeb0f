package kernel

import "dmapath/cpu"

var (
	kmapLocal   = cpu.NewFunc("__kmap_local_pfn_prot", "mm/highmem.c", 240)
	kunmapLocal = cpu.NewFunc("kunmap_local_indexed", "mm/highmem.c", 220)
)

// Highmem emits PhysHighMem(pa), which finds and reads the struct page: whether pa is RAM that the linear map does not contain.
// On 64-bit kernels it is false at compile time. An address without a struct page is reported: what is read there is not one.
func (e *Env) Highmem(t *cpu.Thread, pa uint64, a cpu.Val) bool {
	if e.Arch != ARM32 {
		return false
	}
	pfn := t.ALU(1, a)
	if e.HasPage != nil && !e.HasPage(pa) {
		e.Report(t, MissingPage, pa, true, "PhysHighMem reads the flags of a struct page that does not exist")
		return false
	}
	base := t.Load(e.Sym.VmemmapBase, 0) // mem_map
	t.Load(cpu.VmemmapBase+pa>>12*64, t.Chain(2, t.ALU2(pfn, base)))
	t.ALU(2, t.Last())
	return e.Linear != nil && !e.Linear(pa)
}

// Kmap emits kmap_local_page or kmap_atomic_pfn: the next slot of the CPU's fixmap gets an entry for pa's page. It returns what later
// accesses wait for. The page is then accessed at its direct-map address: the same line, but what the slot's own
// translation costs in the TLB is not in it.
func (e *Env) Kmap(t *cpu.Thread, pa uint64) cpu.Val {
	t.Call(kmapLocal)
	t.Push(6)
	t.Mem(cpu.RMW, PreemptCount(e.Version, t.CPU), 4, 0, 0)
	task := t.Load(CurrentTask(e.Version, t.CPU), 0)
	idx := t.RMW(e.kmapSlot(t.CPU), task, 0)
	pte := t.Chain(4, idx)
	old := t.Load(e.kmapSlot(t.CPU)+64, pte)
	t.Branch(false, t.ALU(1, old))
	t.Store(e.kmapSlot(t.CPU)+64, pte, t.ALU(3, 0))
	t.Op(cpu.Fence, 0) // dsb ishst of set_pte
	va := t.Chain(3, pte)
	t.Store(e.kmapSlot(t.CPU)+8, task, va)
	t.Pop(6)
	t.Ret()
	return va
}

// Kunmap emits kunmap_local of the page of pa: the entry is cleared and its translation flushed on this CPU.
func (e *Env) Kunmap(t *cpu.Thread, pa uint64) {
	t.Call(kunmapLocal)
	t.Push(4)
	task := t.Load(CurrentTask(e.Version, t.CPU), 0)
	idx := t.Load(e.kmapSlot(t.CPU), task)
	pte := t.Chain(3, idx)
	t.Branch(false, t.ALU(2, pte))
	t.Store(e.kmapSlot(t.CPU)+64, pte, 0)
	t.Op(cpu.Fence, 0)
	t.Op(cpu.Sysreg, pte) // TLBIMVA
	t.Op(cpu.Fence, 0)
	t.RMW(e.kmapSlot(t.CPU), idx, 0)
	t.Mem(cpu.RMW, PreemptCount(e.Version, t.CPU), 4, 0, 0)
	t.Pop(4)
	t.Ret()
}

// kmapSlot returns the address of the CPU's kmap_ctrl.idx; the line behind it is the page-table line of its fixmap slots.
func (e *Env) kmapSlot(c int) uint64 { return perCPU(percpuKmap, c) }
