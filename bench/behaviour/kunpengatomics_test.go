package behaviour

import (
	"testing"

	"dmapath/cache"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
)

// What the preset's atomics take, against measurements of them alone (the sources of the preset): LDADD on one line from one core takes 69.6 ns
// in the L3 and 10 in its L1, and two cores that repeat compare-and-exchanges take turns every 30 to 38 ns on one die, whichever it is, and every 72 to 87
// ns on the two dies of a socket.
func TestKunpengAtomics(t *testing.T) {
	s, err := spec("kunpeng-920")
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := machine(s, kernel.V6_12, platform.IommuStrict, int(s.CPU.Cores))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ns := func(d sim.Time) float64 { return float64(d) / float64(sim.Nanosecond) }
	const pa = 1 << 32
	now := 10 * sim.Microsecond
	h := m.Hier
	h.Atomic(0, pa, 0)
	done, _ := h.Atomic(0, pa, now)
	if took := ns(done - now); took < 0.9*69.6 || took > 1.1*69.6 {
		t.Errorf("an atomic in the L3 takes %.1f ns, measured 69.6", took)
	}
	now += 10 * sim.Microsecond
	h.Store(0, pa+4096, 0, now)
	now += 10 * sim.Microsecond
	if done, lvl := h.Atomic(0, pa+4096, now); lvl != cache.L1 || ns(done-now) > 10 {
		t.Errorf("an atomic on its own line takes a core %.1f ns (%v), measured 10.0", ns(done-now), lvl)
	}
	for _, c := range []struct {
		where     string
		a, b      int
		low, high float64
	}{
		{"in a cluster", 0, 3, 30, 38}, {"in a die", 1, 22, 30, 38}, {"in the other die", 25, 41, 30, 38}, {"in two dies", 2, 30, 72, 87}, {"in two dies", 20, 47, 72, 87},
	} {
		now += 100 * sim.Microsecond
		var end sim.Time
		if took := ns(turns(h, pa, [2]int{c.a, c.b}, now, &end)); took < c.low || took > c.high {
			t.Errorf("cores %d and %d, %s: a turn takes %.1f ns, measured %g to %g", c.a, c.b, c.where, took, c.low, c.high)
		}
		now = end
	}
}

// turns lets two cores compare and exchange until it is their turn, 400 times, and returns how long a turn takes.
func turns(h *cache.Hierarchy, pa uint64, cores [2]int, now sim.Time, end *sim.Time) sim.Time {
	at, asked := [2]sim.Time{now, now}, [2]bool{}
	turn, n, first := 0, 0, sim.Time(0)
	for n < 500 {
		k := 0
		if at[1] < at[0] {
			k = 1
		}
		now := at[k]
		if !asked[k] {
			at[k], _ = h.Atomic(cores[k], pa, now)
			asked[k] = true
			continue
		}
		if next := h.Settle(cores[k], now); next > now {
			at[k] = next
			continue
		}
		asked[k] = false
		if turn == k {
			turn = 1 - k
			if n++; n == 100 {
				first = now
			}
		}
		*end = now
	}
	return (*end - first) / 400
}
