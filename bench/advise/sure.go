package advise

import (
	"context"
	"fmt"
	"math"
	"slices"

	"dmapath/bench/sensitivity"
)

// Sure is how an option does on machines that the platform may be as well.
type Sure struct {
	Judged int       // samples on which the option and the baseline could be run
	Saves  int       // of these, in which it saves
	Best   int       // of these, in which no option of its group saves more
	Saved  []float64 // by sample: what it saves, percent of the baseline's cost; NaN where it could not be judged
}

// vary runs the baseline and the options on r.Samples machines.
func (a *Advice) vary(ctx context.Context, r Request) error {
	if r.Samples < sensitivity.FewestSamples || r.Samples > sensitivity.MostSamples {
		return fmt.Errorf("%d samples: allowed are %d to %d", r.Samples, sensitivity.FewestSamples, sensitivity.MostSamples)
	}
	machines := sensitivity.Hypercube(r.Platform, r.Samples, r.Exp.Seed)
	all := slices.DeleteFunc(append([]*Option{a.Base}, a.Options...), func(o *Option) bool { return o.Failed != nil })
	bytes := a.Base.out.payload()
	saved := make([][]float64, len(machines)) // by machine and option: cost, later what is saved
	var runs []sensitivity.Job
	for i, m := range machines {
		saved[i] = make([]float64, len(all))
		for k, o := range all {
			runs = append(runs, sensitivity.Job{What: fmt.Sprintf("sample %d of %d, %s", i+1, len(machines), o.Name), Run: func() error {
				u := o.Setup.clone()
				u.Platform = m
				saved[i][k] = math.NaN()
				out, err := u.cost()
				if err != nil {
					return nil // such a machine does not run it
				}
				per := 0.0
				if o.resize {
					per = bytes
				}
				saved[i][k], _ = cost(out.parts(per))
				return nil
			}})
		}
	}
	if err := sensitivity.Do(ctx, runs, r.Jobs, r.Progress); err != nil {
		return err
	}
	for _, o := range all {
		o.Sure = &Sure{}
	}
	for i := range machines {
		base := saved[i][0]
		for k := range all {
			saved[i][k] = 100 * (base - saved[i][k]) / base
		}
		for k, o := range all {
			v := saved[i][k]
			o.Sure.Saved = append(o.Sure.Saved, v)
			if math.IsNaN(v) {
				continue
			}
			o.Sure.Judged++
			if v > 0 {
				o.Sure.Saves++
			}
			best := true
			for j, p := range all[1:] {
				best = best && !(p.group() == o.group() && saved[i][j+1] > v)
			}
			if best {
				o.Sure.Best++
			}
		}
	}
	return nil
}
