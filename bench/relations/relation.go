package relations

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/sim"
)

// Relation is a statement about two runs: a case, and the same case with one thing different.
type Relation struct {
	Name string
	Says string
	// Margin is what is allowed against the statement, relative, where it is true on average only; 0 where it is exact.
	Margin float64
	// Change makes the two cases; ok is false where the relation says nothing about c.
	Change func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool)
	// Differ says in which way b is not to a as it must be; empty when it is.
	Differ func(a, b *Ran, margin float64) string
}

// All lists the metamorphic relations.
func All() []*Relation {
	return []*Relation{unusedKey(), prefix(), moreCPUs(), largerIOTLB(), moreWalkers(), slowerDRAM(), longerQueues(), longerLink(), narrowerLink(), slowerWalks(),
		passthroughAgainst("iommu-strict"), passthroughAgainst("iommu-lazy"), passthroughAgainst("direct"), scaled(), elsewhere(), unusedCredits(), retpolines(), debugging(), colder("warm", "hot"), colder("cold", "warm"),
		largerLLC()}
}

// noMore says that a figure of b exceeds a's.
func noMore(what string, b, a, margin float64) string {
	if b <= a*(1+margin) {
		return ""
	}
	return fmt.Sprintf("%s: %.6g, more than %.6g (%+.2f %%)", what, b, a, 100*(b/a-1))
}

// costlier is noMore for costs, of which 16 cycles, or ns of an access, are allowed besides: a few instructions take one miss more or less by where
// they lie.
func costlier(what string, b, a, margin float64) string { return noMore(what, b-16, a, margin) }

// multiplied returns c with a number of the platform multiplied by n, as Set takes it; ok is false when it is out of range or 0.
func multiplied(c Case, s *platform.Spec, n int64, keys ...string) (Case, bool) {
	for _, k := range platform.Schema() {
		for _, key := range keys {
			if k.Name != key {
				continue
			}
			v, ok := s.Number(key)
			if !ok || v == 0 || v > k.Max/n {
				return c, false
			}
			c = c.With(key, k.Format(v*n))
		}
	}
	return c, true
}

// changed is for relations that multiply values of the platform: b has them multiplied.
func changed(n int64, keys ...string) func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool) {
	return func(_ *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
		b, ok = multiplied(c, s, n, keys...)
		return c, b, ok
	}
}

// device restricts a relation to workloads with a device that does something.
func device(change func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool)) func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool) {
	return func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
		if c.Workload == "map-benchmark" {
			return a, b, false
		}
		return change(r, c, s)
	}
}

// unloaded restricts a relation to one operation at a time: with several, what one gains another may lose.
func unloaded(change func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool)) func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool) {
	return func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
		switch c.Workload {
		case "nvme":
			c = c.With("workload.cpus", "1").With("workload.nvme.queue_depth", "1").With("workload.nvme.rate", "0").With("workload.nvme.media_distribution", "constant")
		case "dma-probe":
			c = c.With("workload.probe.outstanding", "1")
		default:
			return a, b, false
		}
		return change(r, c, s)
	}
}

// calls restricts a relation to workloads that call the DMA API while they run, on one CPU: with several, who comes first to a lock decides more
// than what the relation is about.
func calls(change func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool)) func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool) {
	return func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
		if c.Workload == "dma-probe" {
			return a, b, false
		}
		return change(r, alone(c).With("workload.cpus", "1"), s)
	}
}

// onOne is calls for relations that hold of dma-probe as well.
func onOne(change func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool)) func(*rand.Rand, Case, *platform.Spec) (a, b Case, ok bool) {
	return func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
		if c.Workload != "dma-probe" {
			c = alone(c).With("workload.cpus", "1")
		}
		return change(r, c, s)
	}
}

// alone sets the case to one thread of the benchmark of map calls: what it does next does not depend on time.
func alone(c Case) Case {
	return c.With("workload.map_benchmark.threads", "1")
}

func unusedKey() *Relation {
	return &Relation{Name: "unused key", Says: "a value that nothing in the run uses changes nothing at all",
		Change: func(r *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			list := unused(c, s)
			if len(list) == 0 {
				return c, c, false
			}
			kv := of(r, list)
			return c, c.With(kv.Key, kv.Value), true
		},
		Differ: func(a, b *Ran, _ float64) string { return differ(a.Outcome, b.Outcome) }}
}

