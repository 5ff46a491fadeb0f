// Package dmadebug is CONFIG_DMA_API_DEBUG: a record of every mapping, against which unmaps and syncs are checked (kernel/dma/debug.c of
// 6.12 and 7.3).
//
// # What is modelled
//
// A mapping takes an entry of 128 bytes from a list of free ones, saves the call stack in it, and puts it into one of 16384 hash buckets, each
// with a lock, by bits 13 and up of its DMA address. Unless the device only reads, the first cache line of the buffer goes into a radix
// tree, where a second mapping of it would be noticed. Unmapping finds the entry by walking its bucket, compares, and takes all of it
// back. A sync looks in the bucket of the address and, if it finds nothing there, in those before it. Lists grow with the mappings
// that are live, so costs do: two pages share a bucket, and devices that are given the same addresses share all of theirs.
//
// Checks: is the buffer on the stack of the task, or kernel text or read-only data; and on 7.3, for device memory, pfn_valid() and
// whether the page is reserved, because if it is neither it is RAM. 6.12 starts from a struct page and 7.3 from a physical address; the
// tests of RAM are the same. Device memory is a type of its own on 6.12 (dma_debug_resource), where
// nothing is checked about it, and not on 7.3.
// dma_mapping_error(), which drivers have to call and which marks the entry, is part of a map.
//
// No recording of such a kernel exists: everything is estimated from the structure of the source, on real lists, locks and a real tree.
//
// # Errors
//
// What the kernel prints is counted by kind (Stats), and nothing else happens: the option warns, it does not refuse.
//
// # Left out
//
// Printing, debugfs, coherent allocations, the filter by driver, growing beyond 65536 entries (the kernel allocates more; here the
// option disables itself, as it does when memory is short), tags of the radix tree beyond a count of overlaps.
package dmadebug
