package mapops

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
)

const grantFile = "drivers/xen/grant-dma-ops.c"

var (
	grantMapPage   = cpu.NewFunc("xen_grant_dma_map_page", grantFile, 480)
	grantMapPhys   = cpu.NewFunc("xen_grant_dma_map_phys", grantFile, 480)
	grantUnmapPage = cpu.NewFunc("xen_grant_dma_unmap_page", grantFile, 380)
	grantUnmapPhys = cpu.NewFunc("xen_grant_dma_unmap_phys", grantFile, 380)
	grantMapSG     = cpu.NewFunc("xen_grant_dma_map_sg", grantFile, 260)
	grantUnmapSG   = cpu.NewFunc("xen_grant_dma_unmap_sg", grantFile, 180)
	findData       = cpu.NewFunc("find_xen_grant_dma_data", grantFile, 110)
	allocSeq       = cpu.NewFunc("gnttab_alloc_grant_reference_seq", "drivers/xen/grant-table.c", 480)
	freeSeq        = cpu.NewFunc("gnttab_free_grant_reference_seq", "drivers/xen/grant-table.c", 220)
	grantAccess    = cpu.NewFunc("gnttab_grant_foreign_access_ref", "drivers/xen/grant-table.c", 64)
	endAccess      = cpu.NewFunc("gnttab_end_foreign_access_ref", "drivers/xen/grant-table.c", 64)
	updateV1       = cpu.NewFunc("gnttab_update_entry_v1", "drivers/xen/grant-table.c", 80)
	endV1          = cpu.NewFunc("gnttab_end_foreign_access_ref_v1", "drivers/xen/grant-table.c", 96)
	xaLoadFn       = cpu.NewFunc("xa_load", "lib/xarray.c", 200)
)

// grantOffset is XEN_GRANT_DMA_ADDR_OFF: the bit that tells a grant from an address.
const grantOffset = 1 << 63

// Grant is the provider of grant-dma-ops.c: each page of a buffer is granted to the domain that emulates the device, and the address
// is the reference of the first one. Grants of a buffer follow each other.
type Grant struct {
	Env *kernel.Env
	MM  *mm.MM

	table uint64  // gnttab_shared.v1, 8 bytes an entry
	list  uint64  // gnttab_list: the next free reference of each free one, 4 bytes
	next  []int32 // its contents; listEnd ends the list
	head  int32   // gnttab_free_head
	last  int32   // gnttab_last_free: the end of the list
	tail  int32   // gnttab_free_tail_ptr: which element points to the run of free references at the end; atHead: the head; listEnd: none
	bits  bitmap  // gnttab_free_bitmap: set is free
	free  int     // gnttab_free_count
	lock  cpu.LockWord
	vars  uint64
	ops   uint64 // gnttab_interface
	tree  uint64 // xen_grant_dma_devices and its node
}

// Values of Grant.next, head and tail that are not references.
const (
	listEnd = -1
	atHead  = -2
)

// grantReserved is GNTTAB_NR_RESERVED_ENTRIES: the first references belong to the toolstack.
const grantReserved = 8

// NewGrant returns the provider with a grant table of n references, a multiple of 512 (one page of entries) up to 65536.
func NewGrant(e *kernel.Env, m *mm.MM, n int) (*Grant, error) {
	if n < 512 || n > 65536 || n&511 != 0 {
		return nil, fmt.Errorf("mapops: grant table of %d entries: want a multiple of 512 up to 65536", n)
	}
	g := &Grant{Env: e, MM: m, table: e.Pages(order(n * 8)), list: e.Pages(order(n * 4)), next: make([]int32, n), head: grantReserved,
		last: int32(n - 1), tail: atHead, bits: newBitmap(e.Slab(n/8, 64), n), free: n - grantReserved, vars: e.Data(64), ops: e.Data(128), tree: e.Slab(640, 64)}
	g.lock.VA, g.lock.Name = g.vars+32, "gnttab_list_lock"
	for i := range n {
		g.next[i] = int32(i + 1)
		if i >= grantReserved {
			g.bits.words[i/64] |= 1 << (i & 63)
		}
	}
	g.next[n-1] = listEnd
	return g, nil
}

