package vtd

import (
	"testing"

	"dmapath/iommu/table"
	"dmapath/sim"
)

// With tables that do not change, the unit and the functional walk agree on every address, page size, right and fault, whatever its caches
// hold.
func TestUnitAgreesWithTheFunctionalWalk(t *testing.T) {
	var seen [5]uint64
	for seed := range uint64(8) {
		rng := sim.NewRand(seed, "twin")
		cfg := plain()
		cfg.IOTLB.Entries, cfg.IOTLB.Ways = 32, 2
		first := seed&1 == 1
		levels := 4 + int(seed>>1&1)
		var r *rig
		rules := table.NewRules(table.SecondStage, uint8(cfg.HostWidth), table.Page2M|table.Page1G, true, first)
		if first {
			rules.Format = table.FirstStage
			r = newScalableRig(t, cfg, table.FirstStage, levels)
		} else {
			r = newRig(t, cfg, levels)
		}
		// The last of each four entries is a superpage.
		address := func() uint64 {
			return uint64(rng.IntN(2))<<39 | uint64(rng.IntN(4))<<30 | uint64(rng.IntN(4))<<21 | uint64(rng.IntN(4))<<12
		}
		for range 150 {
			a, shift := address(), uint8(12)
			if a>>30&3 == 3 {
				shift = 30
			} else if a>>21&3 == 3 {
				shift = 21
			}
			if err := r.b.Map(a&^(1<<shift-1), rng.Uint64()>>18&^(1<<shift-1), shift, table.Rights(rng.IntN(4))); err != nil {
				t.Fatal(err)
			}
		}
		// Upper entries lose rights, too, and some get reserved bits.
		for range 6 {
			if at := walkTo(r, address(), 2+rng.IntN(2)); at != 0 {
				bit := table.SSWrite // the same bit in both formats
				if rng.IntN(4) == 0 {
					bit = 0
					r.mem.Write64(at, r.mem.Read64(at)|1<<50)
				}
				r.mem.Write64(at, r.mem.Read64(at)&^bit)
			}
		}
		for i := range 4000 {
			a, write := address()|uint64(rng.IntN(4096)), rng.IntN(2) == 0
			pa, _, err := r.v.Translate(rid, a, write, r.eng.Now())
			want, why := table.Walk(r.mem, &rules, r.b.Root, levels, a, write)
			if reason(err) != why || why == table.NoFault && pa != want.PA {
				t.Fatalf("seed %d request %d for %#x, write %v: %#x (%v), functional walk %#x (%v)", seed, i, a, write, pa, err, want.PA, why)
			}
			if rng.IntN(8) == 0 {
				r.settle()
			}
		}
		for i, n := range r.v.Stats.HitsBySize {
			seen[i] += n
		}
		seen[3] += r.v.Stats.PagingHits[2]
		seen[4] += r.v.Stats.Faults
	}
	for i, n := range seen {
		if n == 0 {
			t.Errorf("never seen: %s", [...]string{"hit of 4K", "hit of 2M", "hit of 1G", "walk of one level", "fault"}[i])
		}
	}
}

// A walk cannot use an upper entry that another walk has asked for and not yet got.
func TestWalksInFlightDoNotHelpEachOther(t *testing.T) {
	r := newRig(t, plain(), 4)
	r.mapPage(0x1000, 0x5000, 12)
	r.mapPage(0x2000, 0x6000, 12)
	r.mapPage(1<<39, 0x7000, 12)
	r.translate(1 << 39) // fills the context cache
	r.settle()
	_, first := r.translate(0x1000)
	_, second := r.translate(0x2000)
	if want := 2*ns + 7*ns + 4*120*ns + 3*ns; first != want || second != want {
		t.Errorf("two walks at once take %v and %v, want %v each", first, second, want)
	}
}

func TestWorkedExampleOfThePackageComment(t *testing.T) {
	r := newRig(t, DefaultConfig(), 4)
	r.mapPage(0x1000, 0x5000, 12)
	r.mapPage(0x2000, 0x6000, 12)
	r.translate(0x1000)
	r.settle()
	if _, took := r.translate(0x2000); took != 142500*sim.Picosecond+100*ns {
		t.Errorf("miss with upper levels cached: %v", took)
	}
	r.settle()
	start := r.eng.Now()
	want := r.submit(pages(0x2000, 0, true))
	r.runTo(start + 430*ns - 1)
	early := r.status() == want
	r.runTo(start + 430*ns)
	if early || r.status() != want {
		t.Errorf("strict invalidation is not complete at 430 ns, or was before")
	}
}
