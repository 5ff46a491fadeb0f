package closedforms

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"dmapath/bench/evidence"
	"dmapath/cache"
	"dmapath/sim"
	"dmapath/tlb"
)

// zipf draws items 0 to n-1 with probabilities proportional to 1/(i+1)^s, independently.
type zipf struct{ p, sum []float64 }

func newZipf(n int, s float64) *zipf {
	z := &zipf{p: make([]float64, n), sum: make([]float64, n)}
	total := 0.0
	for i := range z.p {
		z.p[i] = math.Pow(float64(i+1), -s)
		total += z.p[i]
	}
	at := 0.0
	for i := range z.p {
		z.p[i] /= total
		at += z.p[i]
		z.sum[i] = at
	}
	return z
}

func (z *zipf) draw(r *rand.Rand) int {
	return min(sort.SearchFloat64s(z.sum, r.Float64()), len(z.p)-1)
}

// hitRate is Che's approximation for an LRU cache of c items: every item stays for the characteristic time t after its last use, where t is
// such that c items are expected to be there.
func (z *zipf) hitRate(c int) float64 {
	there := func(t float64) (n float64) {
		for _, p := range z.p {
			n -= math.Expm1(-p * t)
		}
		return n
	}
	lo, hi := 0.0, 1.0
	for there(hi) < float64(c) {
		hi *= 2
	}
	for range 200 {
		if mid := (lo + hi) / 2; there(mid) < float64(c) {
			lo = mid
		} else {
			hi = mid
		}
	}
	rate := 0.0
	for _, p := range z.p {
		rate -= p * math.Expm1(-p*hi)
	}
	return rate
}

// hits is the share of hits among many accesses of item numbers, after as many that warm the cache, with half of its interval.
func hits(n int, draw func() int, access func(item int) bool) (mean, half float64) {
	means := make([]float64, 0, batches)
	for range n {
		access(draw())
	}
	for range batches {
		h := 0
		for range n / batches {
			if access(draw()) {
				h++
			}
		}
		means = append(means, float64(h)/float64(n/batches))
	}
	return interval(means)
}

// che is the hit rate of independent Zipf references.
func che(seed uint64) (rows []evidence.Row, err error) {
	const source = "Che, Tung, Wang, JSAC 2002; Fricker et al., ITC 2012"
	const n = 100_000
	for _, c := range []struct {
		items, entries, ways int
		s                    float64
	}{{4096, 64, 64, 0.8}, {4096, 256, 256, 0.8}, {4096, 1024, 1024, 0.8}, {4096, 256, 256, 1.2}, {16384, 1024, 1024, 1}, {4096, 256, 16, 0.8}, {16384, 2048, 8, 1}} {
		z := newZipf(c.items, c.s)
		t, err := tlb.New(tlb.Config{Entries: c.entries, Ways: c.ways, PageShifts: []uint8{12}})
		if err != nil {
			return nil, err
		}
		what := fmt.Sprintf("Zipf %.1f over %d pages, TLB of %d", c.s, c.items, c.entries)
		r := sim.NewRand(seed, what+fmt.Sprint(c.ways))
		place := r.Perm(1 << 20) // pages lie anywhere, so that the popular ones do not share a set
		got, half := hits(n, func() int { return z.draw(r) }, func(i int) bool {
			page := uint64(place[i])
			_, hit := t.Lookup(1, page, 12)
			if !hit {
				t.Insert(1, page, 12, page)
			}
			return hit
		})
		row := evidence.Row{What: what, Unit: "1", Predicted: got, Reference: z.hitRate(c.entries), Tolerance: 0.01, Slack: half, Source: source}
		if c.ways < c.entries { // sets get unequal numbers of popular pages
			row.What += fmt.Sprintf(", %d ways", c.ways)
			row.Tolerance = 0.03
		}
		rows = append(rows, row)
	}
	for _, s := range []float64{0.8, 1.1} {
		h, err := smallHierarchy("lru")
		if err != nil {
			return nil, err
		}
		const items = 8192
		z := newZipf(items, s)
		what := fmt.Sprintf("Zipf %.1f over %d lines, L1D of 512 lines, 8 ways", s, items)
		r := sim.NewRand(seed, what)
		place := r.Perm(1 << 20)
		now := sim.Time(0)
		got, half := hits(n, func() int { return z.draw(r) }, func(i int) bool {
			pa := uint64(place[i]) * 64
			if _, ok := h.LoadHit(0, pa); ok {
				return true
			}
			now += sim.Microsecond // what came before has arrived
			_, lvl := h.Load(0, pa, 0, now)
			return lvl == cache.L1
		})
		rows = append(rows, evidence.Row{What: what, Unit: "1", Predicted: got, Reference: z.hitRate(512), Tolerance: 0.03, Slack: half, Source: source})
	}
	return rows, nil
}

