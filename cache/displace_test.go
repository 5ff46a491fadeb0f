package cache

import (
	"math/rand/v2"
	"slices"
	"testing"

	"dmapath/sim"
)

// twin is one core's hierarchy without prefetch as lists, under LRU. The displaced footprint has addresses here: line k
// of a window of w lines maps to set k mod sets, and is looked up like any other.
type twin struct {
	levels [3]*twinLevel // L1D, L2, LLC (filled by what L2 evicts)
	dirty  map[uint64]bool
	writes uint64
	h      *Hierarchy // for the set of a line in the LLC
}

type twinLevel struct {
	sets, ways, window int
	set                []map[uint64]int // line -> time of last use
	now                int
	next               int        // displaced lines so far
	due                [][]uint64 // displaced lines that a set has yet to see
}

const footprintLine = 1 << 50 // number of line 0 of the footprint, in nobody's memory

func newTwin(h *Hierarchy) *twin {
	w := &twin{dirty: map[uint64]bool{}, h: h}
	for i, a := range []*array{&h.cores[0].d, &h.cores[0].l2, &h.llc} {
		l := &twinLevel{sets: a.sets, ways: int(a.ways), window: h.cfg.Window, due: make([][]uint64, a.sets)}
		for range a.sets {
			l.set = append(l.set, map[uint64]int{})
		}
		w.levels[i] = l
	}
	return w
}

// displace queues n lines of the footprint at level l. A window that is not a whole number of rounds over the sets counts as one
// that is.
func (l *twinLevel) displace(n int) {
	for range n {
		line := uint64(l.next)
		if l.window > 0 {
			line %= uint64((l.window + l.sets - 1) / l.sets * l.sets)
		}
		s := l.next % l.sets
		l.due[s] = append(l.due[s], footprintLine+line)
		l.next++
	}
}

// insert puts line into set s and returns what had to go, 0 for nothing.
func (l *twinLevel) insert(s int, line uint64) (gone uint64) {
	m := l.set[s]
	l.now++
	if _, ok := m[line]; !ok && len(m) == l.ways {
		oldest := -1
		for k, t := range m {
			if oldest < 0 || t < oldest {
				oldest, gone = t, k
			}
		}
		delete(m, gone)
	}
	m[line] = l.now
	return gone
}

func (w *twin) settle(level, s int) {
	l := w.levels[level]
	due := l.due[s]
	l.due[s] = nil
	for r, line := range due {
		after := 0
		if l3 := w.levels[2]; level == 1 && (l.window == 0 || (l.window+l3.sets-1)/l3.sets >= l3.ways) {
			after = (len(due) - 1 - r) * l.sets / l3.sets
		}
		w.evicted(level, l.insert(s, line), after)
	}
}

// evicted takes line, which level gave up before the footprint passed after lines through each set of the LLC.
func (w *twin) evicted(level int, line uint64, after int) {
	switch {
	case line == 0 || line >= footprintLine:
	case level == 1:
		l1 := w.levels[0]
		delete(l1.set[int(line)%l1.sets], line)
		s := int(w.h.llcSet(line << 6))
		w.settle(2, s)
		l3 := w.levels[2]
		if after >= l3.ways {
			w.evicted(2, line, 0)
			return
		}
		w.evicted(2, l3.insert(s, line), 0)
		m := l3.set[s]
		for range min(after, len(m)-1) { // the oldest of those above moves to the top, once each
			var order []uint64
			for k := range m {
				order = append(order, k)
			}
			slices.SortFunc(order, func(a, b uint64) int { return m[b] - m[a] })
			l3.now++
			m[order[min(after, len(order)-1)]] = l3.now
		}
	case level == 2:
		if w.dirty[line] {
			delete(w.dirty, line)
			w.writes++
		}
	}
}

