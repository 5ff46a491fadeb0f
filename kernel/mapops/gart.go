package mapops

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/locking"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
)

const gartFile = "arch/x86/kernel/amd_gart_64.c"

var (
	gartMapPage   = cpu.NewFunc("gart_map_page", gartFile, 560)
	gartMapPhys   = cpu.NewFunc("gart_map_phys", gartFile, 540)
	gartUnmapPage = cpu.NewFunc("gart_unmap_page", gartFile, 260)
	gartUnmapPhys = cpu.NewFunc("gart_unmap_phys", gartFile, 260)
	gartMapSG     = cpu.NewFunc("gart_map_sg", gartFile, 900)
	gartUnmapSG   = cpu.NewFunc("gart_unmap_sg", gartFile, 140)
	allocIommu    = cpu.NewFunc("alloc_iommu", gartFile, 320)
	freeIommu     = cpu.NewFunc("free_iommu", gartFile, 120)
	flushGart     = cpu.NewFunc("flush_gart", gartFile, 96)
	flushGarts    = cpu.NewFunc("amd_flush_garts", "arch/x86/kernel/amd_nb.c", 300)
	areaAlloc     = cpu.NewFunc("iommu_area_alloc", "lib/iommu-helper.c", 180)
)

// gartMaxPhys is GART_MAX_PHYS_ADDR: an entry has 28 bits of frame number.
const gartMaxPhys = 1 << 40

// Gart is the provider of amd_gart_64.c: a window of bus addresses below 4 GiB, one table entry of 4 bytes per page.
type Gart struct {
	Env *kernel.Env
	MM  *mm.MM
	// Force sends every buffer through the aperture (iommu=force), not only what the device does not reach.
	Force bool
	// NB are the configuration registers of the northbridge, at NBAddr; nil flushes nothing. FullFlush flushes after every map (iommu=fullflush,
	// the default), otherwise only when the search has come to the end of the aperture.
	NB        cpu.MMIO
	NBAddr    uint64
	FullFlush bool

	base  uint64 // bus address of the aperture
	table uint64 // iommu_gatt_base
	bits  bitmap
	next  int
	flush bool // need_flush
	lock  cpu.LockWord
	vars  uint64 // the static variables, one line

	Flushes int // of the northbridge
}

// NewGart returns the provider of an aperture of size bytes at bus address base.
func NewGart(e *kernel.Env, m *mm.MM, base, size uint64) (*Gart, error) {
	if base&4095 != 0 || size&4095 != 0 || size == 0 || base+size > 1<<32 {
		return nil, fmt.Errorf("mapops: aperture of %#x bytes at %#x: want whole pages below 4 GiB", size, base)
	}
	n := int(size >> 12)
	g := &Gart{Env: e, MM: m, base: base, FullFlush: true, table: e.Pages(order(n * 4)), bits: newBitmap(e.Pages(order(n/8)), n), vars: e.Data(64)}
	g.lock.VA, g.lock.Name = g.vars+32, "iommu_bitmap_lock"
	return g, nil
}

// order is the power of two of pages that hold n bytes.
func order(n int) (o int) {
	for 4096<<o < n {
		o++
	}
	return o
}

// Live returns how many pages of the aperture are in use.
func (g *Gart) Live() (n int) {
	for i := range g.bits.n {
		n += int(g.bits.words[i/64] >> (i & 63) & 1)
	}
	return n
}

// Translate returns the physical address behind a bus address: outside of the aperture itself, inside what the table says; false where
// nothing is mapped.
func (g *Gart) Translate(addr uint64) (uint64, bool) {
	if addr < g.base || addr >= g.base+uint64(g.bits.n)<<12 {
		return addr, true
	}
	e := g.read(int((addr - g.base) >> 12))
	return uint64(e&0xfffff000) | uint64(e>>4&0xff)<<32 | addr&4095, e&1 != 0
}

