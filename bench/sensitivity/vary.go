package sensitivity

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"dmapath/bench"
	"dmapath/platform"
)

// Limits and defaults of Vary.
const (
	DefaultSamples = 48
	FewestSamples  = 8
	MostSamples    = 10_000
	// FewestOperations is what a run needs for an interval: eight batches of five in its second half.
	FewestOperations = 96
)

// Uncertainty is what became of the conclusions of an experiment when everything uncertain about its platform was varied.
type Uncertainty struct {
	Platform    *platform.Spec
	Exp         bench.Experiment
	Samples     []*platform.Spec
	Keys        []string // that were varied
	Conclusions []*Conclusion
}

// Progress is told about every finished run, one at a time. nil is allowed.
type Progress func(done, total int, what string)

// Vary runs x on s, derives what it shows, and asks it of n machines drawn from the plausible ranges of s, with up to jobs runs at a time (0: one
// per CPU of the host). The result does not depend on jobs. n is FewestSamples to MostSamples.
func Vary(ctx context.Context, s *platform.Spec, x bench.Experiment, n, jobs int, progress Progress) (*Uncertainty, error) {
	if n < FewestSamples || n > MostSamples {
		return nil, fmt.Errorf("%d samples: allowed are %d to %d", n, FewestSamples, MostSamples)
	}
	if err := x.Validate(s); err != nil {
		return nil, err
	}
	if x.Operations < FewestOperations {
		return nil, fmt.Errorf("operations is %d: differences need %d or more for their intervals", x.Operations, FewestOperations)
	}
	u := &Uncertainty{Platform: s, Exp: x, Keys: s.Uncertain()}
	if len(u.Keys) == 0 {
		return nil, fmt.Errorf("platform %s: no value has a plausible range, so there is nothing to vary", s.Name)
	}
	u.Samples = Hypercube(s, n, x.Seed)
	points := x.Points()
	machines := append([]*platform.Spec{s}, u.Samples...)
	all := make([][]*facts, len(machines))
	var runs []Job
	for i, m := range machines {
		all[i] = make([]*facts, len(points))
		for k, p := range points {
			what := fmt.Sprintf("sample %d of %d, %v", i, n, p)
			if i == 0 {
				what = fmt.Sprintf("%s as it is, %v", s.Name, p)
			}
			runs = append(runs, Job{what, func() (err error) {
				all[i][k], err = run(m, &x, p)
				return err
			}})
		}
	}
	if err := Do(ctx, runs, jobs, progress); err != nil {
		return nil, err
	}
	u.Conclusions = derive(&x, points, all[0])
	for _, list := range all[1:] {
		for _, c := range u.Conclusions {
			c.judge(list)
		}
	}
	u.correlate()
	return u, nil
}

// Job is one run and what to call it.
type Job struct {
	What string
	Run  func() error
}

// Do runs all jobs, atOnce at a time (0: one per CPU of the host). Of several errors the first in their order is returned.
func Do(ctx context.Context, jobs []Job, atOnce int, progress Progress) error {
	if atOnce <= 0 {
		atOnce = runtime.GOMAXPROCS(0)
	}
	errs := make([]error, len(jobs))
	finished := make(chan int, len(jobs))
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		for done := 1; done <= len(jobs); done++ {
			i := <-finished
			if progress != nil {
				progress(done, len(jobs), jobs[i].What)
			}
		}
	}()
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, j := range jobs {
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				if err := j.Run(); err != nil {
					errs[i] = fmt.Errorf("%s: %w", j.What, err)
				}
			}
			finished <- i
			return nil
		})
	}
	g.Wait()
	<-reported
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// mostGoes is how many parameters are named for a conclusion.
const mostGoes = 3

// correlate finds what each effect goes with.
func (u *Uncertainty) correlate() {
	byKey := make([][]float64, len(u.Keys))
	for i, k := range u.Keys {
		v := make([]float64, len(u.Samples))
		for j, s := range u.Samples {
			v[j] = s.Ordinal(k)
		}
		byKey[i] = ranks(v)
	}
	floor := least(len(u.Samples), len(u.Keys))
	for _, c := range u.Conclusions {
		if slices.ContainsFunc(c.Effects, math.IsNaN) {
			continue
		}
		effects := ranks(c.Effects)
		for i, k := range u.Keys {
			if rho := spearman(byKey[i], effects); math.Abs(rho) > floor {
				c.Goes = append(c.Goes, Correlation{k, rho})
			}
		}
		sort.SliceStable(c.Goes, func(i, j int) bool { return math.Abs(c.Goes[i].Rho) > math.Abs(c.Goes[j].Rho) })
		c.Goes = c.Goes[:min(mostGoes, len(c.Goes))]
	}
}

// Share returns the share of samples in which c holds, with its 95 % interval; NaN without a judged sample.
func (c *Conclusion) Share() (share, low, high float64) {
	if c.Judged == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	low, high = Wilson(c.Holds, c.Judged)
	return float64(c.Holds) / float64(c.Judged), low, high
}

// Spread returns the 5, 50 and 95 % quantiles of the effect over the judged samples; NaN without any.
func (c *Conclusion) Spread() (p5, p50, p95 float64) {
	v := slices.DeleteFunc(slices.Clone(c.Effects), math.IsNaN)
	if len(v) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	return quantile(v, 0.05), quantile(v, 0.5), quantile(v, 0.95)
}
