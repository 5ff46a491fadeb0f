package hazard

import (
	"slices"
	"strings"
	"testing"

	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
)

func icelake(t *testing.T) *platform.Spec {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t *testing.T, version, call, memory, backend string, rounds int64) *Result {
	t.Helper()
	r, err := Run(icelake(t), find(t, version, memory, call, backend), Config{Rounds: rounds, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// An IOMMU protects in pages: a buffer of 32 bytes exposes the other 4064 of its page while it is mapped. Strict invalidation ends all access with
// the unmap, a flush queue some time later, no IOMMU never.
func TestExposure(t *testing.T) {
	for _, c := range []struct {
		memory, backend string
		beside          uint64
		after, later    bool
	}{
		{"kmalloc", "direct", 4096 - 32, true, true},
		{"kmalloc", "strict", 4096 - 32, false, false},
		{"kmalloc", "lazy", 4096 - 32, true, false},
		{"kmalloc", "untrusted", 0, false, false}, // bounced to pages of its own
		{"ram", "direct", 0, true, true},
		{"ram", "strict", 0, false, false},
		{"ram", "lazy", 0, true, false},
	} {
		for _, call := range []string{"map_page@6.12", "map_phys@7.3"} {
			name, version, _ := strings.Cut(call, "@")
			r := run(t, version, name, c.memory, c.backend, 0)
			if want := (Exposure{c.beside, c.after, c.later}); r.Exposed != want {
				t.Errorf("%v: %+v, want %+v", r.Cell, r.Exposed, want)
			}
		}
	}
}

// The same cell gives the same answer, cost and story; another seed places buffers elsewhere and finds the same hazards.
func TestCellsAreRepeatable(t *testing.T) {
	a, b := run(t, "7.3", "map_phys long", "ram", "lazy", 32), run(t, "7.3", "map_phys long", "ram", "lazy", 32)
	if a.Short() != b.Short() || !slices.Equal(a.Story, b.Story) {
		t.Errorf("%s and %s", a.Short(), b.Short())
	}
	c, err := Run(icelake(t), a.Cell, Config{Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	if verdict(c) != verdict(a) {
		t.Errorf("seed 2 finds %s, seed 1 %s", verdict(c), verdict(a))
	}
	if slices.Equal(a.Story, c.Story) {
		t.Error("two seeds use the same buffers")
	}
}

// The story of a cell with a hazard is one in which it happens, and names the step.
func TestStoryShowsTheHazard(t *testing.T) {
	r := run(t, "7.3", "map_phys long", "ram", "strict", 0)
	if !slices.ContainsFunc(r.Story, func(s string) bool { return strings.Contains(s, "HAZARD "+kernel.Refused.String()) }) {
		t.Errorf("no hazard in the story:\n%s", strings.Join(r.Story, "\n"))
	}
}

// Measuring is not watching: what a map costs does not depend on the oracle, because the cost is taken on a machine without one. A
// cell that works has a cost on every backend, and direct is the cheapest.
func TestCostsAreOrdered(t *testing.T) {
	d, l, s := run(t, "7.3", "map_phys", "ram", "direct", 64), run(t, "7.3", "map_phys", "ram", "lazy", 64), run(t, "7.3", "map_phys", "ram", "strict", 64)
	if !(0 < d.Cycles() && d.Cycles() < l.Cycles() && l.Cycles() < s.Cycles()) {
		t.Errorf("direct %.0f, lazy %.0f, strict %.0f cycles: want them in this order", d.Cycles(), l.Cycles(), s.Cycles())
	}
}

// With a flush queue a device reaches a buffer until the timer, which expires 10 ms after the first entry and up to a tick of
// 4 ms later, or until a ring of 255 is full. A strict unmap leaves nothing, and neither does dma_iova_destroy, which does not use the
// queue.
func TestWindows(t *testing.T) {
	s := icelake(t)
	byName := map[string]Backend{}
	for _, b := range Backends() {
		byName[b.Name] = b
	}
	measure := func(b, variant string, perSec int64) *Window {
		w, err := Measure(s, byName[b], variant, perSec, 1)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := measure("lazy", "iova_link@7.3", 10_000); w.Max != 0 || w.Never != w.Unmaps {
		t.Errorf("dma_iova_destroy in a lazy domain: %v at most, %d of %d never reached", w.Max, w.Never, w.Unmaps)
	}
	for _, v := range []string{"map_page@6.12", "map_phys@7.3"} {
		if w := measure("strict", v, 10_000); w.Max != 0 || w.Never != w.Unmaps {
			t.Errorf("strict, %s: %v at most, %d of %d never reached", v, w.Max, w.Never, w.Unmaps)
		}
		slow := measure("lazy", v, 1000)
		if slow.Max < 10*sim.Millisecond || slow.Max > 18*sim.Millisecond || slow.Flushes != 0 {
			t.Errorf("lazy, %s, 1000 unmaps/s: at most %v, %d full queues", v, slow.Max, slow.Flushes)
		}
		busy := measure("lazy", v, 100_000)
		if want := uint64(busy.Unmaps / 255); busy.Flushes < want-2 || busy.Flushes > want {
			t.Errorf("lazy, %s, 100000 unmaps/s: %d full queues in %d unmaps, want about %d", v, busy.Flushes, busy.Unmaps, want)
		}
		// a ring fills in 255 x 10 us: an entry waits half of that on average, and longer only at the end
		if lo, hi := 900*sim.Microsecond, 1600*sim.Microsecond; busy.Mean < lo || busy.Mean > hi {
			t.Errorf("lazy, %s, 100000 unmaps/s: mean %v, want %v to %v", v, busy.Mean, lo, hi)
		}
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	add := func(s string) {
		if seen[s] {
			t.Errorf("%q twice", s)
		}
		seen[s] = true
	}
	for _, c := range Calls() {
		add("call " + c.String())
	}
	for _, m := range Memories() {
		add("memory " + m.Name)
	}
	for _, b := range Backends() {
		add("backend " + b.Name)
	}
	for k := range kernel.NumHazards {
		if Code(k) == "" {
			t.Errorf("%v has no code", k)
		}
		add("code " + Code(k))
	}
}
