package cache

import (
	"math/rand/v2"
	"testing"

	"dmapath/sim"
)

// The fast paths are short cuts: with and without them, every access is served by the same level, for every policy.
func TestFastPathsChangeNothing(t *testing.T) {
	for _, p := range []Policy{LRU, TreePLRU, SRRIP} {
		run := func(fast bool) (out []Level, s Stats) {
			h := build(t, tiny(2, false, p))
			r := rand.New(rand.NewPCG(11, 11))
			now := sim.Time(0)
			for range 30000 {
				now += sim.Time(r.IntN(100_000))
				core, pa := r.IntN(2), uint64(r.ExpFloat64()*15)<<6|r.Uint64N(64)
				var lvl Level
				ok := false
				switch r.IntN(4) {
				case 0:
					if fast {
						_, ok = h.StoreHit(core, pa)
					}
					if !ok {
						_, lvl = h.Store(core, pa, 0x200, now)
					}
				case 1:
					if fast {
						_, ok = h.FetchHit(core, pa)
					}
					if !ok {
						_, lvl = h.Fetch(core, pa, now)
					}
				default:
					if fast {
						_, ok = h.LoadHit(core, pa)
					}
					if !ok {
						_, lvl = h.Load(core, pa, 0x100, now)
					}
				}
				out = append(out, lvl)
			}
			return out, h.Stats()
		}
		a, sa := run(true)
		b, sb := run(false)
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("%v: access %d from %v with fast paths, %v without", p, i, a[i], b[i])
			}
		}
		if sa != sb || sa.L1D.Hits == 0 || sa.L1I.Hits == 0 {
			t.Errorf("%v: %+v with fast paths, %+v without", p, sa, sb)
		}
	}
}

// Every byte of a line is the line; the byte behind it is not; high bits count.
func TestFastPathsCompareTheWholeAddress(t *testing.T) {
	h := build(t, bare(1))
	const pa = 1<<51 | 1<<33 | 0x1040
	h.Store(0, pa, 1, 0)
	h.Load(0, pa, 1, 10*us)
	for off := range uint64(64) {
		if _, ok := h.LoadHit(0, pa+off); !ok {
			t.Fatalf("byte %d is not found", off)
		}
		if _, ok := h.StoreHit(0, pa+off); !ok {
			t.Fatalf("byte %d is not writable", off)
		}
	}
	for bit := 6; bit < PABits; bit++ {
		if _, ok := h.LoadHit(0, pa^1<<bit); ok {
			t.Errorf("found with bit %d flipped", bit)
		}
	}
	if _, ok := h.LoadHit(0, 0); ok {
		t.Error("line 0 is found in empty ways")
	}
}
