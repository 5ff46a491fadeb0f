package bench

import (
	"strings"
	"testing"

	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/results"
)

// outcome runs one point with 400 operations.
func outcome(t *testing.T, workload, backend, cache, variant string, change ...func(*Experiment)) *Outcome {
	t.Helper()
	x := onePoint(workload, backend, cache, variant, 400)
	for _, f := range change {
		f(&x)
	}
	s := load(t, "icelake-sp")
	if err := x.Validate(s); err != nil {
		t.Fatal(err)
	}
	o, err := x.Run(s, x.Points()[0])
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mean(o *Outcome, call string) float64 { return o.find(call).Series.Steady().Mean }

// What a maintainer would say without a simulator must come out of it.
func TestOrderOfBackends(t *testing.T) {
	for _, v := range []string{"map_page@6.12", "map_page@7.3", "map_phys@7.3"} {
		var unmap, mapped [4]float64
		for i, b := range []string{"direct", "iommu-passthrough", "iommu-lazy", "iommu-strict"} {
			o := outcome(t, "nvme", b, "hot", v)
			mapped[i], unmap[i] = mean(o, "map"), mean(o, "unmap")
			if o.Faults != 0 {
				t.Errorf("%s on %s: %d transactions refused", v, b, o.Faults)
			}
		}
		if d := mapped[1] - mapped[0]; d > 3 || d < -3 {
			t.Errorf("%s: a map behind a pass-through IOMMU takes %.1f cycles, without one %.1f", v, mapped[1], mapped[0])
		}
		if !(unmap[1] < unmap[2] && unmap[2] < unmap[3]) || unmap[3] < 3*unmap[2] {
			t.Errorf("%s: unmap cycles passthrough %.0f, lazy %.0f, strict %.0f: strict waits for the hardware, lazy does not", v, unmap[1], unmap[2], unmap[3])
		}
	}
}

func TestColderCostsMore(t *testing.T) {
	var last float64
	for _, c := range Caches {
		m := mean(outcome(t, "nvme", "iommu-lazy", c, "map_phys@7.3"), "map")
		if m < 1.5*last {
			t.Errorf("%s: %.0f cycles, %.0f in the state before", c, m, last)
		}
		last = m
	}
}

// The re-derivation costs its instructions when hot and its lookups when cold; the unmap is the same call.
func TestRederivationIsOnTheMapSideOnly(t *testing.T) {
	for _, c := range []string{"hot", "cold"} {
		a, b := outcome(t, "nvme", "direct", c, "map_phys@7.3"), outcome(t, "nvme", "direct", c, "map_phys_rederive@7.3")
		if x, y := mean(a, "map"), mean(b, "map"); y < x+8 {
			t.Errorf("%s: map_phys %.1f cycles, with re-derivation %.1f", c, x, y)
		}
		ta, tb := a.Unmap.Acct.Total(), b.Unmap.Acct.Total()
		if ta.Instructions()/a.Unmap.N != tb.Instructions()/b.Unmap.N {
			t.Errorf("%s: the unmaps differ in instructions", c)
		}
	}
}

// Retpolines cost cycles where there are indirect calls and nothing where there are none.
func TestRetpolineCostsWhereCallsAreIndirect(t *testing.T) {
	cycles := func(backend, mitigation string) float64 {
		s := load(t, "icelake-sp")
		if err := s.Set("kernel.mitigation", mitigation); err != nil {
			t.Fatal(err)
		}
		x := onePoint("nvme", backend, "hot", "map_page@6.12", 400)
		if platform.Backend(backend).Provider() {
			x.Workloads = []string{"map-benchmark"}
		}
		o, err := x.Run(s, x.Points()[0])
		if err != nil {
			t.Fatal(err)
		}
		return mean(o, "map")
	}
	if a, b := cycles("ops-grant", "none"), cycles("ops-grant", "retpoline"); b < a+20 {
		t.Errorf("map of a provider: %.1f cycles plain, %.1f with retpolines", a, b)
	}
	if a, b := cycles("iommu-strict", "none"), cycles("iommu-strict", "retpoline"); b < a+20 {
		t.Errorf("translated map: %.1f cycles plain, %.1f with retpolines", a, b)
	}
	if a, b := cycles("direct", "none"), cycles("direct", "retpoline"); b > a+3 || b < a-3 {
		t.Errorf("direct map has no indirect call: %.1f cycles plain, %.1f with retpolines", a, b)
	}
}

// A million I/Os take the memory of ten thousand: what a run keeps does not depend on the number of operations.
func TestMemoryDoesNotGrow(t *testing.T) {
	bytes := func(n int64) float64 {
		r := testing.Benchmark(func(b *testing.B) {
			x := onePoint("nvme", "iommu-lazy", "hot", "map_phys@7.3", n)
			s := load(b, "icelake-sp")
			for b.Loop() {
				if _, err := x.Run(s, x.Points()[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
		return float64(r.AllocedBytesPerOp())
	}
	if testing.Short() {
		t.Skip("runs 22000 I/Os several times")
	}
	if a, b := bytes(2000), bytes(20000); b > a+2<<20 {
		t.Errorf("2000 I/Os allocate %.1f MB, 20000 allocate %.1f MB", a/1e6, b/1e6)
	}
}

func TestTablesSayWhenTheyCrossKernels(t *testing.T) {
	for _, c := range []struct {
		variants []string
		crosses  bool
	}{{[]string{"map_page@6.12", "map_phys@7.3"}, true}, {[]string{"map_page@7.3", "map_phys@7.3"}, false}} {
		x := onePoint("nvme", "direct", "hot", "", 200)
		x.Variants = c.variants
		s := load(t, "icelake-sp")
		cmp, err := Compare(t.Context(), s, x, 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := cmp.Record().Write(&b, results.ASCII); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "is not the price of the API"); got != c.crosses {
			t.Errorf("%v: the warning is there: %v", c.variants, got)
		}
	}
}

// Every value of an experiment can be set by its key, and nothing else can.
func TestSet(t *testing.T) {
	x := Default()
	for _, kv := range [][2]string{{"nvme.queue_depth", "7"}, {"nic.page_pool", "true"}, {"variants", "map_page@7.3,map_phys@7.3"}, {"seed", "9"},
		{"nvme.media_latency", "80us"}} {
		if err := x.Set(kv[0], kv[1]); err != nil {
			t.Error(err)
		}
	}
	if x.NVMe.QueueDepth != 7 || !x.NIC.PagePool || len(x.Variants) != 2 || x.Seed != 9 || x.NVMe.MediaLatency != "80us" {
		t.Errorf("not all values arrived: %+v", x)
	}
	for _, c := range []struct{ key, value, want string }{
		{"nvme.queue_dept", "7", "did you mean queue_depth"},
		{"nvme", "7", "is a group"},
		{"nvme.queue_depth", "many", "want a whole number"},
		{"nic.page_pool", "perhaps", "want true or false"},
		{"fizz.buzz", "1", "there is no workload.fizz.buzz"},
		{"seed.x", "1", "there is no workload.seed.x"},
	} {
		if err := x.Set(c.key, c.value); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: got %v, want %q", c.key, c.value, err, c.want)
		}
	}
}

func TestKernelOf(t *testing.T) {
	for _, n := range variantNames() {
		v, err := VariantByName(n)
		if err != nil || kernelOf(n) != v.Version().String() || v.Version() > kernel.V7_3 {
			t.Errorf("%s: %v, kernel %q", n, err, kernelOf(n))
		}
	}
}