func (g *Gart) read(i int) uint32 {
	return uint32(g.Env.Mem.Read64(kernel.Phys(g.table)+uint64(i/2)*8) >> (i & 1 * 32))
}

// entry is GPTE_ENCODE: valid, coherent, 40 bits of address.
func entry(phys uint64) uint32 { return uint32(phys&0xfffff000|phys>>32&0xff<<4) | 3 }

func (g *Gart) write(t *cpu.Thread, i int, e uint32, v cpu.Val) {
	at := kernel.Phys(g.table) + uint64(i/2)*8
	shift := i & 1 * 32
	g.Env.Mem.Write64(at, g.Env.Mem.Read64(at)&^(0xffffffff<<shift)|uint64(e)<<shift)
	t.Mem(cpu.Store, g.table+uint64(i)*4, 4, 0, v)
}

// needs reports whether the buffer has to go through the aperture (need_iommu).
func (g *Gart) needs(t *cpu.Thread, d *kernel.Device, phys, size uint64) bool {
	t.Branch(g.Force, t.ALU(1, t.Mem(cpu.Load, g.vars, 4, 0, 0)))
	if g.Force {
		return true
	}
	mask := t.Load(d.At.MaskValue, t.Load(d.At.DmaMask, 0))
	bus := t.Load(d.At.BusDmaLimit, 0)
	good := direct.Capable(d, phys, size)
	t.Branch(!good, t.ALU2(t.ALU(5, mask), bus))
	return !good
}

// alloc is alloc_iommu: n pages of the aperture, from where the last search ended, or from its beginning.
func (g *Gart) alloc(t *cpu.Thread, d *kernel.Device, n int) (int, bool) {
	v := g.Env.Version
	t.Call(allocIommu)
	t.Nop(1)
	t.Push(6)
	parms := t.Load(d.At.DmaParms, 0)
	t.ALU(8, t.Load(d.At.SegBoundary, parms))
	locking.SpinLockIrqsave(t, v, &g.lock)
	at, ok := g.area(t, g.next, n)
	t.Branch(!ok, t.ALU(1, 0))
	if !ok {
		g.flush = true
		t.Mem(cpu.Store, g.vars+16, 1, 0, 0)
		at, ok = g.area(t, 0, n)
		t.Branch(!ok, t.ALU(1, 0))
	}
	if ok {
		g.next = at + n
		if wrap := g.next >= g.bits.n; wrap {
			g.next, g.flush = 0, true
		}
		t.Store(g.vars+8, 0, t.ALU(2, 0))
	}
	t.Branch(g.FullFlush, t.ALU(1, t.Mem(cpu.Load, g.vars+4, 4, 0, 0)))
	if g.FullFlush {
		g.flush = true
		t.Mem(cpu.Store, g.vars+16, 1, 0, 0)
	}
	locking.SpinUnlockIrqrestore(t, v, &g.lock)
	t.Pop(6)
	t.Ret()
	return at, ok
}

// area is iommu_area_alloc: an area that does not span the device's segment boundary, which none in a window below 4 GiB does.
func (g *Gart) area(t *cpu.Thread, from, n int) (int, bool) {
	t.Call(areaAlloc)
	t.Nop(2)
	t.Push(6)
	t.ALU(4, 0)
	at, ok := g.bits.findArea(t, g.bits.n, from, n)
	t.Branch(!ok, t.ALU(1, 0))
	if ok {
		t.ALU(5, 0) // iommu_is_span_boundary
		g.bits.fill(t, at, n, true)
	}
	t.Pop(6)
	t.Ret()
	return at, ok
}

