package swiotlb

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

var (
	incUsed   = cpu.NewFunc("inc_used_and_hiwater_nop", "kernel/dma/swiotlb.c", 16)
	incUsed12 = cpu.NewFunc("inc_used_and_hiwater", "kernel/dma/swiotlb.c", 64)
)

// request is what a search looks for.
type request struct {
	dev   *kernel.Device
	orig  uint64
	size  uint64 // bytes, alignment included
	align uint64 // alloc_align_mask
}

// searchArea emits swiotlb_search_pool_area, inlined into swiotlb_tbl_map_single: it returns the first of enough free slots of area a of p, taken,
// or -1. The frame slots named are the stack slots of the recorded function.
func (m *Mem) searchArea(t *cpu.Thread, p *Pool, a int, q request) int {
	d, ar := q.dev, &p.areas[a]
	t.Mem(cpu.Load, t.SP()+100, 4, 0, 0)
	t.Branch(false, t.Mem(cpu.LoadOp, p.va+poolAreas, 4, 0, t.Last())) // BUG_ON
	n := slotsFor(q.size)
	t.Mem(cpu.Load, t.SP()+12, 4, 0, 0)
	base := t.LoadOp(t.SP()+16, 0, 0)
	alloc, minAlign := q.align, d.MinAlign
	plain := alloc == 0 && minAlign == 0
	t.Branch(plain, t.ALU(1, base))
	if plain {
		page := q.size >= 4096
		t.Branch(!page, t.LoadOp(t.SP()+48, 0, 0))
		if page {
			alloc = 4095
		}
		t.ALU(2, 0)
		t.Jump()
	}
	alloc |= SlotSize - 1
	minAlign &^= alloc
	stride := int(max(alloc, minAlign)>>SlotShift) + 1
	t.ALU(1, 0)
	areas := t.StackLoad(0)
	t.ALU(7, base)
	t.StackStore(56, t.ALU(1, areas))
	locking.SpinLockIrqsave(t, m.Env.Version, &ar.lock)
	t.StackLoad(0)
	t.StackStore(128, t.StackLoad(72))
	slots := t.Mem(cpu.Load, p.va+poolAreaSlots, 4, 0, 0)
	free := t.LoadOp(p.areaVA(a)+areaUsed, t.ALU(1, slots), 0)
	full := n > p.areaSlots-ar.used
	t.Branch(full, t.ALU(1, free))
	found := -1
	if !full {
		found = m.scan(t, p, a, q, n, alloc, minAlign, stride)
	}
	if found < 0 {
		locking.SpinUnlockIrqrestore(t, m.Env.Version, &ar.lock)
		return -1
	}
	m.claim(t, p, a, found, n, q)
	return found
}

// scan emits the loop over the slots of an area, which has n free ones, from where the last search ended.
func (m *Mem) scan(t *cpu.Thread, p *Pool, a int, q request, n int, alloc, minAlign uint64, stride int) int {
	ar := &p.areas[a]
	t.Mem(cpu.Load, t.SP()+100, 4, 0, 0)
	at := t.Mem(cpu.Load, p.areaVA(a)+areaIndex, 4, 0, 0)
	first := t.Op(cpu.Mul, t.Last()-1)
	t.Branch(false, t.ALU(1, 0))
	tbl := t.StackLoad(64)
	t.ALU(4, 0)
	t.StackStore(120, 0)
	t.StackLoad(24)
	t.ALU(2, tbl)
	t.StackStore(88, 0)
	t.StackStore(80, t.Last()-1)
	t.StackStore(112, t.ALU(1, 0))
	t.Jump()
	top := t.Here()
	tblStart, _ := q.dev.BusAddress(p.Start)
	index := ar.index
	for checked := 0; checked < p.areaSlots; {
		m.Stats.Probes++
		i := a*p.areaSlots + index
		pa := t.ALU2(first, at)
		t.Chain(3, pa)
		pa = t.ALU(2, pa)
		bus := tblStart + uint64(i)<<SlotShift
		aligned := bus&alloc == 0
		t.Branch(aligned, t.ALU(1, pa))
		same := q.orig == 0 || bus&minAlign == q.orig&minAlign
		if aligned {
			t.Branch(false, t.ALU(1, 0)) // orig_addr is 0
			t.Branch(!same, t.LoadOp(t.SP()+112, t.ALU(1, pa), 0))
		}
		step := 1
		if aligned && same {
			step = stride
			list := m.candidate(t, p, i, n)
			if list >= n {
				return i
			}
			t.Branch(false, t.Last())
		}
		index = p.wrap(index + step)
		checked += step
		at = t.ALU(4, 0)
		t.Branch(false, at) // the wrap
		t.Loop(top, checked < p.areaSlots, t.ALU(1, at))
		if len(t.Ops) > cpu.SegmentOps {
			t.Sync()
		}
	}
	return -1
}

// candidate emits the tests of an aligned slot: the segment boundary of the device, which pools never span on buses with 32-bit boundaries, and
// the count of free slots, which it returns.
func (m *Mem) candidate(t *cpu.Thread, p *Pool, i, n int) int {
	t.Branch(false, t.ALU(1, t.StackLoad(80)))
	t.StackLoad(88)
	t.StackLoad(72)
	v := t.ALU(3, t.Last()-1)
	t.Branch(false, t.LoadOp(t.SP()+64, 0, v))
	t.StackLoad(120)
	k := t.Chain(2, 0)
	slots := t.Load(p.va+poolSlotArray, 0)
	t.StackStore(32, k)
	va := t.ALU2(slots, k)
	t.Mem(cpu.Load, t.SP()+12, 4, 0, 0)
	list := t.Mem(cpu.Load, p.slotVA(i)+slotList, 2, va, 0)
	found := int(p.slots[i].list) >= n
	t.Branch(found, t.ALU(1, list))
	return int(p.slots[i].list)
}

