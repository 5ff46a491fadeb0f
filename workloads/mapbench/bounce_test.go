package mapbench

import (
	"testing"

	"dmapath/kernel"
	"dmapath/platform"
)

// A 32-bit device bounces what lies above 4 GiB where there is no IOMMU, which costs two copies; behind one it is given a low address.
func TestThirtyTwoBitDeviceBounces(t *testing.T) {
	cost := func(variant string, b platform.Backend, bits int) float64 {
		r := run(t, variant, b, func(c *Config) { c.Bits, c.Dir, c.Rounds = bits, kernel.Bidirectional, 60 })
		return r.Map.Cycles.Mean() + r.Unmap.Cycles.Mean()
	}
	for _, v := range []string{"map_page@6.12", "map_phys@7.3"} {
		if wide, narrow := cost(v, platform.Direct, 64), cost(v, platform.Direct, 32); narrow < 4*wide {
			t.Errorf("%s, direct: a pair takes %.0f cycles for 32 bits, %.0f for 64", v, narrow, wide)
		}
		if wide, narrow := cost(v, platform.IommuLazy, 64), cost(v, platform.IommuLazy, 32); narrow > 1.2*wide {
			t.Errorf("%s, iommu-lazy: a pair takes %.0f cycles for 32 bits, %.0f for 64", v, narrow, wide)
		}
	}
}

// Bounced pairs cost by the byte, mapped ones do not.
func TestBouncingCostsByTheByte(t *testing.T) {
	cost := func(b platform.Backend, pages int) float64 {
		r := run(t, "map_phys@7.3", b, func(c *Config) { c.Granule, c.Dir, c.Rounds = pages, kernel.Bidirectional, 40 })
		return r.Map.Cycles.Mean() + r.Unmap.Cycles.Mean()
	}
	if one, many := cost(platform.SwiotlbForce, 1), cost(platform.SwiotlbForce, 32); many < 8*one {
		t.Errorf("bounced: 1 page %.0f cycles, 32 pages %.0f", one, many)
	}
	if one, many := cost(platform.Direct, 1), cost(platform.Direct, 32); many > 1.5*one {
		t.Errorf("direct: 1 page %.0f cycles, 32 pages %.0f", one, many)
	}
}
