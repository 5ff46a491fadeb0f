package cache

import (
	"testing"

	"dmapath/sim"
)

const us = sim.Microsecond

// Each latency is exact: the line is in flight at done-1 and there at done.
func TestLatencyOfEachLevelIsTight(t *testing.T) {
	cfg := bare(2)
	rowHit, rowMiss, rowConflict := cfg.RowTimes()
	cycles := func(n int) sim.Time { return cfg.Clock.Edge(int64(n)) }
	const pa = 0x12340
	sameRow := uint64(pa + 64*uint64(cfg.DRAM.Channels)) // next line of the same channel
	for _, c := range []struct {
		name  string
		setup func(h *Hierarchy)
		op    func(h *Hierarchy, now sim.Time) (sim.Time, Level)
		want  sim.Time
		lvl   Level
	}{
		{"L1 hit", func(h *Hierarchy) { read(h, 0, pa, 0) }, nil, cycles(5), L1},
		{"L2 hit", func(h *Hierarchy) { read(h, 0, pa, 0); h.cores[0].d.remove(pa) }, nil, cycles(14), L2},
		{"LLC hit", func(h *Hierarchy) { h.DeviceWrite(pa&^63, 64, 0) }, nil, cfg.LLC.Latency, LLC},
		{"LLC hit after a reader's downgrade", func(h *Hierarchy) {
			write(h, 1, pa, 0)
			read(h, 1, pa, us)
			h.Clean(1, pa, us)
			evict(h, 1, pa, us)
		}, nil, cfg.LLC.Latency, LLC},
		{"other core, modified", func(h *Hierarchy) { write(h, 1, pa, 0) }, nil, cfg.Peer, Peer},
		{"other core, exclusive", func(h *Hierarchy) { read(h, 1, pa, 0) }, nil, cfg.Peer, Peer},
		{"DRAM, no row open", func(h *Hierarchy) {}, nil, rowMiss, DRAM},
		{"DRAM, row open", func(h *Hierarchy) { read(h, 1, sameRow, 0) }, nil, rowHit, DRAM},
		{"DRAM, other row open", func(h *Hierarchy) { read(h, 1, otherRow(h, pa), 0) }, nil, rowConflict, DRAM},
		{"store to own exclusive line", func(h *Hierarchy) { read(h, 0, pa, 0) }, storeAt(pa), cycles(5), L1},
		{"store to a line shared with nobody else", func(h *Hierarchy) {
			read(h, 1, pa, 0)
			read(h, 0, pa, us)
			evict(h, 1, pa, 2*us)
		}, storeAt(pa), cfg.LLC.Latency, LLC},
		{"store to a shared line", func(h *Hierarchy) { read(h, 1, pa, 0); read(h, 0, pa, us) }, storeAt(pa), cfg.Peer, Peer},
		{"store to another core's line", func(h *Hierarchy) { write(h, 1, pa, 0) }, storeAt(pa), cfg.Peer, Peer},
		{"store, DRAM", func(h *Hierarchy) {}, storeAt(pa), rowMiss, DRAM},
		{"fetch, DRAM", func(h *Hierarchy) {}, fetchAt(pa), rowMiss, DRAM},
		{"fetch, L1I", func(h *Hierarchy) { h.Fetch(0, pa, 0) }, fetchAt(pa), cycles(5), L1},
		{"fetch, L2", func(h *Hierarchy) { read(h, 0, pa, 0) }, fetchAt(pa), cycles(14), L2},
	} {
		if c.op == nil {
			c.op = func(h *Hierarchy, now sim.Time) (sim.Time, Level) { return h.Load(0, pa, 1, now) }
		}
		const now = 100 * us
		h := build(t, cfg)
		c.setup(h)
		done, lvl := c.op(h, now)
		if done-now != c.want || lvl != c.lvl {
			t.Errorf("%s: %v from %v, want %v from %v", c.name, done-now, lvl, c.want, c.lvl)
		}
		if c.want <= cycles(5) {
			continue
		}
		// Twice more: just before the end the line is on its way, at the end it is there.
		for _, at := range []sim.Time{done - 1, done} {
			h := build(t, cfg)
			c.setup(h)
			c.op(h, now)
			before := h.Stats()
			again, _ := c.op(h, at)
			after := h.Stats()
			merges := after.L1D.Merges + after.L1I.Merges - before.L1D.Merges - before.L1I.Merges
			if at < done && merges != 1 || at == done && merges != 0 {
				t.Errorf("%s: %d merges %v after its start, which takes %v", c.name, merges, at-now, c.want)
			}
			if want := at + cycles(5); again != want {
				t.Errorf("%s: second access %v after the first done at %v, want %v", c.name, at-now, again, want)
			}
		}
	}
}

func storeAt(pa uint64) func(*Hierarchy, sim.Time) (sim.Time, Level) {
	return func(h *Hierarchy, now sim.Time) (sim.Time, Level) { return h.Store(0, pa, 1, now) }
}