func (w *twin) access(line uint64, store bool) Level {
	s2 := int(line) % w.levels[1].sets
	w.settle(1, s2)
	s1 := int(line) % w.levels[0].sets
	w.settle(0, s1)
	lvl := L1
	if _, ok := w.levels[0].set[s1][line]; !ok {
		lvl = L2
		if _, ok := w.levels[1].set[s2][line]; !ok {
			lvl = LLC
			s3 := int(w.h.llcSet(line << 6))
			w.settle(2, s3)
			if _, ok := w.levels[2].set[s3][line]; ok {
				delete(w.levels[2].set[s3], line) // it moves up
			} else {
				lvl = DRAM
			}
		}
		w.evicted(1, w.levels[1].insert(s2, line), 0)
	}
	w.levels[0].insert(s1, line)
	if store {
		w.dirty[line] = true
	}
	return lvl
}

// Every access is served by the level that the lists say, with displaced lines passing through between accesses: none, few,
// more than a set holds, more than everything holds; in windows that fit a level, fit the next, or do not exist.
func TestHierarchyAgreesWithLists(t *testing.T) {
	for _, window := range []int{0, 5, 16, 40, 100, 1000} {
		for _, displaced := range []int{0, 3, 30, 500} {
			cfg := tiny(1, false, LRU)
			cfg.Prefetch = PrefetchConfig{}
			cfg.Window = window
			h := build(t, cfg)
			w := newTwin(h)
			r := rand.New(rand.NewPCG(uint64(window), uint64(displaced)))
			now := sim.Time(0)
			var levels [NumLevels]int
			for step := range 20000 {
				if displaced > 0 && r.IntN(20) == 0 {
					n := r.IntN(displaced)
					h.Displace(0, 0, n)
					for _, l := range w.levels {
						l.displace(n)
					}
				}
				now += us
				line := uint64(r.ExpFloat64()*40) + 1
				store := r.IntN(3) == 0
				var got Level
				if displaced == 0 && store { // by the fast paths, which leave L2 alone, as an L1 hit does here
					_, got = write(h, 0, line<<6, now)
				} else if displaced == 0 {
					_, got = read(h, 0, line<<6, now)
				} else if store {
					_, got = h.Store(0, line<<6, 1, now)
				} else {
					_, got = h.Load(0, line<<6, 1, now)
				}
				want := w.access(line, store)
				if got != want {
					t.Fatalf("window %d, up to %d displaced, step %d: line %d from %v, lists say %v", window, displaced, step, line, got, want)
				}
				levels[got]++
			}
			if w.writes != h.Stats().DRAM.Writes {
				t.Errorf("window %d, up to %d displaced: %d write-backs, lists say %d", window, displaced, h.Stats().DRAM.Writes, w.writes)
			}
			if err := audit(h); err != nil {
				t.Error(err)
			}
			if window == 0 && displaced == 500 && levels[DRAM] == 0 {
				t.Error("streaming displaced nothing from the LLC")
			}
		}
	}
}

// Displacing in one call or in many is the same.
func TestDisplaceIsAdditive(t *testing.T) {
	for _, p := range []Policy{LRU, TreePLRU, SRRIP} {
		run := func(calls int) (out []Level) {
			cfg := tiny(2, false, p)
			h := build(t, cfg)
			now := sim.Time(0)
			for round := range 50 {
				for l := range uint64(40) {
					now += us
					_, lvl := h.Load(round&1, l<<6, 1, now)
					out = append(out, lvl)
				}
				for range calls {
					h.Displace(round&1, 12/calls, 24/calls)
				}
			}
			return out
		}
		a, b := run(1), run(12)
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("%v: access %d from %v and %v", p, i, a[i], b[i])
			}
		}
	}
}

