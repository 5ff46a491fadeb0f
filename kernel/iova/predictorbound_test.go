package iova

import (
	"testing"

	"dmapath/sim"
)

// A trace that has lost events, or several of them one after the other, makes the predictor guess again and again. What it believes to be in the
// magazines of a CPU stays bounded, and most of it is recent.
func TestPredictorForgetsWhatCannotBe(t *testing.T) {
	p := NewPredictor(2, false)
	r := sim.NewRand(1, "bound")
	var freed []uint64
	at, next := sim.Time(0), uint64(1<<20)
	for range 40_000 {
		at += sim.Microsecond
		if len(freed) < 600 || r.IntN(3) > 0 {
			next-- // never allocated in the trace
			p.Free(at, 0, next, 1)
			freed = append(freed, next)
			continue
		}
		k := r.IntN(len(freed)) // from the middle of a magazine of another CPU
		p.Alloc(at, 1, 1, freed[k])
		freed = append(freed[:k], freed[k+1:]...)
	}
	q := NewPredictor(1, false) // a trace of frees alone
	for i := range uint64(2 * maxDepot * MagazineSize) {
		q.Free(0, 0, i, 1)
	}
	if n := len(q.hyps[0].depot[0].mags); n > maxDepot || len(q.seen) > maxSeen {
		t.Errorf("%d magazines in a depot, %d frames seen", n, len(q.seen))
	}
	for _, h := range p.hyps {
		for c := range h.cpus {
			for o := range h.cpus[c].loaded {
				if n := len(h.cpus[c].loaded[o]); n > 4*MagazineSize+1 {
					t.Errorf("CPU %d seems to have %d frames of order %d loaded", c, n, o)
				}
			}
		}
	}
}
