// Package dma is the top of the DMA API: the calls that drivers make (kernel/dma/mapping.c), and the hand-over to
// dma-direct or iommu-dma.
//
// # Variants
//
// A Variant is one way of mapping a buffer, named CALL@KERNEL. Each lives in a file of its own that registers it; adding
// one means adding a file. Variants lists them in this order:
//
//   - map_page@6.12: the caller has a struct page. dma_map_page_attrs does everything inline for dma-direct.
//   - map_page@7.3: a wrapper that converts to a physical address and jumps to dma_map_phys: 13 instructions more.
//   - map_phys@7.3: the caller has a physical address.
//   - map_phys_rederive@7.3: the design as it was attacked. The caller converts a page to an address, the implementation
//     asks pfn_valid() and converts back, on every call. What that costs depends on the memory model (package mm).
//   - map_single@6.12, map_single@7.3: the caller has a kernel virtual address.
//
// Variants of one kernel differ by the API alone. Variants of different kernels also differ by compiler and options: 7.3
// is built with UBSAN and another gcc, and asks for memory encryption on every map.
//
// # Cast
//
// Ctx is a device with its backend: Direct (package direct), or IOMMU, an interface that package iommudma satisfies. Buffer is
// what is mapped. SyncSingleForCPU starts with the inline test that page_pool pays per packet. MapResource and UnmapResource map MMIO.
//
// # An example
//
// One map_phys@7.3 and its unmap on dma-direct, coherent device, memory encryption compiled in but off:
//
//	dma_map_phys 40 + dma_direct_map_phys 69 + force_dma_unencrypted 19 + cc_platform_has 2 x 8 = 144 instructions
//	dma_unmap_phys 61 instructions
//
// 6.12 does the same with 74 and 57. These counts, and those of map_resource, the MMIO attribute and the hand-over to
// iommu-dma, equal the recordings function by function and in the number of lines touched.
//
// # Left out
//
// Scatter-gather lists, dma_map_ops providers, non-coherent devices, KMSAN, DMA_API_DEBUG and trace points (a patched nop).
// The IOVA-based API of 7.3 (dma_iova_*) belongs to package iommudma.
package dma
