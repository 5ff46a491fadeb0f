// Package swiotlb is the kernel's bounce buffers: memory that every device reaches, into which a buffer is copied that a device
// must not or cannot reach itself (kernel/dma/swiotlb.c of 6.12 and 7.3).
//
// # What a mapping does
//
// The pool consists of slots of 2 KiB, grouped in segments of 128, and is divided into areas with a lock each. A mapping starts in
// the area of its CPU and goes on to the others. With the area's lock held and interrupts off it looks, from where the last search
// ended, for enough free slots in a row within one segment, at an address with the alignment that the caller or the device asks
// for. Every free slot knows how many free ones follow it in its segment; taking slots rewrites the numbers of all free slots before them,
// up to 127, which is most of what a search costs in an empty pool. Then the original address goes into the metadata of every
// slot (24 bytes each), and the buffer is copied, for every direction: what the device does not write must not come back as
// somebody else's old data. Unmapping copies back unless the device only read, and gives the slots back under the same lock.
//
// The largest mapping is a segment, 256 KiB, less what alignment takes (Mem.MaxMapping). When no area has room the mapping
// fails (ErrFull); nobody waits. A mapping that is too large fails in the same way, after having searched the whole pool.
//
// # Versions
//
// 6.12, built with DEBUG_FS as distributions do, counts used slots in one word for the whole pool with an atomic add per map
// and unmap, on the line of force_bounce that every map reads. 7.3 keeps that count only when asked to (swiotlb=track_hiwater) and
// calls an empty function instead. 7.3 calls cc_platform_has three times per map and force_dma_unencrypted once more.
//
// # The cast
//
//   - Config and New: a pool at a place in memory, divided as the kernel does for its number of CPUs (Areas).
//   - Mem: struct io_tlb_mem, all pools of a kernel. Map is swiotlb_map, TblMap swiotlb_tbl_map_single, Unmap
//     __swiotlb_tbl_unmap_single, SyncForDevice and SyncForCPU the two syncs.
//   - Pool: struct io_tlb_pool. Find tells which one holds an address, nil for none.
//   - Growth: CONFIG_SWIOTLB_DYNAMIC. A mapping that finds no slots gets a transient pool of its own and wakes a worker that adds a
//     pool of up to 4 MiB for good.
//
// # Copies
//
// A copy is a memcpy between two real addresses, executed as kernel.Env.Memcpy does it for the CPU at hand, through the
// caches. kernel.Env.Truth follows the data. A source outside the linear map is a page fault, except in highmem of 32-bit
// kernels, which is copied page by page through temporary mappings; a source in device memory is reported.
//
// # How it was checked, and what is left out
//
// The 7.3 functions equal the recorded ones on x86-64, instruction by instruction, for one page. The 6.12 code was read: its functions are those of
// 7.3 less what 7.3 added. Code of arm64 has their shape, with its own calls and copies. Other sizes, alignment masks, failed searches, dynamic pools and highmem were read, not recorded. Restricted
// pools of a device (restricted-dma-pool) and the zero padding of untrusted devices beyond its copy are not modelled; swiotlb_init's own
// work at boot takes no time. Memory of transient and dynamic pools comes from a range set aside (Growth.Memory), and goes
// back at once: the grace period and the softirq that frees it are not there.
package swiotlb
