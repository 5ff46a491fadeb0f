package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

// audit walks every array and returns what contradicts MESI, inclusion or the directory.
func audit(h *Hierarchy) error {
	type copies struct {
		cores []int
		owner int
	}
	held := map[uint64]*copies{}
	inLLC := map[uint64]bool{}
	for set := range uint64(h.llc.sets) {
		for _, t := range h.llc.tagsOf(set) {
			if t&tagValid != 0 {
				if h.llcSet(t&tagAddr) != set || inLLC[t&tagAddr] {
					return fmt.Errorf("LLC: line %#x in the wrong set or twice", t&tagAddr)
				}
				inLLC[t&tagAddr] = true
			}
		}
	}
	for id := range h.cores {
		c := &h.cores[id]
		for set := range uint64(c.l2.sets) {
			for _, t := range c.l2.tagsOf(set) {
				if t&tagValid == 0 {
					continue
				}
				pa := t & tagAddr
				k := held[pa]
				if k == nil {
					k = &copies{owner: noOwner}
					held[pa] = k
				}
				k.cores = append(k.cores, id)
				st := State(t & tagState)
				if st == Exclusive || st == Modified {
					if k.owner != noOwner {
						return fmt.Errorf("line %#x has two owners", pa)
					}
					k.owner = id
				} else if st != Shared {
					return fmt.Errorf("line %#x in state %v", pa, st)
				}
				if h.cfg.LLC.Inclusive && !inLLC[pa] {
					return fmt.Errorf("line %#x of core %d is not in the inclusive LLC", pa, id)
				}
				if !h.cfg.LLC.Inclusive && k.owner == id && inLLC[pa] {
					return fmt.Errorf("line %#x owned by core %d is in the LLC", pa, id)
				}
			}
		}
		for n, a := range []*array{&c.d, &c.i} {
			for set := range uint64(a.sets) {
				for _, t := range a.tagsOf(set) {
					if t&tagValid == 0 {
						continue
					}
					pa := t & tagAddr
					i := c.l2.find(c.l2.set(pa), pa)
					if i < 0 {
						return fmt.Errorf("line %#x is in L1 of core %d and not in its L2", pa, id)
					}
					if c.l2.row[i]&[]uint64{tagInD, tagInI}[n] == 0 {
						return fmt.Errorf("line %#x: L2 of core %d does not know of the copy in L1", pa, id)
					}
					one, two := State(t&tagState), State(c.l2.row[i]&tagState)
					if n == 0 && (one > two || one == Shared && two != Shared) {
						return fmt.Errorf("line %#x of core %d: L1D %v, L2 %v", pa, id, one, two)
					}
				}
			}
		}
	}
	n := 0
	for i := range h.dir.entries {
		e := &h.dir.entries[i]
		if e.key == 0 {
			continue
		}
		n++
		pa := (e.key&lineMask - 1) << 6
		k := held[pa]
		if k == nil {
			return fmt.Errorf("directory knows line %#x that nobody holds", pa)
		}
		var sharers []int
		for c := h.dir.next(i, 0); c >= 0; c = h.dir.next(i, c+1) {
			sharers = append(sharers, c)
		}
		if fmt.Sprint(sharers) != fmt.Sprint(k.cores) || e.owner() != k.owner {
			return fmt.Errorf("line %#x: directory says %v owner %d, caches say %v owner %d", pa, sharers, e.owner(), k.cores, k.owner)
		}
		if k.owner != noOwner && len(k.cores) != 1 {
			return fmt.Errorf("line %#x: owner %d among %v", pa, k.owner, k.cores)
		}
	}
	if n != len(held) || n != h.dir.n {
		return fmt.Errorf("directory has %d entries and counts %d for %d lines", n, h.dir.n, len(held))
	}
	return h.Stats().Check()
}

// dirtyLines returns how many lines are newer in some cache than in memory.
func dirtyLines(h *Hierarchy) uint64 {
	n := uint64(0)
	seen := map[uint64]bool{}
	count := func(a *array) {
		for set := range uint64(a.sets) {
			for _, t := range a.tagsOf(set) {
				if t&tagValid != 0 && State(t&tagState) == Modified && !seen[t&tagAddr] {
					seen[t&tagAddr] = true
					n++
				}
			}
		}
	}
	for c := range h.cores {
		count(&h.cores[c].l2)
	}
	count(&h.llc)
	return n
}

