package swiotlb

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/coherency"
)

var (
	fnMap    = cpu.NewFunc("swiotlb_map", "kernel/dma/swiotlb.c", 640)
	fnTblMap = cpu.NewFunc("swiotlb_tbl_map_single", "kernel/dma/swiotlb.c", 2000)
	fnFull   = cpu.NewFunc("___ratelimit", "lib/ratelimit.c", 200)
)

// Map emits swiotlb_map: it bounces size bytes at phys and returns the bus address of the copy. The copy of a non-coherent device
// is cleaned as well.
func (m *Mem) Map(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	v := m.Env.Version
	t.Call(fnMap)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(24)
	t.StackStore(0, 0)
	t.StackStore(16, t.Load(kernel.StackGuard(v, t.CPU), 0))
	t.ALU(1, 0)
	ranges := t.Load(d.At.DmaRangeMap, 0)
	t.StackStore(8, 0)
	t.Branch(d.Ranges != nil, t.ALU(1, ranges))
	t.Nop(1) // trace_swiotlb_bounced
	t.ALU(6, 0)
	tlb, err := m.TblMap(t, d, phys, size, 0, dir, &attrs)
	p := t.ALU(2, 0)
	t.Branch(err != nil, p)
	addr := uint64(kernel.MappingError)
	if err == nil {
		addr, err = m.busOf(t, d, tlb, size, dir, attrs, p)
	}
	t.StackLoad(8)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(16)))
	t.Frame(-24)
	t.Pop(5)
	t.Ret()
	return addr, err
}

// busOf emits the second half of swiotlb_map: the bus address of the slot, whether the device reaches it, and cache maintenance.
func (m *Mem) busOf(t *cpu.Thread, d *kernel.Device, tlb, size uint64, dir kernel.Direction, attrs kernel.Attrs, p cpu.Val) (uint64, error) {
	e, g := m.Env, m.Env.Sym
	shared := attrs&kernel.AttrCCShared != 0
	ranges := t.Load(d.At.DmaRangeMap, 0)
	t.ALU(1, 0)
	if e.Version == kernel.V7_3 {
		t.Branch(!shared, t.Mem(cpu.LoadOp, t.SP()+1, 1, 0, 0))
		t.ALU(1, p)
	}
	t.Branch(d.Ranges != nil, t.ALU(1, ranges))
	addr, ok := e.WalkRanges(t, d, tlb, ranges)
	bus := p
	if !shared && e.Version == kernel.V7_3 {
		bus = t.LoadOp(g.SmeMeMask, 0, p)
		t.StackStore(8, bus)
	}
	t.Branch(!ok, t.ALU(1, bus))
	if e.Version == kernel.V7_3 && e.MemEncrypt && !shared {
		t.ALU(1, 0)
		e.ForceUnencrypted(t)
		t.Branch(false, t.ALU(1, 0))
	}
	end := t.ALU(1, bus)
	t.Jump()
	mask := t.Load(d.At.MaskValue, t.Load(d.At.DmaMask, 0))
	limit := t.Load(d.At.BusDmaLimit, 0)
	t.Branch(false, t.ALU(1, mask))
	least := t.ALU2(limit, mask)
	t.ALU(4, mask)
	least = t.ALU2(least, limit)
	good := ok && d.Reaches(addr, size)
	t.Branch(!good, t.ALU2(least, end))
	if !good {
		m.Unmap(t, d, tlb, size, dir, attrs|kernel.AttrSkipCPUSync)
		return kernel.MappingError, ErrNotCapable
	}
	if coherency.Needed(e, d) {
		t.Branch(attrs&kernel.AttrSkipCPUSync != 0, t.ALU(2, 0))
		if attrs&kernel.AttrSkipCPUSync == 0 {
			coherency.SyncForDevice(t, e, tlb, size, dir)
			coherency.Flush(t, e)
		}
	}
	return addr, nil
}

// TblMap emits swiotlb_tbl_map_single: it finds slots for size bytes at orig, aligned to align+1 (0: as the size asks for), takes them and copies
// the buffer into them, whatever the direction. It returns the physical address of the copy. On 7.3 attrs comes back with
// AttrCCShared as the pool has it.
func (m *Mem) TblMap(t *cpu.Thread, d *kernel.Device, orig, size, align uint64, dir kernel.Direction, attrs *kernel.Attrs) (uint64, error) {
	t.Call(fnTblMap)
	t.Nop(2)
	t.Push(6)
	t.Frame(176)
	mem := t.Load(d.At.IoTlbMem, 0)
	t.StackStore(104, 0)
	t.StackStore(40, 0)
	t.Mem(cpu.Store, t.SP()+8, 4, 0, 0)
	t.Branch(!m.Present(), t.ALU(1, mem))
	var tlb uint64
	err := ErrNone
	if m.Present() {
		t.Branch(false, t.LoadOp(m.va+memSlots, mem, 0))
		tlb, err = m.tblMap(t, d, orig, size, align, attrs)
	}
	if err != nil {
		tlb = kernel.MappingError
	}
	t.StackLoad(64)
	t.Jump()
	t.Frame(-176)
	t.Pop(6)
	t.Ret()
	return tlb, err
}

