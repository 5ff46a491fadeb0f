package bench

import (
	"context"
	"strings"
	"testing"
)

// netperfExperiment is a transfer of few frames on two CPUs.
func netperfExperiment() Experiment {
	x := Default()
	x.Workloads, x.Backends, x.Variants, x.CPUs, x.Operations = []string{netperfRX}, []string{"direct", "iommu-strict"}, []string{"map_phys@7.3"}, 2, 600
	return x
}

// TestNetperfRunsOncePerCall: the run itself makes what is in the caches, so of three cache states one is run; its tables have a row per
// backend.
func TestNetperfRunsOncePerCall(t *testing.T) {
	s, x := load(t, "icelake-sp"), netperfExperiment()
	if n := len(x.Points()); n != 2 {
		t.Fatalf("%d runs, want one per backend", n)
	}
	c, err := Compare(context.Background(), s, x, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, table := range c.Record().Tables {
		rows[table.ID] = len(table.Rows)
	}
	if rows["netperf_rx"] != 2 || rows["netperf_rx_losses"] != 2 {
		t.Errorf("rows by table: %v", rows)
	}
	direct, strict := c.Outcomes[0], c.Outcomes[1]
	if m := strict.MissesPerOperation(); m < 1 || m > 3 { // a page of its own for every frame, rings and acknowledgements beside
		t.Errorf("%.2f walks per frame", m)
	}
	if strict.Busy <= direct.Busy || direct.MissesPerOperation() != 0 {
		t.Errorf("busy %v strict, %v without an IOMMU, which walks %.2f times", strict.Busy, direct.Busy, direct.MissesPerOperation())
	}
}

// TestNetperfKeysAreChecked: every problem names its key, before anything runs.
func TestNetperfKeysAreChecked(t *testing.T) {
	s := load(t, "icelake-sp")
	for _, c := range []struct{ key, value, want string }{
		{"rate", "fast", "netperf_rx.rate"}, {"rate", "0", "netperf_rx.rate"}, {"window", "64", "netperf_rx.window"}, {"buffers", "pages", "page_pool"},
		{"memory_antagonists", "31", "netperf_rx.memory_antagonists"}, {"cpu_antagonists", "3", "netperf_rx.cpu_antagonists"}, {"rtt", "1", "netperf_rx.rtt"},
		{"frame_size", "9001", "netperf_rx.frame_size"}, {"ring", "100", "netperf_rx.ring"}, {"slice", "0ns", "netperf_rx.slice"},
	} {
		x := netperfExperiment()
		if err := x.Set("netperf_rx."+c.key, c.value); err != nil {
			t.Fatal(err)
		}
		if err := x.Validate(s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want an error that names %s", c.key, c.value, err, c.want)
		}
	}
	x := netperfExperiment()
	x.Variants = []string{"driver@7.3"}
	x.NetperfRX.Buffers = pageReuse
	if x.Validate(s) == nil {
		t.Error("a whole driver with pages that are used again is accepted")
	}
}
