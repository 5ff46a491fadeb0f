package dma

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
)

// List is what a driver keeps for a buffer of several pieces: the pieces, and memory for whichever way of mapping it uses. One
// request has one List, and reuses it.
type List struct {
	scatterlist.List                 // for map_sg: one entry per piece, and the DMA segments
	State            iommucore.State // for iova_link: the range
	Vecs             uint64          // address of an array of {address, length}, 16 bytes a piece: what a driver that maps piece by piece remembers
	Addrs            []uint64        // its contents: the DMA address of every piece
	Unmap            bool            // what dma_need_unmap said when the pieces were mapped
}

// VecBytes is the size of an element of List.Vecs (struct dma_vec of NVMe).
const VecBytes = 16

// NewList allocates a list for up to n pieces: scatterlist, range and array.
func (c *Ctx) NewList(n int) *List {
	return &List{
		List:  scatterlist.List{VA: c.Env.Slab(64+n*scatterlist.Bytes, 64) + 64, Entries: make([]scatterlist.Entry, 0, n)},
		State: iommucore.State{VA: c.Env.Slab(16, 16)}, Vecs: c.Env.Slab(n*VecBytes, 64), Addrs: make([]uint64, 0, n)}
}

// Buffer returns the pieces that were added to the list as a buffer.
func (l *List) Buffer() Buffer {
	b := Buffer{List: l, Size: l.Size()}
	if len(l.Entries) > 0 {
		b.Phys, b.Page = l.Entries[0].Phys, l.Entries[0].Page
	}
	return b
}

// AddPiece appends size bytes at phys; the memory map says whether they have struct pages and are memory of another device.
func (c *Ctx) AddPiece(l *scatterlist.List, phys, size uint64) {
	page := uint64(0)
	r, ok := c.MM.Memory().Map.Find(phys)
	if ok && r.Kind != mm.MMIO {
		page, _ = c.MM.PfnToPage(nil, phys>>12, 0)
	}
	l.Add(phys, page, size)
	l.Entries[len(l.Entries)-1].P2P = ok && r.Kind == mm.ZoneDevice
}

// piece returns entry i as a buffer.
func (l *List) piece(i int) Buffer {
	e := &l.Entries[i]
	return Buffer{Phys: e.Phys, Page: e.Page, Size: e.Size}
}

// Lister is a Variant that maps a buffer of several pieces in one call. The result stands in the list: DMA segments for map_sg, a range of
// addresses for iova_link.
type Lister interface {
	Variant
	MapList(t *cpu.Thread, c *Ctx, l *List, dir kernel.Direction, attrs kernel.Attrs) error
	UnmapList(t *cpu.Thread, c *Ctx, l *List, dir kernel.Direction, attrs kernel.Attrs) error
}

// MapBuffer maps b, of one piece or several, as a driver that uses v does: in one call when v has one for it, otherwise piece by
// piece, writing down every address. It returns the address of the first piece; those of the others stand in the list. On an error
// nothing stays mapped.
func MapBuffer(v Variant, t *cpu.Thread, c *Ctx, b Buffer, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	l := b.List
	if l == nil {
		return v.Map(t, c, b, dir, attrs)
	}
	if x, ok := v.(Lister); ok {
		if err := x.MapList(t, c, l, dir, attrs); err != nil {
			return kernel.MappingError, err
		}
		return l.First(), nil
	}
	l.Unmap = true
	return l.mapEach(v, t, c, dir, attrs)
}

// UnmapBuffer undoes MapBuffer; addr is what it returned.
func UnmapBuffer(v Variant, t *cpu.Thread, c *Ctx, b Buffer, addr uint64, dir kernel.Direction, attrs kernel.Attrs) error {
	if b.List == nil {
		return v.Unmap(t, c, addr, b.Size, dir, attrs)
	}
	if x, ok := v.(Lister); ok {
		return x.UnmapList(t, c, b.List, dir, attrs)
	}
	return b.List.unmapEach(v, t, c, dir, attrs)
}

// First returns the address at which the device finds the first byte of the mapped list.
func (l *List) First() uint64 {
	switch {
	case l.State.Size != 0:
		return l.State.Addr
	case l.Nents > 0:
		return l.Entries[0].Addr
	case len(l.Addrs) > 0:
		return l.Addrs[0]
	}
	return kernel.MappingError
}

// mapEach is a driver's loop over the pieces: map, test for an error, remember.
func (l *List) mapEach(v Variant, t *cpu.Thread, c *Ctx, dir kernel.Direction, attrs kernel.Attrs) (uint64, error) {
	l.Addrs, l.Nents, l.State.Size = l.Addrs[:0], 0, 0
	top := t.Here()
	for i := range l.Entries {
		addr, err := v.Map(t, c, l.piece(i), dir, attrs)
		t.Branch(err != nil, t.ALU(1, 0)) // dma_mapping_error
		if err != nil {
			l.unmapEach(v, t, c, dir, attrs)
			return kernel.MappingError, err
		}
		at := l.Vecs + VecBytes*uint64(i)
		t.Store(at, 0, 0)
		t.Store(at+8, 0, 0)
		l.Addrs = append(l.Addrs, addr)
		t.Loop(top, i+1 < len(l.Entries), t.ALU(2, 0))
	}
	return l.Addrs[0], nil
}

func (l *List) unmapEach(v Variant, t *cpu.Thread, c *Ctx, dir kernel.Direction, attrs kernel.Attrs) error {
	top := t.Here()
	var first error
	for i, a := range l.Addrs {
		at := l.Vecs + VecBytes*uint64(i)
		t.Load(at, 0)
		t.Load(at+8, 0)
		if err := v.Unmap(t, c, a, l.Entries[i].Size, dir, attrs); err != nil && first == nil {
			first = err
		}
		t.Loop(top, i+1 < len(l.Addrs), t.ALU(2, 0))
	}
	l.Addrs = l.Addrs[:0]
	return first
}
