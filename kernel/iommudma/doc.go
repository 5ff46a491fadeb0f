// Package iommudma is the DMA API on top of an IOMMU: drivers/iommu/dma-iommu.c of 6.12 and 7.3.
//
// # What is modelled
//
// A Layer finds a device's domain; a Cookie is iommu-dma's state of one domain. Map allocates I/O addresses from the
// domain's iova.Domain, below 4 GiB first for PCI devices until that fails once, and maps whole granules around the
// buffer through iommucore.Domain. Unmap walks the tables for the physical address (7.3 skips that for MMIO), unmaps, and
// then either invalidates and frees the addresses (strict), or queues both (lazy).
//
// Lazy mode has a ring of 256 entries per CPU. A ring that is full makes its CPU flush the whole domain on the spot,
// with the ring's lock held; a timer flushes 10 ms after the first entry and reaps the rings of all CPUs onto the
// magazines of the CPU it runs on. Two counters tell which entries a flush covers. The ring locks are real: the
// timer and the owners meet there. queue.go has the story.
//
// The two-step interface of 7.3 (TryAlloc, Link, Sync, Unlink, Destroy) is in twostep.go. Its Destroy invalidates at
// once, in lazy domains too, as the kernel does.
//
// # Versions
//
// 6.12: iommu_dma_map_page and, for MMIO, iommu_dma_map_resource; queue_iova is inlined in __iommu_dma_unmap. 7.3:
// iommu_dma_map_phys for everything; iommu_dma_free_iova is a function of its own. AttrMMIO selects the resource
// path on 6.12 and MMIO protection on both.
//
// # Errors
//
// Without addresses or table pages Map returns kernel.MappingError and an error; what was allocated is given back.
// Unmapping what is not mapped warns in the kernel and leaks the range; here Stats.NotMapped counts it and the range leaks
// as well.
//
// # Bounce buffers and caches
//
// The buffer of an untrusted device goes through the bounce pool unless it fills its granules, with zeros around it; so does, on arm64,
// one of less than a cache line that a non-coherent device writes. dma_iova_link bounces only the first and the last granule; it needs
// a device that keeps the offset in a page (min_align_mask, as NVMe sets it) and fails with EINVAL otherwise. One such entry makes a whole
// scatterlist map entry by entry. Cache maintenance (kernel/coherency) comes before mapping and before unmapping; unlinking what
// bounced, or is not coherent, walks the page table granule by granule while the device still reaches it. All of this is read, not recorded.
//
// # Left out
//
// The single global queue of s390 and deferred attach. MapSG (sg.go) has no
// recording to be compared with: the passes over the list are estimates, what they call is as everywhere else.
package iommudma
