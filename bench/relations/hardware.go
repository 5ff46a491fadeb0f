package relations

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"dmapath/platform"
)

func largerIOTLB() *Relation {
	return &Relation{Name: "larger IOTLB", Says: "an LRU IOTLB with twice the ways in as many sets misses no more often", Margin: 0.02,
		Change: device(changed(2, "iommu.iotlb.entries", "iommu.iotlb.ways")),
		Differ: func(a, b *Ran, m float64) string {
			return noMore("walks", float64(b.IOMMU.Walks), float64(a.IOMMU.Walks+4), m)
		}}
}

func moreWalkers() *Relation {
	return &Relation{Name: "more walkers", Says: "twice as many walkers lower no throughput", Margin: 0.03,
		Change: device(changed(2, "iommu.walkers")),
		Differ: func(a, b *Ran, m float64) string {
			return noMore("time per operation", float64(b.Time()), float64(a.Time()), m)
		}}
}

func slowerDRAM() *Relation {
	return &Relation{Name: "slower DRAM", Says: "DRAM that takes twice as long makes no call cheaper and no access of a device faster", Margin: 0.03,
		Change: onOne(changed(2, "dram.tcl", "dram.trcd", "dram.trp", "dram.overhead")),
		Differ: func(a, b *Ran, m float64) string { return costlier("cost with faster DRAM", a.Cost(), b.Cost(), m) }}
}

func longerQueues() *Relation {
	return &Relation{Name: "longer queues", Says: "load and store queues of twice the length make no call dearer", Margin: 0.03,
		Change: calls(func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			if c.Workload != "map-benchmark" {
				return a, b, false // how many completions a poll finds depends on how long everything takes
			}
			return changed(2, "cpu.load_queue", "cpu.store_queue")(r, c, s)
		}),
		Differ: func(a, b *Ran, m float64) string { return costlier("cycles", b.Cost(), a.Cost(), m) }}
}

func longerLink() *Relation {
	return &Relation{Name: "longer link", Says: "a link with twice the latency shortens no operation, one at a time", Margin: 0.02,
		Change: unloaded(changed(2, "pcie.link")),
		Differ: func(a, b *Ran, m float64) string {
			return noMore("mean latency on the shorter link", a.latency(), b.latency(), m)
		}}
}

func narrowerLink() *Relation {
	return &Relation{Name: "narrower link", Says: "half the lanes shorten no operation, one at a time", Margin: 0.02,
		Change: unloaded(func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			b, ok = multiplied(c, s, 2, "pcie.lanes")
			return b, c, ok
		}),
		Differ: func(a, b *Ran, m float64) string {
			return noMore("mean latency with more lanes", a.latency(), b.latency(), m)
		}}
}

func slowerWalks() *Relation {
	return &Relation{Name: "slower walks", Says: "table reads that take longer shorten no operation, one at a time", Margin: 0.02,
		Change: unloaded(func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			return c.With("iommu.pte_overhead", "10cycles"), c.With("iommu.pte_overhead", "100cycles"), platform.Backend(c.Backend).HasIOMMU()
		}),
		Differ: func(a, b *Ran, m float64) string {
			return noMore("mean latency with faster reads", a.latency(), b.latency(), m)
		}}
}

func largerLLC() *Relation {
	return &Relation{Name: "larger LLC", Says: "a last-level cache with twice the ways in as many sets and lru reads memory no more often", Margin: 0.02,
		Change: func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			if s.Cache.LLC.Size > 64<<20 || s.Cache.LLC.Ways > 16 || s.Cache.IO.DDIOWays == s.Cache.LLC.Ways {
				return c, c, false
			}
			c = c.With("cache.llc.replacement", "lru")
			b, ok = multiplied(c, s, 2, "cache.llc.size", "cache.llc.ways")
			return c, b, ok
		},
		Differ: func(a, b *Ran, m float64) string {
			return noMore("reads of memory", float64(b.Cache.DRAM.Reads), float64(a.Cache.DRAM.Reads+64), m)
		}}
}

// lanes and generations cannot be scaled by any factor, but Gen4 moves a byte in half the time of Gen3 and encodes it alike.
const slowGeneration, fastGeneration = "3", "4"

func scaled() *Relation {
	return &Relation{Name: "scaled clocks", Says: "clocks of half the frequency and latencies of twice the time take twice the time in all", Margin: 0.001, // edges are rounded to a picosecond, whatever the scale
		Change: func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			// The kernel's own times (timers, udelay) do not scale: no flush queue, no driver that waits by the microsecond.
			if c.Workload != "map-benchmark" || strings.HasSuffix(c.Backend, "-lazy") || s.IOMMU.Dialect == "amd-vi" && strings.HasSuffix(c.Backend, "-strict") {
				return c, c, false
			}
			c = alone(c).With("workload.map_benchmark.trans_ns", "0")
			a = c.With("cpu.frequency", "2GHz").With("iommu.clock", "1GHz").With("pcie.generation", fastGeneration).With("pcie.ack_interval", "1KiB").With("pcie.fc_interval", "1KiB")
			b = a.With("cpu.frequency", "1GHz").With("iommu.clock", "500MHz").With("pcie.generation", slowGeneration)
			for _, k := range platform.Schema() {
				if v, ok := s.Number(k.Name); ok && isTime(&k) {
					if v = v / 1000 * 1000; v > k.Max/2 { // whole nanoseconds
						return c, c, false
					}
					a, b = a.With(k.Name, k.Format(v)), b.With(k.Name, k.Format(2*v))
				}
			}
			return a, b, true
		},
		Differ: func(a, b *Ran, m float64) string {
			if x, y := a.Instructions(), b.Instructions(); x != y {
				return fmt.Sprintf("instructions: %v and %v", x, y)
			}
			x, y := 2*float64(a.Elapsed), float64(b.Elapsed)
			return noMore("time scaled", math.Max(x, y), math.Min(x, y), m)
		}}
}

// isTime reports whether k is a time, and not a number of cycles.
func isTime(k *platform.Key) bool {
	t := k.Format(k.Max)
	return strings.HasSuffix(t, "s") && !strings.HasSuffix(t, "cycles")
}

func colder(cold, warm string) *Relation {
	return &Relation{Name: cold + " against " + warm, Says: "colder caches make no call cheaper", Margin: 0.03,
		Change: calls(func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			if c.Workload == "netperf-rx" { // what is in its caches is its own doing
				return a, b, false
			}
			a, b = c, c
			a.Cache, b.Cache = warm, cold
			if b.Cache == "cold" {
				a, b = a.With("workload.operations", "64"), b.With("workload.operations", "64")
			}
			return a, b, true
		}),
		Differ: func(a, b *Ran, m float64) string { return costlier("cycles, "+warm, a.Cost(), b.Cost(), m) }}
}
