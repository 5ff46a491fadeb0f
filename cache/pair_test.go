package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

// pairs is spread with lines of the LLC of 128 bytes.
func pairs() Config {
	c := spread()
	c.LLC.LineBytes = 128
	return c
}

// Two cores that write the two halves of a line of the LLC take it from each other, at the price of a line that both write; with lines of 64 bytes,
// or in two lines, they do not.
func TestHalvesAreSharedFalsely(t *testing.T) {
	for _, c := range []struct {
		line  int
		a, b  uint64
		other int
		want  func(cfg Config, l1 sim.Time) sim.Time
	}{
		{128, 0, 64, 1, func(cfg Config, l1 sim.Time) sim.Time { return cfg.Peer }},
		{128, 64, 0, 1, func(cfg Config, l1 sim.Time) sim.Time { return cfg.Peer }},
		{128, 0, 64, 3, func(cfg Config, l1 sim.Time) sim.Time { return cfg.Peer + cfg.Topology.HopNode }},
		{128, 0, 64, 7, func(cfg Config, l1 sim.Time) sim.Time { return cfg.Peer + cfg.Topology.HopSocket }},
		{128, 64, 128, 1, func(cfg Config, l1 sim.Time) sim.Time { return l1 }},
		{64, 0, 64, 1, func(cfg Config, l1 sim.Time) sim.Time { return l1 }},
	} {
		cfg := pairs()
		cfg.LLC.LineBytes = c.line
		h := build(t, cfg)
		write(h, 0, c.a, 0)
		write(h, c.other, c.b, us)
		for round := range sim.Time(3) {
			for _, w := range []struct {
				core int
				pa   uint64
			}{{0, c.a}, {c.other, c.b}} {
				now := (10 + 2*round) * us
				if w.core != 0 {
					now += us
				}
				took := now
				if _, ok := h.StoreHit(w.core, w.pa); !ok {
					took, _ = h.Store(w.core, w.pa, 1, now)
				} else {
					took += cfg.Clock.Edge(int64(cfg.L1D.Latency))
				}
				if want := c.want(cfg, cfg.Clock.Edge(int64(cfg.L1D.Latency))); took-now != want {
					t.Errorf("lines of %d, %#x and %#x, cores 0 and %d: a store takes core %d %v, want %v", c.line, c.a, c.b, c.other, w.core, took-now, want)
				}
			}
		}
	}
}

// A far atomic takes the other half from its readers, which have to read it again.
func TestAtomicsTakeTheOtherHalf(t *testing.T) {
	for _, line := range []int{64, 128} {
		cfg := farConfig()
		cfg.LLC.LineBytes = line
		h := build(t, cfg)
		ask(h, 0, 0, 0)
		for core := range 8 {
			done, _ := read(h, core, 64, 10*us+sim.Time(core)*us)
			settle(h, core, done)
			read(h, core, 64, 25*us)
		}
		ask(h, 1, 0, 30*us)
		for core := range 8 {
			_, ok := h.LoadHit(core, 64)
			if want := line == 64 || core == 1; ok != want {
				t.Errorf("lines of %d: core %d still has the other half: %v", line, core, ok)
			}
		}
	}
}

// Among loads, stores and device writes, nobody may write a half while somebody else has the other half of the line.
func TestHalvesKeepTheInvariants(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		cfg := tiny(8, inclusive, LRU)
		cfg.Topology, cfg.LLC.LineBytes = spread().Topology, 128
		h := build(t, cfg)
		r := rand.New(rand.NewPCG(3, 4))
		now := sim.Time(0)
		for step := range 4000 {
			randomAccess(h, r, &now)
			if step%4 != 0 {
				continue
			}
			if err := audit(h); err != nil {
				t.Fatalf("inclusive %v, step %d: %v", inclusive, step, err)
			}
			if err := auditPairs(h); err != nil {
				t.Fatalf("inclusive %v, step %d: %v", inclusive, step, err)
			}
		}
	}
}

// auditPairs looks for a core that may write half of a line of which another core has the other half.
func auditPairs(h *Hierarchy) error {
	for line := range uint64(120) {
		pa := line << 6
		e := h.dir.find(pa)
		if e < 0 || h.dir.entries[e].owner() < 0 {
			continue
		}
		o := h.dir.entries[e].owner()
		if b := h.dir.find(pa ^ 64); b >= 0 && h.dir.others(b, o) {
			return fmt.Errorf("core %d owns line %#x, another core has %#x", o, pa, pa^64)
		}
	}
	return nil
}
