package bench

import (
	"math"
	"testing"

	"dmapath/results"
)

// TestDistributionsAgreeWithTheMeasurements: what a distribution counts is what the measurements of the same call say about it.
func TestDistributionsAgreeWithTheMeasurements(t *testing.T) {
	s := load(t, "icelake-sp")
	x := onePoint("nvme", "iommu-strict", "warm", "map_phys@7.3", 200)
	o, err := x.Run(s, x.Points()[0])
	if err != nil {
		t.Fatal(err)
	}
	c := &Comparison{Platform: s, Exp: x, Outcomes: []*Outcome{o}}
	r := &results.Record{Name: "Compare"}
	o.measure(r, c)
	seen := map[string]bool{}
	for _, d := range r.Distributions {
		seen[d.Name()] = true
		if len(d.Buckets) == 0 || len(d.Buckets) > maxBuckets {
			t.Errorf("%s has %d buckets", d.Name(), len(d.Buckets))
		}
		for _, m := range r.Measurements {
			if len(m.Dims) != len(d.Dims) {
				continue // a step of the call
			}
			var q float64
			switch m.Metric {
			case d.Metric + "_p50":
				q = 0.5
			case d.Metric + "_p99":
				q = 0.99
			case d.Metric + "_max":
				q = 1
			default:
				continue
			}
			if m.N != d.N() {
				t.Errorf("%s: %d observations, %s has %d", d.Name(), d.N(), m.Name(), m.N)
			}
			rank, n := int64(math.Ceil(q*float64(m.N))), int64(0)
			for _, b := range d.Buckets {
				if n += b.Count; n >= rank {
					if m.Value < b.From || m.Value >= b.To {
						t.Errorf("%s is %v, by the distribution it lies from %v to below %v", m.Name(), m.Value, b.From, b.To)
					}
					break
				}
			}
		}
	}
	for _, name := range []string{"map_cycles", "unmap_cycles", "latency_ns", "walk_ns"} {
		if !seen[name] {
			t.Errorf("no distribution of %s", name)
		}
	}
}