// Free returns how many references are not in use.
func (g *Grant) Free() int { return g.free }

// Frame returns the page frame that the other domain may access by the address addr, and whether it may write; false when it may not at all.
func (g *Grant) Frame(addr uint64) (pfn uint64, write, ok bool) {
	if addr&grantOffset == 0 {
		return 0, false, false
	}
	w := g.Env.Mem.Read64(kernel.Phys(g.table) + addr&^grantOffset>>12*8)
	return w >> 32, w&4 == 0, w&1 != 0
}

// find is find_xen_grant_dma_data: the device's other domain, from an xarray by the address of struct device.
func (g *Grant) find(t *cpu.Thread, d *kernel.Device) {
	t.Call(findData)
	t.Nop(1)
	t.Push(2)
	locking.LocalLockIrqsave(t, g.Env.Version, g.tree+8) // the xarray's lock, which is taken for so long as to be nobody's
	t.Call(xaLoadFn)
	t.Nop(2)
	t.Push(3)
	node := t.Load(g.tree, t.ALU(3, 0))
	top := t.Here()
	for level := range 3 { // a tree of pointers is as deep as their bits differ
		t.Branch(false, t.ALU(2, node))
		shift := t.Mem(cpu.Load, g.tree+64+uint64(level)*192, 1, node, 0)
		node = t.Load(g.tree+64+uint64(level)*192+40, t.Chain(3, shift))
		t.Loop(top, level < 2, t.ALU(1, 0))
	}
	t.Pop(3)
	t.Ret()
	locking.LocalUnlockIrqrestore(t, g.Env.Version, g.tree+8)
	t.Pop(2)
	t.Ret()
}

// alloc is gnttab_alloc_grant_reference_seq: the head of the free list for one page (get_free_entries), and for several a run of references
// (get_free_entries_seq): from the run at the end of the list, as long as that lasts.
func (g *Grant) alloc(t *cpu.Thread, n int) (int, bool) {
	v := g.Env.Version
	t.Call(allocSeq)
	t.Nop(2)
	t.Push(4)
	t.Branch(n == 1, t.ALU(2, 0))
	locking.SpinLockIrqsave(t, v, &g.lock)
	t.Branch(g.free < n, t.ALU(1, t.Mem(cpu.Load, g.vars, 4, 0, 0)))
	at, ok := int32(0), g.free >= n
	switch {
	case !ok:
	case n == 1:
		at = g.head
		t.Mem(cpu.Load, g.vars+4, 4, 0, 0)
		t.Mem(cpu.RMW, g.vars, 4, 0, 0)
		g.bits.fill(t, int(at), 1, false)
		t.Branch(g.tail == at, t.LoadOp(g.vars+16, 0, 0))
		if g.tail == at {
			g.tail = atHead
			t.Store(g.vars+16, 0, 0)
		}
		t.Mem(cpu.Store, g.vars+4, 4, 0, t.Mem(cpu.Load, g.entry(at), 4, 0, 0))
		g.head = g.next[at]
		t.Mem(cpu.Store, g.entry(at), 4, 0, 0)
		g.free--
		t.Branch(g.free != 0, t.Last())
		if g.free == 0 {
			g.last, g.tail = listEnd, listEnd
		}
	default:
		first, run := g.run(t)
		t.Branch(run >= n, t.ALU(2, 0))
		if run < n {
			at, ok = g.rebuild(t, n)
			break
		}
		at = first
		after := t.Mem(cpu.Load, g.entry(at+int32(n)-1), 4, 0, 0)
		next := g.next[at+int32(n)-1]
		if g.tail == atHead {
			g.head = next
			t.Mem(cpu.Store, g.vars+4, 4, 0, after)
		} else {
			g.next[g.tail] = next
			t.Mem(cpu.Store, g.entry(g.tail), 4, 0, after)
		}
		g.free -= n
		t.Mem(cpu.RMW, g.vars, 4, 0, 0)
		if g.free == 0 {
			g.tail = listEnd
		}
		g.bits.fill(t, int(at), n, false)
	}
	locking.SpinUnlockIrqrestore(t, v, &g.lock)
	t.Branch(!ok, t.ALU(1, 0))
	t.Pop(4)
	t.Ret()
	return int(at), ok
}

