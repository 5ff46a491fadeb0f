package advise

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"dmapath/bench"
	"dmapath/bench/sensitivity"
	"dmapath/platform"
)

// Option is one configuration that was tried: the baseline, or it with some changes.
type Option struct {
	Name    string
	Changes []*Change
	Setup   *Setup
	// Failed says why the option cannot be had; everything below is missing then.
	Failed error

	Cost, Half float64 // mapping cost of an operation of the baseline's size, cycles, with half of its 95 % interval
	Exposure   *Exposure
	Saves      Effect  // cycles per operation
	Core       Effect  // what the saving is of a core at the baseline's rate, percent
	Rate       Effect  // operations per second more, percent
	Saved      Causes  // the saving by what the cycles went into
	Front      bool    // no other option is cheaper without more exposure, or as cheap with less
	Standing   Against // of its exposure against the baseline's
	Drops      int64   // frames that were lost
	Refused    int64   // transactions that the IOMMU refused
	Sure       *Sure   // nil without samples

	out    ran
	resize bool
}

// Request is what advice is asked about.
type Request struct {
	Platform *platform.Spec
	Exp      bench.Experiment // one workload, backend, cache state and variant
	Trace    *Trace           // instead of the workload; nil: none
	Jobs     int              // runs at a time, 0: one per CPU of the host; the result does not depend on it
	// Samples, unless 0, are machines drawn from the platform's plausible ranges on which the order of the options is asked again.
	Samples  int
	Progress sensitivity.Progress
}

// Advice is what came of it.
type Advice struct {
	Platform *platform.Spec
	Base     *Option
	Options  []*Option // that were run, or failed, in the order of candidates; combinations last
	Samples  int
	seed     uint64
}

// Check says why no advice can be computed for r, nil when it can.
func Check(r Request) error { return r.setup().check() }

// setup is the baseline of r.
func (r *Request) setup() *Setup {
	u := &Setup{Platform: r.Platform, Exp: r.Exp, Trace: r.Trace}
	if r.Trace != nil {
		u.Exp.Workloads = []string{tracedWorkload}
	}
	return u
}

