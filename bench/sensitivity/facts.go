package sensitivity

import (
	"math"

	"dmapath/bench"
	"dmapath/cpu"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Calls are the calls that conclusions are about.
var Calls = []string{"map", "unmap"}

// facts is what is kept of one run.
type facts struct {
	calls [2]call // in the order of Calls
	gaps  sim.Series
}

// call is one sort of call of a run.
type call struct {
	made   bool
	series sim.Series             // cycles of every call
	share  [cpu.NumStalls]float64 // of its cycles, by what they were spent on; StallNone is execution
}

// Operations is how many operations a run of x has in a cache state. Hot ones need what x says: with every other buffer some table of the kernel is
// touched for the first time, for hundreds of operations. Where the surroundings displace those tables anyway there is no such warm-up, a
// run takes several times as long, and differences are paired: a quarter is enough for warm and an eighth for cold, but
// FewestOperations in any case.
func Operations(x *bench.Experiment, cache string) int64 {
	n := x.Operations
	switch cache {
	case "warm":
		n /= 4
	case "cold":
		n /= 8
	}
	return max(n, FewestOperations)
}

// run simulates point p of x on s and keeps the facts.
func run(s *platform.Spec, x *bench.Experiment, p bench.Point) (*facts, error) {
	y := *x
	y.Operations = Operations(x, p.Cache)
	o, err := y.Run(s, p)
	if err != nil {
		return nil, err
	}
	f := &facts{gaps: o.Gaps}
	for i, op := range []*workloads.Op{o.Map, o.Unmap} {
		if op == nil || op.N == 0 {
			continue
		}
		c := &f.calls[i]
		c.made, c.series = true, op.Series
		t := op.Acct.Total()
		c.share[cpu.StallNone] = float64(t.Retiring()) / float64(t.Cycles)
		for k := cpu.StallFetch; k < cpu.NumStalls; k++ {
			c.share[k] = float64(t.Stall[k]) / float64(t.Cycles)
		}
	}
	return f, nil
}

// mean is the mean cycles of the steady half; NaN when the call was not made.
func (c *call) mean() float64 {
	if !c.made {
		return math.NaN()
	}
	return c.series.SecondHalf().Mean
}

// rate is the operations per second of the steady half.
func (f *facts) rate() float64 { return float64(sim.Second) / f.gaps.SecondHalf().Mean }
