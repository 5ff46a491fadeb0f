package amdtable

import "fmt"

// Store is memory that a Builder can write.
type Store interface {
	Memory
	Write64(pa, v uint64)
}

// Builder makes page tables in memory: the simplest thing that a driver could do. The modelled driver has its own code; this is
// for tests, and for machines that run without a kernel.
type Builder struct {
	Mem    Store
	Root   uint64 // physical address of the top table
	Levels int    // 1 to 6
	// Alloc returns the physical address of a zeroed 4 KiB frame.
	Alloc func() uint64
}

// NewBuilder allocates the top table.
func NewBuilder(m Store, levels int, alloc func() uint64) *Builder {
	if levels < 1 || levels > MaxLevels {
		panic(fmt.Sprintf("amdtable: %d levels, possible are 1 to 6", levels))
	}
	return &Builder{Mem: m, Levels: levels, Alloc: alloc, Root: alloc()}
}

// Map maps one page of 1<<shift bytes, for every shift from 12 that the table covers. Addresses must be aligned to the page;
// existing leaves of the same level are replaced.
func (b *Builder) Map(iova, pa uint64, shift uint8, rights Rights) error {
	if (iova|pa)&(1<<shift-1) != 0 {
		return fmt.Errorf("map of iova %#x to %#x: not aligned to a page of 2^%d bytes", iova, pa, shift)
	}
	if !Covers(iova|1<<shift-1, b.Levels) {
		return fmt.Errorf("map of iova %#x: beyond %d levels", iova, b.Levels)
	}
	leaf := LeafLevel(shift)
	table := b.Root
	for level := b.Levels; level > leaf; level-- {
		at := EntryAddr(table, iova, level)
		switch e := Decode(b.Mem.Read64(at), level); {
		case e.Kind == Absent:
			table = b.Alloc()
			b.Mem.Write64(at, TablePTE(table, level-1))
		case e.Kind == Table && e.Level == level-1:
			table = e.Addr
		default:
			return fmt.Errorf("map of iova %#x: a level-%d entry is %v already", iova, level, e.Kind)
		}
	}
	at := EntryAddr(table, iova, leaf)
	for i := range LeafCount(shift) {
		b.Mem.Write64(at+uint64(i)*8, LeafPTE(pa, shift, rights))
	}
	return nil
}

// Unmap clears all entries of the page that maps iova and reports whether there was one.
func (b *Builder) Unmap(iova uint64) bool {
	table := b.Root
	for level := b.Levels; ; {
		at := EntryAddr(table, iova, level)
		e := Decode(b.Mem.Read64(at), level)
		if e.Kind == Table {
			table, level = e.Addr, e.Level
			continue
		}
		if e.Kind != Leaf {
			return false
		}
		n := uint64(LeafCount(e.Shift))
		at &^= n*8 - 1
		for i := range n {
			b.Mem.Write64(at+i*8, 0)
		}
		return true
	}
}
