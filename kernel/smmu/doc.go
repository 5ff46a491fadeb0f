// Package smmu is the modelled Arm SMMUv3 driver of both kernels: drivers/iommu/arm/arm-smmu-v3 and drivers/iommu/io-pgtable-arm.c, as compiled
// for arm64. It implements iommucore.Driver and, as Adapter, iommucore.Adapter.
//
// # Tables
//
// A domain has a stage-1 table of 48 bits with a 4 KiB granule: four levels, pages of 4 KiB, blocks of 2 MiB and 1 GiB, in the format of
// iommu/smmutable, in simulated memory that the hardware walks. Neither version is on generic page tables: the core calls map_pages and unmap_pages
// in its loop over page sizes, each an indirect call into io-pgtable-arm. A level is one recursive call; a missing table is allocated,
// made visible (dma_wmb) and hung in by a compare-and-exchange that another CPU may win. 7.3 looks physical addresses up by a walk with a visitor, 6.12 by
// a loop; 6.12 replaces a block by a table when part of it is unmapped, 7.3 refuses.
//
//	4 KiB, tables present         6.12   7.3   (instructions of this package)
//	map                            432   493
//	look up, unmap, invalidate    1705  2560
//
// # Invalidation
//
// What was unmapped is gathered page by page and becomes TLBI commands: with range invalidation (IDR3.RIL) one per run of at most 31 * 2^n pages,
// else one per page, or, on 7.3 and when there would be more than a table has entries, one for the whole ASID. Commands collect on the stack,
// 64 at a time, and go into the command queue with a CMD_SYNC behind them. arm_smmu_cmdq_issue_cmdlist has no lock: see Unit.issue12 for the five
// places at which CPUs meet. All of its state lies in simulated memory, every step that another CPU can observe ends a segment, and what is seen is
// what the line held when the access was done; so who loses a compare-and-exchange, and how often, follows from when the line got there. A CPU that waits for
// a word does what smp_cond_load_relaxed does: it arms its exclusive monitor on the line and sleeps until the line is written (cache.Memory.WaitWrite).
//
// A CMD_SYNC completes by a message that overwrites the command itself, when the hardware can send one (IDR0.MSI), or else when CMDQ_CONS has
// passed it, which is polled through the register; the recordings do the latter.
//
// # The cast
//
//	Unit    struct arm_smmu_device: registers, stream table, command queue
//	Domain  struct arm_smmu_domain with its struct arm_lpae_io_pgtable; Core is the struct iommu_domain in it
//	Stats   what the command queue met: retries of the compare-and-exchange, owners, full queues
//
// # What is not recorded
//
// The recordings contain one 4 KiB page and one 2 MiB block, and on 7.3 unmaps of 8 and 32 pages, on one CPU with a range command and polling of
// CMDQ_CONS. Read from the source, with estimated instruction counts: more than one entry per map, new tables, replacing a table by a block and
// splitting a block, the flush of a whole domain, the message of a CMD_SYNC, devices with a TLB of their own, everything that only happens with several CPUs or a full queue.
//
// # Left out
//
// Stage-2 and nested domains, substreams, stalls and page requests; errata; of units that do not snoop the uncached mapping of their queues (tables
// are cleaned, clean.go); SMMUv2; CMD_SYNC by event (a wfe
// that the hardware wakes): a unit with IDR0.SEV and without IDR0.MSI is polled with yield, as the recorded one. The event stream, which wakes a
// CPU in wfe every 100 us, is not there. Interrupts, a second domain's commands in one batch, and boot-time invalidations cost nothing.
package smmu
