package platform

import (
	"fmt"
	"math/rand/v2"

	"dmapath/cpu"
	"dmapath/kernel/dma"
	"dmapath/kernel/mm"
)

var memoryModels = map[Word]mm.Model{"flatmem": mm.Flat, "sparsemem": mm.Sparse, "sparsemem-extreme": mm.SparseExtreme,
	"sparsemem-vmemmap": mm.SparseVmemmap}

// MemoryConfig is the kernel's view of what is installed.
func (s *Spec) MemoryConfig() mm.Config {
	return mm.Config{Model: memoryModels[s.Memory.Model], Map: s.memoryMap(), FiveLevel: s.Memory.PhysBits > 46}
}

// firmwareHoles is how many pieces firmware leaves of the RAM below 4 GiB when the map is "holes": a UEFI machine's memory map
// has 5 to 60 boot regions (dossier, section 1.1).
const firmwareHoles = 24

// memoryMap is the memory map that firmware reports: base memory, the legacy hole, RAM up to low_top, RAM from hole_top on, and
// device windows. With map: holes firmware keeps pieces of the low RAM.
func (s *Spec) memoryMap() mm.MemoryMap {
	m := &s.Memory
	low := min(uint64(m.RAM), uint64(m.LowTop))
	mp := mm.MemoryMap{{Start: 0, Size: 640 << 10, Kind: mm.RAM}}
	if m.Map == "holes" {
		piece := (low - 1<<20) / firmwareHoles &^ (1<<20 - 1)
		at := uint64(1 << 20)
		for i := range firmwareHoles {
			end := at + piece
			if i == firmwareHoles-1 {
				end = low
			}
			hole := uint64(64<<10) << (i % 5) // 64 KiB to 1 MiB that firmware keeps for itself
			mp = append(mp, mm.Range{Start: at, Size: end - at - hole, Kind: mm.RAM}, mm.Range{Start: end - hole, Size: hole, Kind: mm.Reserved})
			at = end
		}
	} else {
		mp = append(mp, mm.Range{Start: 1 << 20, Size: low - 1<<20, Kind: mm.RAM})
	}
	if m.LowTop <= 0xe0000000 {
		mp = append(mp, mm.Range{Start: 0xe0000000, Size: 0x20000000, Kind: mm.MMIO})
	}
	if uint64(m.RAM) > low {
		mp = append(mp, mm.Range{Start: uint64(m.HoleTop), Size: uint64(m.RAM) - low, Kind: mm.RAM})
	}
	return append(mp, mm.Range{Start: uint64(m.MMIOBase), Size: uint64(m.MMIOSize), Kind: mm.MMIO})
}

// RandomRAM returns a page-aligned, physically contiguous buffer of size bytes somewhere in RAM outside of what the kernel
// keeps its own objects in.
func (m *Machine) RandomRAM(r *rand.Rand, size uint64) dma.Buffer {
	for range 1 << 20 {
		if pa := r.Uint64N(m.ramTop) << 12; m.placeable(pa, size) {
			return dma.Buffer{Phys: pa, Page: m.PageOf(pa), Size: size}
		}
	}
	panic(fmt.Sprintf("platform: no room for a buffer of %d bytes in RAM", size))
}

// find returns which range of RAM contains pa.
func (m *Machine) find(pa uint64) (int, bool) {
	for i := range m.ram {
		if pa >= m.ram[i].Start && pa < m.ram[i].End() {
			return i, true
		}
	}
	return 0, false
}

// PageOf returns the address of the struct page of pa.
func (m *Machine) PageOf(pa uint64) uint64 {
	if m.Spec.Memory.Model == "sparsemem-vmemmap" {
		return cpu.VmemmapBase + pa>>12*64
	}
	page, _ := m.MM.PfnToPage(nil, pa>>12, 0)
	return page
}