func (m *Mem) tblMap(t *cpu.Thread, d *kernel.Device, orig, size, align uint64, attrs *kernel.Attrs) (uint64, error) {
	e, g := m.Env, m.Env.Sym
	m.Stats.Maps++
	t.ALU(3, 0)
	if e.MemEncrypt { // pr_warn_once, and what 7.3 asks beside it
		t.Branch(!e.PlatformHas(t, kernel.MemEncrypted), t.ALU(1, 0))
		if e.Version == kernel.V7_3 {
			t.ALU(1, 0)
			guest := e.PlatformHas(t, kernel.GuestEncrypted)
			t.Branch(!guest, t.ALU(1, 0))
			if !guest {
				t.ALU(1, 0)
				t.Branch(!e.PlatformHas(t, kernel.HostEncrypted), t.ALU(1, 0))
			}
		}
	}
	if e.Version == kernel.V7_3 {
		m.share(t, attrs)
	}
	// The parameters of the search.
	t.StackLoad(104)
	parms := t.Load(d.At.DmaParms, t.Last())
	t.Mem(cpu.Load, t.SP()+8, 4, 0, 0)
	t.Mem(cpu.Store, t.SP()+172, 4, 0, t.ALU(1, t.Last()))
	t.Branch(false, t.ALU(1, parms))
	off := offset(d, align, orig)
	want := (size + off + align) &^ align
	minAlign := t.Mem(cpu.LoadOp, d.At.MinAlignMask, 4, parms, t.ALU(1, 0))
	t.ALU(2, minAlign)
	t.Mem(cpu.Load, t.SP()+8, 4, 0, 0)
	t.StackLoad(40)
	bytes := t.ALU(5, t.Last())
	t.StackLoad(104)
	t.StackStore(48, bytes)
	mem := t.Load(d.At.IoTlbMem, t.Last()-1)
	start := t.Load(m.va+poolStart, mem)
	t.Mem(cpu.LoadOp, m.va+memShared, 1, mem, 0)
	t.StackStore(16, start)
	t.Branch(!e.EncryptedGuest, t.Last()-1)
	if !e.EncryptedGuest {
		ranges := t.Load(d.At.DmaRangeMap, t.StackLoad(104))
		t.Branch(d.Ranges != nil, t.ALU(1, ranges))
		e.WalkRanges(t, d, m.pools[0].Start, ranges)
		t.Load(g.SmeMeMask, 0)
		t.RMW(t.SP()+16, 0, t.Last())
		t.Jump()
	}
	m.searchSetup(t, d, parms, mem)
	p, i := m.findSlots(t, request{d, orig, want, align})
	if i < 0 {
		if *attrs&kernel.AttrNoWarn == 0 {
			m.warnFull(t)
		}
		m.Stats.Full++
		if size > MaxMapping(d) {
			return 0, ErrTooLarge
		}
		return 0, ErrFull
	}
	t.StackLoad(104)
	t.Mem(cpu.Load, t.SP()+12, 4, 0, 0)
	t.Load(d.At.IoTlbMem, t.Last()-1)
	m.countUsed(t, slotsFor(want))
	t.ALU(1, 0)
	t.Branch(false, t.StackLoad(64))
	return m.fill(t, p, i, request{d, orig, want, align}, size, off), nil
}

// share emits what 7.3 does with AttrCCShared: the pool decides.
func (m *Mem) share(t *cpu.Thread, attrs *kernel.Attrs) {
	shared := m.Env.EncryptedGuest
	t.Branch(shared, t.Mem(cpu.LoadOp, m.va+memShared, 1, 0, 0))
	at := t.ALU(1, t.StackLoad(232))
	*attrs &^= kernel.AttrCCShared
	if shared {
		*attrs |= kernel.AttrCCShared
	}
	want := t.Mem(cpu.LoadOp, t.SP()+8, 4, 0, 0)
	t.StackStore(232, at)
	t.Branch(false, want)
}

// searchSetup emits what swiotlb_find_slots and the inlined search compute once: the area of the CPU, masks and strides.
func (m *Mem) searchSetup(t *cpu.Thread, d *kernel.Device, parms, mem cpu.Val) {
	areas := t.Mem(cpu.Load, m.va+poolAreas, 4, mem, 0)
	id := t.Mem(cpu.Load, kernel.CPUNumber(m.Env.Version, t.CPU), 4, 0, 0)
	t.ALU(2, areas)
	t.StackLoad(48)
	a := t.ALU2(t.Last(), id)
	t.ALU(1, a)
	t.Mem(cpu.Store, t.SP()+148, 4, 0, a)
	n := t.ALU(1, 0)
	t.Mem(cpu.Store, t.SP()+12, 4, 0, n)
	t.StackStore(72, t.ALU(2, n))
	t.ALU(2, a)
	t.StackStore(0, t.LoadOp(m.va+poolAreaArray, mem, a))
	t.Branch(false, t.ALU(1, parms))
	t.Mem(cpu.Store, t.SP()+100, 4, 0, a)
	boundary := t.Load(d.At.SegBoundary, parms)
	t.Branch(false, t.ALU(1, boundary))
	t.StackStore(64, t.Chain(3, boundary))
	minAlign := t.Mem(cpu.Load, d.At.MinAlignMask, 4, parms, 0)
	t.Mem(cpu.Store, t.SP()+168, 4, 0, t.ALU(3, minAlign))
	t.Branch(false, t.ALU(1, 0))
	t.StackStore(152, 0)
	t.StackStore(136, 0)
	t.Mem(cpu.Store, t.SP()+144, 4, 0, 0)
	t.StackStore(24, 0)
	t.StackStore(160, 0)
	t.ALU(1, 0)
}