// place is dma_map_area: pages of the aperture, and an entry for each.
func (g *Gart) place(t *cpu.Thread, d *kernel.Device, phys, size uint64) (uint64, error) {
	n := pages(phys, size)
	t.Branch(phys+size > gartMaxPhys, t.ALU(4, 0))
	if phys+size > gartMaxPhys {
		return kernel.MappingError, ErrTooHigh
	}
	at, ok := g.alloc(t, d, n)
	t.Branch(!ok, t.ALU(1, 0))
	if !ok {
		good := direct.Capable(d, phys, size) // nonforced_iommu: then without the aperture
		t.Branch(good, t.ALU(4, t.Load(d.At.DmaMask, 0)))
		if good {
			return phys, nil
		}
		return kernel.MappingError, ErrFull
	}
	base := t.Load(g.vars+24, 0)
	top := t.Here()
	for i := range n {
		p := phys&^4095 + uint64(i)<<12
		g.write(t, at+i, entry(p), t.ALU2(t.ALU(4, 0), base))
		t.Loop(top, i+1 < n, t.ALU(2, 0))
	}
	t.ALU(4, base)
	return g.base + uint64(at)<<12 + phys&4095, nil
}

// flushAll is flush_gart and amd_flush_garts: tell the northbridge to forget its translations, and wait until it has.
func (g *Gart) flushAll(t *cpu.Thread) {
	v := g.Env.Version
	t.Call(flushGart)
	t.Nop(1)
	t.Push(1)
	locking.SpinLockIrqsave(t, v, &g.lock)
	t.Branch(!g.flush, t.ALU(1, t.Mem(cpu.Load, g.vars+16, 1, 0, 0)))
	if g.flush {
		g.flush = false
		t.Call(flushGarts)
		t.Nop(2)
		t.Push(4)
		t.Branch(g.NB == nil, t.ALU(2, t.Load(g.vars+40, 0))) // amd_nb_has_feature
		if g.NB != nil {
			g.Flushes++
			t.ALU(8, 0)
			t.MMIOWrite(g.NB, g.NBAddr, 1, 0, t.Last())
			w, r := t.MMIORead(g.NB, g.NBAddr, 0)
			t.Branch(w&1 != 0, t.ALU(1, r))
			for w&1 != 0 {
				t.Op(cpu.Pause, 0)
				w, r = t.MMIORead(g.NB, g.NBAddr, 0)
				t.Branch(w&1 != 0, t.ALU(1, r))
			}
		}
		t.Pop(4)
		t.Ret()
		t.Mem(cpu.Store, g.vars+16, 1, 0, 0)
	}
	locking.SpinUnlockIrqrestore(t, v, &g.lock)
	t.Pop(1)
	t.Ret()
}

// Map is gart_map_page and gart_map_phys.
func (g *Gart) Map(t *cpu.Thread, target cpu.Val, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	if g.Env.Version == kernel.V7_3 {
		t.CallInd(gartMapPhys, target)
		t.Nop(2)
		mmio := attrs&kernel.AttrMMIO != 0
		t.Branch(mmio, t.ALU(1, 0))
		if mmio {
			t.ALU(1, 0)
			t.Ret()
			return kernel.MappingError, ErrMMIO
		}
		t.Push(6)
	} else {
		t.CallInd(gartMapPage, target)
		t.Nop(2)
		t.Push(6)
		page, _ := g.MM.PfnToPage(nil, phys>>12, 0)
		_, pa := g.MM.PageToPhys(t, page, 0)
		t.ALU2(pa, 0)
	}
	t.ALU(4, 0)
	addr, err := phys, error(nil)
	if g.needs(t, d, phys, size) {
		if addr, err = g.place(t, d, phys, size); err == nil {
			g.flushAll(t)
		}
	}
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return addr, err
}

// Unmap is gart_unmap_page and gart_unmap_phys: what is not in the aperture was not mapped.
func (g *Gart) Unmap(t *cpu.Thread, target cpu.Val, d *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	if g.Env.Version == kernel.V7_3 {
		t.CallInd(gartUnmapPhys, target)
	} else {
		t.CallInd(gartUnmapPage, target)
	}
	g.unmap(t, addr, size)
	t.Ret()
	return nil
}

