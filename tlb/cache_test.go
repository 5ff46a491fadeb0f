package tlb

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func mustNew(tb testing.TB, cfg Config) *Cache {
	tb.Helper()
	c, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// twin is the obvious translation cache: sets are lists, most recent first, and every invalidation walks them.
type twin struct {
	sets    [][]twinEntry
	ways    int
	c       *Cache // for the set index only
	evicted uint64
}

type twinEntry struct {
	dom   uint32
	page  uint64
	shift uint8
	val   uint64
}

func (t *twin) set(dom uint32, page uint64) *[]twinEntry { return &t.sets[t.c.set(page, dom)] }

func (t *twin) lookup(dom uint32, page uint64, shift uint8) (uint64, bool) {
	s := t.set(dom, page)
	for i, e := range *s {
		if e.dom == dom && e.page == page && e.shift == shift {
			copy((*s)[1:], (*s)[:i])
			(*s)[0] = e
			return e.val, true
		}
	}
	return 0, false
}

func (t *twin) insert(dom uint32, page uint64, shift uint8, val uint64) {
	s := t.set(dom, page)
	if _, ok := t.lookup(dom, page, shift); ok {
		(*s)[0].val = val
		return
	}
	if len(*s) == t.ways {
		*s = (*s)[:t.ways-1]
		t.evicted++
	}
	*s = append([]twinEntry{{dom, page, shift, val}}, *s...)
}

func (t *twin) drop(match func(e twinEntry) bool) (n int) {
	for i := range t.sets {
		var keep []twinEntry
		for _, e := range t.sets[i] {
			if match(e) {
				n++
			} else {
				keep = append(keep, e)
			}
		}
		t.sets[i] = keep
	}
	return n
}

func TestAgreesWithListsUnderLRU(t *testing.T) {
	for _, cfg := range []Config{
		{Entries: 1, Ways: 1, PageShifts: []uint8{12}},
		{Entries: 64, Ways: 4, PageShifts: []uint8{12, 21}},
		{Entries: 96, Ways: 12, PageShifts: []uint8{12, 21, 30}},
		{Entries: 16, PageShifts: []uint8{12}},
		{Entries: 48, PageShifts: []uint8{12, 21}},
		{Entries: 256, Ways: 64, PageShifts: []uint8{12, 21}},
	} {
		for _, doms := range []uint32{1, 3} {
			t.Run(fmt.Sprintf("%d entries %d ways %d domains", cfg.Entries, cfg.ways(), doms), func(t *testing.T) {
				c := mustNew(t, cfg)
				w := &twin{sets: make([][]twinEntry, cfg.Entries/cfg.ways()), ways: cfg.ways(), c: c}
				r := rand.New(rand.NewPCG(1, 2))
				wide := c.wide != nil
				for step := range 200_000 {
					dom := r.Uint32N(doms) * 2500 // 5000 is beyond the domains with an epoch
					shift := cfg.PageShifts[r.IntN(len(cfg.PageShifts))]
					page := r.Uint64N(uint64(cfg.Entries) * 2)
					if shift > 12 {
						page %= 8
					}
					switch x := r.IntN(1000); {
					case x < 600:
						gv, gok := c.Lookup(dom, page, shift)
						wv, wok := w.lookup(dom, page, shift)
						if gv != wv || gok != wok {
							t.Fatalf("step %d: lookup of %d/%d<<%d: %d,%v, want %d,%v", step, dom, page, shift, gv, gok, wv, wok)
						}
					case x < 960:
						c.Insert(dom, page, shift, uint64(step))
						w.insert(dom, page, shift, uint64(step))
					case x < 980:
						got := c.InvalidatePage(dom, page, shift)
						want := w.drop(func(e twinEntry) bool { return e.dom == dom && e.page == page && e.shift == shift }) == 1
						if got != want {
							t.Fatalf("step %d: InvalidatePage %v, want %v", step, got, want)
						}
					case x < 996:
						first := page << shift
						last := first + r.Uint64N(1<<23)
						got := c.InvalidateRange(dom, first, last)
						want := w.drop(func(e twinEntry) bool {
							return e.dom == dom && e.page<<e.shift <= last && (e.page+1)<<e.shift > first
						})
						if got != want {
							t.Fatalf("step %d: InvalidateRange dropped %d, want %d", step, got, want)
						}
					case x < 998 && !wide: // in wide sets dead entries keep their place
						c.InvalidateDomain(dom)
						w.drop(func(e twinEntry) bool { return e.dom == dom })
					case x == 999:
						c.InvalidateAll()
						w.drop(func(twinEntry) bool { return true })
						if c.Len() != 0 {
							t.Fatalf("step %d: %d entries survive InvalidateAll", step, c.Len())
						}
					}
				}
				if s := c.Stats; s.Lookups != s.Hits+s.Misses() || s.Evictions != w.evicted || s.Hits == 0 {
					t.Errorf("stats %+v, want %d evictions", s, w.evicted)
				}
			})
		}
	}
}

func TestInvalidateDomainLeavesOtherDomains(t *testing.T) {
	for _, ways := range []int{4, 64} {
		c := mustNew(t, Config{Entries: 64, Ways: ways, PageShifts: []uint8{12}})
		for d := range uint32(3) {
			c.Insert(d*4000, 7, 12, uint64(d))
		}
		c.InvalidateDomain(4000)
		c.InvalidateDomain(8000)
		for d, want := range []bool{true, false, false} {
			if _, ok := c.Lookup(uint32(d)*4000, 7, 12); ok != want {
				t.Errorf("%d ways: domain %d present: %v, want %v", ways, d*4000, ok, want)
			}
		}
		c.Insert(4000, 7, 12, 9)
		if v, ok := c.Lookup(4000, 7, 12); !ok || v != 9 {
			t.Errorf("%d ways: entry inserted after the invalidation is gone", ways)
		}
	}
}

func TestReplacementPolicies(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy Policy
		use    []uint64 // pages touched after 0..3 filled a set of four
		out    uint64   // page that the next insertion replaces
	}{
		{"lru takes the page not used for longest", LRU, []uint64{0, 1, 3}, 2},
		{"tree-plru points away from the last use of each half", PLRU, []uint64{0, 2}, 1},
		{"tree-plru is not lru", PLRU, []uint64{0, 2, 1, 3}, 0},
		{"tree-plru forgets older uses", PLRU, []uint64{2, 3, 0}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustNew(t, Config{Entries: 4, Ways: 4, PageShifts: []uint8{12}, Policy: tc.policy})
			for p := range uint64(4) {
				c.Insert(0, p, 12, p)
			}
			for _, p := range tc.use {
				c.Lookup(0, p, 12)
			}
			if !c.Insert(0, 9, 12, 9) {
				t.Fatal("a full set evicted nothing")
			}
			for p := range uint64(4) {
				if _, ok := c.Probe(0, p, 12); ok != (p != tc.out) {
					t.Errorf("page %d present: %v; page %d should have gone", p, ok, tc.out)
				}
			}
		})
	}
}

