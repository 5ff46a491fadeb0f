package cache

import (
	"testing"

	"dmapath/sim"
)

// Nothing on any path allocates once the directory has its size.
func TestNoAllocations(t *testing.T) {
	for _, inclusive := range []bool{false, true} {
		cfg := Default(4)
		cfg.LLC.Inclusive = inclusive
		h := build(t, cfg)
		now, x := sim.Time(0), uint64(1)
		for name, op := range map[string]func(){
			"mixed accesses": func() {
				for range 100 {
					x = x*6364136223846793005 + 1442695040888963407
					now += 1000
					c, pa := int(x>>62), x>>36&^7
					switch x >> 32 & 7 {
					case 0, 1:
						write(h, c, pa, now)
					case 2:
						if _, ok := h.FetchHit(c, pa); !ok {
							h.Fetch(c, pa, now)
						}
					case 3:
						h.DeviceRead(pa&^63, 64, now)
					case 4:
						h.DeviceWrite(pa&^63, 64, now)
					case 5:
						h.CleanInvalidate(c, pa, now)
					default:
						read(h, c, pa, now)
					}
				}
				h.Displace(0, 100, 200)
			},
			"statistics": func() {
				if s := h.Stats(); s.L1D.Accesses > 1<<60 {
					t.Error(s)
				}
				h.ResetStats()
			},
			"probe": func() { h.Probe(1, 64) },
		} {
			if n := testing.AllocsPerRun(200, op); n != 0 {
				t.Errorf("inclusive %v, %s: %v allocations", inclusive, name, n)
			}
		}
	}
}