func fetchAt(pa uint64) func(*Hierarchy, sim.Time) (sim.Time, Level) {
	return func(h *Hierarchy, now sim.Time) (sim.Time, Level) { return h.Fetch(0, pa, now) }
}

// evict throws pa's line out of core's L2.
func evict(h *Hierarchy, core int, pa uint64, now sim.Time) {
	a := &h.cores[core].l2
	set := a.set(pa)
	h.evictL2(core, set, a.mustFind(set, pa), now, 0)
}

// otherRow returns an address of the bank of pa in another row.
func otherRow(h *Hierarchy, pa uint64) uint64 {
	ch, bk, row := h.mem.locate(pa)
	for a := pa; ; a += 64 {
		if c, b, r := h.mem.locate(a); c == ch && b == bk && r != row {
			return a
		}
	}
}

// An access to a line in flight waits for the rest of the flight only, and needs no miss register.
func TestMergeWaitsForTheRest(t *testing.T) {
	cfg := bare(1)
	cfg.L1D.MSHRs = 1
	h := build(t, cfg)
	done, _ := h.Load(0, 0x1000, 1, 0)
	for _, at := range []sim.Time{1, 1000, done - cfg.Clock.Edge(5)} {
		if _, ok := h.LoadHit(0, 0x1008); ok {
			t.Fatal("the fast path takes a line in flight")
		}
		d, lvl := h.Load(0, 0x1008, 1, at)
		if d != done || lvl != DRAM {
			t.Errorf("load at %v: %v from %v, want %v from the DRAM access under way", at, d, lvl, done)
		}
	}
	s := h.Stats()
	if s.L1D.Merges != 3 || s.L1D.Misses != 1 || s.DRAM.Reads != 1 {
		t.Errorf("%d merges, %d misses, %d DRAM reads", s.L1D.Merges, s.L1D.Misses, s.DRAM.Reads)
	}
	h.Load(0, 0x1008, 1, done)
	if _, ok := h.LoadHit(0, 0x1010); !ok {
		t.Error("the fast path refuses a line that arrived")
	}
}

// With n registers, miss n+1 starts when the first of the n is done.
func TestFullMissRegistersQueue(t *testing.T) {
	for _, n := range []int{1, 2, 12, 48} {
		cfg := bare(1)
		cfg.L1D.MSHRs, cfg.L2.MSHRs = n, 48
		h := build(t, cfg)
		var dones []sim.Time
		for i := range 3 * n {
			d, _ := h.Load(0, uint64(i)<<20, 1, 0)
			dones = append(dones, d)
		}
		_, rowMiss, _ := cfg.RowTimes()
		for i, d := range dones {
			start := sim.Time(0)
			if i >= n {
				start = dones[i-n] // equal latencies: registers come free in order
			}
			if d < start+rowMiss {
				t.Errorf("%d registers: miss %d done at %v, before its register was free at %v and a DRAM latency", n, i, d, start)
			}
		}
		if h.Stats().L1D.MSHRWait == 0 {
			t.Errorf("%d registers: no wait counted", n)
		}
	}
}

// A short miss gives its register back before longer ones that started earlier.
func TestShortMissFreesItsRegister(t *testing.T) {
	cfg := bare(1)
	cfg.L1D.MSHRs = 2
	h := build(t, cfg)
	read(h, 0, 0, 0)
	h.cores[0].d.remove(0)
	h.Load(0, 1<<20, 1, us)         // long
	short, _ := h.Load(0, 0, 1, us) // L2 hit
	d, _ := h.Load(0, 2<<20, 1, us) // waits for the short one
	_, rowMiss, _ := cfg.RowTimes()
	if d != short+rowMiss {
		t.Errorf("third miss done at %v, want %v: the short miss was done at %v", d, short+rowMiss, short)
	}
}

// Time that passes without accesses is free: after a second of silence the same accesses take the same time.
func TestIdleCostsNothing(t *testing.T) {
	cfg := bare(2)
	run := func(at sim.Time) (out []sim.Time) {
		h := build(t, cfg)
		for i := range uint64(100) {
			d, _ := h.Load(int(i&1), i*4096, 1, at)
			out = append(out, d-at)
		}
		return out
	}
	a, b := run(0), run(3600*sim.Second)
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("access %d takes %v at time 0 and %v after an hour", i, a[i], b[i])
		}
	}
}

func TestProbeChangesNothing(t *testing.T) {
	h := build(t, bare(2))
	write(h, 0, 64, 0)
	read(h, 1, 128, 0)
	before := h.Stats()
	for _, c := range []struct {
		core int
		pa   uint64
		lvl  Level
		st   State
	}{{0, 64, L1, Modified}, {1, 64, Peer, Invalid}, {1, 128, L1, Exclusive}, {0, 128, Peer, Invalid}, {0, 192, DRAM, Invalid}} {
		if l, st := h.Probe(c.core, c.pa); l != c.lvl || st != c.st {
			t.Errorf("core %d at %#x: %v %v, want %v %v", c.core, c.pa, l, st, c.lvl, c.st)
		}
	}
	if h.Stats() != before {
		t.Error("counters changed")
	}
}
