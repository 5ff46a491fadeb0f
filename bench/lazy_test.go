package bench

import (
	"strings"
	"testing"

	"dmapath/platform"
)

// A run behind a flush queue that is too short for it says so, one that is long enough or that has no queue does not.
func TestShortLazyRunsAreNamed(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		backend, variant string
		operations       int64
		warns            bool
	}{{"iommu-lazy", "map_phys@7.3", 256, true}, {"iommu-lazy", "map_phys@7.3", 1200, false}, {"iommu-strict", "map_phys@7.3", 256, false},
		{"iommu-lazy", "iova_link@7.3", 256, false}, {"viommu-lazy", "map_page@6.12", 128, true}} {
		x := Default()
		x.Workloads, x.Backends, x.Caches, x.Variants, x.Operations = []string{"map-benchmark"}, []string{c.backend}, []string{"hot"}, []string{c.variant}, c.operations
		r, err := Explain(s, x)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(r.Warnings, "\n"), "flush queue"); got != c.warns {
			t.Errorf("%s on %s, %d operations: warns %v", c.variant, c.backend, c.operations, got)
		}
	}
}