func (g *Grant) entry(i int32) uint64 { return g.list + uint64(i)*4 }

// run is get_seq_entry_count: the first reference of the run at the end of the list, and its length.
func (g *Grant) run(t *cpu.Thread) (first int32, n int) {
	t.Branch(g.tail == listEnd || g.free == 0, t.ALU(1, t.Load(g.vars+16, 0)))
	if g.tail == listEnd || g.free == 0 {
		return 0, 0
	}
	first = g.head
	at := g.vars + 4
	if g.tail != atHead {
		first, at = g.next[g.tail], g.entry(g.tail)
	}
	t.Branch(first == listEnd, t.Mem(cpu.LoadOp, at, 4, 0, 0))
	if first == listEnd {
		return 0, 0
	}
	t.Mem(cpu.LoadOp, g.vars+8, 4, 0, 0)
	return first, int(g.last-first) + 1
}

var freeRun = cpu.NewFunc("get_free_seq", "drivers/xen/grant-table.c", 420)

// rebuild is get_free_seq: all free references are put in order again, from the bitmap, and the first run that is long enough is taken.
func (g *Grant) rebuild(t *cpu.Thread, n int) (int32, bool) {
	t.Call(freeRun)
	t.Nop(1)
	t.Push(6)
	got, ok := int32(0), false
	g.tail = atHead
	t.Store(g.vars+16, 0, t.ALU(2, 0))
	last := int32(atHead)
	link := func(to int32) {
		if last == atHead {
			g.head = to
			t.Mem(cpu.Store, g.vars+4, 4, 0, 0)
		} else {
			g.next[last] = to
			t.Mem(cpu.Store, g.entry(last), 4, 0, 0)
		}
	}
	size := g.bits.n
	top := t.Here()
	for from := g.bits.next(t, size, 0, false); from < size; {
		to := g.bits.next(t, size, from+1, true)
		end := to
		t.Branch(!ok && to-from >= n, t.ALU(2, 0))
		if !ok && to-from >= n {
			got, ok = int32(from), true
			g.bits.fill(t, from, n, false)
			g.free -= n
			t.Mem(cpu.RMW, g.vars, 4, 0, 0)
			from += n
		}
		inner := t.Here()
		for ; from < to; from++ {
			link(int32(from))
			last, g.last = int32(from), int32(from)
			t.Mem(cpu.Store, g.vars+8, 4, 0, t.ALU(3, 0))
			t.Loop(inner, from+1 < to, t.ALU(1, 0))
		}
		t.Branch(to == size, t.ALU(1, 0))
		if to < size && last != atHead && g.bits.words[(end-1)/64]>>((end-1)&63)&1 != 0 {
			g.tail = int32(to - 1)
			t.Store(g.vars+16, 0, 0)
		}
		from = g.bits.next(t, size, to+1, false)
		t.Loop(top, from < size, t.ALU(1, 0))
	}
	link(listEnd)
	if g.last != int32(size-1) {
		g.tail = listEnd
		t.Store(g.vars+16, 0, 0)
	}
	t.Pop(6)
	t.Ret()
	return got, ok
}

