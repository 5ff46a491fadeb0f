package host

import (
	"context"
	"errors"
	"fmt"
	"math"

	"golang.org/x/sync/errgroup"

	"dmapath/bench/evidence"
	"dmapath/bench/host/native"
	"dmapath/platform"
)

// Options of a validation.
type Options struct {
	Platform string // file or preset that stands for this machine; empty: calibrate first
	Base     string // preset that a calibration extends; empty: the nearest
	Progress func(done, total int, what string)
}

// Limits of what can be judged.
const (
	tolerance  = 0.20 // of a twin
	noiseLimit = 0.20 // interquartile range over median of a twin's native runs
	driftLimit = 0.03 // change of the core clock during the run
	offLimit   = 0.15 // memory against what it was at the calibration
)

// measured is a twin in a cache state with what it took natively.
type measured struct {
	twin  *Twin
	probe *Probe
	state string
	s     Sample
}

// Run calibrates (or takes a platform file), runs every twin natively and simulated, and compares cycles. A system on which nothing can be
// measured, and a machine too noisy to judge, give skipped rows and no error. jobs bounds the simulations at a time (0: all processors);
// native runs are alone.
func Run(ctx context.Context, o Options, jobs int) (*evidence.Report, error) {
	rep := &evidence.Report{Name: "host", Title: "Lookups on this machine and on its model"}
	m, err := NewMeter()
	if errors.Is(err, native.ErrUnsupported) {
		rep.Rows = append(rep.Rows, skipped(err))
		return rep, nil
	}
	if err != nil {
		return nil, err
	}
	defer m.Close()
	sys, err := ReadSystem()
	if err != nil {
		return nil, err
	}
	spec, err := o.machine(ctx, m, sys, rep)
	var memory string
	var list []measured
	if err == nil {
		memory, err = m.memory(ctx, spec)
	}
	if err == nil {
		list, err = runTwins(ctx, m, spec, o.Progress)
	}
	if errors.Is(err, ErrBusy) || errors.Is(err, native.ErrNoHugePages) {
		rep.Rows = append(rep.Rows, skipped(err))
		return rep, nil
	}
	if err != nil {
		return nil, err
	}
	simulated := make([]float64, len(list))
	g, gctx := errgroup.WithContext(ctx)
	if jobs > 0 {
		g.SetLimit(jobs)
	}
	for i := range list {
		g.Go(func() (err error) {
			if gctx.Err() != nil {
				return gctx.Err()
			}
			simulated[i], err = Simulate(spec, list[i].probe)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range list {
		rep.Rows = append(rep.Rows, m.row(&list[i], simulated[i], memory, sys))
	}
	rep.Notes = append(rep.Notes, fmt.Sprintf("Measured on a %s at %.2f GHz; the counter runs at %.2f GHz in steps of %.0f ticks; the clock drifted by %.1f %%; in %.1f %% of the runs the processor was taken away, and they do not count.",
		sys, m.CoreHz()/1e9, m.Hz/1e9, m.Step, 100*m.Drift(), 100*m.LostShare()))
	return rep, nil
}

// skipped is the one row of a validation that could not be.
func skipped(why error) evidence.Row {
	return evidence.Row{Set: "Twins", What: "all", Unit: "cycles", Predicted: math.NaN(), Reference: math.NaN(), Tolerance: tolerance, Skip: why.Error()}
}

// machine is the model of this machine.
func (o *Options) machine(ctx context.Context, m *Meter, sys *System, rep *evidence.Report) (*platform.Spec, error) {
	if o.Platform != "" {
		return platform.Load(o.Platform)
	}
	ms, err := Calibrate(ctx, m, o.Progress)
	if err != nil {
		return nil, err
	}
	base := o.Base
	if base == "" {
		base = sys.Nearest()
	}
	d, err := Derive(ms, base)
	if err != nil {
		return nil, err
	}
	for _, n := range d.Notes {
		rep.Notes = append(rep.Notes, "Calibration: "+n+".")
	}
	return d.Spec, nil
}

// memory says why nothing that reaches memory can be judged, or "": a chase over memory takes now what it takes on the model, or neighbours have
// changed it.
func (m *Meter) memory(ctx context.Context, spec *platform.Spec) (why string, err error) {
	p := lineChase(128 << 20)
	s, err := m.settled(ctx, p)
	if err != nil {
		return "", err
	}
	m.free(p.Bytes)
	want, err := Simulate(spec, p)
	if err != nil {
		return "", err
	}
	now := figure(s)
	if math.IsNaN(now) {
		return "no chase over memory was undisturbed", nil
	}
	if d := now/want - 1; math.Abs(d) > offLimit {
		return fmt.Sprintf("a chase over memory takes %.0f cycles now and %.0f on the model, which was calibrated at another time or under another load", now, want), nil
	}
	return "", nil
}

// runTwins measures every twin in every state.
func runTwins(ctx context.Context, m *Meter, spec *platform.Spec, progress func(done, total int, what string)) (list []measured, err error) {
	warm := &spec.Surroundings.Warm
	sts, twins := states(int(warm.CodeLines+warm.DataLines), int(spec.Cache.LLC.Size)), Twins()
	for _, st := range sts {
		for _, t := range twins {
			p := t.probe(st)
			if progress != nil {
				progress(len(list), len(sts)*len(twins), p.Name)
			}
			s, err := m.settled(ctx, p)
			if err != nil {
				return nil, err
			}
			list = append(list, measured{t, p, st.Name, s})
		}
	}
	if progress != nil {
		progress(len(list), len(list), "")
	}
	return list, nil
}

// row judges a twin.
func (m *Meter) row(x *measured, simulated float64, memory string, sys *System) evidence.Row {
	r := evidence.Row{Set: "Twins, " + x.state, What: x.twin.Name, Unit: "cycles", Predicted: simulated, Reference: figure(x.s), Tolerance: tolerance,
		Slack: m.Step * m.Scale / x.probe.Units, Source: "native runs on this machine (" + sys.Model + ")", Why: missing(x.twin.Name, x.state)}
	switch {
	case x.s.N() < x.probe.Runs/2:
		r.Skip = fmt.Sprintf("the processor was taken away in %d of %d runs", x.s.Lost, x.s.Lost+x.s.N())
	case m.drift > driftLimit:
		r.Skip = fmt.Sprintf("the core clock drifted by %.0f %%", 100*m.drift)
	case x.s.Noise() > noiseLimit && (x.s.Quantile(0.75)-x.s.Quantile(0.25))*x.probe.Units > 2*m.Step*m.Scale:
		r.Skip = fmt.Sprintf("too noisy: the middle half of the runs spreads over %.0f %% of the median", 100*x.s.Noise())
	case x.state == "cold" && memory != "":
		r.Skip = memory
	}
	return r
}

// missing says what is known about a twin that the model does not get right.
func missing(twin, state string) string {
	switch {
	case twin == "memblock_search, 512 regions" && state == "cold":
		return "the model executes no wrong path: here one in two branches of the search is mispredicted, and what the wrong side reads are the lines that the next searches need"
	case twin == "pfn_valid 4096 GiB, boot memory" && state == "warm":
		return "lookups that do not wait for each other, each with a line from the last-level cache: one line in a hundred that a neighbour has sent to memory costs as much as all the others"
	}
	return ""
}
