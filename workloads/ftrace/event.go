package ftrace

import (
	"fmt"

	"dmapath/kernel"
	"dmapath/sim"
)

// Kind is which trace point an Event comes from.
type Kind uint8

// Trace points that are read.
const (
	IommuMap   Kind = iota // iommu:map
	IommuUnmap             // iommu:unmap
	MapPage                // dma:dma_map_page, up to 6.17
	UnmapPage
	MapPhys // dma:dma_map_phys, from 6.18
	UnmapPhys
	MapResource
	UnmapResource
	MapSG
	UnmapSG
	SyncForCPU // dma_sync_single_for_cpu
	SyncForDevice
	Alloc // dma_alloc, dma_alloc_pages: coherent memory
	AllocPages
	Free
	FreePages
	numKinds
)

var kindNames = [numKinds]string{"map", "unmap", "dma_map_page", "dma_unmap_page", "dma_map_phys", "dma_unmap_phys",
	"dma_map_resource", "dma_unmap_resource", "dma_map_sg", "dma_unmap_sg", "dma_sync_single_for_cpu",
	"dma_sync_single_for_device", "dma_alloc", "dma_alloc_pages", "dma_free", "dma_free_pages"}

// NumKinds is how many kinds there are.
const NumKinds = int(numKinds)

func (k Kind) String() string { return kindNames[k] }

// IsMap reports whether the event records the establishment of a mapping by the dma: layer.
func (k Kind) IsMap() bool { return k == MapPage || k == MapPhys || k == MapResource || k == MapSG }

// IsUnmap reports whether the event records the end of a mapping by the dma: layer.
func (k Kind) IsUnmap() bool {
	return k == UnmapPage || k == UnmapPhys || k == UnmapResource || k == UnmapSG
}

// Event is one trace event. Slices are valid until the next call of Reader.Next.
type Event struct {
	Kind   Kind
	Line   int      // line number in the input, from 1
	CPU    int      // CPU that executed the call
	Time   sim.Time // time stamp of the trace clock, whole as printed (micro- or nanoseconds)
	PID    int      // of the current task; -1 where the line has none
	Device string   // as in lspci -D; empty for iommu events
	Dir    kernel.Direction
	Attrs  kernel.Attrs

	Addr     uint64 // DMA address, or first IOVA for iommu events
	End      uint64 // iommu events: first address after the range
	Size     uint64 // bytes
	Phys     uint64 // physical address; 0 where the event has none
	Unmapped uint64 // iommu:unmap: bytes of Size that were mapped
	Nents    int    // scatter lists: entries before mapping (the full number even when truncated)

	SGPhys  []uint64 // dma_map_sg, dma_unmap_sg: physical address of each entry
	SGAddrs []uint64 // dma_map_sg: DMA address of each mapped segment
	SGSizes []uint64 // dma_map_sg: size of each mapped segment
	// Truncated: the kernel printed only the first 128 entries.
	Truncated bool
}

// SyntaxError is one line that could not be read.
type SyntaxError struct {
	File string
	Line int
	Text string // the line, cut to 120 bytes
	Msg  string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: %s: %q", e.File, e.Line, e.Msg, e.Text)
}
