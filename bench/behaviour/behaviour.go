package behaviour

import (
	"context"
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"dmapath/results"
)

// Behaviour is one published observation and how to repeat it.
type Behaviour struct {
	Name   string // snake_case
	Title  string
	Source string // rows of published-numbers.csv
	Setup  string // ours, one sentence, and what of theirs differs
	Label  string // what tells the rows apart
	Unit   string // of Published
	Ours   string // unit of what Run returns
	Rows   []Row
	Claims []Claim
}

// Row is one point.
type Row struct {
	Label     string
	Published float64 // NaN when nobody published it
	Run       func() (float64, error)
}

// Claim is a statement about the values of the rows, in order.
type Claim struct {
	Text  string
	Holds func(v []float64) bool
}

// Outcome is a Behaviour that was run.
type Outcome struct {
	*Behaviour
	Values []float64 // by row
	Held   []bool    // by claim
}

// All lists the behaviours in the order of tables.
func All() []*Behaviour {
	return append([]*Behaviour{iotlbWindow(), strictAgainstLazy(), iovaCaches(), swiotlbLock()}, smmuThreads()...)
}

// Run runs the behaviours with up to jobs runs at a time (0: one per CPU of the host). The result does not depend on jobs; of
// several errors the first in order is returned.
func Run(ctx context.Context, list []*Behaviour, jobs int) ([]*Outcome, error) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	var g errgroup.Group
	g.SetLimit(jobs)
	out := make([]*Outcome, len(list))
	errs := make([][]error, len(list))
	for i, b := range list {
		out[i] = &Outcome{Behaviour: b, Values: make([]float64, len(b.Rows))}
		errs[i] = make([]error, len(b.Rows))
		for r := range b.Rows {
			g.Go(func() error {
				if errs[i][r] = ctx.Err(); errs[i][r] == nil {
					out[i].Values[r], errs[i][r] = b.Rows[r].Run()
				}
				return nil
			})
		}
	}
	g.Wait()
	for i, b := range list {
		for r, err := range errs[i] {
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", b.Name, b.Rows[r].Label, err)
			}
		}
		for _, c := range b.Claims {
			out[i].Held = append(out[i].Held, c.Holds(out[i].Values))
		}
	}
	return out, nil
}

// Failed counts the claims that do not hold.
func Failed(list []*Outcome) (n int) {
	for _, o := range list {
		for _, h := range o.Held {
			if !h {
				n++
			}
		}
	}
	return n
}

// Record turns outcomes into tables and measurements.
func Record(list []*Outcome) *results.Record {
	rec := &results.Record{Name: "Behaviours"}
	for _, o := range list {
		t := &results.Table{ID: o.Name, Title: o.Title, Columns: []results.Column{{Name: o.Label, Text: true},
			{Name: "published", Unit: o.Unit, Decimals: 2}, {Name: "simulated", Unit: o.Ours, Decimals: 2},
			{Name: "published / first", Decimals: 2}, {Name: "simulated / first", Decimals: 2}}}
		for i, r := range o.Rows {
			t.Add(r.Label, r.Published, o.Values[i], r.Published/o.Rows[0].Published, o.Values[i]/o.Values[0])
			dims := []results.Dim{{Key: "behaviour", Value: o.Name}, {Key: "row", Value: r.Label}}
			rec.Add(results.Measurement{Dims: dims, Metric: "simulated", Unit: o.Ours, Value: o.Values[i], CI95: math.NaN(), N: 1})
			rec.Add(results.Measurement{Dims: dims, Metric: "published", Unit: o.Unit, Value: r.Published, CI95: math.NaN(), N: 1})
		}
		t.Notes = []string{o.Setup, "Published: " + o.Source + "."}
		for i, c := range o.Claims {
			verdict := "holds"
			if !o.Held[i] {
				verdict = "DOES NOT HOLD"
			}
			t.Notes = append(t.Notes, c.Text+": "+verdict+".")
		}
		rec.Tables = append(rec.Tables, t)
	}
	return rec
}