// release is gnttab_free_grant_reference_seq: the references go to the head of the list, last first (put_free_entry_locked).
func (g *Grant) release(t *cpu.Thread, at, n int) {
	v := g.Env.Version
	t.Call(freeSeq)
	t.Nop(2)
	t.Push(3)
	locking.SpinLockIrqsave(t, v, &g.lock)
	top := t.Here()
	for i := int32(at + n - 1); i >= int32(at); i-- {
		t.Mem(cpu.Store, g.entry(i), 4, 0, t.Mem(cpu.Load, g.vars+4, 4, 0, 0))
		g.next[i], g.head = g.head, i
		t.Mem(cpu.Store, g.vars+4, 4, 0, 0)
		if g.free == 0 {
			g.last = i
		}
		if g.tail == atHead {
			g.tail = i
			t.Store(g.vars+16, 0, 0)
		}
		t.Branch(false, t.LoadOp(g.vars+16, 0, 0))
		g.free++
		t.Mem(cpu.RMW, g.vars, 4, 0, 0)
		g.bits.fill(t, int(i), 1, true)
		t.Loop(top, i > int32(at), t.ALU(2, 0))
	}
	locking.SpinUnlockIrqrestore(t, v, &g.lock)
	t.Pop(3)
	t.Ret()
}

// Map is xen_grant_dma_map_page and xen_grant_dma_map_phys. The frame is told to the other domain page by page; 7.3 makes a struct page of
// the address each time.
func (g *Grant) Map(t *cpu.Thread, target cpu.Val, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	fn := grantMapPage
	if g.Env.Version == kernel.V7_3 {
		fn = grantMapPhys
	}
	t.CallInd(fn, target)
	return g.mapBody(t, d, phys, size, dir, attrs)
}

func (g *Grant) mapBody(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	v73 := g.Env.Version == kernel.V7_3
	t.Nop(2)
	if mmio := attrs&kernel.AttrMMIO != 0; v73 {
		t.Branch(mmio, t.ALU(1, 0))
		if mmio {
			t.ALU(1, 0)
			t.Ret()
			return kernel.MappingError, ErrMMIO
		}
	}
	t.Push(6)
	t.Frame(24)
	n := pages(phys, size)
	t.Branch(false, t.ALU(6, 0))
	g.find(t, d)
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.Mem(cpu.LoadOp, g.tree+600, 1, 0, 0)) // data->broken
	at, ok := g.alloc(t, n)
	t.Branch(!ok, t.ALU(1, 0))
	addr, err := kernel.MappingError, error(ErrNoGrant)
	if ok {
		addr, err = grantOffset|uint64(at)<<12|phys&4095, nil
		t.Mem(cpu.Load, g.tree+604, 4, 0, 0) // data->backend_domid
		top := t.Here()
		for i := range n {
			p := phys&^4095 + uint64(i)<<12
			var pfn cpu.Val
			page, _ := g.MM.PfnToPage(nil, p>>12, 0)
			if v73 {
				_, pv := g.MM.PhysToPage(t, p, 0)
				_, pfn = g.MM.PageToPfn(t, page, pv)
			} else {
				_, pfn = g.MM.PageToPfn(t, page, 0)
			}
			g.grant(t, at+i, p>>12, dir == kernel.ToDevice, t.ALU(2, pfn))
			t.Loop(top, i+1 < n, t.ALU(2, 0))
		}
		t.ALU(3, 0)
	}
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
	return addr, err
}

// grant is gnttab_grant_foreign_access_ref with version 1 of the table: frame and domain, and the flags last.
func (g *Grant) grant(t *cpu.Thread, ref int, pfn uint64, readonly bool, v cpu.Val) {
	t.Call(grantAccess)
	t.Nop(2)
	op := t.Load(g.ops+32, t.Load(g.vars+48, 0))
	t.CallInd(updateV1, t.ALU(3, op))
	t.Nop(1)
	e := g.table + uint64(ref)*8
	base := t.Load(g.vars+40, 0)
	t.Mem(cpu.Store, e+2, 2, base, 0)
	t.Mem(cpu.Store, e+4, 4, base, v)
	flags := uint64(1)
	if readonly {
		flags |= 4
	}
	t.Mem(cpu.Store, e, 2, base, t.ALU(1, 0))
	g.Env.Mem.Write64(kernel.Phys(e), pfn<<32|flags)
	t.Ret()
	t.Ret()
}