// For runs the configuration of r, and every change of it, and says what each saves and exposes.
func For(ctx context.Context, r Request) (*Advice, error) {
	base := r.setup()
	if err := base.check(); err != nil {
		return nil, err
	}
	a := &Advice{Platform: r.Platform, Base: &Option{Name: "as it is", Setup: base}, Samples: r.Samples, seed: r.Exp.Seed}
	for _, c := range base.changes() {
		a.Options = append(a.Options, base.with(c))
	}
	done := 0
	round := func(options []*Option, total int) error {
		before := done
		done += 2 * len(options)
		return runAll(ctx, options, r.Jobs, func(n, _ int, what string) {
			if r.Progress != nil {
				r.Progress(before+n, max(total, done), what)
			}
		})
	}
	if err := round(append([]*Option{a.Base}, a.Options...), 2*(len(a.Options)+3)); err != nil {
		return nil, err
	}
	if a.Base.Failed != nil {
		return nil, a.Base.Failed
	}
	for _, o := range a.Options {
		a.compare(o)
	}
	combined := a.combinations()
	if err := round(combined, 0); err != nil {
		return nil, err
	}
	for _, o := range combined {
		a.compare(o)
		if o.Failed != nil || a.adds(o) {
			a.Options = append(a.Options, o)
		}
	}
	a.front()
	if r.Samples > 0 {
		if err := a.vary(ctx, r); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// with returns u with some changes, not run yet.
func (u *Setup) with(changes ...*Change) *Option {
	o := &Option{Changes: changes, Setup: u.clone()}
	var names []string
	for _, c := range changes {
		names = append(names, c.Name)
		o.resize = o.resize || c.Resized
		c.apply(o.Setup)
	}
	o.Name = strings.Join(names, " + ")
	return o
}

// runAll runs options, each once for its cost and once for its exposure. What the simulated machine refuses is the option's failure; only a
// cancelled context is an error.
func runAll(ctx context.Context, options []*Option, jobs int, progress sensitivity.Progress) error {
	var runs []sensitivity.Job
	failed := make([][2]error, len(options))
	for i, o := range options {
		if o.Failed = o.Setup.valid(); o.Failed != nil {
			continue
		}
		runs = append(runs, sensitivity.Job{What: o.Name, Run: func() error {
			o.out, failed[i][0] = o.Setup.cost()
			return nil
		}}, sensitivity.Job{What: o.Name + ": exposure", Run: func() error {
			o.Exposure, failed[i][1] = o.Setup.measure()
			return nil
		}})
	}
	if err := sensitivity.Do(ctx, runs, jobs, progress); err != nil {
		return err
	}
	for i, o := range options {
		if err := errors.Join(failed[i][:]...); err != nil && o.Failed == nil {
			o.Failed = failed[i][0]
			if o.Failed == nil {
				o.Failed = failed[i][1]
			}
			o.out, o.Exposure = nil, nil
		}
	}
	return nil
}

// payload is what an operation of the baseline moves, when that is needed to compare.
func (a *Advice) payload(o *Option) float64 {
	if !o.resize {
		return 0
	}
	return a.Base.out.payload()
}

// compare fills in what o is against the baseline.
func (a *Advice) compare(o *Option) {
	b := a.Base
	if b.Cost == 0 {
		b.Drops, b.Refused = b.out.trouble()
		b.Cost, b.Half = cost(b.out.parts(0))
	}
	if o.Failed != nil {
		return
	}
	bytes := a.payload(o)
	list := o.out.parts(bytes)
	o.Cost, o.Half = cost(list)
	o.Saves = saving(b.out.parts(0), list, !o.resize)
	o.Rate = faster(b.out, o.out, bytes, !o.resize)
	if rate, _ := b.out.rate(); !math.IsNaN(rate) {
		per := 100 * rate / float64(b.out.hz())
		o.Core = Effect{per * o.Saves.Mean, per * o.Saves.Half}
	}
	o.Saved = b.out.causes(0).less(o.out.causes(bytes))
	o.Standing = o.Exposure.Against(b.Exposure)
	o.Drops, o.Refused = o.out.trouble()
}

// combinations joins the best change of each dimension: once among those that expose no more than the baseline, once among those that keep the
// device from most of RAM, once among all.
func (a *Advice) combinations() (list []*Option) {
	levels := []func(o *Option) bool{
		func(o *Option) bool { return o.Standing <= Same },
		func(o *Option) bool { return o.Exposure.RAM == 0 },
		func(o *Option) bool { return true },
	}
	seen := map[string]bool{}
	for _, o := range a.Options {
		seen[o.Name] = true
	}
	for _, in := range levels {
		var best [numDimensions]*Option
		for _, o := range a.Options {
			d := o.Changes[0].Dimension
			if o.Failed != nil || o.resize || o.Saves.Sign() <= 0 || !in(o) {
				continue
			}
			if best[d] == nil || o.Saves.Mean > best[d].Saves.Mean {
				best[d] = o
			}
		}
		if best[Buffers] != nil && best[Buffers].Changes[0].Replaces {
			best[Call] = nil
		}
		var changes []*Change
		for _, o := range best {
			if o != nil {
				changes = append(changes, o.Changes[0])
			}
		}
		if len(changes) < 2 {
			continue
		}
		if o := a.Base.Setup.with(changes...); !seen[o.Name] {
			seen[o.Name] = true
			list = append(list, o)
		}
	}
	return list
}

// adds reports whether a combination is cheaper than each of its changes alone.
func (a *Advice) adds(o *Option) bool {
	return !slices.ContainsFunc(a.Options, func(p *Option) bool {
		return len(p.Changes) == 1 && slices.ContainsFunc(o.Changes, func(c *Change) bool { return c.Name == p.Changes[0].Name }) &&
			saving(p.out.parts(0), o.out.parts(0), true).Sign() <= 0
	})
}

// front marks the options that no other one beats.
func (a *Advice) front() {
	all := append([]*Option{a.Base}, a.Options...)
	all = slices.DeleteFunc(all, func(o *Option) bool { return o.Failed != nil || o.resize })
	for _, o := range all {
		o.Front = !slices.ContainsFunc(all, func(p *Option) bool { return p != o && a.beats(p, o) })
	}
}

// beats reports whether p is cheaper than o without more exposure, or as cheap with less.
func (a *Advice) beats(p, o *Option) bool {
	s := saving(o.out.parts(a.payload(o)), p.out.parts(a.payload(p)), !p.resize && !o.resize)
	switch p.Exposure.Against(o.Exposure) {
	case Less:
		return s.Sign() >= 0
	case Same:
		return s.Sign() > 0
	}
	return false // more of some memory is not bought by less of other
}

// String names an option in errors.
func (o *Option) String() string { return fmt.Sprintf("%s (%s)", o.Name, o.describe()) }