// tiny is a hierarchy in which everything is evicted all the time.
func tiny(cores int, inclusive bool, p Policy) Config {
	c := Default(cores)
	c.L1D = PrivateConfig{Bytes: 4 * 64 * 2, Ways: 2, Policy: p, Latency: 5, MSHRs: 4}
	c.L1I = PrivateConfig{Bytes: 2 * 64 * 3, Ways: 3, Policy: p, Latency: 5, MSHRs: 2}
	c.L2 = PrivateConfig{Bytes: 8 * 64 * 4, Ways: 4, Policy: p, Latency: 14, MSHRs: 6}
	c.LLC.Bytes, c.LLC.Ways, c.LLC.Policy, c.LLC.Inclusive = 9*64*8, 8, p, inclusive
	c.IO.DDIOWays = 2
	return c
}

// Random accesses of cores and devices, flushes and displacement keep one writer or many readers, inclusion, an exact
// directory and the counter identities; no dirty line is lost: each one that stops being dirty is written to memory,
// unless a device overwrites it.
func TestRandomAccessesKeepTheInvariants(t *testing.T) {
	for _, cores := range []int{1, 2, 5, 70} {
		for _, inclusive := range []bool{false, true} {
			for _, p := range []Policy{LRU, TreePLRU, SRRIP} {
				for _, ddio := range []int{0, 2} {
					cfg := tiny(cores, inclusive, p)
					cfg.IO.DDIOWays = ddio
					if ddio == 0 {
						cfg.Window = 20
					}
					h := build(t, cfg)
					r := rand.New(rand.NewPCG(uint64(cores), uint64(p)))
					now := sim.Time(0)
					for step := range 2000 {
						name := randomStep(t, h, r, &now)
						if step%8 == 0 || step > 1950 {
							if err := audit(h); err != nil {
								t.Fatalf("%d cores, inclusive %v, %v, DDIO %d, step %d %s: %v", cores, inclusive, p, ddio, step, name, err)
							}
						}
					}
					if s := h.Stats(); s.L2.Evictions+s.LLC.BackInvalidations == 0 || s.DRAM.Writes == 0 || cores > 1 && s.Coherence.Transfers == 0 {
						t.Errorf("nothing happened: %+v", s)
					}
				}
			}
		}
	}
}

func randomStep(t *testing.T, h *Hierarchy, r *rand.Rand, now *sim.Time) (name string) {
	core := r.IntN(len(h.cores))
	pa := r.Uint64N(120) << 6
	*now += sim.Time(r.IntN(20000))
	at := max(0, *now-sim.Time(r.IntN(int(us)))) // cores run apart by up to a microsecond
	h.Probe(core, pa)                            // the displaced lines that are due come first
	dirty, writes := dirtyLines(h), h.mem.stats.Writes
	var done sim.Time
	made := uint64(0)
	clean := func() bool { // pa is not dirty anywhere
		if i := h.llc.find(h.llcSet(pa), pa); i >= 0 && State(h.llc.row[i]&tagState) == Modified {
			return false
		}
		for c := range h.cores {
			a := &h.cores[c].l2
			if i := a.find(a.set(pa), pa); i >= 0 && State(a.row[i]&tagState) == Modified {
				return false
			}
		}
		return true
	}
	was := clean()
	lost := uint64(0)
	switch op := r.IntN(20); {
	case op < 7:
		name = "load"
		done, _ = read(h, core, pa, at)
	case op < 13:
		name = "store"
		done, _ = write(h, core, pa, at)
	case op < 15:
		name = "fetch"
		if _, ok := h.FetchHit(core, pa); !ok {
			done, _ = h.Fetch(core, pa, at)
		}
	case op < 16:
		name = "device read"
		done, _ = h.DeviceRead(pa, 64, at)
	case op < 17:
		name = "device write"
		done = h.DeviceWrite(pa, 64, at)
		if h.cfg.IO.DDIOWays == 0 {
			writes++ // the write itself
			if !was {
				lost = 1
			}
		}
	case op < 18:
		name = "partial device write"
		done = h.DeviceWrite(pa+8, 8, at)
		if h.cfg.IO.DDIOWays == 0 {
			writes++
		}
	case op < 19:
		name = "flush"
		if r.IntN(2) == 0 {
			done = h.CleanInvalidate(core, pa, at)
		} else {
			done = h.Clean(core, pa, at)
		}
	default:
		name = "displace"
		h.Displace(core, r.IntN(30), r.IntN(60))
		return name
	}
	if name != "fetch" && done < at {
		t.Fatalf("%s at %v done at %v", name, at, done)
	}
	if was && (name == "store" || h.cfg.IO.DDIOWays > 0 && (name == "device write" || name == "partial device write")) {
		made = 1
	}
	after := dirtyLines(h)
	// A line made dirty and pushed out by the same operation's prefetch is both; the balance holds.
	if dirty+made-lost-after != h.mem.stats.Writes-writes {
		t.Fatalf("%s of %#x: %d dirty lines + %d - %d - %d are not the %d write-backs", name, pa, dirty, made, lost, after, h.mem.stats.Writes-writes)
	}
	return name
}

