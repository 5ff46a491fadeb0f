package debate

import (
	"fmt"
	"math"

	"dmapath/bench"
	"dmapath/sim"
	"dmapath/workloads"
)

// effect is the difference between two calls in cycles, paired operation by operation.
type effect struct {
	base float64 // mean of the first call
	mean float64 // second less first
	half float64 // of the 95 % interval
	ok   bool    // both calls were made and are long enough to tell
}

// same is the relative difference below which a difference whose interval contains zero is called none.
const same = 0.05

// sign is what an effect comes to.
type sign int8

const (
	less    sign = iota - 1 // certainly less
	none                    // no difference seen, and none of 5 % possible
	more                    // certainly more
	unclear                 // the interval contains zero and differences beyond 5 %
)

func (e effect) sign() sign {
	switch {
	case !e.ok:
		return unclear
	case e.mean-e.half > 0:
		return more
	case e.mean+e.half < 0:
		return less
	case math.Abs(e.mean)+e.half < same*e.base:
		return none
	}
	return unclear
}

// percent is the difference relative to the first call.
func (e effect) percent() float64 { return 100 * e.mean / e.base }

// String says what the effect is in words, to follow the name of what is compared.
func (e effect) String() string {
	if !e.ok {
		return "was not measured"
	}
	lo, hi := 100*(e.mean-e.half)/e.base, 100*(e.mean+e.half)/e.base
	switch e.sign() {
	case more:
		if e.mean > e.base {
			return fmt.Sprintf("costs %.1f times as much (%.1f to %.1f)", 1+e.mean/e.base, 1+lo/100, 1+hi/100)
		}
		return fmt.Sprintf("costs %s more (%s)", pct(e.percent()), span(lo, hi))
	case less:
		return fmt.Sprintf("costs %s less (%s)", pct(-e.percent()), span(-hi, -lo))
	case none:
		return fmt.Sprintf("shows no difference (between %+.1f and %+.1f %%)", lo, hi)
	}
	return fmt.Sprintf("shows no clear difference (between %+.1f and %+.1f %%)", lo, hi)
}

func pct(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f %%", v)
	}
	return fmt.Sprintf("%.1f %%", v)
}

func span(lo, hi float64) string {
	if lo >= 10 {
		return fmt.Sprintf("%.0f to %.0f", lo, hi)
	}
	return fmt.Sprintf("%.1f to %.1f", lo, hi)
}

// cell is a number of a table: the difference with half its interval, a tilde when it contains zero.
func (e effect) cell() string {
	if !e.ok {
		return "-"
	}
	s := fmt.Sprintf("%+.0f (%.0f)", e.mean, e.half)
	if math.Abs(e.mean) < 100 {
		s = fmt.Sprintf("%+.1f (%.1f)", e.mean, e.half)
	}
	if e.mean == 0 && e.half == 0 {
		return "0"
	}
	if e.sign() == none || e.sign() == unclear {
		s = "~" + s
	}
	return s
}

// between is the effect of second against first.
func between(first, second *sim.Series) effect {
	d := sim.SecondHalfDifference(first, second)
	e := effect{base: first.SecondHalf().Mean, mean: d.Mean, half: d.HalfWidth}
	e.ok = !math.IsInf(d.HalfWidth, 0) && !math.IsNaN(d.Mean) && e.base > 0
	return e
}

// find returns the outcome of a point, nil when it was not run.
func find(c *bench.Comparison, backend, cache, variant string) *bench.Outcome {
	for _, o := range c.Outcomes {
		if o.Backend == backend && o.Cache == cache && o.Variant == variant {
			return o
		}
	}
	return nil
}

// call returns map or unmap of an outcome.
func call(o *bench.Outcome, name string) *workloads.Op {
	if name == "unmap" {
		return o.Unmap
	}
	return o.Map
}

// compare is the effect of variant b against a, both in c.
func compare(c *bench.Comparison, backend, cache, name, a, b string) effect {
	x, y := find(c, backend, cache, a), find(c, backend, cache, b)
	if x == nil || y == nil {
		return effect{}
	}
	return between(&call(x, name).Series, &call(y, name).Series)
}

// tally counts signs.
type tally struct {
	n                     [4]int // less, none, more, unclear
	least, most           effect
	leastWhere, mostWhere string
	total                 int
}

// add counts e, which was found at where.
func (t *tally) add(e effect, where string) {
	if !e.ok {
		return
	}
	t.n[e.sign()+1]++
	if t.total == 0 || e.percent() < t.least.percent() {
		t.least, t.leastWhere = e, where
	}
	if t.total == 0 || e.percent() > t.most.percent() {
		t.most, t.mostWhere = e, where
	}
	t.total++
}

// String tells the counts: "less in 20, more in 3, no difference seen in 13 of 36".
func (t *tally) String() string {
	return fmt.Sprintf("costs more in %d of %d cases, less in %d, and shows no clear difference in %d", t.n[2], t.total, t.n[0], t.n[1]+t.n[3])
}

// verdict is the tally in a few words.
func (t *tally) verdict() string {
	unclear := t.n[1] + t.n[3]
	switch {
	case t.total == 0:
		return "not run"
	case t.n[2] == t.total:
		return "costs more everywhere"
	case t.n[0] == t.total:
		return "costs less everywhere"
	case unclear == t.total:
		return "no difference seen anywhere"
	case t.n[0] == 0 && t.n[2] > unclear:
		return "costs more, or no difference is seen"
	case t.n[2] == 0 && t.n[0] > unclear:
		return "costs less, or no difference is seen"
	case t.n[0] == 0 && t.n[2] > 0:
		return "mostly no difference seen, more in some cases"
	case t.n[2] == 0 && t.n[0] > 0:
		return "mostly no difference seen, less in some cases"
	case t.n[0] >= 3*t.n[2]:
		return "mostly costs less"
	case t.n[2] >= 3*t.n[0]:
		return "mostly costs more"
	}
	return "goes both ways"
}