func TestRandomReplacementIsSeededAndCoversTheSet(t *testing.T) {
	misses := func(seed uint64) (m []uint64) {
		c := mustNew(t, Config{Entries: 8, Ways: 8, PageShifts: []uint8{12}, Policy: Random, Seed: seed})
		for i := range uint64(4000) {
			if _, ok := c.Lookup(0, i%9, 12); !ok {
				c.Insert(0, i%9, 12, 0)
				m = append(m, i)
			}
		}
		return m
	}
	a, b, d := misses(1), misses(1), misses(2)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("equal seeds differ")
	}
	if fmt.Sprint(a) == fmt.Sprint(d) {
		t.Error("different seeds agree")
	}
	// A cyclic scan of 9 pages over 8 random ways misses about 21 % (LRU would miss always).
	if n := len(a); n < 600 || n > 1200 {
		t.Errorf("%d misses of 4000", n)
	}
}

// Under LRU with equal sets, more ways never lower the hits.
func TestMoreWaysNeverLowerHits(t *testing.T) {
	last := uint64(0)
	for _, ways := range []int{1, 2, 4, 8, 16, 32, 64} {
		c := mustNew(t, Config{Entries: 16 * ways, Ways: ways, PageShifts: []uint8{12}})
		r := rand.New(rand.NewPCG(3, 4))
		for range 50_000 {
			p := uint64(r.ExpFloat64() * 200)
			if _, ok := c.Lookup(0, p, 12); !ok {
				c.Insert(0, p, 12, 0)
			}
		}
		if c.Stats.Hits < last {
			t.Errorf("%d ways: %d hits, fewer than with half the ways: %d", ways, c.Stats.Hits, last)
		}
		last = c.Stats.Hits
	}
}

