package cache

import (
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

// walk loads n addresses, one every gap, and returns how many were served by L1 or L2 in time.
func walk(h *Hierarchy, n int, pc uint32, gap sim.Time, addr func(i int) uint64) (near int) {
	now := us
	for i := range n {
		done, lvl := read(h, 0, addr(i), now)
		if lvl <= L2 && done <= now+h.cores[0].l2.lat {
			near++
		}
		now = max(done, now+gap)
		if _, ok := h.LoadHit(0, addr(i)); !ok {
			h.Load(0, addr(i), pc, now)
		}
	}
	return near
}

// Each prefetcher brings the lines of the pattern it is made for, and nothing without it.
func TestPrefetchersByPattern(t *testing.T) {
	sequential := func(i int) uint64 { return uint64(i) * 64 }
	stride := func(i int) uint64 { return uint64(i) * 256 }
	back := func(i int) uint64 { return 1<<30 - uint64(i)*128 }
	for _, c := range []struct {
		name    string
		p       PrefetchConfig
		addr    func(int) uint64
		atLeast int // of 1000
		atMost  int
	}{
		{"none, sequential", PrefetchConfig{}, sequential, 0, 0},
		{"next line, sequential", PrefetchConfig{NextLine: 1}, sequential, 900, 1000},
		{"next line into L1, sequential", PrefetchConfig{NextLine: 2, NextLineL1: true}, sequential, 900, 1000},
		{"next line, stride of 4", PrefetchConfig{NextLine: 1}, stride, 0, 0},
		{"stride, sequential", PrefetchConfig{Stride: 2, StrideL1: true}, sequential, 900, 1000},
		{"stride, stride of 4", PrefetchConfig{Stride: 1, StrideL1: true}, stride, 850, 1000},
		{"stride into L2, stride of 4", PrefetchConfig{Stride: 1}, stride, 850, 1000},
		{"stride, backwards", PrefetchConfig{Stride: 1}, back, 850, 1000},
	} {
		cfg := bare(1)
		cfg.Prefetch = c.p
		h := build(t, cfg)
		got := walk(h, 1000, 0x100, us, c.addr)
		if got < c.atLeast || got > c.atMost {
			t.Errorf("%s: %d of 1000 near, want %d to %d", c.name, got, c.atLeast, c.atMost)
		}
		if err := audit(h); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Random accesses train nothing: the stride prefetcher stays quiet.
func TestStrideNeedsARepeatedStride(t *testing.T) {
	cfg := bare(1)
	cfg.Prefetch.Stride = 4
	h := build(t, cfg)
	r := rand.New(rand.NewPCG(1, 1))
	walk(h, 1000, 0x100, us, func(int) uint64 { return r.Uint64N(1<<30) &^ 63 })
	if n := h.Stats().L2.PrefetchIssued; n > 2 {
		t.Errorf("%d prefetches", n)
	}
}

// Strides are kept per pc: two interleaved streams both train.
func TestStrideIsPerPC(t *testing.T) {
	cfg := bare(1)
	cfg.Prefetch.Stride = 1
	h := build(t, cfg)
	now := us
	for i := range uint64(200) {
		now += us
		h.Load(0, i*256, 0x100, now)
		h.Load(0, 1<<30+i*192, 0x200, now)
	}
	if s := h.Stats().L2; s.PrefetchUseful < 300 {
		t.Errorf("%d useful prefetches of %d", s.PrefetchUseful, s.PrefetchIssued)
	}
}

// No prefetch leaves its 4 KiB page, whatever lies there.
func TestPrefetchStaysInItsPage(t *testing.T) {
	cfg := bare(1)
	cfg.Prefetch = PrefetchConfig{NextLine: 8, Stride: 16, StrideL1: true, Code: 8}
	h := build(t, cfg)
	now := sim.Time(0)
	for i := range uint64(64) {
		now += us
		h.Load(0, 1<<20+i*64, 0x100, now)
		h.Fetch(0, 1<<21+i*64, now)
	}
	for _, pa := range []uint64{1<<20 - 64, 1<<20 + 4096, 1<<21 - 64, 1<<21 + 4096} {
		if lvl, _ := h.Probe(0, pa); lvl != DRAM {
			t.Errorf("%#x is in %v", pa, lvl)
		}
	}
}

// A prefetch that is used while it flies is late, and the access waits for the rest of its way.
func TestLatePrefetch(t *testing.T) {
	cfg := bare(1)
	cfg.Prefetch.NextLine = 1
	h := build(t, cfg)
	h.Load(0, 4032, 1, 0) // the page is in use
	plain := bare(1)
	without := build(t, plain)
	without.Load(0, 4032, 1, 0)
	without.Load(0, 0, 1, us)
	want, _ := without.Load(0, 64, 1, us)
	h.Load(0, 0, 1, us)
	done, lvl := h.Load(0, 64, 1, us+20*sim.Nanosecond)
	if lvl != DRAM || done != want {
		t.Errorf("done at %v from %v, want %v", done, lvl, want)
	}
	if s := h.Stats().L2; s.PrefetchUseful != 1 || s.PrefetchLate != 1 || s.Merges != 1 {
		t.Errorf("%+v", s)
	}
}

// Prefetchers leave lines alone that another core may have written, and stop when miss registers are short.
func TestPrefetchGivesUp(t *testing.T) {
	cfg := bare(2)
	cfg.Prefetch.NextLine = 1
	h := build(t, cfg)
	h.Load(0, 2048, 1, 0) // the page is in use
	h.Store(1, 64, 1, 0)
	h.Load(0, 0, 1, 10*us)
	if s := h.Stats().L2; s.PrefetchDropped == 0 {
		t.Error("no prefetch was tried")
	}
	if _, st := h.Probe(1, 64); st != Modified {
		t.Errorf("a prefetch took the line: core 1 has %v", st)
	}
	cfg.L2.MSHRs = 1
	h = build(t, cfg)
	h.Load(0, 2048, 1, 0)
	h.Load(0, 0, 1, 10*us)
	if s := h.Stats().L2; s.PrefetchIssued != 0 || s.PrefetchDropped != 1 {
		t.Errorf("with one register: %d issued, %d dropped", s.PrefetchIssued, s.PrefetchDropped)
	}
}

// Next lines are fetched for a page in use, not for the first access to it; two pages may take turns.
func TestNextLineWantsAPageInUse(t *testing.T) {
	for _, c := range []struct {
		name   string
		pages  int
		issued uint64
	}{{"one page", 1, 19}, {"two in turn", 2, 18}, {"three in turn", 3, 0}} {
		cfg := bare(1)
		cfg.Prefetch.NextLine = 1
		h := build(t, cfg)
		for i := range uint64(20) {
			h.Load(0, i%uint64(c.pages)<<12+i*128, 1, sim.Time(i)*us)
		}
		if got := h.Stats().L2.PrefetchIssued; got != c.issued {
			t.Errorf("%s: %d prefetches, want %d", c.name, got, c.issued)
		}
	}
}

// Straight-line code misses L1I once in a while instead of at every line.
func TestCodePrefetch(t *testing.T) {
	for _, c := range []struct{ lines, misses int }{{0, 64}, {1, 1}, {3, 1}} {
		cfg := bare(1)
		cfg.Prefetch.Code = c.lines
		h := build(t, cfg)
		now := us
		for i := range uint64(64) {
			now += us
			h.Fetch(0, i*64, now)
		}
		if n := h.Stats().L1I.Misses; n != uint64(c.misses) {
			t.Errorf("%d lines ahead: %d misses, want %d", c.lines, n, c.misses)
		}
	}
}
