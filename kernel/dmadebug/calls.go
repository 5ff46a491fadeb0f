package dmadebug

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
)

// Map is debug_dma_map_page (6.12) and debug_dma_map_phys (7.3), with device memory debug_dma_map_resource (6.12), after a mapping
// that succeeded; then dma_mapping_error, which the driver calls.
func (d *Debug) Map(t *cpu.Thread, dev *kernel.Device, addr, phys, size uint64, dir kernel.Direction, mmio bool) {
	v73 := d.Env.Version == kernel.V7_3
	fn := fnMapPhys
	if !v73 {
		fn = fnMapPage
		if mmio {
			fn = fnMapRes
		}
	}
	t.Call(fn)
	t.Nop(1)
	if !d.disabled(t) {
		t.Push(6)
		t.Branch(false, t.ALU(1, 0))
		e := entry{dev: dev, addr: addr, size: size, phys: phys, kind: d.kind(mmio), dir: dir}
		check := memory
		if mmio && v73 {
			check = device
		} else if mmio {
			check = nothing
		}
		d.record(t, &e, check)
		t.Pop(6)
	}
	t.Ret()
	d.mappingError(t, dev, addr)
}

// kind returns the type of a mapping: 7.3 has one for all that are not lists.
func (d *Debug) kind(mmio bool) Kind {
	if mmio && d.Env.Version == kernel.V6_12 {
		return Resource
	}
	return Single
}

// What is checked about a buffer.
const (
	nothing = iota // a list, whose entries were checked; device memory on 6.12
	memory
	device
)

// record allocates and fills an entry, checks the buffer, and adds the entry.
func (d *Debug) record(t *cpu.Thread, e *entry, check int) {
	i, ok := d.alloc(t)
	t.Branch(!ok, t.ALU(1, 0))
	if !ok {
		return
	}
	va := d.va(i)
	for _, o := range []uint64{16, 24, 32, 40} {
		t.Store(va+o, 0, 0)
	}
	for _, o := range []uint64{48, 52, 56, 60, 64} {
		t.Mem(cpu.Store, va+o, 4, 0, 0)
	}
	d.entries[i] = *e
	switch check {
	case device:
		d.checkDevice(t, e.phys)
	case memory:
		d.checkBuffer(t, e.phys, e.size)
	}
	d.add(t, i)
	d.Stats.Maps++
}

// checkDevice asks whether device memory is RAM: pfn_valid() and a page that is not reserved. Pages of BARs, of holes inside a section and of
// memory that firmware keeps are.
func (d *Debug) checkDevice(t *cpu.Thread, phys uint64) {
	ok := d.MM.PfnValid(t, phys>>12, t.ALU(1, 0))
	t.Branch(!ok, t.Last())
	if !ok {
		return
	}
	page, pv := d.MM.PfnToPage(t, phys>>12, 0)
	r, found := d.MM.Memory().Map.Find(phys)
	reserved := !found || r.Kind != mm.RAM && r.Kind != mm.HotRAM
	t.Branch(reserved, t.ALU(1, t.Load(page, pv)))
	if !reserved {
		d.Stats.RAMAsDevice++
	}
}

// checkBuffer is check_for_stack and check_for_illegal_area: the pages of the task's stack (VMAP_STACK) one by one, and the
// sections of the kernel image, whose bounds are constants.
func (d *Debug) checkBuffer(t *cpu.Thread, phys, size uint64) {
	t.Call(fnStack)
	t.Nop(1)
	task := t.Load(kernel.CurrentTask(d.Env.Version, t.CPU), 0)
	area := t.Load(d.orc+uint64(t.CPU)*256, task) // stack_vm_area: made up like the task's other lines
	t.Branch(false, t.ALU(1, area))
	pages := t.Load(d.orc+uint64(t.CPU)*256+64, area)
	t.Mem(cpu.Load, d.orc+uint64(t.CPU)*256+72, 4, area, 0)
	t.LoadOp(d.Env.Sym.VmemmapBase, 0, t.ALU(3, 0))
	top := t.Here()
	for i := range uint64(kernel.StackBytes / 4096) {
		t.Branch(false, t.ALU(3, t.Load(d.orc+uint64(t.CPU)*256+128+i*8, pages)))
		t.Loop(top, i+1 < kernel.StackBytes/4096, t.ALU(1, 0))
	}
	t.Ret()
	va := t.LoadOp(d.Env.Sym.PageOffsetBase, 0, t.ALU(2, 0)) // phys_to_virt
	t.Call(fnArea)
	t.Nop(1)
	t.Branch(false, t.ALU(4, va))
	t.Branch(false, t.ALU(3, va))
	t.Ret()
}