// wrap is wrap_area_index.
func (p *Pool) wrap(i int) int {
	if i >= p.areaSlots {
		return 0
	}
	return i
}

// claim emits the taking of n slots from i on, and the unlock.
func (m *Mem) claim(t *cpu.Thread, p *Pool, a, i, n int, q request) {
	ar := &p.areas[a]
	off := offset(q.dev, 0, q.orig)
	t.Mem(cpu.Load, t.SP()+12, 4, 0, 0)
	t.StackLoad(120)
	t.StackLoad(32)
	t.Branch(false, t.ALU(2, t.Last()))
	size := t.StackLoad(48)
	t.Mem(cpu.Load, t.SP()+168, 4, 0, 0)
	va := t.Last()
	t.Mem(cpu.Store, p.slotVA(i)+slotList, 2, va, t.ALU(1, 0))
	t.Load(p.va+poolSlotArray, 0)
	t.Store(p.slotVA(i)+slotAlloc, t.Last(), t.ALU(2, size))
	t.Branch(n == 1, t.ALU(2, 0))
	if n > 1 {
		t.ALU(1, 0)
		t.Mem(cpu.Load, t.SP()+12, 4, 0, 0)
		t.ALU(7, t.Last())
		t.Nop(1)
		top := t.Here()
		for k := 1; k < n; k++ {
			s := t.Load(p.va+poolSlotArray, 0)
			left := t.ALU(5, 0)
			t.Mem(cpu.Store, p.slotVA(i+k)+slotList, 2, s, left)
			s = t.Load(p.va+poolSlotArray, 0)
			t.Store(p.slotVA(i+k)+slotAlloc, s, left)
			t.Loop(top, k+1 < n, t.ALU(2, 0))
		}
	}
	for k := range n {
		p.slots[i+k].list, p.slots[i+k].alloc = 0, q.size-(off+uint64(k)<<SlotShift)
	}
	m.backfill(t, p, i, 0)
	t.Mem(cpu.Load, t.SP()+12, 4, 0, 0)
	next := t.ALU(1, t.Last())
	t.Branch(false, t.Mem(cpu.LoadOp, p.va+poolAreaSlots, 4, 0, next))
	t.StackLoad(0)
	used := t.StackLoad(72)
	t.StackStore(64, 0)
	t.StackLoad(128)
	t.StackLoad(56)
	t.RMW(p.areaVA(a)+areaUsed, 0, used)
	t.Mem(cpu.Store, p.areaVA(a)+areaIndex, 4, 0, next)
	ar.index = p.wrap(i - a*p.areaSlots + n)
	ar.used += n
	locking.SpinUnlockIrqrestore(t, m.Env.Version, &ar.lock)
}

// backfill emits the loop that rewrites the free counts before slot i, down to a slot in use or to the start of the segment: they count on
// from count. 14 instructions per slot.
func (m *Mem) backfill(t *cpu.Thread, p *Pool, i, count int) {
	n := i % SegmentSlots // distance to the segment's start
	t.ALU(4, 0)
	t.Branch(n > 0, t.ALU(1, 0))
	if n == 0 {
		t.Jump()
		return
	}
	top := t.Here()
	for k := i - 1; ; k-- {
		at := t.Chain(2, 0)
		slots := t.Load(p.va+poolSlotArray, 0)
		va := t.ALU2(slots, at)
		list := t.Mem(cpu.LoadOp, p.slotVA(k)+slotList, 2, va, 0)
		t.Branch(p.slots[k].list != 0, list)
		if p.slots[k].list == 0 {
			return
		}
		count++
		p.slots[k].list = uint16(count)
		m.Stats.Filled++
		v := t.ALU(3, 0)
		t.Mem(cpu.Store, p.slotVA(k)+slotList, 2, va, v)
		end := k%SegmentSlots == 0
		t.Branch(end, t.Chain(3, v))
		if end {
			return
		}
		t.Back(top)
		if len(t.Ops) > cpu.SegmentOps {
			t.Sync()
		}
	}
}

// countUsed emits inc_used_and_hiwater: on 6.12 an atomic add to a word that all CPUs share, and a compare-and-exchange when it is a new
// maximum; on 7.3 a static call that goes nowhere.
func (m *Mem) countUsed(t *cpu.Thread, n int) {
	if m.Env.Version == kernel.V7_3 {
		t.Call(incUsed)
		t.Nop(2)
		t.Ret()
		return
	}
	t.Call(incUsed12)
	t.Nop(1)
	used := t.ALU(1, t.Atomic(m.va+memTotalUsed, 0, 0))
	m.total += n
	high := t.Load(m.va+memHiwater, 0)
	more := m.total > m.hiwater
	t.Branch(more, t.ALU2(used, high))
	if more {
		m.hiwater = m.total
		t.Branch(true, t.Atomic(m.va+memHiwater, high, used))
	}
	t.Ret()
}