// Displace of n foreign pages does to our entries what inserting n distinct foreign pages, one set after the other, does.
func TestDisplaceIsForeignInsertionsUnderLRU(t *testing.T) {
	cfg := Config{Entries: 64, Ways: 4, PageShifts: []uint8{12}}
	c, w := mustNew(t, cfg), mustNew(t, cfg)
	r := rand.New(rand.NewPCG(5, 6))
	foreign := uint64(1 << 30)
	for step := range 20_000 {
		if r.IntN(20) == 0 {
			n := r.IntN(3) * 16 // whole rounds of the 16 sets, so that their order does not matter
			c.Displace(n)
			for range n {
				w.Insert(0, foreign, 12, 0)
				foreign++
			}
			continue
		}
		p := r.Uint64N(96)
		_, a := c.Lookup(0, p, 12)
		_, b := w.Lookup(0, p, 12)
		if a != b {
			t.Fatalf("step %d: page %d present: %v after Displace, %v after insertions", step, p, a, b)
		}
		if !a {
			c.Insert(0, p, 12, 0)
			w.Insert(0, p, 12, 0)
		}
	}
	c.Displace(64)
	if c.Len() != 0 {
		t.Errorf("%d of 64 entries survive 64 foreign pages", c.Len())
	}
	for _, cfg := range []Config{{Entries: 48, PageShifts: []uint8{12}}, {Entries: 64, Ways: 8, Policy: PLRU, PageShifts: []uint8{12}}} {
		c := mustNew(t, cfg)
		for p := range uint64(cfg.Entries) {
			c.Insert(0, p, 12, 0)
		}
		c.Displace(1000)
		for p := range uint64(cfg.Entries) {
			if _, ok := c.Probe(0, p, 12); ok {
				t.Errorf("%+v: page %d survives 1000 foreign pages", cfg, p)
			}
		}
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		want []string
	}{
		{Config{Entries: 0, PageShifts: []uint8{12}}, []string{"Entries is 0"}},
		{Config{Entries: 64, Ways: 5, PageShifts: []uint8{12}}, []string{"Ways is 5: it must divide"}},
		{Config{Entries: 60, Ways: 5, PageShifts: []uint8{12}}, []string{"12 sets: it must be a power of two"}},
		{Config{Entries: 48, Policy: PLRU, PageShifts: []uint8{12}}, []string{"tree-PLRU needs"}},
		{Config{Entries: 4, Policy: 9}, []string{"PageShifts is empty", "Policy is 9"}},
		{Config{Entries: 4, PageShifts: []uint8{12, 60, 12}}, []string{"contains 60", "contains 12 twice"}},
	} {
		err := tc.cfg.Validate()
		for _, w := range tc.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: error %v does not say %q", tc.cfg, err, w)
			}
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	for _, cfg := range []Config{{Entries: 64, Ways: 4, PageShifts: []uint8{12}}, {Entries: 64, PageShifts: []uint8{12}}} {
		c := mustNew(t, cfg)
		c.InvalidateDomain(1)
		p := uint64(0)
		if n := testing.AllocsPerRun(1000, func() {
			p++
			c.Lookup(1, p, 12)
			c.Insert(1, p, 12, p)
			c.InvalidatePage(1, p-3, 12)
			c.InvalidateRange(1, p<<12, (p+9)<<12)
			c.InvalidateDomain(1)
			c.InvalidateAll()
			c.Displace(5)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, bc := range []struct {
		name  string
		cfg   Config
		pages uint64
	}{
		{"4way/hit", Config{Entries: 64, Ways: 4, PageShifts: []uint8{12}}, 64},
		{"12way/hit", Config{Entries: 1536, Ways: 12, PageShifts: []uint8{12}}, 1536},
		{"full/hit", Config{Entries: 64, PageShifts: []uint8{12}}, 64},
		{"full4096/hit", Config{Entries: 4096, PageShifts: []uint8{12}}, 4096},
		{"12way/miss", Config{Entries: 1536, Ways: 12, PageShifts: []uint8{12}}, 0},
	} {
		b.Run(bc.name, func(b *testing.B) {
			c := mustNew(b, bc.cfg)
			for p := range bc.pages {
				c.Insert(0, p, 12, p)
			}
			n := max(bc.pages, 1024)
			b.ReportAllocs()
			p := uint64(0)
			for b.Loop() {
				c.Lookup(0, p, 12)
				if p++; p == n {
					p = 0
				}
			}
		})
	}
}

func BenchmarkInsertEvict(b *testing.B) {
	for _, ways := range []int{4, 16, 2048} {
		b.Run(fmt.Sprintf("%dway", ways), func(b *testing.B) {
			c := mustNew(b, Config{Entries: 2048, Ways: ways, PageShifts: []uint8{12}})
			p := uint64(0)
			for b.Loop() {
				c.Insert(0, p, 12, p)
				p++
			}
		})
	}
}

// Pages of a size that the configuration does not name are invalidated like others, and a cache that nobody has used yet can be displaced.
func TestPageSizesAreThoseInserted(t *testing.T) {
	c := mustNew(t, Config{Entries: 64, PageShifts: []uint8{12}, Policy: Random})
	c.Displace(8)
	c.Insert(1, 3, 17, 5)
	if n := c.InvalidateRange(1, 3<<17|0x1000, 3<<17|0x1fff); n != 1 {
		t.Errorf("%d entries dropped, want the page of 128 KiB", n)
	}
}
