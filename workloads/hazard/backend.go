package hazard

import (
	"dmapath/kernel"
	"dmapath/kernel/mapops"
	"dmapath/platform"
)

// Backend is what stands behind the DMA API: a column of the matrix.
type Backend struct {
	Name string // as in tables: direct, swiotlb
	What string
	Main bool // shown when no backend is asked for: one of each sort
	// Missing says why it cannot be run; empty when it can.
	Missing string

	platform platform.Backend
	preset   string                 // machine that it needs; empty: the one that was asked for
	adjust   func(s *platform.Spec) // changes it
	granule  uint64                 // unit of protection, bytes; 0: none
	setUp    func(d *platform.Device)
}

// machine returns the platform that the backend is run on when s was asked for.
func (b *Backend) machine(s *platform.Spec) (*platform.Spec, error) {
	if b.preset != "" {
		var err error
		if s, err = platform.Load(b.preset); err != nil {
			return nil, err
		}
	}
	if b.adjust == nil {
		return s, nil
	}
	c := *s
	b.adjust(&c)
	return &c, c.Check()
}

// Fit says why the backend cannot be run when platform s was asked for, nil when it can: its error is platform.Unfit.
func (b *Backend) Fit(s *platform.Spec) error {
	m, err := b.machine(s)
	if err != nil {
		return err
	}
	return m.Fits(kernel.V7_3, b.platform)
}

// notCoherent is a machine whose devices do not snoop.
func notCoherent(s *platform.Spec) { s.PCIe.Coherent = false }

// coherent is a machine whose devices snoop although those of its preset do not.
func coherent(s *platform.Spec) { s.PCIe.Coherent = true }

// ownTLB gives the device a TLB of 64 entries.
func ownTLB(s *platform.Spec) { s.PCIe.DeviceTLB.Entries, s.PCIe.DeviceTLB.Ways = 64, 4 }

// Backends lists the backends in the order of tables.
func Backends() []Backend {
	return []Backend{
		{Name: "direct", Main: true, What: "dma-direct, coherent", platform: platform.Direct},
		{Name: "direct-nc", Main: true, What: "dma-direct, a device that does not snoop (arm64)", platform: platform.Direct, preset: "neoverse-n1", adjust: notCoherent},
		{Name: "arm32", What: "dma-direct, coherent, on a 32-bit kernel with highmem", platform: platform.Direct, preset: "cortex-a15", adjust: coherent},
		{Name: "arm32-nc", Main: true, What: "the same with a device that does not snoop", platform: platform.Direct, preset: "cortex-a15"},
		{Name: "arm32-tlb", What: "arm32 with swiotlb=force", platform: platform.SwiotlbForce, preset: "cortex-a15", adjust: coherent},
		{Name: "swiotlb", Main: true, What: "dma-direct with swiotlb=force", platform: platform.SwiotlbForce},
		{Name: "strict", Main: true, What: "iommu-dma, strict, coherent", platform: platform.IommuStrict, granule: 4096},
		{Name: "lazy", Main: true, What: "iommu-dma, flush queue, coherent", platform: platform.IommuLazy, granule: 4096},
		{Name: "ats", What: "iommu-dma, strict, a device with a TLB of its own", platform: platform.IommuStrict, granule: 4096, adjust: ownTLB},
		{Name: "untrusted", What: "iommu-dma, strict, a device of an external port: what shares a page with other data bounces", platform: platform.IommuStrict, granule: 4096,
			setUp: func(d *platform.Device) { d.Ctx.Dev.Untrusted = true }},
		{Name: "viommu", What: "iommu-dma in a guest with a virtio-iommu, strict", platform: platform.ViommuStrict, granule: 4096},
		{Name: "viommu-lazy", What: "iommu-dma in a guest with a virtio-iommu, flush queue", platform: platform.ViommuLazy, granule: 4096},
		{Name: "amd", What: "iommu-dma on AMD-Vi, strict", platform: platform.IommuStrict, preset: "genoa", granule: 4096},
		{Name: "amd-lazy", What: "iommu-dma on AMD-Vi, flush queue", platform: platform.IommuLazy, preset: "genoa", granule: 4096},
		{Name: "smmu", What: "iommu-dma on an Arm SMMUv3, strict", platform: platform.IommuStrict, preset: "neoverse-n1", granule: 4096},
		{Name: "smmu-lazy", What: "iommu-dma on an Arm SMMUv3, flush queue", platform: platform.IommuLazy, preset: "neoverse-n1", granule: 4096},
		{Name: "strict-nc", Main: true, What: "iommu-dma, strict, a device that does not snoop (arm64)", platform: platform.IommuStrict, preset: "neoverse-n1", granule: 4096, adjust: notCoherent},
		{Name: "ops-gart", Main: true, What: "dma_map_ops: the aperture of AMD's northbridges, forced", platform: platform.OpsGart, granule: 4096},
		{Name: "ops-grant", What: "dma_map_ops: grants to another Xen domain", platform: platform.OpsGrant, granule: 4096},
		{Name: "ops-null", What: "dma_map_ops of a provider without a map function", platform: platform.OpsGart, setUp: func(d *platform.Device) {
			d.Ctx.Ops.Missing[mapops.MapPage] = true
		}},
	}
}