// mappingError is debug_dma_mapping_error: the entry is marked as checked.
func (d *Debug) mappingError(t *cpu.Thread, dev *kernel.Device, addr uint64) {
	v := d.Env.Version
	t.Call(fnMapErr)
	t.Nop(1)
	if !d.disabled(t) {
		t.Push(5)
		b := hash(addr)
		t.ALU(6, 0)
		locking.SpinLockIrqsave(t, v, &d.locks[b])
		top := t.Here()
		p := t.Load(d.bucket(b), 0)
		for i := d.heads[b]; i >= 0; {
			e := &d.entries[i]
			dd, a := t.Load(d.va(i)+16, p), t.Load(d.va(i)+24, p)
			hit := e.dev == dev && e.addr == addr
			t.Branch(!hit, t.ALU2(dd, a))
			if hit {
				t.Branch(false, t.ALU(1, t.Mem(cpu.Load, d.va(i)+64, 4, p, 0)))
				t.Mem(cpu.Store, d.va(i)+64, 4, p, 0)
				break
			}
			i = e.next
			p = t.Load(d.va(max(i, 0)), p)
			t.Loop(top, i >= 0, t.ALU(1, p))
		}
		locking.SpinUnlockIrqrestore(t, v, &d.locks[b])
		t.Pop(5)
	}
	t.Ret()
}

// Unmap is debug_dma_unmap_page, _phys and _resource: check_unmap of a mapping that the caller is about to end.
func (d *Debug) Unmap(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction, mmio bool) {
	t.Call(fnUnmap)
	t.Nop(1)
	if !d.disabled(t) {
		t.Frame(144)
		t.StringSet(t.SP(), entryBytes, 0)
		t.ALU(6, 0)
		d.unmap(t, &entry{dev: dev, addr: addr, size: size, kind: d.kind(mmio), dir: dir})
		t.Frame(-144)
	}
	t.Ret()
}

// unmap is check_unmap: find the entry, compare, take it out.
func (d *Debug) unmap(t *cpu.Thread, ref *entry) {
	v := d.Env.Version
	t.Call(fnCheck)
	t.Nop(1)
	t.Push(5)
	d.Stats.Unmaps++
	b := hash(ref.addr)
	t.ALU(4, 0)
	locking.SpinLockIrqsave(t, v, &d.locks[b])
	i := d.find(t, b, ref, false)
	t.Branch(i < 0, t.ALU(1, 0))
	if i < 0 {
		d.Stats.NotMapped++
		locking.SpinUnlockIrqrestore(t, v, &d.locks[b])
	} else {
		e := &d.entries[i]
		for _, c := range []struct {
			off uint64
			bad bool
			n   *int64
		}{{32, e.size != ref.size, &d.Stats.WrongSize}, {48, e.kind != ref.kind, &d.Stats.WrongKind},
			{60, e.nents != ref.nents, &d.Stats.WrongSize}, {52, e.dir != ref.dir, &d.Stats.WrongDirection}, {64, false, nil}} {
			t.Branch(c.bad, t.ALU(1, t.Mem(cpu.Load, d.va(i)+c.off, 4, 0, 0)))
			if c.bad {
				*c.n++
			}
		}
		d.del(t, b, i)
		locking.SpinUnlockIrqrestore(t, v, &d.locks[b])
		d.release(t, i)
	}
	t.Pop(5)
	t.Ret()
}

// Sync is check_sync of debug_dma_sync_single_for_cpu and _for_device. An address that is not in its bucket is looked for in those before,
// as far back as the device's largest segment.
func (d *Debug) Sync(t *cpu.Thread, dev *kernel.Device, addr, size uint64, dir kernel.Direction) {
	v := d.Env.Version
	t.Call(fnSync)
	t.Nop(1)
	if d.disabled(t) {
		t.Ret()
		return
	}
	t.Push(6)
	t.Frame(136)
	t.StringSet(t.SP(), entryBytes, 0)
	d.Stats.Syncs++
	ref := entry{dev: dev, addr: addr, size: size, dir: dir}
	limit := t.Mem(cpu.Load, dev.At.MaxSeg, 4, t.Load(dev.At.DmaParms, 0), 0)
	i := int32(-1)
	top := t.Here()
	at := addr
	for back := uint64(0); ; back += 1 << hashShift {
		b := hash(at)
		locking.SpinLockIrqsave(t, v, &d.locks[b])
		i = d.find(t, b, &ref, true)
		t.Branch(i >= 0, t.ALU(1, 0))
		if i >= 0 {
			e := &d.entries[i]
			t.Branch(false, t.ALU(1, t.Load(d.va(i)+32, 0)))
			bad := e.dir != kernel.Bidirectional && e.dir != dir
			t.Branch(bad, t.ALU(2, t.Mem(cpu.Load, d.va(i)+52, 4, 0, 0)))
			if bad {
				d.Stats.WrongDirection++
			}
		}
		locking.SpinUnlockIrqrestore(t, v, &d.locks[b])
		more := i < 0 && back < dev.MaxSeg && at >= 1<<hashShift
		t.Loop(top, more, t.ALU(2, limit))
		if !more {
			break
		}
		at -= 1 << hashShift
	}
	if i < 0 {
		d.Stats.NotMapped++
	}
	t.Frame(-136)
	t.Pop(6)
	t.Ret()
}

