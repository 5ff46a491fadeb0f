package advise

import (
	"fmt"
	"slices"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads"
)

// Setup is one configuration that can be run: a platform and an experiment of one point, or a trace.
type Setup struct {
	Platform *platform.Spec
	Exp      bench.Experiment // one workload, one backend, one cache state, one variant; of a trace these and the seed count
	Trace    *Trace           // nil: the experiment's workload
	// Untrusted marks the device as one behind an external port: what shares an IOMMU page with other data bounces then.
	Untrusted bool

	shapes []reshape // of the trace's calls
}

// Workloads are those that advice is given for: they have a driver that maps and unmaps.
var Workloads = []string{"nvme", "nic", "netperf-rx", "map-benchmark"}

func (u *Setup) workload() string          { return u.Exp.Workloads[0] }
func (u *Setup) backend() platform.Backend { return platform.Backend(u.Exp.Backends[0]) }
func (u *Setup) variant() string           { return u.Exp.Variants[0] }

// driver reports whether the variant is a whole driver.
func (u *Setup) driver() bool { return slices.Contains(bench.Drivers, u.variant()) }

// call is what a single call's variant maps with; nil for a whole driver.
func (u *Setup) call() dma.Variant {
	v, err := dma.Lookup(u.variant())
	if err != nil {
		return nil
	}
	return v
}

// kernel is the kernel of the variant, as in its name.
func (u *Setup) kernel() string {
	if v := u.call(); v != nil {
		return v.Version().String()
	}
	return u.variant()[len("driver@"):]
}

func (u *Setup) newest() bool { return u.kernel() == kernel.V7_3.String() }

// bytes is the size of a buffer of the two workloads that --size applies to.
func (u *Setup) bytes() (int64, error) {
	b, err := platform.ParseBytes(u.Exp.Size)
	return int64(b), err
}

// check refuses what no advice can be computed for.
func (u *Setup) check() error {
	for _, l := range []struct {
		key  string
		list []string
	}{{"workload", u.Exp.Workloads}, {"backend", u.Exp.Backends}, {"cache", u.Exp.Caches}, {"variant", u.Exp.Variants}} {
		if len(l.list) != 1 {
			return fmt.Errorf("advice starts from one configuration: %s names %d", l.key, len(l.list))
		}
	}
	if u.Trace != nil {
		return u.checkTrace()
	}
	if !slices.Contains(Workloads, u.workload()) {
		near := ""
		if n, ok := platform.Nearest(u.workload(), Workloads, len(u.workload())/2); ok {
			near = "; did you mean " + n + "?"
		}
		return fmt.Errorf("workload %q: advice is given for %v%s", u.workload(), Workloads, near)
	}
	if err := u.Exp.Validate(u.Platform); err != nil {
		return err
	}
	if u.backend().Provider() {
		return fmt.Errorf("backend %s: no device is behind a provider of dma_map_ops, so what one could reach cannot be measured; allowed are the others", u.backend())
	}
	if u.Exp.Source != "modelled" {
		return fmt.Errorf("source %s: recorded calls run as recorded, nothing about them can be changed", u.Exp.Source)
	}
	return nil
}

// valid says what is wrong with u. It makes described calls known, and so must not run beside a simulation.
func (u *Setup) valid() error {
	if u.Trace != nil {
		return nil
	}
	return u.Exp.Validate(u.Platform)
}

// run simulates u, which is valid; begin is bench.Experiment.Inspect's.
func (u *Setup) run(begin func(*platform.Machine, *platform.Device) (func(*workloads.Result) error, error)) (*bench.Outcome, error) {
	return u.Exp.Inspect(u.Platform, u.Exp.Points()[0], func(m *platform.Machine, d *platform.Device) (func(*workloads.Result) error, error) {
		d.Ctx.Dev.Untrusted = u.Untrusted
		if begin == nil {
			return nil, nil
		}
		return begin(m, d)
	})
}

// cost simulates u for what its calls cost.
func (u *Setup) cost() (ran, error) {
	if u.Trace != nil {
		return u.costOfTrace()
	}
	o, err := u.run(nil)
	if err != nil {
		return nil, err
	}
	return point{o}, nil
}

// clone returns a copy whose lists and platform can be changed.
func (u *Setup) clone() *Setup {
	c := *u
	c.Platform = u.Platform.Clone()
	for _, l := range []*[]string{&c.Exp.Workloads, &c.Exp.Backends, &c.Exp.Caches, &c.Exp.Variants} {
		*l = slices.Clone(*l)
	}
	return &c
}