// findSlots emits swiotlb_find_slots: the area of the CPU first, then the others in turn. -1: none has room.
func (m *Mem) findSlots(t *cpu.Thread, q request) (*Pool, int) {
	if m.grow != nil {
		return m.findGrowing(t, q)
	}
	p := m.pools[0]
	own := t.CPU & (len(p.areas) - 1)
	for k := range p.areas {
		a := (own + k) & (len(p.areas) - 1)
		if i := m.searchArea(t, p, a, q); i >= 0 {
			if k > 0 {
				m.Stats.OtherArea++
			}
			return p, i
		}
		next := t.ALU(2, 0)
		t.Branch(false, next)
		t.Branch(k+1 < len(p.areas), t.ALU(1, next))
	}
	return nil, -1
}

// fill emits the rest of swiotlb_tbl_map_single: sync becomes necessary, the slots learn whom they stand for, and the copy.
func (m *Mem) fill(t *cpu.Thread, p *Pool, i int, q request, size, off uint64) uint64 {
	d := q.dev
	t.StackLoad(104)
	t.ALU(1, 0)
	orig := t.StackLoad(24)
	t.ALU(1, 0)
	t.StackLoad(136)
	at := t.Mem(cpu.Load, t.SP()+144, 4, 0, 0)
	m.needSync(t, d)
	pad := int(off >> SlotShift)
	off &= SlotSize - 1
	i += pad
	t.ALU(1, at)
	slots := t.Load(p.va+poolSlotArray, 0)
	va := t.ALU2(t.ALU(8, at), slots)
	p.slots[i].pad = uint16(pad)
	t.Mem(cpu.Store, p.slotVA(i)+slotPad, 2, va, at)
	n := slotsFor(q.size) - pad
	t.Branch(n == 0, t.ALU(4, 0))
	t.ALU(1, 0)
	t.Nop(3)
	top := t.Here()
	for k := range n {
		s := t.Load(p.va+poolSlotArray, 0)
		v := t.ALU(5, orig)
		t.Store(p.slotVA(i+k)+slotOrig, s, v)
		p.slots[i+k].orig, p.slots[i+k].low = q.orig+uint64(k)<<SlotShift, uint16(off)
		t.Loop(top, k+1 < n, t.ALU(3, 0))
	}
	tlb := p.slotAddr(i) + off
	b := t.LoadOp(p.va+poolStart, 0, 0)
	t.ALU(1, 0)
	t.StackLoad(40)
	b = t.ALU(2, b)
	t.StackLoad(104)
	t.ALU(2, b)
	t.StackStore(64, b)
	m.bounce(t, d, p, tlb, size, toPool)
	return tlb
}

// needSync emits dma_reset_need_sync: the device's skip-sync bit goes for good with its first bounce, plainly on 6.12 and by an atomic
// operation on 7.3.
func (m *Mem) needSync(t *cpu.Thread, d *kernel.Device) {
	if m.Env.Version == kernel.V7_3 {
		f := t.ALU(1, t.Load(d.At.Flags, 0))
		t.Branch(!d.NeedSync, f)
		if !d.NeedSync {
			t.Atomic(d.At.Flags, 0, 0)
			t.Jump()
		}
	} else {
		f := t.Mem(cpu.LoadOp, d.At.Flags, 1, 0, 0)
		t.Branch(!d.NeedSync, f)
		if !d.NeedSync {
			t.Mem(cpu.RMW, d.At.Flags, 1, 0, 0)
		}
	}
	d.NeedSync = true
}

// warnFull emits dev_warn_ratelimited and the count of used slots for its text; the message is printed ten times in five seconds
// at most and its printing is not modelled.
func (m *Mem) warnFull(t *cpu.Thread) {
	t.ALU(4, 0)
	t.Call(fnFull)
	t.Nop(2)
	t.Push(3)
	state := m.ratelimit
	t.Branch(false, t.ALU(2, t.Load(state, 0)))
	t.Mem(cpu.Atomic, state+8, 4, 0, 0)
	t.Branch(false, t.Last())
	t.ALU(8, t.Load(state, 0))
	t.Mem(cpu.RMW, state+12, 4, 0, 0)
	t.Mem(cpu.Store, state+8, 1, 0, 0)
	t.Pop(3)
	t.Ret()
	t.Branch(true, t.ALU(1, 0))
}
