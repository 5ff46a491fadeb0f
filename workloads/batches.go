package workloads

import (
	"dmapath/cpu"
	"dmapath/sim"
)

// batchCount is how many batches the second half of the calls is cut into for the intervals of what the account counts: enough for
// Student's t, few enough that neighbours hardly depend on each other.
const batchCount = 20

// mark is what an operation had cost when a batch ended: sums since the second half began.
type mark struct {
	calls  int64
	time   sim.Time
	total  cpu.FnCount
	cycles []int64 // by function
}

// mark notes where the operation stands.
func (o *Op) mark(now sim.Time) {
	m := mark{calls: o.N, time: now, total: o.Acct.Total(), cycles: make([]int64, len(o.Acct.Fn))}
	for i := range m.cycles {
		m.cycles[i] = o.Acct.Fn[i].Cycles
	}
	o.marks = append(o.marks, m)
}

// due reports whether a batch ends with the calls made so far.
func (o *Op) due() bool {
	k := int64(len(o.marks))
	return k > 0 && k <= batchCount && o.Planned >= 2*batchCount && o.N*2*batchCount >= k*o.Planned
}

// interval returns half of the 95 % interval of the mean over batches of x, which gets two neighbouring marks; NaN without
// enough batches.
func (o *Op) interval(x func(a, b *mark) float64) float64 { return sim.HalfWidth95(o.batches(x)) }

// batches returns x of each batch.
func (o *Op) batches(x func(a, b *mark) float64) []float64 {
	s := make([]float64, 0, batchCount)
	for i := 1; i < len(o.marks); i++ {
		if a, b := &o.marks[i-1], &o.marks[i]; b.calls > a.calls {
			s = append(s, x(a, b))
		}
	}
	return s
}

// Interval returns half of the 95 % interval of a count per call, by batch means; NaN when the run was too short.
func (o *Op) Interval(count func(f *cpu.FnCount) int64) float64 {
	return o.interval(func(a, b *mark) float64 {
		return float64(count(&b.total)-count(&a.total)) / float64(b.calls-a.calls)
	})
}

// StepInterval returns half of the 95 % interval of the cycles per call in the functions given by their ids.
func (o *Op) StepInterval(fns []uint16) float64 { return sim.HalfWidth95(o.stepBatches(fns)) }

// ShareInterval returns half of the 95 % interval of the share of time that the operation takes on one CPU, 0 to 1.
func (o *Op) ShareInterval(clock sim.Clock) float64 {
	return o.interval(func(a, b *mark) float64 {
		var n int64
		for i := range b.cycles {
			n += b.cycles[i]
		}
		for i := range a.cycles {
			n -= a.cycles[i]
		}
		return float64(clock.Edge(n)) / float64(b.time-a.time)
	})
}

// StepDifference returns half of the 95 % interval of what the functions of b cost more per call than those of a, by the differences of
// their batches; NaN when a run was too short. With equal seeds the runs saw the same requests, so that batches pair up.
func StepDifference(a, b *Op, fnsA, fnsB []uint16) float64 {
	x, y := a.stepBatches(fnsA), b.stepBatches(fnsB)
	n := min(len(x), len(y))
	for i := range n {
		y[i] -= x[i]
	}
	return sim.HalfWidth95(y[:n])
}

// stepBatches are the cycles per call in some functions, by batch.
func (o *Op) stepBatches(fns []uint16) []float64 {
	return o.batches(func(a, b *mark) float64 {
		n := int64(0)
		for _, f := range fns {
			if int(f) < len(b.cycles) {
				n += b.cycles[f]
			}
			if int(f) < len(a.cycles) {
				n -= a.cycles[f]
			}
		}
		return float64(n) / float64(b.calls-a.calls)
	})
}
