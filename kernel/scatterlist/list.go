package scatterlist

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// Layout of struct scatterlist with CONFIG_NEED_SG_DMA_FLAGS, the same in 6.12 and 7.3.
const (
	PageLink  = 0  // page pointer, with the chain and end marks in its low bits
	Offset    = 8  // 4 bytes
	Length    = 12 // 4 bytes
	DMAAddr   = 16
	DMALength = 24 // 4 bytes
	DMAFlags  = 28 // 4 bytes
	Bytes     = 32
)

// Entry is one struct scatterlist. Phys, Page, Size and P2P describe memory and are set by the driver; the rest is DMA segment number
// i of the mapping, whatever memory it contains.
type Entry struct {
	Phys uint64 // physical address of the first byte
	Page uint64 // virtual address of its struct page
	Size uint64 // bytes, at least 1
	P2P  bool   // memory of another device with struct pages (PCI_P2PDMA)

	Addr uint64 // sg_dma_address
	Len  uint64 // sg_dma_len, bytes
	Bus  bool   // SG_DMA_BUS_ADDRESS: an address on the bus that nobody translates or unmaps
}

// List is a scatterlist. The zero List with a VA is empty.
type List struct {
	VA      uint64  // address of the array
	Table   uint64  // address of the struct sg_table that points to it; 0: just before it
	Entries []Entry // one per piece of memory; Reset and Add keep the capacity
	Nents   int     // DMA segments of the mapping; 0 when nothing is mapped
	Bounced bool    // SG_DMA_SWIOTLB in the entries: iommu-dma mapped them one by one, as they may have bounced
}

// Reset empties the list.
func (l *List) Reset() { l.Entries, l.Nents = l.Entries[:0], 0 }

// Add appends size bytes at phys, whose struct page is page.
func (l *List) Add(phys, page, size uint64) {
	l.Entries = append(l.Entries, Entry{Phys: phys, Page: page, Size: size})
}

// Size returns the bytes of all entries.
func (l *List) Size() (n uint64) {
	for i := range l.Entries {
		n += l.Entries[i].Size
	}
	return n
}

// At returns the address of entry i.
func (l *List) At(i int) uint64 { return l.VA + Bytes*uint64(i) }

// Segments returns the DMA segments of the mapping.
func (l *List) Segments() []Entry { return l.Entries[:l.Nents] }

var sgNext = cpu.NewFunc("sg_next", "lib/scatterlist.c", 64)

// Next emits sg_next on entry i: is it the last, is the next one a link to another array? It returns the next entry's address.
// 10 instructions, 8 at the end of the list.
func (l *List) Next(t *cpu.Thread, i int, a cpu.Val) cpu.Val {
	t.Call(sgNext)
	t.Nop(2)
	last := i+1 >= len(l.Entries)
	t.Branch(last, t.ALU(1, t.Load(l.At(i)+PageLink, a)))
	if last {
		t.ALU(1, 0)
		t.Ret()
		return 0
	}
	next := t.ALU(1, a)
	t.Branch(false, t.ALU(1, t.Load(l.At(i+1)+PageLink, next)))
	t.Ret()
	return next
}

// LoadPhys emits sg_phys of entry i: page link and offset to a physical address. With VMEMMAP page_to_phys is arithmetic.
func (l *List) LoadPhys(t *cpu.Thread, e *kernel.Env, i int, a cpu.Val) cpu.Val {
	link := t.Load(l.At(i)+PageLink, a)
	off := t.Mem(cpu.Load, l.At(i)+Offset, 4, a, 0)
	pfn := t.LoadOp(e.Sym.VmemmapBase, 0, t.ALU(1, link)) // clear the marks, subtract
	return t.ALU2(t.Chain(2, pfn), off)
}

// StoreDMA makes entry i the DMA segment of n bytes at addr and emits the two stores.
func (l *List) StoreDMA(t *cpu.Thread, i int, addr, n uint64, a, v, size cpu.Val) {
	l.Entries[i].Addr, l.Entries[i].Len = addr, n
	t.Store(l.At(i)+DMAAddr, a, v)
	t.Mem(cpu.Store, l.At(i)+DMALength, 4, a, size)
}