func (g *Gart) unmap(t *cpu.Thread, addr, size uint64) {
	v := g.Env.Version
	t.Nop(2)
	t.Branch(false, t.ALU(1, 0)) // DMA_MAPPING_ERROR
	out := addr < g.base || addr >= g.base+uint64(g.bits.n)<<12
	t.Branch(out, t.ALU(2, t.Load(g.vars+48, 0)))
	if out {
		return
	}
	t.Push(4)
	at, n := int((addr-g.base)>>12), pages(addr, size)
	none := t.Mem(cpu.Load, g.vars+20, 4, t.ALU(6, 0), 0) // gart_unmapped_entry
	base := t.Load(g.vars+24, 0)
	top := t.Here()
	for i := range n {
		g.write(t, at+i, 0, t.ALU2(none, base))
		t.Loop(top, i+1 < n, t.ALU(1, 0))
	}
	t.Call(freeIommu)
	t.Nop(1)
	t.Push(3)
	t.ALU(3, 0)
	locking.SpinLockIrqsave(t, v, &g.lock)
	g.bits.fill(t, at, n, false)
	t.Branch(at >= g.next, t.LoadOp(g.vars+8, 0, 0))
	if at >= g.next {
		g.next = at + n
		t.Store(g.vars+8, 0, t.ALU(1, 0))
	}
	locking.SpinUnlockIrqrestore(t, v, &g.lock)
	t.Pop(3)
	t.Ret()
	t.Pop(4)
}

// MapSG is gart_map_sg without merging: entry by entry, one flush at the end.
func (g *Gart) MapSG(t *cpu.Thread, target cpu.Val, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	t.CallInd(gartMapSG, target)
	t.Nop(2)
	t.Push(6)
	t.Frame(72)
	t.ALU(6, 0)
	var err error
	done := 0
	top, s := t.Here(), t.ALU(1, 0)
	for i := range l.Entries {
		e := &l.Entries[i]
		l.LoadPhys(t, g.Env, i, s)
		size := t.Mem(cpu.Load, l.At(i)+scatterlist.Length, 4, s, 0)
		addr := e.Phys
		if g.needs(t, d, e.Phys, e.Size) {
			if addr, err = g.place(t, d, e.Phys, e.Size); err != nil {
				break
			}
		}
		l.StoreDMA(t, i, addr, e.Size, s, 0, size)
		done++
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < len(l.Entries), t.ALU(3, 0))
	}
	l.Nents = done
	g.flushAll(t)
	if err != nil {
		g.unmapSG(t, l)
	}
	t.ALU(1, 0)
	t.Frame(-72)
	t.Pop(6)
	t.Ret()
	return err
}

// UnmapSG is gart_unmap_sg.
func (g *Gart) UnmapSG(t *cpu.Thread, target cpu.Val, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error {
	t.CallInd(gartUnmapSG, target)
	t.Nop(2)
	g.unmapSG(t, l)
	t.Ret()
	return nil
}

func (g *Gart) unmapSG(t *cpu.Thread, l *scatterlist.List) {
	t.Push(4)
	fn := gartUnmapPage
	if g.Env.Version == kernel.V7_3 {
		fn = gartUnmapPhys
	}
	top, s := t.Here(), t.ALU(1, 0)
	for i := range l.Nents {
		t.Branch(false, t.ALU(1, t.Mem(cpu.Load, l.At(i)+scatterlist.DMALength, 4, s, 0)))
		t.Load(l.At(i)+scatterlist.DMAAddr, s)
		t.Call(fn)
		g.unmap(t, l.Entries[i].Addr, l.Entries[i].Len)
		t.Ret()
		s = l.Next(t, i, s)
		t.Loop(top, i+1 < l.Nents, t.ALU(2, 0))
	}
	l.Nents = 0
	t.Pop(4)
}
