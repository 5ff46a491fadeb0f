package rig

import (
	"math/rand/v2"

	"dmapath/sim"
)

// Twin drives a unit with random maps, unmaps, invalidations and requests, and knows for every page which translations may still be
// cached: those unmapped after the last invalidation that covers the page, and is complete, was submitted.
type Twin struct {
	Groups int // pages are invalidated one by one, in groups of four neighbours, or all
	Map    func(page int, pa uint64)
	Unmap  func(page int)
	// Submit asks for the invalidation of pages first to last, all of them when all is set, and returns what says that it is complete.
	Submit func(first, last int, all bool) (complete func() bool)
	// Translate asks for byte 8 of a page.
	Translate func(page int) (pa uint64, err error)
}

// PageSpan is how far apart Run's physical pages are.
const PageSpan = 1 << 16

// Run performs steps random steps. It fails the test at the first request that is answered with a translation that may not be cached any
// more, or not with the one in the table, and returns how many got one that was out of date but not yet invalidated.
func (w *Twin) Run(r *Rig, seed uint64, steps int) (stale int) {
	type past struct {
		pa   uint64
		step int
	}
	type pending struct {
		complete          func() bool
		first, last, step int
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	pages := 4 * w.Groups
	old := make([][]past, pages)
	cur := make([]uint64, pages) // 0: not mapped
	next := uint64(1) << 32
	var waiting []pending
	for step := range steps {
		r.RunTo(r.Eng.Now() + sim.Time(rng.IntN(300))*sim.Nanosecond)
		for len(waiting) > 0 && waiting[0].complete() {
			for s := waiting[0].first; s <= waiting[0].last; s++ {
				keep := old[s][:0]
				for _, o := range old[s] {
					if o.step > waiting[0].step {
						keep = append(keep, o)
					}
				}
				old[s] = keep
			}
			waiting = waiting[1:]
		}
		s := rng.IntN(pages)
		switch what := rng.IntN(8); {
		case what < 2:
			if cur[s] != 0 {
				old[s] = append(old[s], past{cur[s], step})
				cur[s] = 0
				w.Unmap(s)
			}
			if what == 0 {
				cur[s] = next
				w.Map(s, next)
				next += PageSpan
			}
		case what == 2 && len(waiting) <= 20:
			p := pending{first: s, last: s, step: step}
			kind := rng.IntN(3)
			switch kind {
			case 1:
				p.first, p.last = s&^3, s|3
			case 2:
				p.first, p.last = 0, pages-1
			}
			p.complete = w.Submit(p.first, p.last, kind == 2)
			waiting = append(waiting, p)
		case what > 2:
			got, err := w.Translate(s)
			ok := err == nil && cur[s] != 0 && got == cur[s]+8 || err != nil && cur[s] == 0
			for _, o := range old[s] {
				if err == nil && got == o.pa+8 {
					if !ok {
						stale++
					}
					ok = true
				}
			}
			if !ok {
				r.T.Fatalf("seed %d step %d: page %d became %#x (%v); mapped to %#x, stale %v", seed, step, s, got, err, cur[s], old[s])
			}
		}
	}
	return stale
}
