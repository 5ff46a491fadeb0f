package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"dmapath/cache"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// Side is one of the two things that Diff lays side by side: a platform and the one point of an experiment.
type Side struct {
	Label    string // as in tables
	Platform *platform.Spec
	Exp      Experiment
}

// Diff runs both sides, with the same seed, and says which steps account for the difference of their calls: cycles with intervals,
// instructions, and loads and stores that the L1 served or did not.
func Diff(a, b Side) (*results.Record, error) {
	var out [2]*Outcome
	for i, s := range []*Side{&a, &b} {
		err := s.Exp.Validate(s.Platform)
		if err == nil {
			out[i], err = s.Exp.Run(s.Platform, s.Exp.Points()[0])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Label, err)
		}
	}
	r := &results.Record{Name: "Diff", Version: results.Version(), Seed: a.Exp.Seed}
	pt := out[0].Point
	total := &results.Table{ID: "difference", Title: fmt.Sprintf("%s against %s: %s, %s, %s, %s", b.Label, a.Label, pt.Workload, pt.Backend, a.Exp.Size, pt.Cache),
		Columns: []results.Column{{Name: "call", Text: true}, {Name: "A", Unit: "cyc", Decimals: 1}, {Name: "B", Unit: "cyc", Decimals: 1}, {Name: "difference", Unit: "cyc", Decimals: 1, Signed: true},
			{Name: "+-", Unit: "cyc", Decimals: 1}, {Name: "ratio", Decimals: 3}, {Name: "A", Unit: "ns", Decimals: 1}, {Name: "B", Unit: "ns", Decimals: 1}},
		Notes: []string{"A is " + a.Label + ", B is " + b.Label + ". The difference is paired, call by call; +- is half of its 95 % interval."}}
	r.Tables = append(r.Tables, total)
	for _, p := range out[0].ops() {
		q := out[1].find(p.name)
		if q == nil {
			continue
		}
		d := sim.SecondHalfDifference(&p.Series, &q.Series)
		x, y := p.Series.SecondHalf().Mean, q.Series.SecondHalf().Mean
		nsA, nsB := 1e9/float64(out[0].Clock.Hz()), 1e9/float64(out[1].Clock.Hz())
		total.Add(p.name, x, y, d.Mean, finite(d.HalfWidth), y/x, x*nsA, y*nsB)
		for _, w := range d.Warnings {
			r.Warnings = append(r.Warnings, p.name+": "+w.Error())
		}
		dims := []results.Dim{{Key: "call", Value: p.name}}
		r.Add(results.Measurement{Dims: dims, Metric: "difference", Unit: "cycles", Value: d.Mean, CI95: finite(d.HalfWidth), N: int64(d.N)})
		r.Tables = append(r.Tables, diffTable(r, p, q, a.Label, b.Label))
	}
	return r, nil
}

// pair is a function on both sides.
type pair struct {
	name string
	a, b step
}

func (p *pair) delta() float64 { return p.b.cycles - p.a.cycles }

// diffTable shows the steps of one call that differ most, and the rest in one line.
func diffTable(r *results.Record, p op, q *workloads.Op, labelA, labelB string) *results.Table {
	t := &results.Table{ID: p.name, Title: fmt.Sprintf("Where one %s of %s differs from %s", p.name, labelB, labelA),
		Columns: []results.Column{{Name: "function", Text: true}, {Name: "A", Unit: "cyc", Decimals: 1}, {Name: "B", Unit: "cyc", Decimals: 1}, {Name: "B-A", Unit: "cyc", Decimals: 1, Signed: true},
			{Name: "+-", Decimals: 1}, {Name: "instr", Decimals: 0, Signed: true}, {Name: "L1", Decimals: 1, Signed: true},
			{Name: "misses", Decimals: 1, Signed: true}}}
	var list []*pair
	at := map[string]*pair{}
	for i, side := range [][]step{steps(p.Op), steps(q)} {
		for _, s := range side {
			f := at[s.name]
			if f == nil {
				f = &pair{name: s.name}
				at[s.name], list = f, append(list, f)
			}
			if i == 0 {
				f.a = s
			} else {
				f.b = s
			}
		}
	}
	slices.SortStableFunc(list, func(f, g *pair) int {
		return cmp.Or(cmp.Compare(math.Abs(g.delta()), math.Abs(f.delta())), cmp.Compare(f.name, g.name))
	})
	add := func(name string, f *pair, half float64) {
		nonzero := func(v float64) any {
			if math.Abs(v) < 0.005 {
				return nil
			}
			return v
		}
		misses := 0.0
		for l := range f.a.level {
			if cache.Level(l) != cache.L1 {
				misses += f.b.level[l] - f.a.level[l]
			}
		}
		t.Add(name, nonzero(f.a.cycles), nonzero(f.b.cycles), f.delta(), finite(half), nonzero(math.Round(f.b.instr-f.a.instr)), nonzero(f.b.level[cache.L1]-f.a.level[cache.L1]), nonzero(misses))
	}
	var rest, all pair
	others := 0
	for k, f := range list {
		sum(&all, f)
		if k < maxSteps && math.Abs(f.delta()) >= 0.05 {
			half := workloads.StepDifference(p.Op, q, f.a.ids, f.b.ids)
			add(f.name, f, half)
			r.Add(results.Measurement{Dims: []results.Dim{{Key: "call", Value: p.name}, {Key: "function", Value: f.name}}, Metric: "step_difference", Unit: "cycles", Value: f.delta(), CI95: finite(half), N: q.N})
			continue
		}
		sum(&rest, f)
		others++
	}
	if others > 0 {
		add(fmt.Sprintf("(%d others)", others), &rest, workloads.StepDifference(p.Op, q, rest.a.ids, rest.b.ids))
	}
	add("sum", &all, workloads.StepDifference(p.Op, q, all.a.ids, all.b.ids))
	t.Notes = []string{"instr, L1, misses: instructions, loads and stores that the L1 served, and those that went beyond it, that B has more of. A function that only one side has is new or gone, or was inlined."}
	return t
}

// sum adds f to p.
func sum(p, f *pair) {
	for _, s := range []struct{ to, from *step }{{&p.a, &f.a}, {&p.b, &f.b}} {
		s.to.ids = append(s.to.ids, s.from.ids...)
		s.to.cycles += s.from.cycles
		s.to.instr += s.from.instr
		for l := range s.to.level {
			s.to.level[l] += s.from.level[l]
		}
	}
}