// What a number of displaced lines does to a working set, by level: nothing, L1, L2, everything.
func TestDisplaceReachesTheLevelsInOrder(t *testing.T) {
	cfg := bare(1)
	lines := func(bytes int) int { return bytes / LineBytes }
	for _, c := range []struct {
		n    int
		want Level
	}{
		{0, L1},
		{lines(cfg.L1D.Bytes), L2},
		{lines(cfg.L2.Bytes), LLC},
		{lines(cfg.LLC.Bytes) + lines(cfg.L2.Bytes), DRAM},
	} {
		h := build(t, cfg)
		now := sim.Time(0)
		for range 2 {
			for l := range uint64(100) {
				now += us
				write(h, 0, l<<6, now)
			}
		}
		h.Displace(0, 0, c.n)
		for l := range uint64(100) {
			now += us
			if _, lvl := h.Load(0, l<<6, 1, now); lvl != c.want {
				t.Fatalf("%d lines displaced: line %d from %v, want %v", c.n, l, lvl, c.want)
			}
		}
	}
}

// A window that a level holds displaces, but not more with every call.
func TestRecurringFootprintFits(t *testing.T) {
	cfg := bare(1)
	cfg.Window = 2048 // 2 of 20 ways of L2
	h := build(t, cfg)
	now := sim.Time(0)
	const set = 15000 // lines of the model: with the window, less than L2 holds
	for range 3 {
		for l := range uint64(set) {
			now += 100 * sim.Nanosecond
			h.Load(0, l<<6, 1, now)
			if l%10 == 0 {
				h.Displace(0, 50, 50)
			}
		}
	}
	h.ResetStats()
	for l := range uint64(set) {
		now += 100 * sim.Nanosecond
		h.Load(0, l<<6, 1, now)
		h.Displace(0, 50, 50)
	}
	if s := h.Stats(); s.L2.Misses != 0 {
		t.Errorf("%d L2 misses: a window of 2048 lines pushed 15000 lines out of 20480", s.L2.Misses)
	}
}

// A fast path never answers from a set that has displaced lines due.
func TestFastPathSeesDisplacement(t *testing.T) {
	h := build(t, bare(1))
	now := 10 * us
	for range 2 {
		now += us
		h.Load(0, 64, 1, now)
		h.Store(0, 128, 1, now)
		h.Fetch(0, 192, now)
	}
	_, l := h.LoadHit(0, 64)
	_, s := h.StoreHit(0, 128)
	_, f := h.FetchHit(0, 192)
	if !l || !s || !f {
		t.Fatalf("no fast hits: %v %v %v", l, s, f)
	}
	h.Displace(0, 1<<20, 1<<20)
	_, l = h.LoadHit(0, 64)
	_, s = h.StoreHit(0, 128)
	_, f = h.FetchHit(0, 192)
	if l || s || f {
		t.Errorf("fast hits after everything was displaced: load %v, store %v, fetch %v", l, s, f)
	}
}

// Sets catch up with displaced lines when they are next used. Had every set done so at once, few accesses would be served by another
// level: those to lines that L1 still has when L2 gives them up, and the order among cores.
func TestCatchingUpLateIsLikeAtOnce(t *testing.T) {
	for _, displaced := range []int{5, 40, 150, 2000} {
		run := func(atOnce bool) (n [NumLevels]int) {
			cfg := tiny(2, false, LRU)
			cfg.Prefetch = PrefetchConfig{}
			h := build(t, cfg)
			r := rand.New(rand.NewPCG(9, uint64(displaced)))
			now := sim.Time(0)
			for range 3000 {
				core := r.IntN(2)
				h.Displace(core, displaced/2, displaced/2)
				if atOnce {
					for s := range uint64(h.llc.sets) {
						h.settleLLC(s)
					}
					for c := range h.cores {
						for s := range uint64(h.cores[c].l2.sets) {
							h.settleL2(c, s)
						}
					}
				}
				for range 10 {
					now += us
					_, lvl := read(h, core, (1+r.Uint64N(60))<<6, now)
					n[lvl]++
				}
			}
			return n
		}
		late, once := run(false), run(true)
		for l := range NumLevels {
			if d := late[l] - once[l]; d > 1500 || d < -1500 { // 5 % of the accesses, in sets so small that each line counts
				t.Errorf("%d lines: %d accesses from %v, %d if caught up at once", displaced, late[l], l, once[l])
			}
		}
	}
}
