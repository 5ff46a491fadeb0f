// Package scatterlist is struct scatterlist: the array in which a driver describes a buffer of several pieces, and from which
// it reads what the device gets (include/linux/scatterlist.h, lib/scatterlist.c).
//
// A List lies at an address in simulated memory, 32 bytes per entry, two entries to a line; what walks it emits loads and stores
// of the fields at their places. The contents are kept beside it in Entries: pieces of physical memory on one side, DMA segments on
// the other, which need not be the same pieces. Next emits sg_next, which walkers call between entries.
//
// Classify is what pci_p2pdma_state (7.3) and pci_p2pdma_map_segment (6.12) do with an entry: with CONFIG_PCI_P2PDMA the struct page
// of every entry is read to see whether it is memory of another device.
//
// # Left out
//
// Chained lists (an array of up to NVMe's 256 entries is one allocation), CONFIG_DEBUG_SG, page links of compound pages.
// Only the first P2PDMA provider of a list is looked up, as in the kernel, which remembers it; a list that mixes two providers
// would look both up.
package scatterlist
