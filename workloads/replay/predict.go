package replay

import (
	"dmapath/kernel/iova"
	"dmapath/sim"
)

// Prediction compares the IOVAs of one device's domain with those that the modelled allocator hands out.
//
// Whether the traced domain was strict or lazy no event says: both are tried for the first trial
// allocations, then the one that was right more often goes on alone.
type Prediction struct {
	strict, lazy *iova.Predictor
	allocs       int
	Lazy         bool // what the domain looks like
}

// trial is after how many allocations strict or lazy is decided.
const trial = 400

func newPrediction(cpus int) *Prediction {
	return &Prediction{strict: iova.NewPredictor(cpus, false), lazy: iova.NewPredictor(cpus, true)}
}

// Count returns the verdicts so far.
func (p *Prediction) Count() [4]int {
	if p.best() {
		return p.lazy.Count
	}
	return p.strict.Count
}

// best reports whether the lazy predictor is the better one.
func (p *Prediction) best() bool {
	switch {
	case p.strict == nil:
		return true
	case p.lazy == nil:
		return false
	}
	return p.lazy.Count[iova.Exact] > p.strict.Count[iova.Exact]
}

func (p *Prediction) each(f func(*iova.Predictor)) {
	if p.strict != nil {
		f(p.strict)
	}
	if p.lazy != nil {
		f(p.lazy)
	}
}

// alloc returns the verdict of the predictor that has been right more often so far.
func (p *Prediction) alloc(at sim.Time, cpu int, lo, hi uint64) (v iova.Verdict) {
	lazy := p.best()
	p.each(func(q *iova.Predictor) {
		if got := q.Alloc(at, cpu, (hi-lo)>>12, lo>>12); (q == p.lazy) == lazy {
			v = got
		}
	})
	p.Lazy = p.best()
	if p.allocs++; p.allocs == trial {
		if p.Lazy {
			p.strict = nil
		} else {
			p.lazy = nil
		}
	}
	return v
}

// free frees a range; now says that it does not wait in a flush queue, whatever the mode.
func (p *Prediction) free(at sim.Time, cpu int, lo, hi uint64, now bool) {
	p.each(func(q *iova.Predictor) {
		if now {
			q.FreeNow(at, cpu, lo>>12, (hi-lo)>>12)
		} else {
			q.Free(at, cpu, lo>>12, (hi-lo)>>12)
		}
	})
}

// names reports whether the allocator would hand out lo.
func (p *Prediction) names(at sim.Time, cpu int, lo, hi uint64) bool {
	q := p.strict
	if p.best() {
		q = p.lazy
	}
	pfn, known := q.Predict(at, cpu, (hi-lo)>>12)
	return known && pfn == lo>>12
}
