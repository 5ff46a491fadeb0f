package bench

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"dmapath/platform"
)

// Progress is told about every finished run; it may be called from several goroutines, one at a time. nil is allowed.
type Progress func(done, total int, p Point)

// Comparison is the outcome of an experiment.
type Comparison struct {
	Platform *platform.Spec
	Exp      Experiment
	Outcomes []*Outcome // in the order of Experiment.Points
	PfnValid []PfnValid
}

// Compare runs every point of x on platform s with up to jobs runs at a time (0: one per CPU of the host). The result does not
// depend on jobs. Of several errors the first in the order of the points is returned.
func Compare(ctx context.Context, s *platform.Spec, x Experiment, jobs int, progress Progress) (*Comparison, error) {
	return run(ctx, s, x, jobs, progress, true)
}

// ComparePoints is Compare without the measurements of pfn_valid, which do not depend on the experiment.
func ComparePoints(ctx context.Context, s *platform.Spec, x Experiment, jobs int, progress Progress) (*Comparison, error) {
	return run(ctx, s, x, jobs, progress, false)
}

func run(ctx context.Context, s *platform.Spec, x Experiment, jobs int, progress Progress, lookups bool) (*Comparison, error) {
	if err := x.Validate(s); err != nil {
		return nil, err
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	points := x.Points()
	c := &Comparison{Platform: s, Exp: x, Outcomes: make([]*Outcome, len(points))}
	var g errgroup.Group
	g.SetLimit(jobs)
	errs := make([]error, len(points)+1) // by point: which error is reported must not depend on which came first
	var mu sync.Mutex
	done, total := 0, len(points)
	if lookups {
		total++
	}
	finished := func(p Point) {
		mu.Lock()
		defer mu.Unlock()
		done++
		if progress != nil {
			progress(done, total, p)
		}
	}
	for i, p := range points {
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				c.Outcomes[i], errs[i] = x.Run(s, p)
			}
			finished(p)
			return nil
		})
	}
	if lookups {
		g.Go(func() error {
			if errs[len(points)] = ctx.Err(); errs[len(points)] == nil {
				c.PfnValid, errs[len(points)] = x.pfnValid(s)
			}
			finished(Point{Workload: "pfn_valid"})
			return nil
		})
	}
	g.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// row returns the outcomes of one workload, backend and cache state, by variant.
func (c *Comparison) row(workload, backend, cache string) []*Outcome {
	var os []*Outcome
	for _, o := range c.Outcomes {
		if o.Workload == workload && o.Backend == backend && o.Cache == cache {
			os = append(os, o)
		}
	}
	return os
}

// base returns the outcome that o is compared with inside its own kernel: the first variant of the same kernel.
func base(os []*Outcome, o *Outcome) *Outcome {
	for _, b := range os {
		if kernelOf(b.Variant) == kernelOf(o.Variant) {
			return b
		}
	}
	panic(fmt.Sprintf("bench: %v is not among its own row", o.Point))
}
