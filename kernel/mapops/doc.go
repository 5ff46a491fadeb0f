// Package mapops is struct dma_map_ops: mapping by a table of functions that an architecture, a bus or a hypervisor gives a device
// (dev->dma_ops, CONFIG_ARCH_HAS_DMA_OPS), in place of dma-direct and iommu-dma.
//
// # What the debate says about it
//
// 6.12 calls ops->map_page with a struct page, through a pointer, as the mitigation demands; 7.3 calls ops->map_phys with a physical
// address. A provider that works on addresses got simpler; one that works on pages has to make one again. There is one of each:
//
//   - Gart: the aperture of AMD's northbridges (arch/x86/kernel/amd_gart_64.c). It takes pages of the aperture from a bitmap and writes an
//     entry per page into a table; it needs the address only. Only buffers out of the device's reach go there, unless forced.
//   - Grant: memory for a virtio device in another Xen domain (drivers/xen/grant-dma-ops.c). The address is a grant reference; making one
//     needs the frame, which both versions get from a struct page: 7.3 has to derive that with phys_to_page, page by page.
//
// Both keep real state (bitmap and table, list of free grants and grant table), so costs follow from how full and how fragmented
// it is.
//
// # Errors
//
// A table whose map_phys is missing makes 7.3 return DMA_MAPPING_ERROR. 6.12 did not look: it calls a null pointer, which is reported
// (kernel.CallsNothing). Device memory: dma_map_resource of 6.12 asks for
// map_resource, which neither provider has; on 7.3 both are asked and refuse.
//
// # Left out
//
// No recording contains a provider: bodies are estimated from the structure of the source; the dispatch is as compiled (54 and 52
// instructions). What a device finds behind such an address is not modelled: Gart.Translate reads the table for tests, no hardware walks
// it, and what is mapped this way runs without a device (map-benchmark). Gart does not merge lists (iommu=nomerge, the
// default). The grant table does
// not grow.
package mapops
