// Package iommucore is the core of the modelled IOMMU subsystem: drivers/iommu/iommu.c. It sits between iommu-dma, which
// wants a range mapped, and a driver, which writes page-table entries.
//
// 6.12: iommu_map cuts the range into runs of one page size (iommu_pgsize: the largest size that both addresses
// and the length allow, and how many before a larger size becomes possible) and calls the driver's map_pages through a
// pointer for each run, then iotlb_sync_map. A range of 4 KiB and 2 MiB pieces takes up to three calls. Unmapping
// is the same loop around unmap_pages.
//
// 7.3: a driver on generic page tables (VT-d is) gets the whole range in one indirect call, map_range or unmap_range.
// iommu_map is iommu_map_nosync plus iotlb_sync_map; the two are used apart by dma_iova_link and dma_iova_sync.
// A driver without generic page tables (SMMUv3's) is served as on 6.12: one call of map_pages per run.
//
// Which of these, and which compiler's work, is chosen in one table (codeOf) by architecture and version.
//
// What must be invalidated is collected in a Gather on the unmapping function's stack: an address range and the table
// pages that became unused. They are freed only after the hardware has forgotten them: by SyncTLB in strict
// mode, by the flush queue in lazy mode.
//
// The cast: Domain is struct iommu_domain with the addresses others load; Gather is struct iommu_iotlb_gather; PageList the
// pages that wait; Driver what a driver implements (package kernel/vtd); Prot and Errno Linux's protection bits
// and error numbers.
//
// Left out: map_sg, SVA, nested domains, deferred attach and the iommu_debug_map checks (a disabled static key, one nop).
package iommucore
