// Package nvme is an NVMe drive with its driver. The device fetches commands from queues in memory, reads PRP or SGL lists, moves data,
// posts completions and interrupts, all through its PCIe port and so through the IOMMU (device.go). The driver runs on every CPU with a
// queue pair of its own (driver.go, request.go).
//
// What maps the data is one of two things. With a single call as variant every request is a contiguous buffer and one call: the API is
// all that differs. With Config.Driver the whole data path of nvme-pci of 6.12 (data12.go) or 7.3 (data73.go) runs: scatterlists against the block
// layer's iterator with its ranges of I/O addresses, and the pools that lists come from (pools.go). An I/O is then split where that driver
// splits it.
//
// A worked example: 64 KiB in 16 scattered pages behind an IOMMU. 6.12 takes a scatterlist from a mempool and a PRP list from a dma_pool,
// maps with one dma_map_sgtable (one IOVA allocation, 16 calls of map_pages) and unmaps with one dma_unmap_sgtable. 7.3 takes only the
// list, calls dma_iova_try_alloc, 16 times dma_iova_link, dma_iova_sync, and at the end dma_iova_destroy, which invalidates in lazy mode too.
//
// With Config.Peer the data lies in the memory of a second device.
//
// # Left out
//
// What driver and block layer execute around the DMA calls is recorded for 4 KiB only and estimated beyond that. No merging of requests, no
// metadata, no buffers that begin within a page, no timeouts. Errors of the DMA API end the run.
package nvme
