package cache

import (
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

func farConfig() Config {
	c := spread()
	c.FarAtomics, c.FarBusy = true, 10*sim.Nanosecond
	return c
}

// ask does an atomic and returns when it is done: what it seems at first, and what it comes to if the line is in another node.
func ask(h *Hierarchy, core int, pa uint64, now sim.Time) (done sim.Time, lvl Level) {
	done, lvl = h.Atomic(core, pa, now)
	return settle(h, core, done), lvl
}

// settle asks until the answer to the core's request that seems to come at done has come.
func settle(h *Hierarchy, core int, done sim.Time) sim.Time {
	for {
		next := h.Settle(core, done)
		if next <= done {
			return done
		}
		done = next
	}
}

// An operation that nobody hinders takes the way to the LLC of its node and back, its own time there, and the line's way from another node;
// copies of other cores come first. Then the line is in the node.
func TestFarAtomicTakesTheWayAndItsTime(t *testing.T) {
	cfg := farConfig()
	for home := range 8 {
		for core := range 8 {
			h := build(t, cfg)
			ask(h, home, 0, 0) // from memory into the node of home
			done, lvl := ask(h, core, 0, 10*us)
			want := cfg.LLC.Latency + cfg.FarBusy + distance(cfg, home, core)
			if done-10*us != want || lvl != LLC {
				t.Errorf("core %d, line in the node of core %d: %v from %v, want %v", core, home, done-10*us, lvl, want)
			}
			if l, st := h.Probe(core, 0); l != LLC || st != Invalid {
				t.Errorf("core %d then has the line in %v, %v", core, l, st)
			}
			if done, _ = ask(h, core^1, 0, 15*us); done-15*us != cfg.LLC.Latency+cfg.FarBusy {
				t.Errorf("core %d, line in its node by now: %v", core^1, done-15*us)
			}
			write(h, home, 0, 20*us) // takes the line out of the LLC
			done, lvl = ask(h, core, 0, 30*us)
			if want += cfg.Peer - cfg.LLC.Latency; home != core && (done-30*us != want || lvl != Peer) {
				t.Errorf("core %d, line owned by core %d: %v from %v, want %v", core, home, done-30*us, lvl, want)
			}
			if l1 := cfg.Clock.Edge(int64(cfg.L1D.Latency)); home == core && (done-30*us != l1 || lvl != L1) {
				t.Errorf("core %d, own line: %v from %v, want %v", core, done-30*us, lvl, l1)
			}
		}
	}
}

// Two cores that repeat a compare-and-exchange until it is their turn, as fast as they can: on one node a turn takes half of what an operation takes
// alone, since both come to the line at their own pace; on two the line goes to and fro, and a turn takes the operation and the hop.
func TestTurnsOfTwoCores(t *testing.T) {
	cfg := farConfig()
	for _, c := range []struct {
		a, b int
		want sim.Time
	}{
		{0, 1, (cfg.LLC.Latency + cfg.FarBusy) / 2},
		{6, 7, (cfg.LLC.Latency + cfg.FarBusy) / 2}, // wherever the line was before
		{0, 2, cfg.FarBusy + cfg.Topology.HopNode},
		{0, 4, cfg.FarBusy + cfg.Topology.HopSocket},
		{3, 7, cfg.FarBusy + cfg.Topology.HopSocket},
	} {
		h := build(t, cfg)
		ask(h, 0, 0, 0)
		if got := turnTime(h, c.a, c.b, 10*us); got < c.want-sim.Nanosecond || got > c.want+sim.Nanosecond {
			t.Errorf("cores %d and %d: a turn takes %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// turnTime lets two cores take 200 turns and returns how long one takes.
func turnTime(h *Hierarchy, a, b int, now sim.Time) sim.Time {
	m := &spinners{h: h}
	var word, turns, first sim.Time
	for k, core := range []int{a, b} {
		m.start(core, now, func(done sim.Time) sim.Time {
			if int(word) == k {
				word = sim.Time(1 - k)
				if turns++; turns == 100 {
					first = done
				}
			}
			if turns >= 300 {
				return sim.Never
			}
			return done
		})
	}
	return (m.run() - first) / 200
}

// spinners are cores that do an atomic on line 0, look at the result, and do the next one.
type spinners struct {
	h    *Hierarchy
	core []int
	at   []sim.Time // when each acts next
	busy []bool     // waits for an answer
	then []func(done sim.Time) sim.Time
	late sim.Time // how much later than it came somebody was told of an answer, at most
}

// start adds a core that begins at now; then is told when an operation is done, and says when the next one begins, Never for none.
func (m *spinners) start(core int, now sim.Time, then func(done sim.Time) sim.Time) {
	m.core, m.at, m.busy, m.then = append(m.core, core), append(m.at, now), append(m.busy, false), append(m.then, then)
}

// run goes on until nobody wants to, in the order of time, and returns the end.
func (m *spinners) run() (now sim.Time) {
	for {
		k := 0
		for i := range m.at {
			if m.at[i] < m.at[k] {
				k = i
			}
		}
		if m.at[k] == sim.Never {
			return now
		}
		now = m.at[k]
		switch {
		case !m.busy[k]:
			m.at[k], _ = m.h.Atomic(m.core[k], 0, now)
			m.busy[k] = true
		default:
			next := m.h.Settle(m.core[k], now)
			if next > now {
				m.at[k] = next
				continue
			}
			if next != 0 && next != now {
				m.late = max(m.late, now-next)
			}
			m.busy[k] = false
			m.at[k] = m.then[k](now)
		}
	}
}

// Random cores at random times, against what must hold of any order: no two operations are served at once, in a node they are served in the order of
// their arrival, the line takes half a hop at least to another node, everybody gets an answer, and no answer comes before the time at which it
// seemed to come.
func TestFarAtomicsAreServedOneByOne(t *testing.T) {
	cfg := farConfig()
	type op struct {
		core       int
		asked      sim.Time
		start, end sim.Time
	}
	for seed := range uint64(20) {
		h := build(t, cfg)
		ask(h, 0, 0, 0)
		r := rand.New(rand.NewPCG(7, seed))
		think := sim.Time(1 + r.IntN(300_000))
		var ops []op
		m := &spinners{h: h}
		for core := range 8 {
			asked := 10*us + sim.Time(r.IntN(1000))
			left := 200
			m.start(core, asked, func(done sim.Time) sim.Time {
				end := done - (cfg.LLC.Latency - cfg.LLC.Latency/2)
				ops = append(ops, op{core, asked, end - cfg.FarBusy, end})
				if left--; left == 0 {
					return sim.Never
				}
				asked = done + sim.Time(r.Int64N(int64(think)))
				return asked
			})
		}
		m.run()
		if m.late != 0 {
			t.Errorf("seed %d: an answer is told %v late", seed, m.late)
		}
		if len(ops) != 8*200 {
			t.Fatalf("seed %d: %d answers of %d", seed, len(ops), 8*200)
		}
		last := map[int]op{} // of each node
		for i, o := range ops {
			for _, p := range ops[max(0, i-20):i] { // answers come a little out of order
				if o.start < p.end && p.start < o.end {
					t.Fatalf("seed %d: core %d is served from %v to %v, core %d from %v to %v", seed, p.core, p.start, p.end, o.core, o.start, o.end)
				}
				hop := distance(cfg, p.core, o.core)
				if gap := max(o.start-p.end, p.start-o.end); gap < hop-hop/2 {
					t.Fatalf("seed %d: core %d is served %v after or before core %d", seed, o.core, gap, p.core)
				}
			}
			if p := last[o.core/2]; p.asked > o.asked && p.end < o.start {
				t.Fatalf("seed %d: cores %d and %d of one node are served out of order", seed, p.core, o.core)
			}
			last[o.core/2] = o
			if o.start < o.asked+cfg.LLC.Latency/2 {
				t.Fatalf("seed %d: core %d is served at %v, before it can have asked", seed, o.core, o.start)
			}
		}
	}
}

// Many cores that compete by compare-and-exchange: all of them get through, and of those that begin with a read the first is not hindered.
func TestCompareAndExchangeMakesProgress(t *testing.T) {
	cfg := farConfig()
	h := build(t, cfg)
	ask(h, 0, 0, 0)
	word, won, tries := 0, [8]int{}, 0
	m := &spinners{h: h}
	for core := range 8 {
		seen := -1
		m.start(core, 10*us+sim.Time(core), func(done sim.Time) sim.Time {
			tries++
			if seen == word {
				word++
				won[core]++
			}
			seen = word
			if won[core] == 50 {
				return sim.Never
			}
			return done + 10*sim.Nanosecond
		})
	}
	m.run()
	for core, n := range won {
		if n != 50 {
			t.Errorf("core %d: %d of 50", core, n)
		}
	}
	if tries < 2*400 || tries > 12*400 {
		t.Errorf("%d tries for 400 successes of up to 8 cores", tries)
	}
}

// A load of the line waits for the operations before it.
func TestALoadWaitsForFarAtomics(t *testing.T) {
	cfg := farConfig()
	h := build(t, cfg)
	ask(h, 0, 0, 0)
	for c := range 2 {
		h.Atomic(c, 0, 10*us)
	}
	done, _ := read(h, 1, 0, 10*us)
	if want := 10*us + cfg.LLC.Latency + 2*cfg.FarBusy; done != want {
		t.Errorf("in the node: done after %v, want %v", done-10*us, want-10*us)
	}
	h = build(t, cfg)
	ask(h, 0, 0, 0)
	var last sim.Time
	for c := range 4 {
		done, _ := h.Atomic(c, 0, 10*us)
		last = max(last, done)
	}
	seems, _ := read(h, 4, 0, 10*us)
	done = settle(h, 4, seems)
	if low, high := 10*us+cfg.LLC.Latency+4*cfg.FarBusy+cfg.Topology.HopNode, 10*us+us; done < low || done > high {
		t.Errorf("from another node: done after %v, want between %v and %v", done-10*us, low-10*us, high-10*us)
	}
}

// A core that read the line alone keeps it for the time that its acknowledgement and the next request take: an atomic within that time is done in L1.
func TestAReaderMayFollowWithAnAtomic(t *testing.T) {
	cfg := farConfig()
	h := build(t, cfg)
	ask(h, 0, 0, 0)
	seen, _ := read(h, 1, 0, 10*us)
	h.Atomic(0, 0, 10*us+1) // asks behind it
	l1 := cfg.Clock.Edge(int64(cfg.L1D.Latency))
	if done, lvl := h.Atomic(1, 0, seen+5*sim.Nanosecond); lvl != L1 || done != seen+5*sim.Nanosecond+l1 {
		t.Errorf("at once: %v from %v, want %v", done-seen, lvl, 5*sim.Nanosecond+l1)
	}
	if _, lvl := h.Atomic(1, 0, seen+cfg.LLC.Latency); lvl == L1 {
		t.Error("as late as a request of another core gets here it is still done in L1")
	}
}

// Among loads and stores of the same lines, far atomics keep one writer or many readers, an exact directory and the counters.
func TestFarAtomicsKeepTheInvariants(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		for _, line := range []int{64, 128} {
			cfg := tiny(8, inclusive, LRU)
			cfg.Topology, cfg.FarAtomics, cfg.FarBusy, cfg.LLC.LineBytes = spread().Topology, true, 5*sim.Nanosecond, line
			h := build(t, cfg)
			r := rand.New(rand.NewPCG(1, 9))
			now := sim.Time(0)
			for step := range 3000 {
				if r.IntN(3) == 0 {
					core, pa := r.IntN(8), r.Uint64N(120)<<6
					if done, lvl := h.Atomic(core, pa, now); lvl != L1 && done < now+cfg.LLC.Latency {
						t.Fatalf("an atomic at %v is done at %v", now, done)
					}
				} else {
					randomAccess(h, r, &now)
				}
				if step%8 == 0 {
					if err := audit(h); err != nil {
						t.Fatalf("inclusive %v, lines of %d, step %d: %v", inclusive, line, step, err)
					}
				}
			}
		}
	}
}

func randomAccess(h *Hierarchy, r *rand.Rand, now *sim.Time) {
	core, pa := r.IntN(len(h.cores)), r.Uint64N(120)<<6
	*now += sim.Time(r.IntN(20000))
	switch r.IntN(5) {
	case 0:
		h.DeviceWrite(pa+8, 8, *now)
	case 1:
		h.Displace(core, 3, 5)
	case 2:
		write(h, core, pa, *now)
	default:
		read(h, core, pa, *now)
	}
}

// Nothing of it allocates.
func TestFarAtomicsAllocateNothing(t *testing.T) {
	h := build(t, farConfig())
	now, n := sim.Time(0), uint64(0)
	if a := testing.AllocsPerRun(100, func() {
		for range 50 {
			n = n*6364136223846793005 + 1442695040888963407
			now += 1000
			core := int(n >> 61)
			done, _ := h.Atomic(core, n>>40&^63&1023, now)
			h.Settle(core, done)
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
