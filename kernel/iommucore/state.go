package iommucore

// State is struct dma_iova_state of 7.3: one range of I/O addresses that several buffers are linked into.
type State struct {
	VA   uint64 // 16 bytes: addr, size
	Addr uint64 // I/O address of the first byte
	Size uint64 // bytes; 0 when there is no range
	// Bounced is DMA_IOVA_USE_SWIOTLB, the top bit of size: a part of what was linked is in the bounce pool.
	Bounced bool
}
