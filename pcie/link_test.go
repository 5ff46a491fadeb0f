package pcie

import (
	"sort"
	"testing"

	"dmapath/sim"
)

// twin books packets the obvious way: it keeps every span ever booked and takes the first gap that fits.
type twin struct{ spans []span }

func (w *twin) book(t, d sim.Time) sim.Time {
	sort.Slice(w.spans, func(i, j int) bool { return w.spans[i].start < w.spans[j].start })
	for _, s := range w.spans {
		if s.end <= t {
			continue
		}
		if s.start >= t+d {
			break
		}
		t = s.end
	}
	w.spans = append(w.spans, span{t, t + d})
	return t
}

func TestLinkAgreesWithTheObviousTwin(t *testing.T) {
	for seed := range uint64(20) {
		rng := sim.NewRand(seed, "link")
		l := newLink("test", 1000) // 1 ps per byte
		var w twin
		now := sim.Time(0)
		for i := range 400 {
			now += sim.Time(rng.IntN(40))
			ready := now + sim.Time(rng.IntN(300)) // calls are not in the order of time
			n := 1 + rng.IntN(60)
			start, end := l.Send(ready, 0, n, 0)
			if want := w.book(ready, sim.Time(n)); start != want || end != want+sim.Time(n) {
				t.Fatalf("seed %d packet %d: ready %v, %d B: sent at %v, twin %v", seed, i, ready, n, start, want)
			}
		}
	}
}

// However many spans are forgotten, two packets never overlap and none starts before it is ready.
func TestForgettingSpansNeverDoubleBooks(t *testing.T) {
	rng := sim.NewRand(7, "link")
	l := newLink("test", 1000)
	var all []span
	now := sim.Time(0)
	for range 5000 {
		now += sim.Time(rng.IntN(200))
		ready := now + sim.Time(rng.IntN(40_000))
		start, end := l.Send(ready, 0, 1+rng.IntN(60), 0)
		if start < ready {
			t.Fatalf("packet ready at %v starts at %v", ready, start)
		}
		all = append(all, span{start, end})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].start < all[j].start })
	for i := 1; i < len(all); i++ {
		if all[i].start < all[i-1].end {
			t.Fatalf("packets overlap: %v and %v", all[i-1], all[i])
		}
	}
}

// The heap of tags hands out the earliest free one.
func TestTagsAgreeWithTheObviousTwin(t *testing.T) {
	rng := sim.NewRand(3, "tags")
	tg := newTags(13)
	free := make([]sim.Time, 13)
	for i := range 3000 {
		now := sim.Time(i * 7)
		at := 0
		for j := range free {
			if free[j] < free[at] {
				at = j
			}
		}
		if got, want := tg.take(now), max(now, free[at]); got != want {
			t.Fatalf("request %d: tag at %v, twin %v", i, got, want)
		}
		free[at] = now + sim.Time(rng.IntN(200))
		tg.release(free[at])
	}
}
