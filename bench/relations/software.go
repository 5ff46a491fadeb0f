package relations

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"dmapath/platform"
)

func passthroughAgainst(backend string) *Relation {
	return &Relation{Name: "passthrough against " + backend, Says: "a map and unmap that the IOMMU passes through cost no more than on " + backend, Margin: 0.02,
		Change: calls(func(_ *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			if !platform.Backend(c.Backend).HasIOMMU() || bool(s.IOMMU.Trapped) || bool(s.Kernel.EncryptedGuest) || !bool(s.PCIe.Coherent) || c.get("workload.nvme.target") != "" {
				return c, c, false // bouncing and maintenance are dma-direct's business as well as iommu-dma's, in other cases
			}
			a, b = c, c
			a.Backend, b.Backend = backend, "iommu-passthrough"
			return a, b, true
		}),
		Differ: func(a, b *Ran, m float64) string { return costlier("cycles", b.Cost(), a.Cost(), m) }}
}

func elsewhere() *Relation {
	return &Relation{Name: "other buffer", Says: "a buffer of a page at another address takes as many instructions, but for 8 at most of comparing it with the bounce pool's range, and on hot caches about as many cycles", Margin: 0.05,
		Change: func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			if s.Kernel.DebugDMA { // its tree and hash are indexed by the address
				return c, c, false
			}
			if c.Workload != "map-benchmark" || c.Cache != "hot" || c.Backend == "swiotlb-force" {
				return c, c, false
			}
			c = alone(c).With("workload.size", "4KiB").With("workload.map_benchmark.granule", "1")
			return c, c.With("workload.seed", strconv.Itoa(1001+r.IntN(1000))), true
		},
		Differ: func(a, b *Ran, m float64) string {
			if x, y := a.Instructions(), b.Instructions(); math.Abs(x-y) > 8 {
				return fmt.Sprintf("instructions: %v and %v", x, y)
			}
			x, y := a.Cost(), b.Cost()
			return costlier("cycles", math.Max(x, y), math.Min(x, y), m)
		}}
}

func unusedCredits() *Relation {
	return &Relation{Name: "unused credits", Says: "more credits for register reads, of which drivers make none, change nothing",
		Change: device(changed(2, "pcie.device.nonposted_headers")),
		Differ: func(a, b *Ran, _ float64) string { return differ(a.Outcome, b.Outcome) }}
}

func retpolines() *Relation {
	return &Relation{Name: "retpolines", Says: "retpolines make no call cheaper", Margin: 0.02,
		Change: calls(func(_ *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			return c.With("kernel.mitigation", "none"), c.With("kernel.mitigation", "retpoline"), s.Kernel.Arch == "x86-64"
		}),
		Differ: func(a, b *Ran, m float64) string {
			return costlier("cycles with plain indirect calls", a.Cost(), b.Cost(), m)
		}}
}

func debugging() *Relation {
	return &Relation{Name: "debug options", Says: "a debug option makes no call cheaper", Margin: 0.02,
		Change: calls(func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			key := of(r, []string{"kernel.debug_dma_api", "kernel.trace_dma", "kernel.kmsan"})
			return c.With(key, "off"), c.With(key, "on"), key != "kernel.kmsan" || s.Kernel.Arch == "x86-64"
		}),
		Differ: func(a, b *Ran, m float64) string { return costlier("cycles without it", a.Cost(), b.Cost(), m) }}
}
