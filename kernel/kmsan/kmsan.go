// Package kmsan is kmsan_handle_dma: what a kernel built with CONFIG_KMSAN does with every buffer that is mapped (mm/kmsan/hooks.c and
// core.c of 6.12 and 7.3).
//
// Page by page: the struct page says where the shadow of the page lies (one byte for each byte of memory, which says whether it was
// initialised) and where its origins do (a number for every 4 bytes). What the device will read is checked byte by byte; what the device will
// write is marked as initialised, which is a memset of shadow and origins. 6.12 is passed a page and an offset; 7.3 a physical
// address, from which the page is made again.
//
// The shadow is memory of the model: it lies at addresses of its own, as large as what was mapped so far, and moves through the caches.
//
// Left out: everything else that the option does. A kernel with KMSAN is instrumented at every load and store and several times
// slower throughout; the rest of the paths is modelled as if it were not. 32-bit highmem (KMSAN exists on x86-64 and s390 only).
// No recording exists: estimated from the structure of the source.
package kmsan

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
)

const file = "mm/kmsan/hooks.c"

var (
	fnHandle   = cpu.NewFunc("kmsan_handle_dma", file, 300)
	fnPage     = cpu.NewFunc("kmsan_handle_dma_page", file, 220)
	fnCheck    = cpu.NewFunc("kmsan_internal_check_memory", "mm/kmsan/core.c", 480)
	fnUnpoison = cpu.NewFunc("kmsan_internal_unpoison_memory", "mm/kmsan/core.c", 40)
	fnSet      = cpu.NewFunc("kmsan_internal_set_shadow_origin", "mm/kmsan/core.c", 320)
	fnMeta     = cpu.NewFunc("kmsan_get_metadata", "mm/kmsan/shadow.c", 240)
	fnMemset   = cpu.NewFunc("__memset", "arch/x86/lib/memset_64.S", 48)
)

// Shadow is the option's state: the metadata pages of the pages that were mapped.
type Shadow struct {
	Env *kernel.Env
	MM  *mm.MM

	at map[uint64]uint64 // page frame to the address of its shadow page; its origins are the page behind it
}

// New returns a state without metadata.
func New(e *kernel.Env, m *mm.MM) *Shadow { return &Shadow{e, m, map[uint64]uint64{}} }

// pages returns the shadow page of a frame.
func (s *Shadow) pages(pfn uint64) uint64 {
	va, ok := s.at[pfn]
	if !ok {
		va = s.Env.Pages(1)
		s.at[pfn] = va
	}
	return va
}

// HandleDMA is kmsan_handle_dma of size bytes at phys.
func (s *Shadow) HandleDMA(t *cpu.Thread, phys, size uint64, dir kernel.Direction) {
	t.Call(fnHandle)
	t.Nop(1)
	t.Push(5)
	if s.Env.Version == kernel.V7_3 {
		s.MM.PhysToPage(t, phys, 0)
	}
	t.Branch(false, t.ALU(3, 0)) // PageHighMem: never
	t.LoadOp(s.Env.Sym.PageOffsetBase, 0, t.ALU(3, 0))
	top := t.Here()
	for at, left := phys, size; left > 0; {
		n := min(left, 4096-at&4095)
		t.Call(fnPage)
		t.Nop(1)
		t.Branch(dir == kernel.FromDevice, t.ALU(2, 0))
		if dir != kernel.FromDevice {
			s.check(t, at, n)
		}
		if dir != kernel.ToDevice {
			s.unpoison(t, at, n)
		}
		t.Ret()
		at, left = at+n, left-n
		t.Loop(top, left > 0, t.ALU(4, 0))
	}
	t.Pop(5)
	t.Ret()
}

// metadata is kmsan_get_metadata: is the address in the linear map, has its page metadata, and where.
func (s *Shadow) metadata(t *cpu.Thread, phys uint64, off uint64) cpu.Val {
	t.Call(fnMeta)
	t.Nop(1)
	t.Branch(false, t.ALU(6, 0))
	s.MM.PfnValid(t, phys>>12, 0)
	page, v := s.MM.VirtToPage(t, kernel.Virt(phys), 0)
	m := t.Load(page+56+off, v)
	t.Branch(false, t.ALU(1, m))
	m = t.LoadOp(s.Env.Sym.PageOffsetBase, 0, t.ALU(3, m))
	t.Ret()
	return m
}

// check is kmsan_internal_check_memory: a loop over the bytes of the shadow.
func (s *Shadow) check(t *cpu.Thread, phys, n uint64) {
	t.Call(fnCheck)
	t.Nop(1)
	t.Push(6)
	v := s.metadata(t, phys, 0)
	shadow := s.pages(phys>>12) + phys&4095
	top := t.Here()
	for o := range n {
		t.Branch(true, t.ALU(1, t.Mem(cpu.Load, shadow+o, 1, v, 0)))
		t.Loop(top, o+1 < n, t.ALU(1, 0))
		if len(t.Ops) > cpu.SegmentOps {
			t.Sync()
		}
	}
	t.Pop(6)
	t.Ret()
}

// unpoison is kmsan_internal_unpoison_memory: both kinds of metadata are set to zero.
func (s *Shadow) unpoison(t *cpu.Thread, phys, n uint64) {
	t.Call(fnUnpoison)
	t.Nop(1)
	t.TailCall(fnSet)
	t.Push(5)
	shadow := s.pages(phys >> 12)
	for i, off := range []uint64{0, 8} {
		s.metadata(t, phys, off)
		t.Call(fnMemset)
		t.Nop(1)
		t.ALU(4, 0)
		t.StringSet(shadow+uint64(i)*4096+phys&4095, int(n), 0)
		t.Ret()
	}
	t.Pop(5)
	t.Ret()
}
