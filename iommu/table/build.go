package table

import "fmt"

// Store is memory that a Builder can write.
type Store interface {
	Memory
	Write64(pa, v uint64)
}

// Builder makes page tables in memory: the simplest thing that a driver could do. The modelled drivers have their own code; this
// is for tests, and for machines that run without a kernel.
type Builder struct {
	Mem    Store
	Format Format
	Root   uint64 // physical address of the top table
	Levels int    // 3, 4 or 5
	// Alloc returns the physical address of a zeroed 4 KiB frame.
	Alloc func() uint64
}

// NewBuilder allocates the top table.
func NewBuilder(m Store, f Format, levels int, alloc func() uint64) *Builder {
	if levels < 3 || levels > MaxLevels {
		panic(fmt.Sprintf("table: %d levels, possible are 3 to 5", levels))
	}
	return &Builder{Mem: m, Format: f, Levels: levels, Alloc: alloc, Root: alloc()}
}

// Map maps one page of 1<<shift bytes. Addresses must be aligned to the page; an existing leaf is replaced.
func (b *Builder) Map(iova, pa uint64, shift uint8, rights Rights) error {
	if (iova|pa)&(1<<shift-1) != 0 {
		return fmt.Errorf("map of iova %#x to %#x: not aligned to a %s page", iova, pa, SizeName(shift))
	}
	level := int(shift-PageShift)/9 + 1
	table := b.Root
	for l := b.Levels; l > level; l-- {
		at := EntryAddr(table, iova, l)
		e := b.Mem.Read64(at)
		switch {
		case e&3 == 0:
			table = b.Alloc()
			b.Mem.Write64(at, TablePTE(b.Format, table))
		case e&SSPageSize != 0:
			return fmt.Errorf("map of iova %#x: a %s page is already there", iova, SizeName(Shift(l)))
		default:
			table = e & addrMask
		}
	}
	b.Mem.Write64(EntryAddr(table, iova, level), LeafPTE(b.Format, level, pa, rights))
	return nil
}

// Leaf returns the address and level of the entry where the walk of iova ends, present or not.
func (b *Builder) Leaf(iova uint64) (at uint64, level int) {
	table := b.Root
	for l := b.Levels; ; l-- {
		at = EntryAddr(table, iova, l)
		e := b.Mem.Read64(at)
		if l == 1 || e&3 == 0 || e&SSPageSize != 0 {
			return at, l
		}
		table = e & addrMask
	}
}

// Unmap clears the leaf that maps iova and reports whether there was one.
func (b *Builder) Unmap(iova uint64) bool {
	at, _ := b.Leaf(iova)
	was := b.Mem.Read64(at)&3 != 0
	b.Mem.Write64(at, 0)
	return was
}
