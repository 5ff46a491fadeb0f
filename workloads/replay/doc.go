// Package replay performs the DMA mapping calls of a recorded event trace on simulated machines, and says how often the
// modelled IOVA allocator hands out exactly the address that the real kernel did.
//
// # From events to calls
//
// A trace has several events for one call: iommu:map when the page table is written, then dma:dma_map_page (6.12) or
// dma:dma_map_phys (7.3) when the call returns; an unmap is the same in two events, and dma_unmap_sg comes before its
// iommu:unmap. 7.3's block layer maps requests of several segments through the IOVA-link interface, which has no event of its
// own: only its iommu:map and iommu:unmap show. A Tracker puts them together. It holds back the last Window events, so that the
// event that says whose an iommu:map was is there when the call is delivered, and so that the unmap shows which links
// were one allocation. What is older than that is decided by rule: links of one task on contiguous addresses, at most
// 128 KiB together (dma_opt_mapping_size), belong together.
//
// A link says nothing about its device. It is taken for a block device: one all of whose buffers are whole sectors; of
// several, one on which the range is free, the one whose predictor names it first, else the busiest.
//
// Maps and unmaps are paired by (device, DMA address), scatterlists by their physical addresses. An unmap without its map
// is older than the trace: it is counted and not performed. A map of addresses that are mapped already means that the trace
// lost the unmap, which is then performed unmeasured. So are mappings beyond MaxLive, oldest first: memory does not grow
// with the trace.
//
// # Performing
//
// A Player is one machine with one API variant. One simulated process executes all calls in recorded order, each on the
// CPU that is recorded and not before the recorded time since the first event. Calls of different CPUs therefore never overlap, and
// there is no lock contention in a replay, other than with the flush-queue timer. A call that takes longer than the recorded gap
// delays the next ones. Before each call the caches are displaced as the cache state says; the time between two calls is
// the recorded one.
//
// The call is the variant's, whatever the trace recorded: dma_map_page and dma_map_phys events both become Variant.Map.
// dma_map_sg becomes iommu-dma's scatterlist path; a linked request becomes dma_iova_try_alloc, a link per physically contiguous
// run, a sync, and dma_iova_destroy on 7.3, a scatterlist on 6.12. Without translation both become one call per run, timed
// together. dma_map_resource, and MMIO on 7.3, become dma_map_resource. Coherent allocations take their addresses and are
// not measured; dma_sync_* is not performed. Before its unmap every buffer is moved once by the device, at full link
// speed, so that the IOTLB has something to invalidate; when the real device moved it no event shows.
//
// # Left out
//
// Binary trace.dat and perf.data; traces of a machine where several devices share a domain (each device has one of its own
// here); P2PDMA; the recorded durations, which are not compared with anything.
package replay
