// Package vtd is the modelled Intel VT-d driver of both kernels: drivers/iommu/intel and, for 7.3, the second-stage
// format of the generic page tables, whose code is package genericpt. It implements iommucore.Driver.
//
// # What happens in a map and in an unmap
//
// Page tables are real: entries lie in simulated memory at simulated physical addresses in the second-stage format of
// iommu/table, tables come from the page allocator, and the hardware walks the same memory. What is emitted follows
// from it: a walk of four levels is four dependent loads of the lines that hold the entries.
//
// 6.12 maps page by page with an unlocked compare-and-exchange after one walk per table (pfn_to_dma_pte), and unmaps
// with three walks: the look-up of the physical address, the look-up of the page size, and the recursion that
// clears (dma_pte_clear_level). 7.3 maps a single page by one function per level that jump to each other, and
// anything else by a recursion that fills a table per call; its unmap is one recursion that stops at a hole.
//
//	4 KiB, tables present         6.12   7.3   (instructions, iommu_map and below; iommu_unmap_fast and below)
//	map                            453   401
//	unmap and invalidate          1239  1092
//
// An unmapped range is invalidated by cache_tag_flush_range: one descriptor per unit into a batch, qi_submit_sync copies
// the batch and a wait descriptor into the ring, writes the tail register and spins on a status word with interrupts
// off and cache_lock held. Another CPU that unmaps in the same domain waits for all of it. Each failed check of the
// status word costs a read of the fault status register; that wait is charged to qi_submit_sync as StallInv.
//
// # The cast
//
//	Unit      struct intel_iommu: registers, root and context tables, invalidation queue
//	Domain    struct dmar_domain: a page table, its cache tags, its lock; Core is the struct iommu_domain in it
//
// Where walks do not snoop the caches (kernel.Config.Coherent is false) every entry written is followed by
// clflush_cache_range, and 7.3 leaves its single-page path.
//
// # What is not recorded
//
// The recordings contain one 4 KiB page and one 2 MiB page; unmaps of 8 and 32 pages on 7.3. The rest is read from the
// source: the invalidation of a device's TLB, loops over pages within a table on 6.12 (17 instructions per page), the replacement of a table by a
// superpage, detaching covered tables, the checks of a failed poll. Those instruction counts are estimates; what they
// touch is not.
//
// # A hole in 6.12
//
// An unmap over runs of several page sizes frees a table before the hardware forgets it, see gatherAddPage;
// Domain.EarlyFrees counts it. It follows from the source as read and has not been observed on a real machine.
//
// # Left out
//
// Scalable mode, first-stage tables and PASIDs; page requests; register-based invalidation; domains over units with
// different limits; invalidation errors, which would be this package's own mistake and panic. Two CPUs race for an entry only
// where one of them ends a segment, that is while it allocates a table: the loser frees its page.
package vtd
