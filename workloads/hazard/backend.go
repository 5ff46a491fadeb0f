package hazard

import (
	"dmapath/platform"
)

// Backend is what stands behind the DMA API: a column of the matrix.
type Backend struct {
	Name string // as in tables: direct, swiotlb
	What string
	// Missing says why it cannot be run; empty when it can.
	Missing string

	platform platform.Backend
	preset   string // machine that it needs; empty: the one that was asked for
	granule  uint64 // bytes; 0: no protection
	setUp    func(m *platform.Machine, d *platform.Device)
}

// Backends lists the backends in the order of tables.
func Backends() []Backend {
	return []Backend{
		{Name: "direct", What: "dma-direct, coherent", platform: platform.Direct},
		{Name: "direct-nc", What: "dma-direct, a device that does not snoop (arm64)", Missing: "dma-direct does not call the cache maintenance yet"},
		{Name: "swiotlb", What: "dma-direct with swiotlb=force", Missing: "swiotlb"},
		{Name: "strict", What: "iommu-dma, strict, coherent", platform: platform.IommuStrict, granule: 4096},
		{Name: "lazy", What: "iommu-dma, flush queue, coherent", platform: platform.IommuLazy, granule: 4096},
		{Name: "strict-nc", What: "iommu-dma, strict, a device that does not snoop (arm64)", Missing: "no IOMMU of arm64"},
		{Name: "ops", What: "dma_map_ops of an architecture", Missing: "no dma_map_ops"},
	}
}