// smallHierarchy is one core with an L1D of 32 KiB in 8 ways, an L2 of 1 MiB and no prefetchers.
func smallHierarchy(policy string) (*cache.Hierarchy, error) {
	p, err := cache.ParsePolicy(policy)
	if err != nil {
		return nil, err
	}
	c := cache.Default(1)
	c.L1D = cache.PrivateConfig{Bytes: 32 << 10, Ways: 8, Policy: p, Latency: 4, MSHRs: 8}
	c.L1I = c.L1D
	c.L2 = cache.PrivateConfig{Bytes: 1 << 20, Ways: 16, Policy: p, Latency: 14, MSHRs: 16}
	c.Prefetch = cache.PrefetchConfig{}
	return cache.New(c)
}

// reach is the hit rate of uniformly random pages.
func reach(seed uint64) (rows []evidence.Row, err error) {
	const source = "independent uniform references: min(1, entries / pages), any replacement that ignores what will be used"
	const n = 100_000
	for _, policy := range []tlb.Policy{tlb.LRU, tlb.PLRU, tlb.Random} {
		for _, c := range []struct{ entries, pages int }{{64, 32}, {64, 64}, {64, 128}, {64, 1024}, {32, 48}} {
			t, err := tlb.New(tlb.Config{Entries: c.entries, PageShifts: []uint8{12}, Policy: policy, Seed: seed})
			if err != nil {
				return nil, err
			}
			what := fmt.Sprintf("%v TLB of %d, %d pages", policy, c.entries, c.pages)
			r := sim.NewRand(seed, what)
			got, half := hits(n, func() int { return r.IntN(c.pages) }, func(i int) bool {
				_, hit := t.Lookup(1, uint64(i), 12)
				if !hit {
					t.Insert(1, uint64(i), 12, uint64(i))
				}
				return hit
			})
			rows = append(rows, evidence.Row{What: what, Unit: "1", Predicted: got, Reference: min(1, float64(c.entries)/float64(c.pages)), Slack: half, Source: source})
		}
	}
	return rows, nil
}

// cliff is the miss rate of going through a window again and again: nothing misses while it fits, everything when it is a line per set
// too large.
func cliff(uint64) (rows []evidence.Row, err error) {
	const source = "cyclic references of LRU sets: a set misses always when it is asked for more lines than it has ways, else never"
	const sets, ways = 64, 8
	for _, lines := range []int{256, 512, 513, 544, 576, 1024} {
		h, err := smallHierarchy("lru")
		if err != nil {
			return nil, err
		}
		now := sim.Time(0)
		misses := 0
		const rounds = 8
		for round := range rounds + 2 {
			for i := range lines {
				pa := uint64(i) * 64
				if _, ok := h.LoadHit(0, pa); ok {
					continue
				}
				now += sim.Microsecond
				if _, lvl := h.Load(0, pa, 0, now); lvl != cache.L1 && round >= 2 {
					misses++
				}
			}
		}
		want := 0
		for set := range sets {
			if asked := (lines - set + sets - 1) / sets; asked > ways {
				want += asked
			}
		}
		rows = append(rows, evidence.Row{What: fmt.Sprintf("misses a round, %d lines in an L1D of %d", lines, sets*ways), Unit: "count",
			Predicted: float64(misses) / rounds, Reference: float64(want), Source: source})
	}
	return rows, nil
}