// Unmap is xen_grant_dma_unmap_page and xen_grant_dma_unmap_phys: end the access to every page, which takes a locked instruction each, and
// free the references.
func (g *Grant) Unmap(t *cpu.Thread, target cpu.Val, d *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	fn := grantUnmapPage
	if g.Env.Version == kernel.V7_3 {
		fn = grantUnmapPhys
	}
	t.CallInd(fn, target)
	return g.unmapBody(t, d, addr, size)
}

func (g *Grant) unmapBody(t *cpu.Thread, d *kernel.Device, addr, size uint64) error {
	t.Nop(2)
	t.Push(5)
	at, n := int(addr&^grantOffset>>12), pages(addr, size)
	t.Branch(false, t.ALU(4, 0))
	g.find(t, d)
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.Mem(cpu.LoadOp, g.tree+600, 1, 0, 0))
	top := t.Here()
	for i := range n {
		g.end(t, at+i)
		t.Branch(false, t.ALU(1, 0))
		t.Loop(top, i+1 < n, t.ALU(2, 0))
	}
	g.release(t, at, n)
	t.Pop(5)
	t.Ret()
	return nil
}

// end is gnttab_end_foreign_access_ref: a compare-and-exchange of the flags, against the other domain's use of them.
func (g *Grant) end(t *cpu.Thread, ref int) {
	t.Call(endAccess)
	t.Nop(2)
	op := t.Load(g.ops+40, t.Load(g.vars+48, 0))
	t.CallInd(endV1, t.ALU(1, op))
	t.Nop(1)
	e := g.table + uint64(ref)*8
	flags := t.Mem(cpu.Load, e, 2, t.Load(g.vars+40, 0), 0)
	t.Branch(false, t.ALU(2, flags))
	t.Branch(false, t.Mem(cpu.Atomic, e, 2, 0, flags))
	g.Env.Mem.Write64(kernel.Phys(e), 0)
	t.Ret()
	t.Ret()
}

// MapSG is xen_grant_dma_map_sg: entry by entry, with the page again on 7.3 as well.
func (g *Grant) MapSG(t *cpu.Thread, target cpu.Val, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	t.CallInd(grantMapSG, target)
	t.Nop(2)
	t.Push(6)
	t.ALU(4, 0)
	var err error
	fn := grantMapPage
	if g.Env.Version == kernel.V7_3 {
		fn = grantMapPhys
	}
	l.Nents = 0
	top, s := t.Here(), t.ALU(1, 0)
	for i := range l.Entries {
		e := &l.Entries[i]
		l.LoadPhys(t, g.Env, i, s)
		size := t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, s, 0)
		var addr uint64
		t.Call(fn)
		addr, err = g.mapBody(t, d, e.Phys, e.Size, dir, attrs)
		t.Branch(err != nil, t.ALU(1, 0))
		if err != nil {
			g.unmapSG(t, d, l)
			break
		}
		l.StoreDMA(t, i, addr, e.Size, s, 0, size)
		l.Nents++
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < len(l.Entries), t.ALU(2, 0))
	}
	t.Pop(6)
	t.Ret()
	return err
}

// UnmapSG is xen_grant_dma_unmap_sg.
func (g *Grant) UnmapSG(t *cpu.Thread, target cpu.Val, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	t.CallInd(grantUnmapSG, target)
	t.Nop(2)
	t.Push(4)
	g.unmapSG(t, d, l)
	t.Pop(4)
	t.Ret()
	return nil
}

func (g *Grant) unmapSG(t *cpu.Thread, d *kernel.Device, l *scatterlist.List) {
	fn := grantUnmapPage
	if g.Env.Version == kernel.V7_3 {
		fn = grantUnmapPhys
	}
	top, s := t.Here(), t.ALU(1, 0)
	for i := range l.Nents {
		t.Load(l.At(i)+scatterlist.DMAAddr, s)
		t.Mem(cpu.Load, l.At(i)+scatterlist.DMALength, 4, s, 0)
		t.Call(fn)
		g.unmapBody(t, d, l.Entries[i].Addr, l.Entries[i].Len)
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < l.Nents, t.ALU(2, 0))
	}
	l.Nents = 0
}
