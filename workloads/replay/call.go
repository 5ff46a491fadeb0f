package replay

import (
	"dmapath/kernel"
	"dmapath/kernel/iova"
	"dmapath/sim"
)

// How is which interface a mapping was made through.
type How uint8

// Interfaces.
const (
	Single   How = iota // dma_map_page, dma_map_phys
	List                // dma_map_sg
	Link                // dma_iova_link: no dma: event
	Resource            // dma_map_resource, or MMIO
	Coherent            // dma_alloc: takes addresses, is not measured
	NumHow
)

func (h How) String() string { return [...]string{"single", "sg", "link", "resource", "coherent"}[h] }

// Class is a size class of mappings.
type Class uint8

// Classes is how many size classes there are.
const Classes = 4

// ClassOf returns the class of a mapping of size bytes.
func ClassOf(size uint64) Class {
	switch {
	case size <= 4<<10:
		return 0
	case size <= 32<<10:
		return 1
	case size <= 128<<10:
		return 2
	}
	return 3
}

func (c Class) String() string { return [...]string{"<=4K", "<=32K", "<=128K", ">128K"}[c] }

// Piece is a physically contiguous piece of a mapping.
type Piece struct{ Phys, Size uint64 }

// Call is one mapping or unmapping to perform.
type Call struct {
	Unmap      bool
	How        How
	Unmeasured bool // coherent memory; an unmap that the trace does not contain
	Skip       bool // it is not performed and costs nothing: what becomes of a trace's calls when a driver maps otherwise
	Device     int  // index in Tracker.Devices
	CPU        int
	At         sim.Time // trace clock
	ID         uint64   // of the mapping, the same in its map and its unmap
	Size       uint64   // bytes, of all runs together
	Dir        kernel.Direction
	Attrs      kernel.Attrs
	// Runs are the pieces of the mapping, at least one. An unmap has those of its map.
	Runs   []Piece
	MapCPU int // unmaps: the CPU of the map
	// Recorded is the iommu: events behind the call: the maps in the order of addresses, or the one unmap. Empty without
	// translation, and where the trace does not contain them.
	Recorded []kernel.IOMMUEvent
	// Verdict is what the predictor said of the IOVA of a map with events behind it.
	Verdict iova.Verdict
	// Block: the device has mapped nothing but whole sectors so far: a block device's requests.
	Block bool
}
