package mm

import (
	"errors"
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
)

// Model is how the kernel finds the struct page of a page frame number (CONFIG_FLATMEM, CONFIG_SPARSEMEM and its options).
type Model uint8

// Memory models.
const (
	// SparseVmemmap: SPARSEMEM_EXTREME with SPARSEMEM_VMEMMAP, the default of x86-64 and arm64. Struct pages lie in one
	// virtual array; converting is arithmetic.
	SparseVmemmap Model = iota
	// SparseExtreme: sections are found through a two-level table; the array of struct pages is per section.
	SparseExtreme
	// Sparse: classic SPARSEMEM with a static table of all sections.
	Sparse
	// Flat: one array of struct pages from the lowest to the highest address of RAM.
	Flat
	NumModels
)

func (m Model) String() string {
	return [...]string{"SPARSEMEM_VMEMMAP", "SPARSEMEM_EXTREME", "SPARSEMEM", "FLATMEM"}[m]
}

// ParseModel returns the model called s, as String prints it, without regard to case.
func ParseModel(s string) (Model, error) {
	for m := Model(0); m < NumModels; m++ {
		if equalFold(s, m.String()) {
			return m, nil
		}
	}
	return 0, fmt.Errorf("no memory model %q; there are SPARSEMEM_VMEMMAP, SPARSEMEM_EXTREME, SPARSEMEM, FLATMEM", s)
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i]|0x20 != b[i]|0x20 {
			return false
		}
	}
	return true
}

// Lookup is the implementation of pfn_valid.
type Lookup uint8

// Implementations of pfn_valid.
const (
	// Generic is include/linux/mmzone.h, inlined: x86-64, and arm64 since 5.16.
	Generic Lookup = iota
	// MemblockBinary is arm64 up to 5.15: for boot memory also a binary search over memblock.memory, in a call.
	MemblockBinary
	// MemblockLinear is arm32: a linear scan of memblock.memory for a pageblock around the frame, in a call.
	MemblockLinear
	numLookups
)

func (l Lookup) String() string {
	return [...]string{"generic", "memblock binary search (arm64 before 5.16)", "memblock linear scan (arm32)"}[l]
}

// Config is how memory is described. The zero value but for Map is x86-64 with four-level paging.
type Config struct {
	Model     Model
	Lookup    Lookup
	Map       MemoryMap
	FiveLevel bool // five-level page tables: 52 bits of physical address instead of 46
}

// PhysBits is MAX_PHYSMEM_BITS.
func (c Config) PhysBits() int {
	if c.FiveLevel {
		return 52
	}
	return 46
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Model >= NumModels {
		errs = append(errs, fmt.Errorf("mm: unknown memory model %d", c.Model))
	}
	if c.Lookup >= numLookups {
		errs = append(errs, fmt.Errorf("mm: unknown pfn_valid implementation %d", c.Lookup))
	}
	errs = append(errs, c.Map.Validate(c.PhysBits()))
	if c.Model == Flat {
		for _, r := range c.Map {
			if r.Kind == HotRAM || r.Kind == ZoneDevice {
				errs = append(errs, fmt.Errorf("mm: FLATMEM cannot have %v (at %#x)", r.Kind, r.Start))
			}
		}
	}
	return errors.Join(errs...)
}

// Shifts and sizes of the section tables (x86-64, 16-byte struct mem_section).
const (
	pfnSectionShift = SectionBits - 12
	pagesPerSection = 1 << pfnSectionShift
	perRoot         = 256 // SECTIONS_PER_ROOT
	rootShift       = pfnSectionShift + 8
	pfnSubsection   = 9 // PFN_SUBSECTION_SHIFT

	sectionPresent = 1 << 0 // SECTION_MARKED_PRESENT
	sectionHasMap  = 1 << 1 // SECTION_HAS_MEM_MAP
	sectionOnline  = 1 << 2 // SECTION_IS_ONLINE
	sectionEarly   = 1 << 3 // SECTION_IS_EARLY
	sectionDevice  = 1 << 4 // SECTION_TAINT_ZONE_DEVICE
	sectionFlags   = 63     // the rest is the encoded mem_map
	usageBitmap    = 16     // subsection_map within struct mem_section_usage
)

// tables are the memory model's structures: where they lie; their words are in Env.Mem.
type tables struct {
	Config
	roots    uint64 // mem_section[]: root pointers (EXTREME) or the sections themselves (classic)
	nrRoots  uint64
	sections uint64 // NR_MEM_SECTIONS
	maxPfn   uint64 // FLATMEM: max_mapnr
	flat     uint64 // FLATMEM: address of mem_map and max_mapnr
	block    uint64 // memblock.memory.regions, 24 bytes each
	blockHdr uint64 // struct memblock_type: cnt 0, regions 24
	regions  []Range
}

