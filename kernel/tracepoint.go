package kernel

import "dmapath/cpu"

// Tracer records trace events (Config.Debug.Trace). Package trace has the only one.
type Tracer interface {
	// Record writes one event of fixed bytes, with the name of dev and n bytes of arrays behind them.
	Record(t *cpu.Thread, fixed, n int, dev *Device)
}

// Sizes of the fixed part of the records, bytes: the common header of 8, and the fields with their alignment (include/trace/events/dma.h
// and iommu.h, the same in 6.12 and 7.3). The name of the device and arrays follow.
const (
	EventMap      = 56 // dma_map_page, dma_map_resource, dma_map_phys: device, phys_addr, dma_addr, size, dir, attrs
	EventUnmap    = 48 // dma_unmap_page, dma_unmap_phys: device, addr, size, dir, attrs
	EventMapSG    = 48 // dma_map_sg: device, entries and DMA segments, truncated, three arrays, dir, attrs
	EventUnmapSG  = 32 // dma_unmap_sg: device, an array, dir, attrs
	EventSync     = 40 // dma_sync_single_for_*: device, dma_addr, size, dir
	EventSyncSG   = 24 // dma_sync_sg_for_*: device, two arrays, dir
	EventIOMMUMap = 32 // iommu:map and iommu:unmap: three numbers, no device
)

// EventArrayMost is how many elements of an array a record of dma_map_sg has at most.
const EventArrayMost = 128

// TracePoint emits a trace point: a patched nop while tracing is off, and a jump to the code that records the event while it is on. dev is
// nil for events without a device.
func (e *Env) TracePoint(t *cpu.Thread, fixed, n int, dev *Device) {
	if e.Tracer == nil {
		t.Nop(1)
		return
	}
	t.Jump()
	e.Tracer.Record(t, fixed, n, dev)
	t.Jump()
}

// TraceIOMMU is the trace point iommu:map or, with unmap, iommu:unmap: size bytes at iova, of which done were mapped or unmapped. Whoever listens
// by OnIOMMU gets the event's fields, whether the kernel traces or not; that costs no simulated time.
func (e *Env) TraceIOMMU(t *cpu.Thread, unmap bool, iova, phys, size, done uint64) {
	e.TracePoint(t, EventIOMMUMap, 0, nil)
	if e.OnIOMMU != nil {
		e.OnIOMMU(IOMMUEvent{unmap, iova, phys, size, done})
	}
}

// IOMMUEvent is what iommu:map and iommu:unmap record (include/trace/events/iommu.h), all in bytes.
type IOMMUEvent struct {
	Unmap bool
	IOVA  uint64
	Phys  uint64 // iommu:map
	Size  uint64
	Done  uint64 // iommu:unmap: unmapped_size
}
