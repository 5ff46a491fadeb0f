package debate

import (
	"context"
	"errors"
	"fmt"

	"dmapath/bench"
	"dmapath/bench/sensitivity"
	"dmapath/platform"
)

// Platforms are the presets that the page compares: two generations of VT-d, AMD-Vi, and Arm with an SMMUv3.
var Platforms = []string{"icelake-sp", "sapphire-rapids", "genoa", "neoverse-n1"}

// The calls that are argued about.
const (
	page612  = "map_page@6.12"
	page73   = "map_page@7.3"
	phys73   = "map_phys@7.3"
	derive73 = "map_phys_rederive@7.3"
)

// Options are what a page may be made with. Everything else is fixed.
type Options struct {
	Seed       uint64
	Jobs       int   // runs at a time; 0: one per CPU of the host. The page does not depend on it.
	Operations int64 // of a run; DefaultOperations
	Samples    int   // of the uncertainty of the first platform; the others take half; DefaultSamples
}

// Defaults of Options.
const (
	DefaultOperations = 1200
	DefaultSamples    = 48
)

// memoryRun is one memory model and size of RAM.
type memoryRun struct {
	model, ram string
	*bench.Comparison
}

// Debate is everything that the page is made of.
type Debate struct {
	opt       Options
	main      []*bench.Comparison // by platform, nvme 4 KiB
	recorded  *bench.Comparison   // the calls as recorded from real kernels, on the first platform
	memory    []memoryRun
	drivers   []*bench.Comparison // whole NVMe drivers, 128 KiB, by target
	hazards   *bench.Hazards
	uncertain []*sensitivity.Uncertainty // by platform
	strict    *sensitivity.Elasticities  // of the unmap on the first platform
}

// targets are where the data of a whole driver's I/O lies.
var targets = []string{"memory", "p2p-pages", "p2p-mmio"}

// Run makes all runs.
func Run(ctx context.Context, o Options, progress func(done, total int, what string)) (*Debate, error) {
	d := &Debate{opt: o}
	stage := func(name string) func(done, total int, what string) {
		if progress == nil {
			return nil
		}
		return func(done, total int, what string) { progress(done, total, name+": "+what) }
	}
	comparison := func(name string, s *platform.Spec, x bench.Experiment, lookups bool) (*bench.Comparison, error) {
		show, run := stage(name), bench.ComparePoints
		if lookups {
			run = bench.Compare
		}
		c, err := run(ctx, s, x, o.Jobs, func(done, total int, p bench.Point) {
			if show != nil {
				show(done, total, p.String())
			}
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return c, nil
	}
	base := bench.Default()
	base.Workloads, base.Seed, base.Operations = []string{"nvme"}, o.Seed, o.Operations
	var first *platform.Spec
	for _, name := range Platforms {
		s, err := platform.Load(name)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = s
		}
		c, err := comparison(name, s, base, true)
		if err != nil {
			return nil, err
		}
		d.main = append(d.main, c)
		x := base
		x.Backends = []string{"direct", "iommu-strict"}
		n := o.Samples
		if s != first {
			x.Caches, n = []string{"warm"}, max(sensitivity.FewestSamples, n/2)
		}
		x.Operations = max(o.Operations, sensitivity.FewestOperations)
		u, err := sensitivity.Vary(ctx, s, x, n, o.Jobs, stage("what is uncertain about "+name))
		if err != nil {
			return nil, err
		}
		d.uncertain = append(d.uncertain, u)
	}
	var err error
	x := base
	x.Workloads, x.Source, x.Variants, x.Caches = []string{"map-benchmark"}, "recorded", []string{page612, page73, phys73}, []string{"hot", "warm"}
	x.Backends = []string{"direct", "iommu-strict", "iommu-lazy"}
	if d.recorded, err = comparison("recorded calls", first, x, false); err != nil {
		return nil, err
	}
	for _, m := range []memoryRun{{model: "flatmem"}, {model: "sparsemem"}, {model: "sparsemem-extreme"}, {model: "sparsemem-vmemmap"},
		{ram: "16GiB"}, {ram: "64GiB"}, {ram: "1TiB"}, {ram: "4TiB"}} {
		s := first.Clone()
		if m.model != "" {
			err = s.Set("memory.model", m.model)
		} else {
			err = s.Set("memory.ram", m.ram)
		}
		if err = errors.Join(err, s.Check()); err != nil {
			return nil, err
		}
		x := base
		x.Variants, x.Backends, x.Caches = []string{phys73, derive73}, []string{"direct"}, []string{"warm", "cold"}
		if m.Comparison, err = comparison("memory "+m.model+m.ram, s, x, false); err != nil {
			return nil, err
		}
		d.memory = append(d.memory, m)
	}
	for _, t := range targets {
		x := base
		x.Variants, x.Backends, x.Caches, x.Size = []string{"driver@6.12", "driver@7.3"}, []string{"iommu-strict", "iommu-lazy"}, []string{"warm"}, "128KiB"
		x.Operations, x.NVMe.Target = max(128, o.Operations/4), t
		if t == "memory" {
			x.Backends = append([]string{"direct"}, x.Backends...)
		}
		c, err := comparison("drivers, data in "+t, first, x, false)
		if err != nil {
			return nil, err
		}
		d.drivers = append(d.drivers, c)
	}
	h := bench.HazardOptions{Calls: designs, Rounds: 32, Seed: o.Seed}
	if d.hazards, err = bench.RunHazards(ctx, first, h, o.Jobs, stage("hazards")); err != nil {
		return nil, err
	}
	x = base
	x.Variants, x.Backends, x.Caches = []string{phys73}, []string{"iommu-strict"}, []string{"warm"}
	x.Operations = max(o.Operations, sensitivity.FewestOperations)
	if d.strict, err = sensitivity.Elast(ctx, first, x, o.Jobs, stage("elasticities"), first.Uncertain()...); err != nil {
		return nil, err
	}
	return d, nil
}

// designs are the calls whose behaviour on every memory is shown.
var designs = []string{"map_page", "map_phys", "map_phys_rederive", "map_phys_mmio", "map_resource"}
