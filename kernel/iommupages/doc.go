// Package iommupages is where the pages of I/O page tables come from: drivers/iommu/iommu-pages.c and .h, which all IOMMU
// drivers share. A page is zeroed, accounted in two counters of its node (NR_IOMMU_PAGES, NR_SECONDARY_PAGETABLE), and freed
// one by one or from the list of a gather once no hardware can reach it. On a unit whose walks do not snoop the caches, what is
// written to a table is flushed with clflush_cache_range (arch/x86/mm/pat/set_memory.c).
//
// The instructions are those of the recorded x86-64 kernels (kernel/vtd checks them); freeing is read, not recorded.
package iommupages
