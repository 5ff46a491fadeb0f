package iopf

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/locking"
	"dmapath/kernel/mm"
	"dmapath/pcie"
)

const (
	file    = "drivers/iommu/io-pgfault.c"
	fileSVA = "drivers/iommu/iommu-sva.c"
)

var (
	fnReport   = cpu.NewFunc("iommu_report_device_fault", file, 900)
	fnPartial  = cpu.NewFunc("report_partial_fault", file, 200)
	fnGroup    = cpu.NewFunc("iopf_group_alloc", file, 400)
	fnQueue    = cpu.NewFunc("queue_work_on", "kernel/workqueue.c", 700)
	fnWake     = cpu.NewFunc("try_to_wake_up", "kernel/sched/core.c", 1600)
	fnSwitch   = cpu.NewFunc("__schedule", "kernel/sched/core.c", 2400)
	fnProcess  = cpu.NewFunc("process_one_work", "kernel/workqueue.c", 900)
	fnHandle   = cpu.NewFunc("iommu_sva_handle_iopf", fileSVA, 200)
	fnMM       = cpu.NewFunc("iommu_sva_handle_mm", fileSVA, 400)
	fnFindVMA  = cpu.NewFunc("find_vma", "mm/mmap.c", 300)
	fnFault    = cpu.NewFunc("handle_mm_fault", "mm/memory.c", 3000)
	fnResponse = cpu.NewFunc("iopf_group_response", file, 300)
	fnFree     = cpu.NewFunc("iopf_free_group", file, 160)
)

// Guessed instruction counts of what has no steps here.
const (
	nQueue   = 160
	nWake    = 320
	nSwitch  = 480
	nProcess = 140
	nFindVMA = 90
	nFault   = 650
)

// Driver answers groups: ops->page_response.
type Driver interface {
	PageResponse(t *cpu.Thread, rid, group uint16, code pcie.Response)
}

// Handler is a device's fault parameter (struct iommu_fault_param) with the process whose memory the device uses.
type Handler struct {
	// Faults counts requests reported, Groups groups answered, Present requests whose page was there already, Refused those outside of the
	// process's memory.
	Faults, Groups, Present, Refused uint64

	env     *kernel.Env
	mm      *mm.MM
	drv     Driver
	dom     *iommucore.Domain
	first   uint64 // the process's memory
	last    uint64
	param   uint64 // struct iommu_fault_param
	mutex   cpu.LockWord
	mmap    uint64       // mmap_lock, taken for reading
	ptl     cpu.LockWord // of the page table
	vma     uint64
	task    []uint64  // lines of the runqueue and the worker's task
	kmem    *mm.Cache // kmalloc-96: struct iopf_fault
	groups  *mm.Cache // kmalloc-256: struct iopf_group
	partial []request
	work    []group
}

type request struct {
	va uint64
	r  pcie.PageRequest
}

type group struct {
	va   uint64
	list []request
}

// Config says what a Handler stands on.
type Config struct {
	Env         *kernel.Env
	MM          *mm.MM
	Driver      Driver
	Domain      *iommucore.Domain // what the device's requests go through
	First, Last uint64            // the process's memory, in whole pages
}

// New returns a handler of a process that has touched none of its memory.
func New(c Config) (*Handler, error) {
	if c.First&4095 != 0 || c.Last&4095 != 4095 || c.Last < c.First || c.Last > c.Domain.ApertureEnd {
		return nil, fmt.Errorf("iopf: memory from %#x to %#x is not whole pages within the domain, which ends at %#x", c.First, c.Last, c.Domain.ApertureEnd)
	}
	h := &Handler{env: c.Env, mm: c.MM, drv: c.Driver, dom: c.Domain, first: c.First, last: c.Last, param: c.Env.Slab(128, 64), vma: c.Env.Slab(192, 64)}
	h.mutex.VA, h.mutex.Name = h.param, "iommu_fault_param.lock"
	h.mmap = c.Env.Slab(64, 64)
	h.ptl.VA, h.ptl.Name = c.Env.Slab(64, 64), "page table lock"
	for range 6 {
		h.task = append(h.task, c.Env.Slab(64, 64))
	}
	h.kmem, h.groups = c.MM.NewCache("kmalloc-96", 96, 32), c.MM.NewCache("kmalloc-256", 256, 64)
	return h, nil
}

// Idle reports whether the worker has nothing to do.
func (h *Handler) Idle() bool { return len(h.work) == 0 }

