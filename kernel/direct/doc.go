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
// Map returns the bus address, or kernel.MappingError and an *Error saying what was not possible. Where the kernel would
// bounce the buffer through swiotlb, the answer is ErrBounce: the bounce buffer itself is not modelled yet, only its
// pool's place, which unmap and sync compare addresses with (Pool). MMIO (AttrMMIO on 7.3, dma_map_resource on 6.12) is
// never bounced and never synchronised; 6.12 uses the physical address as it is, 7.3 translates it like RAM.
//
// Left out: encrypted guests (cc_platform_has always answers no), non-coherent devices (x86 has none), KMSAN and
// DMA_API_DEBUG, whose hooks are empty in the recorded kernels.
package direct