// buildTables does what sparse_init does for boot memory, then what sparse_add_section and memremap_pages do for the rest.
func (m *MM) buildTables(c Config) {
	e := m.Env
	m.tab = tables{Config: c, sections: 1 << (c.PhysBits() - SectionBits), nrRoots: 1 << (c.PhysBits() - SectionBits - 8),
		regions: c.Map.memblock()}
	tab := &m.tab
	tab.blockHdr, tab.block = e.Data(64), e.Data(24*max(len(tab.regions), 128))
	m.write(tab.blockHdr, uint64(len(tab.regions)))
	for i, r := range tab.regions {
		m.write(tab.block+uint64(i)*24, r.Start)
		m.write(tab.block+uint64(i)*24+8, r.Size)
	}
	if c.Model == Flat {
		tab.flat = e.Data(64)
		last := tab.regions[len(tab.regions)-1]
		tab.maxPfn = last.End() >> 12
		m.write(tab.flat, cpu.VmemmapBase)
		m.write(tab.flat+8, tab.maxPfn)
		return
	}
	order := 0
	bytes := tab.nrRoots * 8
	if c.Model == Sparse {
		bytes = tab.sections * 16
	}
	for uint64(4096)<<order < bytes {
		order++
	}
	tab.roots = e.Pages(order)
	if c.Model != Sparse {
		m.write(e.Sym.MemSection, tab.roots)
	}
	for _, r := range tab.regions {
		for nr := r.Start >> SectionBits; nr <= (r.End()-1)>>SectionBits; nr++ {
			m.addSection(nr, sectionEarly)
			m.fillSubsections(nr, r)
		}
	}
	for _, k := range []Kind{HotRAM, ZoneDevice} {
		for _, r := range c.Map {
			if r.Kind != k {
				continue
			}
			flags := uint64(0)
			if k == ZoneDevice {
				flags = sectionDevice
			}
			for nr := r.Start >> SectionBits; nr <= (r.End()-1)>>SectionBits; nr++ {
				m.addSection(nr, flags)
				m.fillSubsections(nr, r)
			}
		}
	}
}

// addSection makes section nr present with its usage; a section that is there already keeps its flags.
func (m *MM) addSection(nr, flags uint64) {
	va := m.sectionVA(nr, true)
	if m.read(va)&sectionPresent != 0 {
		return
	}
	// struct mem_section_usage: rcu 0, subsection_map 16, pageblock flags 24. Boot memory has one array for all
	// sections of a node, 56 bytes each; later ones are separate kmalloc-64 objects.
	align := 64
	if flags&sectionEarly != 0 {
		align = 8
	}
	usage := m.Env.Slab(56, align)
	if flags&sectionEarly != 0 {
		flags |= sectionOnline
	}
	// mem_map minus the section's first frame number, so that adding a frame number times 64 gives its struct page
	m.write(va, cpu.VmemmapBase|flags|sectionPresent|sectionHasMap)
	m.write(va+8, usage)
}

func (m *MM) fillSubsections(nr uint64, r Range) {
	usage := m.read(m.sectionVA(nr, false) + 8)
	first, last := max(r.Start, nr<<SectionBits)>>21, (min(r.End(), (nr+1)<<SectionBits)-1)>>21
	bits := m.read(usage + usageBitmap)
	for s := first; s <= last; s++ {
		bits |= 1 << (s & 63)
	}
	m.write(usage+usageBitmap, bits)
}

// sectionVA returns the address of struct mem_section nr, 0 when its root does not exist; with create the root is
// allocated.
func (m *MM) sectionVA(nr uint64, create bool) uint64 {
	if m.tab.Model == Sparse {
		return m.tab.roots + nr*16
	}
	slot := m.tab.roots + nr/perRoot*8
	root := m.read(slot)
	if root == 0 {
		if !create {
			return 0
		}
		root = m.Env.Page()
		m.write(slot, root)
	}
	return root + nr%perRoot*16
}

func (m *MM) read(va uint64) uint64     { return m.Env.Mem.Read64(kernel.Phys(va)) }
func (m *MM) write(va uint64, v uint64) { m.Env.Mem.Write64(kernel.Phys(va), v) }

// Memory returns how memory is described.
func (m *MM) Memory() Config { return m.tab.Config }
