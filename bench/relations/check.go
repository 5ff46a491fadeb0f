package relations

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"dmapath/bench/evidence"
)

// Options say which trials to run.
type Options struct {
	Configs int    // how many, 1 to 1,000,000
	First   int    // number of the first, from 0 on
	Seed    uint64 // of all
	// Progress is told about every trial that is over, one at a time; nil is allowed.
	Progress func(done, total int)
}

// Validate names what is out of range.
func (o *Options) Validate() error {
	if o.Configs < 1 || o.Configs > 1_000_000 {
		return fmt.Errorf("configs is %d: allowed are 1 to 1000000", o.Configs)
	}
	if o.First < 0 || o.First > 1<<30 {
		return fmt.Errorf("first is %d: allowed are 0 to %d", o.First, 1<<30)
	}
	return nil
}

// Run runs trials and reports, by statement, in how many it held. The result does not depend on jobs (0: one per CPU of the host).
func Run(ctx context.Context, o Options, jobs int) (*evidence.Report, []Finding, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	trials := make([]*trial, o.Configs)
	over := make(chan int, o.Configs)
	var g errgroup.Group
	g.SetLimit(jobs)
	go func() {
		for n := 1; ; n++ {
			if _, ok := <-over; !ok {
				return
			}
			if o.Progress != nil {
				o.Progress(n, o.Configs)
			}
		}
	}()
	for i := range trials {
		g.Go(func() (err error) {
			trials[i], err = try(ctx, o.Seed, o.First+i)
			over <- i
			return err
		})
	}
	err := g.Wait()
	close(over)
	if err != nil {
		return nil, nil, err
	}
	report, findings := summary(o, trials)
	return report, findings, nil
}

// shown is how many findings of a statement are written out.
const shown = 3

func summary(o Options, trials []*trial) (*evidence.Report, []Finding) {
	r := &evidence.Report{Name: "relations", Title: "Determinism, conservation and metamorphic relations"}
	var findings []Finding
	unfit, refused := 0, 0
	for _, t := range trials {
		findings = append(findings, t.findings...)
		if t.unfit {
			unfit++
		}
		if t.refused {
			refused++
		}
	}
	row := func(set, name, says string, margin float64) {
		held, judged := 0, 0
		for _, t := range trials {
			held += t.held[name]
			judged += t.judged[name]
		}
		if judged == 0 {
			return
		}
		e := evidence.Row{Set: set, What: name, Unit: "count", Predicted: float64(held), Reference: float64(judged), Source: "the number of cases judged"}
		n := 0
		for _, f := range findings {
			if f.Law == name {
				if n++; n == 1 {
					e.Why = f.Text
				}
				if n <= shown {
					r.Notes = append(r.Notes, fmt.Sprintf("%v\n    again: dmapath validate relations --seed %d --first %d --configs 1", f, o.Seed, f.Trial))
				}
			}
		}
		note := fmt.Sprintf("%s: %s", name, says)
		if margin > 0 {
			note += fmt.Sprintf(" (on average: up to %g %% against it is allowed, %g %% unless caches are hot)", 100*margin, 100*margin*notHot)
		}
		r.Notes = append(r.Notes, note+".")
		r.Rows = append(r.Rows, e)
	}
	for _, d := range Determinism {
		row("Determinism", d.Name, d.Says, 0)
	}
	for _, l := range Laws {
		row("Conservation", l.Name, l.Says, 0)
	}
	for _, m := range All() {
		row("Metamorphic relations", m.Name, m.Says, m.Margin)
	}
	r.Notes = append(r.Notes, fmt.Sprintf("%d cases, number %d to %d of seed %d; %d make no machine that can be built, %d are refused by the kernel with an error.", o.Configs, o.First,
		o.First+o.Configs-1, o.Seed, unfit, refused))
	return r, findings
}
