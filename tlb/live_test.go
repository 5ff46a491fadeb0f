package tlb

import (
	"math/rand/v2"
	"testing"
)

// Live is what Len counts, whatever happens, in narrow and wide sets, with dense and sparse domains.
func TestLiveIsLen(t *testing.T) {
	for _, cfg := range []Config{
		{Entries: 64, Ways: 4, PageShifts: []uint8{12, 21}},
		{Entries: 64, Ways: 64, PageShifts: []uint8{12, 21}},
		{Entries: 32, Ways: 8, Policy: PLRU, PageShifts: []uint8{12, 21}},
	} {
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.CountLive()
		r := rand.New(rand.NewPCG(1, 2))
		domains := []uint32{1, 2, 4095, 4096, 1 << 20}
		largest := 0
		for i := range 20000 {
			dom, page := domains[r.IntN(len(domains))], r.Uint64N(200)
			switch x := r.IntN(100); {
			case x < 80:
				c.Insert(dom, page, []uint8{12, 21}[r.IntN(2)], 0)
			case x < 90:
				c.InvalidatePage(dom, page, 12)
			case x < 96:
				first := page << 12
				c.InvalidateRange(dom, first, first+r.Uint64N(1<<20))
			case x < 99:
				c.InvalidateDomain(dom)
			default:
				c.InvalidateAll()
			}
			if c.Live() != c.Len() {
				t.Fatalf("%+v, step %d: Live is %d, Len %d", cfg, i, c.Live(), c.Len())
			}
			largest = max(largest, c.Live())
		}
		if largest < cfg.Entries/2 {
			t.Errorf("%+v: at most %d entries were live", cfg, largest)
		}
	}
}
