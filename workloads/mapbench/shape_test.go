package mapbench

import (
	"testing"

	"dmapath/platform"
	"dmapath/sim"
)

// On AMD-Vi a strict unmap holds the domain's lock until the hardware has answered, and looks once per microsecond: no unmap is
// shorter than that, CPUs that use one device take turns, and the rate does not grow with them. Lazily it does.
func TestStrictUnmapsTakeTurnsOnAMD(t *testing.T) {
	for _, variant := range []string{"map_page@6.12", "map_phys@7.3"} {
		rate := map[platform.Backend]map[int]float64{}
		for _, b := range []platform.Backend{platform.IommuStrict, platform.IommuLazy} {
			rate[b] = map[int]float64{}
			for _, threads := range []int{1, 2, 4} {
				r := runOn(t, "genoa", variant, b, func(c *Config) { c.Threads, c.Rounds = threads, 400 })
				rate[b][threads] = float64(r.IOs) / float64(r.Elapsed)
				if b == platform.IommuStrict {
					if min := sim.Time(float64(r.Unmap.Cycles.Min) / 3.75 * 1000); min < sim.Microsecond {
						t.Errorf("%s, %d threads: an unmap takes %v", variant, threads, min)
					}
				}
			}
		}
		strict, lazy := rate[platform.IommuStrict], rate[platform.IommuLazy]
		if g := strict[4] / strict[2]; g < 0.9 || g > 1.1 {
			t.Errorf("%s: strict, the rate with 4 threads is %.2f of that with 2", variant, g)
		}
		if g := strict[2] / strict[1]; g > 1.6 { // only what is outside of the lock overlaps
			t.Errorf("%s: strict, the rate with 2 threads is %.2f of that with 1", variant, g)
		}
		if g := lazy[4] / lazy[2]; g < 1.4 { // magazines are still being filled
			t.Errorf("%s: lazy, the rate with 4 threads is %.2f of that with 2", variant, g)
		}
	}
}