// Two cores that write different words of one line pay a transfer each time; words of two lines cost nothing.
func TestFalseSharingShows(t *testing.T) {
	cfg := bare(2)
	for _, c := range []struct {
		name   string
		second uint64
		each   sim.Time
	}{{"one line", 8, cfg.Peer}, {"two lines", 64, cfg.Clock.Edge(5)}} {
		h := build(t, cfg)
		write(h, 0, 0, 0)
		write(h, 1, c.second, 0)
		now := 10 * us
		start := now
		const n = 1000
		for i := range n {
			if i%2 == 0 {
				now, _ = write(h, 0, 0, now)
			} else {
				now, _ = write(h, 1, c.second, now)
			}
		}
		if got := (now - start) / n; got != c.each {
			t.Errorf("%s: %v per write, want %v", c.name, got, c.each)
		}
	}
}

// All cores want one line at the same time: each transfer waits for the one before.
func TestContendedLinePassesOnByOne(t *testing.T) {
	const n = 16
	cfg := bare(n)
	h := build(t, cfg)
	write(h, 0, 0, 0)
	now := 10 * us
	for c := 1; c < n; c++ {
		done, _ := write(h, c, 0, now)
		if want := now + sim.Time(c)*cfg.Peer; done != want {
			t.Errorf("core %d has the line at %v, want %v", c, done, want)
		}
	}
}

// It does so when cores have read the line in between, and for a core that asks a little before another that had to wait.
func TestContendedLinePassesOnByOneWhateverTheOrder(t *testing.T) {
	cfg := bare(8)
	h := build(t, cfg)
	write(h, 0, 0, 0)
	now := 10 * us
	write(h, 1, 0, now)
	read(h, 2, 0, now) // core 1 and core 2 share the line, which is still on its way to both
	if done, _ := write(h, 3, 0, now); done != now+3*cfg.Peer {
		t.Errorf("a write behind a read is done at %v, want %v", done-now, 3*cfg.Peer)
	}
	write(h, 4, 0, now+100)
	if done, _ := write(h, 5, 0, now+50); done < now+4*cfg.Peer {
		t.Errorf("a write that asks before the last one is done at %v, not behind the %v that the line is busy", done-now, 3*cfg.Peer)
	}
}

// A core whose line is taken can use it until the request arrives, a way through the LLC later, and not after.
func TestALineStaysUntilTheRequestArrives(t *testing.T) {
	cfg := bare(3)
	again := func(after sim.Time) sim.Time {
		h := build(t, cfg)
		write(h, 0, 0, 0)
		got, _ := write(h, 1, 0, 10*us)
		write(h, 2, 0, 10*us) // waits until core 1 has the line
		done, _ := write(h, 1, 0, got+after)
		return done - (got + after)
	}
	if d := again(cfg.LLC.Latency - 1); d != cfg.Clock.Edge(5) {
		t.Errorf("before the request arrives core 1 writes in %v, want %v", d, cfg.Clock.Edge(5))
	}
	if d := again(cfg.LLC.Latency); d < cfg.Peer {
		t.Errorf("when the line has gone core 1 writes in %v", d)
	}
}

// A core that is behind is not delayed by what another core did in its future.
func TestTheFutureDelaysNobody(t *testing.T) {
	cfg := bare(3)
	h := build(t, cfg)
	write(h, 0, 0, 0)
	write(h, 1, 0, 10*us) // core 1 runs ahead
	if done, _ := write(h, 0, 0, 9*us); done != 9*us+cfg.Clock.Edge(5) {
		t.Errorf("the core that has the line writes it at %v, want %v", done, 9*us+cfg.Clock.Edge(5))
	}
	if done, _ := write(h, 2, 0, 9*us+1); done != 9*us+1+cfg.Peer {
		t.Errorf("done at %v, want %v", done, 9*us+1+cfg.Peer)
	}
	_, miss, _ := cfg.RowTimes()
	h = build(t, cfg)
	h.Load(1, 1<<20, 1, 10*us)
	if done, _ := h.Load(0, otherRow(h, 1<<20), 1, 9*us); done > 9*us+miss+cfg.DRAM.TRP {
		t.Errorf("DRAM read at 9 us done at %v because of one at 10 us", done)
	}
}

