// Package direct is dma-direct: the DMA backend of devices without an IOMMU, where a bus address is a physical address
// plus an offset (kernel/dma/direct.c and direct.h of 6.12 and 7.3).
//
// What a call does: translate the physical address (identity, or the device's dma_range_map), look whether the device
// is forced to bounce, and check that the whole buffer lies below the device's mask and the bus limit. That is all on
// a coherent machine. The cost is a handful of lines of struct device and three read-mostly globals.
//
// On 6.12 both map and unmap are inlined into their callers (74 and 57 instructions altogether, none of them a call);
// MapPage12 and UnmapPage12 therefore emit the middle of a function that kernel/dma begins and ends. On 7.3 mapping
// is a function of its own, dma_direct_map_phys, which asks force_dma_unencrypted and that asks cc_platform_has twice, on
// every map, when the kernel is built for memory encryption (Config.MemEncrypt): four calls where there were none.
//
// # Results
//
// Map returns the bus address, or kernel.MappingError and an *Error saying what was not possible. A buffer bounces (kernel/swiotlb)
// when that is forced, when the device does not reach it, in an encrypted guest (6.12: forced; 7.3: not capable), and on arm64
// when a non-coherent device writes less than a cache line can be given alone. AttrRequireCoherent and AttrMMIO never bounce: 7.3 fails
// instead, also where bouncing is merely forced. dma_map_resource of 6.12 does not look at swiotlb at all and uses the physical
// address as it is, where 7.3 translates it like RAM. AttrCCShared says that the caller has shared the memory with the
// host: it is mapped as it is.
//
// The caches of a machine whose device does not snoop are maintained by kernel/coherency, after the bounce test on map and before the copy back
// on unmap and sync.
//
// Left out: hosts that encrypt memory (SME), the encryption bit in bus addresses, KMSAN and DMA_API_DEBUG, whose hooks are empty in the
// recorded kernels. 6.12 and scatterlists were read where they bounce; the 7.3 calls equal the recordings made with swiotlb=force.
package direct
