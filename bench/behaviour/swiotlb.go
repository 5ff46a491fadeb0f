package behaviour

import (
	"fmt"
	"math"

	"dmapath/bench"
)

// swiotlbLock is what one lock for the whole bounce pool costs, and what the word that counts used slots costs when every CPU has an
// area of its own.
func swiotlbLock() *Behaviour {
	nan := math.NaN()
	b := &Behaviour{Name: "swiotlb_areas", Title: "Bounced map and unmap pairs per second, all CPUs, with one area and one lock, and with an area per CPU",
		Source: "published-numbers, SWI-net (Hyper-V guests: 24 Gb/s with one lock, 40 with areas)",
		Setup:  "Ours: " + preset + ", swiotlb=force, dma_map_benchmark's loop with 4 KiB buffers and no device; theirs is network traffic of a guest, in which bouncing is a part of the work.",
		Label:  "kernel, areas, threads", Unit: "Gb/s", Ours: "M pairs/s"}
	for _, r := range []struct {
		kernel    string
		variant   string
		areas     string
		threads   int
		published float64
	}{{"7.3", "map_phys@7.3", "1", 1, nan}, {"7.3", "map_phys@7.3", "1", 8, 24}, {"7.3", "map_phys@7.3", "0", 8, 40}, {"6.12", "map_page@6.12", "0", 1, nan}, {"6.12", "map_page@6.12", "0", 8, nan}} {
		name := map[string]string{"0": "per CPU"}[r.areas]
		if name == "" {
			name = r.areas
		}
		b.Rows = append(b.Rows, Row{fmt.Sprintf("%s, %s, %d", r.kernel, name, r.threads), r.published, func() (float64, error) {
			s, err := spec(preset, "kernel.swiotlb_areas", r.areas)
			if err != nil {
				return 0, err
			}
			o, err := point(s, "map-benchmark", "swiotlb-force", "hot", r.variant, func(x *bench.Experiment) {
				x.CPUs, x.Operations, x.Size = r.threads, 400, "4KiB"
				x.MapBench.Threads, x.MapBench.Dir = r.threads, 2
			})
			if err != nil {
				return 0, err
			}
			rate, _ := o.Throughput()
			return rate / 1e6, nil
		}})
	}
	b.Claims = []Claim{
		{"With one lock 8 threads do less than twice what one does", func(v []float64) bool { return v[1] < 2*v[0] }},
		{"An area per CPU gives 8 threads more than half again as much", func(v []float64) bool { return v[2] > 1.5*v[1] }},
		{"6.12, which counts used slots in one word, gains less from 8 threads than 7.3", func(v []float64) bool { return v[4]/v[3] < v[2]/v[0] }},
	}
	return b
}
