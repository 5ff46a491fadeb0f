package replay

import (
	"testing"

	"dmapath/kernel/iova"
	"dmapath/sim"
)

// Strict and lazy domains are told apart by which rules predict them: a strict one hands out at once what was just freed; in a
// lazy one it waits, unless the two-step interface freed it.
func TestModeIsFoundOut(t *testing.T) {
	alloc := func(lazy, now bool) *Prediction {
		p := newPrediction(2)
		truth := iova.NewPredictor(2, lazy) // hands out what its own rules say
		at := sim.Second
		next := uint64(0xfffff)
		for range 2 * trial {
			at += 5 * sim.Microsecond
			pfn, known := truth.Predict(at, 0, 1)
			if !known {
				pfn, next = next, next-1
			}
			truth.Alloc(at, 0, 1, pfn)
			p.alloc(at, 0, pfn<<12, (pfn+1)<<12)
			at += 5 * sim.Microsecond
			if now {
				truth.FreeNow(at, 0, pfn, 1)
			} else {
				truth.Free(at, 0, pfn, 1)
			}
			p.free(at, 0, pfn<<12, (pfn+1)<<12, now)
		}
		return p
	}
	if p := alloc(false, false); p.Lazy || p.lazy != nil || p.Count() != [4]int{2*trial - 1, 0, 1, 0} {
		t.Errorf("strict: lazy %v, %v; want all but the first allocation exact", p.Lazy, p.Count())
	}
	if p := alloc(true, true); p.Count() != [4]int{2*trial - 1, 0, 1, 0} {
		t.Errorf("lazy, freed by the two-step interface: %v; want all but the first allocation exact", p.Count())
	}
	p := alloc(true, false)
	c := p.Count()
	if wrong := c[iova.Wrong]; wrong > trial/50 {
		t.Errorf("lazy: %v, mode lazy %v", c, p.Lazy)
	}
}