// A line that an inclusive LLC evicts leaves the private caches; a non-inclusive one leaves them alone.
func TestInclusiveLLCTakesLinesAway(t *testing.T) {
	for _, inclusive := range []bool{true, false} {
		cfg := tiny(2, inclusive, LRU)
		cfg.Prefetch = PrefetchConfig{}
		h := build(t, cfg)
		write(h, 0, 0, 0)
		set := h.llcSet(0)
		for n, pa := 0, uint64(64); n < 3*cfg.LLC.Ways; pa += 64 {
			if h.llcSet(pa) == set {
				n++
				h.DeviceWrite(pa, 64, us) // into the first DDIO ways
				read(h, 1, pa, 2*us)      // and up, leaving room or, inclusive, the copy
				h.insertLLC(pa, false, h.llc.ways, 3*us, 1)
			}
		}
		_, st := h.Probe(0, 0)
		s := h.Stats()
		if inclusive && (st != Invalid || s.LLC.BackInvalidations == 0 || s.DRAM.Writes == 0) {
			t.Errorf("inclusive: state %v, %d back-invalidations, %d DRAM writes", st, s.LLC.BackInvalidations, s.DRAM.Writes)
		}
		if !inclusive && (st != Modified || s.LLC.BackInvalidations != 0) {
			t.Errorf("non-inclusive: state %v, %d back-invalidations", st, s.LLC.BackInvalidations)
		}
	}
}

// Renumbering cores permutes what each sees and changes nothing else.
func TestCoresAreInterchangeable(t *testing.T) {
	run := func(swap [3]int) (times [3]sim.Time, s Stats) {
		h := build(t, Default(3))
		r := rand.New(rand.NewPCG(5, 5))
		now := sim.Time(0)
		for range 5000 {
			now += sim.Time(r.IntN(50000))
			c, pa := r.IntN(3), r.Uint64N(1000)<<6
			var d sim.Time
			if r.IntN(3) == 0 {
				d, _ = write(h, swap[c], pa, now)
			} else {
				d, _ = read(h, swap[c], pa, now)
			}
			times[c] += d - now
		}
		return times, h.Stats()
	}
	a, sa := run([3]int{0, 1, 2})
	b, sb := run([3]int{2, 0, 1})
	if a != b || sa != sb {
		t.Errorf("%v and %v, %+v and %+v", a, b, sa, sb)
	}
}

// The directory agrees with a map over random additions and removals, beyond its first size.
func TestDirectoryAgreesWithMap(t *testing.T) {
	for _, cores := range []int{1, 64, 65, 1000} {
		d := newDirectory(cores, 16)
		want := map[uint64]map[int]bool{}
		r := rand.New(rand.NewPCG(3, 3))
		for step := range 60000 {
			pa := r.Uint64N(3000) << 6
			core := r.IntN(cores)
			if want[pa][core] {
				d.remove(pa, core)
				delete(want[pa], core)
				if len(want[pa]) == 0 {
					delete(want, pa)
				}
			} else {
				d.add(pa, core, false)
				if want[pa] == nil {
					want[pa] = map[int]bool{}
				}
				want[pa][core] = true
			}
			if d.n != len(want) {
				t.Fatalf("step %d: %d entries, want %d", step, d.n, len(want))
			}
			pa = r.Uint64N(3000) << 6
			i := d.find(pa)
			if (i >= 0) != (want[pa] != nil) {
				t.Fatalf("step %d: %#x found at %d, want %v", step, pa, i, want[pa])
			}
			if i >= 0 {
				n := 0
				for c := d.next(i, 0); c >= 0; c = d.next(i, c+1) {
					if n++; !want[pa][c] {
						t.Fatalf("step %d: %#x has no sharer %d", step, pa, c)
					}
				}
				if n != len(want[pa]) || d.others(i, core) != (n > 1 || n == 1 && !want[pa][core]) {
					t.Fatalf("step %d: %#x has %d sharers, want %d", step, pa, n, len(want[pa]))
				}
			}
		}
	}
}
