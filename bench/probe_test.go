package bench

import (
	"context"
	"slices"
	"strings"
	"testing"

	"dmapath/platform"
	"dmapath/results"
)

// To the probe neither call nor cache state makes a difference: a grid of both runs once per kernel and backend, and shows one table.
func TestProbeInAComparison(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := Default()
	x.Workloads, x.Operations = []string{"dma-probe"}, 300
	x.Backends = []string{"direct", "iommu-strict"}
	c, err := Compare(context.Background(), s, x, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Outcomes) != 4 {
		t.Errorf("%d runs, want 2 backends x 2 kernels", len(c.Outcomes))
	}
	r := c.Record()
	if !slices.ContainsFunc(r.Tables, func(t *results.Table) bool { return t.ID == "dma_probe" && len(t.Rows) == 4 }) {
		t.Error("no table of 4 rows")
	}
	for _, f := range []results.Format{results.ASCII, results.Markdown, results.CSV, results.JSON, results.Bench} {
		var b strings.Builder
		if err := r.Write(&b, f); err != nil {
			t.Errorf("%v: %v", f, err)
		}
	}
}

// Wrong keys of the probe are named with what is allowed.
func TestProbeKeys(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	for key, c := range map[string]struct{ value, want string }{
		"access":      {"raed", `probe.access "raed": allowed are [read write write-read]; did you mean read?`},
		"size":        {"5KiB", "probe.size is 5KiB: allowed are 1B to 4KiB"},
		"window":      {"6KiB", "probe.window is 6KiB: allowed are multiples of 4KiB up to 4GiB"},
		"outstanding": {"0", "probe.outstanding is 0: allowed are 1 to 1024"},
		"order":       {"backwards", `probe.order "backwards"`},
		"state":       {"warm", `probe.state "warm": allowed are [device cold]`},
		"gap":         {"2ms", "probe.gap is 2ms: allowed are 0ns to 1ms"},
		"gap_byte":    {"fast", "probe.gap_byte: "},
	} {
		x := Default()
		x.Workloads = []string{"dma-probe"}
		if err := x.Set("probe."+key, c.value); err != nil {
			t.Fatal(err)
		}
		if err := x.Validate(s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %s", key, c.value, err, c.want)
		}
	}
}
