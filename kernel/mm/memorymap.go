package mm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Kind says what a range of physical addresses is.
type Kind uint8

// Kinds of physical memory. Addresses in no range are holes.
const (
	RAM        Kind = iota // present at boot
	Reserved               // RAM that firmware or the kernel keeps; it has struct pages like RAM
	HotRAM                 // RAM added while running, in whole 128 MiB sections
	ZoneDevice             // device memory with struct pages: P2PDMA BARs, pmem; in 2 MiB subsections
	MMIO                   // device registers without struct pages
	NoMap                  // RAM that firmware keeps and the linear map leaves out (no-map in a device tree); it has struct pages
	NumKinds
)

func (k Kind) String() string {
	return [...]string{"RAM", "reserved", "hot-plugged RAM", "ZONE_DEVICE", "MMIO", "no-map RAM"}[k]
}

// boot reports whether the range is in memblock.memory when the section tables are built.
func (k Kind) boot() bool { return k == RAM || k == Reserved || k == NoMap }

// Linear reports whether the kernel's linear map contains such memory. Of device memory it contains what has struct pages
// (memremap_pages adds it, uncached for P2PDMA).
func (k Kind) Linear() bool { return k != MMIO && k != NoMap }

// Device reports whether it is a device's memory; ZoneDevice is taken to be a P2PDMA BAR.
func (k Kind) Device() bool { return k == MMIO || k == ZoneDevice }

// Range is physical addresses [Start, Start+Size).
type Range struct {
	Start, Size uint64
	Kind        Kind
}

// End is the first address behind the range.
func (r Range) End() uint64 { return r.Start + r.Size }

// MemoryMap is what lies where in physical memory.
type MemoryMap []Range

// Units that the kernel adds memory in.
const (
	PageSize       = 4 << 10
	SubsectionSize = 2 << 20
	SectionBits    = 27 // SECTION_SIZE_BITS of x86-64 and arm64 with 4 KiB pages
	SectionSize    = 1 << SectionBits
)

// PCMap is the memory map of an x86-64 server with ram bytes of RAM (at least 1 MiB): 640 KiB of base memory, the VGA hole,
// up to 2 GiB below 4 GiB, the rest from 4 GiB on, and a PCI window with the interrupt controllers under 4 GiB.
func PCMap(ram uint64) MemoryMap {
	const lowTop, high = 2 << 30, 4 << 30
	low := min(ram, lowTop)
	m := MemoryMap{{0, 640 << 10, RAM}, {1 << 20, low - 1<<20, RAM}, {0xe0000000, 0x20000000, MMIO}}
	if ram > low {
		m = append(m, Range{high, ram - low, RAM})
	}
	return m
}

// LowTop returns the end of the highest RAM below 4 GiB, 0 if there is none; firmware and swiotlb place themselves there.
func (m MemoryMap) LowTop() uint64 {
	var top uint64
	for _, r := range m {
		if r.Kind.boot() && r.Start < 4<<30 {
			top = max(top, min(r.End(), 4<<30))
		}
	}
	return top
}

// Validate reports every range that the kernel could not have.
func (m MemoryMap) Validate(physBits int) error {
	var errs []error
	bad := func(r Range, format string, a ...any) {
		errs = append(errs, fmt.Errorf("memory map: %v at %#x..%#x: "+format, append([]any{r.Kind, r.Start, r.End()}, a...)...))
	}
	if !slices.ContainsFunc(m, func(r Range) bool { return r.Kind.boot() }) {
		errs = append(errs, errors.New("memory map: no RAM"))
	}
	sorted := slices.Clone(m)
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	for i, r := range sorted {
		if r.Kind >= NumKinds {
			errs = append(errs, fmt.Errorf("memory map: range at %#x has unknown kind %d", r.Start, r.Kind))
			continue
		}
		align := uint64(PageSize)
		switch r.Kind {
		case HotRAM:
			align = SectionSize
		case ZoneDevice:
			align = SubsectionSize
		}
		if r.Size == 0 {
			bad(r, "is empty")
		}
		if r.Start%align != 0 || r.Size%align != 0 {
			bad(r, "start and size must be multiples of %#x", align)
		}
		if r.End() < r.Start || r.End() > 1<<physBits {
			bad(r, "ends beyond %d physical address bits", physBits)
		}
		if i > 0 && r.Start < sorted[i-1].End() {
			bad(r, "overlaps %v at %#x..%#x", sorted[i-1].Kind, sorted[i-1].Start, sorted[i-1].End())
		}
	}
	return errors.Join(errs...)
}

// Find returns the range that contains phys.
func (m MemoryMap) Find(phys uint64) (Range, bool) {
	for _, r := range m {
		if phys-r.Start < r.Size {
			return r, true
		}
	}
	return Range{}, false
}

// Total returns how many bytes of the kinds there are.
func (m MemoryMap) Total(kinds ...Kind) uint64 {
	var n uint64
	for _, r := range m {
		if slices.Contains(kinds, r.Kind) {
			n += r.Size
		}
	}
	return n
}

// memblock is memblock.memory: the boot ranges in order, adjacent ones merged.
func (m MemoryMap) memblock() []Range {
	var out []Range
	sorted := slices.Clone(m)
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	for _, r := range sorted {
		if !r.Kind.boot() {
			continue
		}
		if n := len(out); n > 0 && out[n-1].End() == r.Start {
			out[n-1].Size += r.Size
			continue
		}
		out = append(out, Range{r.Start, r.Size, RAM})
	}
	return out
}
