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
//   - map_single_virt@7.3: the virtual address as an input of its own, without a struct page in between. No kernel has it.
//   - map_resource@6.12, map_resource@7.3, map_phys_mmio@7.3: device memory by its physical address.
//   - map_sg@6.12, map_sg@7.3: a scatterlist (sg.go).
//   - iova_link@7.3: one range of I/O addresses, a link for each piece, one sync; piece by piece where nothing translates.
//   - premapped@6.12, premapped@7.3: mapped once; what is measured is the sync of each use, as in page_pool.
//
// map_page_wrapper@7.3 is another name of map_page@7.3, which Lookup knows (alias).
//
// Variants of one kernel differ by the API alone. Variants of different kernels also differ by compiler and options: 7.3
// is built with UBSAN and another gcc, and asks for memory encryption on every map.
//
// # Cast
//
// Ctx is a device with its backend: Direct (package direct), IOMMU, an interface that package iommudma satisfies, or Ops, a provider of
// dma_map_ops (package mapops). Buffer is what is mapped, a List its pieces and what a driver keeps for them: scatterlist, range,
// array of addresses. MapBuffer maps a buffer with any variant: a Lister in one call, others piece by piece, as a driver's loop
// does. SyncSingleForCPU starts with the inline test that page_pool pays per packet. SG and MapSGTable are what whole drivers use.
//
// # Attributes
//
// 6.12 knows DMA_ATTR_SKIP_CPU_SYNC, NO_WARN and WEAK_ORDERING; MMIO, REQUIRE_COHERENT and CC_SHARED are bits that nobody there
// looks at. On 7.3 MMIO is refused by calls that take a page, and their unmap returns without unmapping (a leak, reported as
// such); REQUIRE_COHERENT fails on a device that does not snoop and makes an unmap short; CC_SHARED is for dma-direct only. The table
// of results is a test, TestAttributes of package iommudma.
//
// # Debug options
//
// Behind every call stand hooks (hooks.go): KMSAN, the trace point, DMA_API_DEBUG. In the recorded kernels they are one nop.
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
// dma_alloc_* and everything else that is not streaming, DMA_ATTR_PRIVILEGED and the attributes of allocations, dma_mmap, the paths of
// ppc64 and of Xen PV. Scatterlists, dma_need_unmap, dma_get_merge_boundary, dispatch to a provider and syncs of lists are in no
// recording: they are estimated from the source, with the recorded dispatch of single calls as a measure. dma_mapping_error() in the
// driver, one compare, is not emitted for single buffers.
package dma
