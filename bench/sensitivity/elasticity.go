package sensitivity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sort"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/sim"
)

// Results are the results that have elasticities: mean cycles per map and per unmap, and operations per second.
var Results = []string{"map", "unmap", "throughput"}

// bump is the relative change of a parameter, to both sides.
const bump = 0.1

// Elasticity is how one parameter moves the results.
type Elasticity struct {
	Key        string
	Value      string // as a platform file writes it
	Confidence platform.Confidence
	Low, High  string // the values that were compared; one of them is Value when there is no valid one on its side
	// By and Half are d ln(result) / d ln(parameter) and half of its 95 % interval, in the order of Results; NaN when the result does not exist.
	By, Half [3]float64
	// Worth is the factor by which the result changes over the plausible range if the elasticity holds all along, minus 1; 0 without a range.
	Worth [3]float64
}

// Significant reports whether the interval of result i leaves out zero.
func (e *Elasticity) Significant(i int) bool { return math.Abs(e.By[i]) > e.Half[i] }

// Elasticities is how much the results of one point depend on each numeric parameter of its platform.
type Elasticities struct {
	Platform *platform.Spec
	Exp      bench.Experiment
	Point    bench.Point
	Nominal  [3]float64   // of Results; NaN when a result does not exist
	List     []Elasticity // in the order of the platform file
	Fixed    []string     // keys without a valid neighbour
}

// Elast computes the elasticities of the one point of x on s to the numbers at keys, or to all that are not zero if none is named: each is moved alone to both sides, by a tenth or to the next valid value,
// with the same seed, up to jobs runs at a time (0: one per CPU of the host). The result does not depend on jobs.
func Elast(ctx context.Context, s *platform.Spec, x bench.Experiment, jobs int, progress Progress, keys ...string) (*Elasticities, error) {
	if err := x.Validate(s); err != nil {
		return nil, err
	}
	if x.Operations < FewestOperations {
		return nil, fmt.Errorf("operations is %d: differences need %d or more for their intervals", x.Operations, FewestOperations)
	}
	points := x.Points()
	if len(points) != 1 {
		return nil, errors.New("elasticities are of one workload, backend, cache state and variant")
	}
	e := &Elasticities{Platform: s, Exp: x, Point: points[0]}
	type side struct {
		spec  *platform.Spec
		facts *facts
	}
	base := &side{spec: s}
	var sides [][2]*side
	var runs []Job
	add := func(what string, t *side) {
		runs = append(runs, Job{what, func() (err error) {
			t.facts, err = run(t.spec, &x, e.Point)
			var unfit platform.Unfit
			if t != base && errors.As(err, &unfit) {
				return nil // such as a memory map with a hole where devices are
			}
			return err
		}})
	}
	add(s.Name+" as it is", base)
	if len(keys) == 0 {
		keys = s.Numeric()
	}
	for _, k := range keys {
		pair := [2]*side{base, base}
		for i, factor := range []float64{1 / (1 + bump), 1 + bump} {
			if n, ok := s.Step(k, factor); ok && (&x).Validate(n) == nil {
				pair[i] = &side{spec: n}
				v, _ := n.Get(k)
				add(k+" "+v, pair[i])
			}
		}
		if pair[0] == pair[1] {
			e.Fixed = append(e.Fixed, k)
			continue
		}
		pv, _ := s.Provenance(k)
		el := Elasticity{Key: k, Confidence: pv.Confidence}
		el.Value, _ = s.Get(k)
		el.Low, _ = pair[0].spec.Get(k)
		el.High, _ = pair[1].spec.Get(k)
		e.List, sides = append(e.List, el), append(sides, pair)
	}
	if err := Do(ctx, runs, jobs, progress); err != nil {
		return nil, err
	}
	e.Nominal = [3]float64{base.facts.calls[0].mean(), base.facts.calls[1].mean(), base.facts.rate()}
	list := e.List
	e.List = nil
	for i := range list {
		el, lo, hi := &list[i], sides[i][0], sides[i][1]
		if lo.facts == nil {
			lo, el.Low = base, el.Value
		}
		if hi.facts == nil {
			hi, el.High = base, el.Value
		}
		if lo == hi {
			e.Fixed = append(e.Fixed, el.Key)
			continue
		}
		width := math.Log(hi.spec.Ordinal(el.Key) / lo.spec.Ordinal(el.Key))
		for c := range Calls {
			a, b := &lo.facts.calls[c], &hi.facts.calls[c]
			if !a.made || !b.made {
				el.By[c], el.Half[c] = math.NaN(), math.NaN()
				continue
			}
			el.By[c], el.Half[c] = slope(&a.series, &b.series, width, 1)
		}
		el.By[2], el.Half[2] = slope(&lo.facts.gaps, &hi.facts.gaps, width, -1)
		if r, ok := s.Range(el.Key); ok && r.Words == nil {
			for c := range el.Worth {
				el.Worth[c] = math.Expm1(math.Abs(el.By[c]) * math.Log(float64(r.Hi)/math.Max(1, float64(r.Lo))))
			}
		}
		e.List = append(e.List, *el)
	}
	return e, nil
}

// slope returns d ln(mean) / d ln(parameter) from the values per operation at the two ends of a step, and half of its 95 % interval. sign -1
// is for the reciprocal of the mean.
func slope(low, high *sim.Series, width, sign float64) (by, half float64) {
	a, b := low.SecondHalf().Mean, high.SecondHalf().Mean
	d := sim.SecondHalfDifference(low, high)
	return sign * math.Log(b/a) / width, d.HalfWidth / ((a + b) / 2) / width
}

// Leading returns the n parameters on which result depends most, by the size of the elasticity, most first; those whose interval contains zero
// are left out. result is an index of Results.
func (e *Elasticities) Leading(result, n int) []Elasticity {
	var list []Elasticity
	for _, el := range e.List {
		if !math.IsNaN(el.By[result]) && el.By[result] != 0 && el.Significant(result) {
			list = append(list, el)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return math.Abs(list[i].By[result]) > math.Abs(list[j].By[result]) })
	return list[:min(n, len(list))]
}

// Guesses returns those of Leading that are guesses.
func (e *Elasticities) Guesses(result, n int) []Elasticity {
	var list []Elasticity
	for _, el := range e.Leading(result, n) {
		if el.Confidence == platform.Guess {
			list = append(list, el)
		}
	}
	return list
}

// mark says guess for a value that is one.
func mark(s *platform.Spec, key string) string {
	if pv, _ := s.Provenance(key); pv.Confidence == platform.Guess {
		return "guess"
	}
	return ""
}

// ResultIndex returns the index of a result's name in Results.
func ResultIndex(name string) (int, error) {
	for i, r := range Results {
		if r == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("there is no result %q: allowed are map, unmap, throughput", name)
}