// unused lists values that do nothing in c.
func unused(c Case, s *platform.Spec) (list []Setting) {
	keys := platform.Schema()
	with := func(prefix string, but ...string) {
		for i := range keys {
			k := &keys[i]
			if !strings.HasPrefix(k.Name, prefix) || slices.Contains(but, k.Name) {
				continue
			}
			if v, ok := s.Number(k.Name); ok {
				list = append(list, Setting{k.Name, k.Format(2*v + 1)})
			}
			now, err := s.Get(k.Name)
			for _, w := range k.Words {
				if err == nil && w != now {
					list = append(list, Setting{k.Name, w})
				}
			}
		}
	}
	b := platform.Backend(c.Backend)
	if !b.HasIOMMU() {
		with("iommu.", "iommu.dialect", "iommu.trapped", "iommu.second_stage")
	}
	for _, state := range bench.Caches {
		if state != c.Cache || c.Workload == "dma-probe" {
			with("surroundings." + state)
		}
	}
	if c.Workload == "map-benchmark" && !b.HasIOMMU() {
		with("pcie.", "pcie.coherent")
	}
	for _, kv := range []Setting{{"nvme.queue_depth", "17"}, {"nvme.media_latency", "3us"}, {"nic.rate", "17000"}, {"nic.moderation", "3us"}, {"map_benchmark.trans_ns", "170"}} {
		if group, _, _ := strings.Cut(kv.Key, "."); strings.ReplaceAll(group, "_", "-") != c.Workload {
			list = append(list, Setting{"workload." + kv.Key, kv.Value})
		}
	}
	if s.IOMMU.Dialect != "smmuv3" {
		with("iommu.command_queue")
		with("iommu.range_invalidation")
		with("iommu.sync_message")
	}
	if !bool(s.IOMMU.Trapped) && !b.Virtio() {
		with("iommu.exit")
	}
	if s.PCIe.DeviceTLB.Entries == 0 {
		with("pcie.device_tlb_lookup")
		with("iommu.inv_device_tlb")
	}
	return list
}

func prefix() *Relation {
	return &Relation{Name: "longer run", Says: "a run of twice as many calls begins with the same calls at the same cost",
		Change: func(_ *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			n, err := strconv.Atoi(c.get("workload.operations"))
			// What is under way at the end, or has arrived already, makes the calls before it different.
			if err != nil || c.Workload != "map-benchmark" && c.Workload != "nvme" || c.Workload == "nvme" && 8*c.number("workload.nvme.queue_depth", 32)*c.number("workload.cpus", 1) > n {
				return c, c, false
			}
			return c, c.With("workload.operations", strconv.Itoa(2*n)), true
		},
		Differ: func(a, b *Ran, _ float64) string {
			for _, o := range []struct {
				name string
				a, b *sim.Series
			}{{"map", &a.Map.Series, &b.Map.Series}, {"unmap", &a.Unmap.Series, &b.Unmap.Series}} {
				x, nx := o.a.Batches()
				y, ny := o.b.Batches()
				if nx != ny {
					continue // nothing was called
				}
				for i := range len(x) / 2 {
					if i < len(y) && x[i] != y[i] {
						return fmt.Sprintf("%s, batch %d of %d: %d and %d cycles", o.name, i, len(x), x[i], y[i])
					}
				}
			}
			return ""
		}}
}

// get returns a value that c sets; empty when it does not.
func (c Case) get(key string) string {
	for _, s := range c.Set {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// number is get for a number, or what it is unless set.
func (c Case) number(key string, unset int) int {
	if n, err := strconv.Atoi(c.get(key)); err == nil {
		return n
	}
	return unset
}

func moreCPUs() *Relation {
	return &Relation{Name: "idle CPUs", Says: "twice as many CPUs, of which as many work as before, change no call", Margin: 0.03,
		Change: func(_ *rand.Rand, c Case, s *platform.Spec) (a, b Case, ok bool) {
			if c.Workload != "map-benchmark" || s.CPU.Cores < 8 || c.Backend == "swiotlb-force" { // an area of the pool for each CPU
				return c, c, false
			}
			c = alone(c)
			return c.With("workload.cpus", "4"), c.With("workload.cpus", "8"), true
		},
		Differ: func(a, b *Ran, m float64) string {
			if d := costlier("cycles of map and unmap", b.Cost(), a.Cost(), m); d != "" {
				return d
			}
			return costlier("cycles of map and unmap with fewer CPUs", a.Cost(), b.Cost(), m)
		}}
}
