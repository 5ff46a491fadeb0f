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

// machine returns the platform that the backend is run on when s was asked for.
func (b *Backend) machine(s *platform.Spec) (*platform.Spec, error) {
	if b.preset == "" {
		return s, nil
	}
	s, err := platform.Load(b.preset)
	if err == nil && b.preset == arm {
		err = s.Set("kernel.arch", "arm64")
	}
	return s, err
}

// arm is the preset of the backends that x86 does not have.
const arm = "neoverse-n1"

// notCoherent makes the device one that does not snoop.
func notCoherent(_ *platform.Machine, d *platform.Device) { d.Ctx.Dev.NonCoherent = true }

// Backends lists the backends in the order of tables.
func Backends() []Backend {
	return []Backend{
		{Name: "direct", What: "dma-direct, coherent", platform: platform.Direct},
		{Name: "direct-nc", What: "dma-direct, a device that does not snoop (arm64)", platform: platform.Direct, preset: arm, setUp: notCoherent},
		{Name: "swiotlb", What: "dma-direct with swiotlb=force", platform: platform.Direct, setUp: func(m *platform.Machine, _ *platform.Device) { m.Tlb.Force = true }},
		{Name: "strict", What: "iommu-dma, strict, coherent", platform: platform.IommuStrict, granule: 4096},
		{Name: "lazy", What: "iommu-dma, flush queue, coherent", platform: platform.IommuLazy, granule: 4096},
		{Name: "untrusted", What: "iommu-dma, strict, a device of an external port: what shares a page with other data bounces", platform: platform.IommuStrict, granule: 4096,
			setUp: func(_ *platform.Machine, d *platform.Device) { d.Ctx.Dev.Untrusted = true }},
		{Name: "strict-nc", What: "iommu-dma, strict, a device that does not snoop (arm64)", Missing: "no IOMMU of arm64"},
		{Name: "ops", What: "dma_map_ops of an architecture", Missing: "no dma_map_ops"},
	}
}