var (
	fnMapSG   = cpu.NewFunc("debug_dma_map_sg", file, 420)
	fnUnmapSG = cpu.NewFunc("debug_dma_unmap_sg", file, 320)
	fnSyncSG  = cpu.NewFunc("debug_dma_sync_sg", file, 320)
)

// MapSG is debug_dma_map_sg: the buffers of all entries are checked, and every DMA segment is recorded.
func (d *Debug) MapSG(t *cpu.Thread, dev *kernel.Device, l *scatterlist.List, dir kernel.Direction) {
	t.Call(fnMapSG)
	t.Nop(1)
	if d.disabled(t) {
		t.Ret()
		return
	}
	t.Push(6)
	top, s := t.Here(), t.ALU(1, 0)
	for i := range l.Entries {
		l.LoadPhys(t, d.Env, i, s)
		d.checkBuffer(t, l.Entries[i].Phys, l.Entries[i].Size)
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < len(l.Entries), t.ALU(1, 0))
	}
	top, s = t.Here(), t.ALU(1, 0)
	for i := range l.Nents {
		e := &l.Entries[i]
		t.Load(l.At(i)+scatterlist.DMAAddr, s)
		t.Mem(cpu.Load, l.At(i)+scatterlist.DMALength, 4, s, 0)
		long := e.Len > dev.MaxSeg || e.Addr&^dev.SegBoundary != (e.Addr+e.Len-1)&^dev.SegBoundary
		t.Branch(long, t.ALU(5, t.Load(dev.At.DmaParms, 0))) // check_sg_segment
		if long {
			d.Stats.LongSegment++
		}
		d.record(t, &entry{dev: dev, addr: e.Addr, size: e.Len, phys: e.Phys, kind: SG, dir: dir, nents: len(l.Entries)}, nothing)
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < l.Nents, t.ALU(1, 0))
	}
	t.Pop(6)
	t.Ret()
}

// UnmapSG is debug_dma_unmap_sg, before the list is unmapped. How many segments were mapped stands in the first one's entry.
func (d *Debug) UnmapSG(t *cpu.Thread, dev *kernel.Device, l *scatterlist.List, dir kernel.Direction) {
	t.Call(fnUnmapSG)
	t.Nop(1)
	if d.disabled(t) {
		t.Ret()
		return
	}
	t.Push(6)
	t.Frame(136)
	top, s := t.Here(), t.ALU(1, 0)
	for i := range l.Nents {
		e := &l.Entries[i]
		t.StringSet(t.SP(), entryBytes, 0)
		t.Load(l.At(i)+scatterlist.DMAAddr, s)
		t.Mem(cpu.Load, l.At(i)+scatterlist.DMALength, 4, s, 0)
		ref := entry{dev: dev, addr: e.Addr, size: e.Len, kind: SG, dir: dir, nents: len(l.Entries)}
		t.Branch(i > 0, t.ALU(3, 0))
		if i == 0 { // get_nr_mapped_entries
			b := hash(e.Addr)
			locking.SpinLockIrqsave(t, d.Env.Version, &d.locks[b])
			d.find(t, b, &ref, false)
			locking.SpinUnlockIrqrestore(t, d.Env.Version, &d.locks[b])
		}
		d.unmap(t, &ref)
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < l.Nents, t.ALU(1, 0))
	}
	t.Frame(-136)
	t.Pop(6)
	t.Ret()
}

// SyncSG is debug_dma_sync_sg_for_cpu and _for_device.
func (d *Debug) SyncSG(t *cpu.Thread, dev *kernel.Device, l *scatterlist.List, dir kernel.Direction) {
	t.Call(fnSyncSG)
	t.Nop(1)
	t.Push(3)
	top, s := t.Here(), t.ALU(1, 0)
	for i := range l.Nents {
		t.Load(l.At(i)+scatterlist.DMAAddr, s)
		d.Sync(t, dev, l.Entries[i].Addr, l.Entries[i].Len, dir)
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < l.Nents, t.ALU(1, 0))
	}
	t.Pop(3)
	t.Ret()
}
