package smmutable

import (
	"fmt"

	"dmapath/iommu/table"
)

// Builder makes page tables in memory: the simplest thing that a driver could do. The modelled driver has its own code;
// this is for tests, and for machines that run without a kernel.
type Builder struct {
	Mem  table.Store
	G    Geometry
	Root uint64
	// Alloc returns the physical address of zeroed memory of that many bytes, aligned to its size.
	Alloc func(bytes uint64) uint64
}

// NewBuilder allocates the root.
func NewBuilder(m table.Store, g Geometry, alloc func(bytes uint64) uint64) *Builder {
	return &Builder{Mem: m, G: g, Alloc: alloc, Root: alloc(max(g.RootBytes(), 1<<g.Granule))}
}

// Map maps what one entry of the level covers at addr to pa; an existing leaf of that level is replaced.
func (b *Builder) Map(addr, pa uint64, level int, rights table.Rights, device bool) error {
	if shift := b.G.Shift(level); (addr|pa)&(1<<shift-1) != 0 || level != LastLevel && !b.G.BlockLevel(level) {
		return fmt.Errorf("map of %#x to %#x: no page or block of 2^%d bytes", addr, pa, shift)
	}
	at := b.Root
	for l := b.G.StartLevel(); l < level; l++ {
		entry := b.G.EntryAddr(at, addr, l)
		switch k, next, _ := b.G.Decode(b.Mem.Read64(entry), l); k {
		case table.Table:
			at = next
		case table.Absent:
			at = b.Alloc(1 << b.G.Granule)
			b.Mem.Write64(entry, TablePTE(at))
		default:
			return fmt.Errorf("map of %#x: a block of 2^%d bytes is already there", addr, b.G.Shift(l))
		}
	}
	b.Mem.Write64(b.G.EntryAddr(at, addr, level), b.G.LeafPTE(level, pa, rights, device))
	return nil
}

// Leaf returns the address and level of the entry where the walk of addr ends, present or not.
func (b *Builder) Leaf(addr uint64) (entry uint64, level int) {
	at := b.Root
	for l := b.G.StartLevel(); ; l++ {
		entry = b.G.EntryAddr(at, addr, l)
		k, next, _ := b.G.Decode(b.Mem.Read64(entry), l)
		if k != table.Table {
			return entry, l
		}
		at = next
	}
}

// Unmap clears the leaf that maps addr and reports whether there was one.
func (b *Builder) Unmap(addr uint64) bool {
	entry, _ := b.Leaf(addr)
	was := b.Mem.Read64(entry)&PTEValid != 0
	b.Mem.Write64(entry, 0)
	return was
}