// Report is iommu_report_device_fault: a request from the driver's queue. It returns true when it has given the worker something to do.
func (h *Handler) Report(t *cpu.Thread, r pcie.PageRequest) bool {
	h.Faults++
	v := h.env.Version
	t.Call(fnReport)
	t.Nop(2)
	t.Push(6)
	t.Frame(64)
	t.ALU(6, t.Load(h.param+64, 0)) // iopf_get_dev_fault_param
	t.Mem(cpu.Atomic, h.param+72, 4, 0, 0)
	t.Branch(!r.Last, t.ALU(2, 0))
	if !r.Last {
		t.Call(fnPartial)
		t.Nop(1)
		t.Push(3)
		f := h.kmem.Alloc(t)
		h.copy(t, f)
		locking.SpinLock(t, v, &h.mutex)
		t.Store(h.param+32, 0, t.Load(h.param+40, 0)) // list_add
		t.Store(f, 0, 0)
		h.partial = append(h.partial, request{f, r})
		locking.SpinUnlock(t, v, &h.mutex)
		t.Pop(3)
		t.Ret()
		h.leave(t)
		return false
	}
	t.Call(fnGroup)
	t.Nop(1)
	t.Push(5)
	g := group{va: h.groups.Alloc(t)}
	h.copy(t, g.va+64)
	locking.SpinLock(t, v, &h.mutex)
	rest := h.partial[:0]
	for top, i := t.Here(), 0; i < len(h.partial); i++ { // faults of the same group join it
		q := h.partial[i]
		t.Branch(q.r.Group == r.Group && q.r.RID == r.RID, t.ALU(2, t.Load(q.va+16, 0)))
		if q.r.Group == r.Group && q.r.RID == r.RID {
			g.list = append(g.list, q)
			t.Store(q.va, 0, 0)
			t.Store(q.va+8, 0, 0)
		} else {
			rest = append(rest, q)
		}
		t.Loop(top, i+1 < len(h.partial), t.ALU(1, 0))
	}
	h.partial = rest
	t.Store(h.param+48, 0, 0) // group->pending_node
	g.list = append(g.list, request{0, r})
	locking.SpinUnlock(t, v, &h.mutex)
	t.Pop(5)
	t.Ret()
	t.ALU(8, t.Load(h.param+56, 0)) // the domain and its handler
	kernel.Code(t, fnQueue, nQueue, h.task[:2]...)
	if len(h.work) == 0 {
		kernel.Code(t, fnWake, nWake, h.task...)
	}
	h.work = append(h.work, g)
	h.leave(t)
	return true
}

// copy is the assignment of a struct iommu_fault.
func (h *Handler) copy(t *cpu.Thread, to uint64) {
	for off := uint64(0); off < 40; off += 8 {
		t.Store(to+16+off, 0, t.StackLoad(int(off)))
	}
}

func (h *Handler) leave(t *cpu.Thread) {
	t.Mem(cpu.Atomic, h.param+72, 4, 0, 0)
	t.Frame(-64)
	t.Pop(6)
	t.Ret()
}

// Work is a worker, which was woken: it handles groups until none is left.
func (h *Handler) Work(t *cpu.Thread) {
	kernel.Code(t, fnSwitch, nSwitch, h.task...)
	for len(h.work) > 0 {
		kernel.Code(t, fnProcess, nProcess, h.task[:2]...)
		g := h.work[0]
		h.work = append(h.work[:0], h.work[1:]...)
		h.handle(t, g)
	}
	kernel.Code(t, fnSwitch, nSwitch, h.task...)
}

// handle is iommu_sva_handle_iopf with the response.
func (h *Handler) handle(t *cpu.Thread, g group) {
	t.Call(fnHandle)
	t.Nop(2)
	t.Push(5)
	code := pcie.ResponseSuccess
	for top, i := t.Here(), 0; i < len(g.list); i++ {
		t.Branch(code != pcie.ResponseSuccess, t.ALU(1, t.Load(g.va+16, 0)))
		if code == pcie.ResponseSuccess {
			code = h.fault(t, g.list[i].r)
		}
		t.Loop(top, i+1 < len(g.list), t.ALU(2, 0))
	}
	last := g.list[len(g.list)-1].r
	t.Call(fnResponse)
	t.Nop(1)
	t.Push(4)
	locking.SpinLock(t, h.env.Version, &h.mutex)
	t.ALU(6, t.Load(h.param+56, 0))
	h.drv.PageResponse(t, last.RID, last.Group, code)
	t.Store(h.param+48, 0, 0)
	locking.SpinUnlock(t, h.env.Version, &h.mutex)
	t.Pop(4)
	t.Ret()
	h.Groups++
	t.Call(fnFree)
	t.Nop(1)
	t.Push(2)
	for _, q := range g.list[:len(g.list)-1] {
		h.kmem.Free(t, q.va)
	}
	h.groups.Free(t, g.va)
	t.Pop(2)
	t.Ret()
	t.Pop(5)
	t.Ret()
}

// fault is iommu_sva_handle_mm: the page is there afterwards, or the request is invalid.
func (h *Handler) fault(t *cpu.Thread, r pcie.PageRequest) (code pcie.Response) {
	t.Call(fnMM)
	t.Nop(1)
	t.Push(5)
	t.Mem(cpu.Atomic, h.mmap, 8, 0, 0)
	kernel.Code(t, fnFindVMA, nFindVMA, h.vma, h.vma+64)
	at := r.Addr &^ 4095
	in := at >= h.first && at <= h.last
	t.Branch(!in, t.ALU(4, 0))
	switch {
	case !in:
		h.Refused++
		code = pcie.ResponseInvalid
	case h.dom.IovaToPhys(t, at) != 0: // another request brought it
		h.Present++
		kernel.Code(t, fnFault, nFault/3, h.vma)
	default:
		kernel.Code(t, fnFault, nFault, h.vma, h.vma+64, h.vma+128)
		va := h.mm.AllocPages(t, 0)
		if va == 0 {
			code = pcie.ResponseInvalid
			break
		}
		t.Acquire(&h.ptl, 0)
		there := h.dom.IovaToPhys(t, at) != 0 // another worker was faster
		t.Branch(there, t.ALU(1, 0))
		if there {
			h.mm.FreePages(t, va, 0)
			h.Present++
		} else if err := h.dom.Map(t, at, kernel.Phys(va), 4096, iommucore.Read|iommucore.Write); err != nil {
			panic(fmt.Sprintf("iopf: the page at %#x cannot be mapped: %v", at, err))
		}
		t.Release(&h.ptl, 0)
	}
	t.Mem(cpu.Atomic, h.mmap, 8, 0, 0)
	t.Pop(5)
	t.Ret()
	return code
}
