package advise

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"dmapath/bench"
	"dmapath/kernel/iommudma"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads/hazard"
)

// baseline is a configuration on icelake-sp, changed by sets of KEY=VALUE of the experiment or the platform.
func baseline(t *testing.T, workload, variant, backend, cache string, operations int64, sets ...string) Request {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := bench.Default()
	x.Workloads, x.Variants, x.Backends, x.Caches, x.Operations = []string{workload}, []string{variant}, []string{backend}, []string{cache}, operations
	for _, kv := range sets {
		key, value, _ := strings.Cut(kv, "=")
		if rest, ok := strings.CutPrefix(key, "workload."); ok {
			err = x.Set(rest, value)
		} else {
			err = s.Set(key, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Request{Platform: s, Exp: x}
}

// try runs the baseline of r and the changes of it that are named, alone.
func try(t *testing.T, r Request, names ...string) (a *Advice, options []*Option) {
	t.Helper()
	base := &Setup{Platform: r.Platform, Exp: r.Exp}
	if err := base.check(); err != nil {
		t.Fatal(err)
	}
	a = &Advice{Platform: r.Platform, Base: &Option{Name: "as it is", Setup: base}}
	var have []string
	for _, c := range base.changes() {
		have = append(have, c.Name)
	}
	for _, n := range names {
		i := slices.Index(have, n)
		if i < 0 {
			t.Fatalf("there is no change %q: there are %q", n, have)
		}
		a.Options = append(a.Options, base.with(base.changes()[i]))
	}
	if err := runAll(context.Background(), append([]*Option{a.Base}, a.Options...), 0, nil); err != nil {
		t.Fatal(err)
	}
	if a.Base.Failed != nil {
		t.Fatal(a.Base.Failed)
	}
	for _, o := range a.Options {
		a.compare(o)
	}
	a.front()
	return a, a.Options
}

// Where nothing protects memory and the newest call maps, nothing saves: pass-through costs the same, everything else more.
func TestNothingSavesOnDirect(t *testing.T) {
	r := baseline(t, "nvme", "map_phys@7.3", "direct", "hot", 200)
	a, err := For(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range a.Options {
		if o.Failed != nil || o.resize {
			continue
		}
		if o.Saves.Sign() > 0 {
			t.Errorf("%s saves %.0f +- %.0f of %.0f cycles", o.Name, o.Saves.Mean, o.Saves.Half, a.Base.Cost)
		}
		if o.Name == "iommu.passthrough=1" && (o.group() != same || o.Standing != Same || o.Exposure.RAM != 1) {
			t.Errorf("%s: group %d, standing %d, RAM %.2f; want no difference at all", o.Name, o.group(), o.Standing, o.Exposure.RAM)
		}
		if o.Name == "iommu.strict=1" && (o.group() != protects || o.Standing != Less || o.Exposure.Bytes() != 0) {
			t.Errorf("%s: group %d, standing %d, %.0f bytes; want it dearer and without exposure", o.Name, o.group(), o.Standing, o.Exposure.Bytes())
		}
	}
	if got := a.Answer(); !strings.HasPrefix(got, "Nothing that was tried saves: map_phys@7.3 on direct costs ") {
		t.Errorf("answer: %s", got)
	}
	if !a.Base.Front {
		t.Error("the baseline is not on the front, though nothing is cheaper")
	}
}

// latest is when the timer of a flush queue has run: its timeout in whole ticks of 4 ms, and a tick.
const latest = (iommudma.QueueTimeout+4*sim.Millisecond-1)/(4*sim.Millisecond)*(4*sim.Millisecond) + 4*sim.Millisecond

// Lazy invalidation saves the wait and leaves buffers within reach; strict leaves none, not even for a moment. Bytes at any time are rate x bytes x
// mean window (Little), and no window is longer than the queue's timeout and a tick.
func TestLazySavesAndExposes(t *testing.T) {
	for _, workload := range []string{"nvme", "map-benchmark"} {
		a, o := try(t, baseline(t, workload, "map_page@6.12", "iommu-strict", "hot", 1000), "iommu.strict=0 (lazy)", "iommu.passthrough=1")
		b, lazy, pass := a.Base.Exposure, o[0], o[1]
		if b.Unmaps < 900 || b.Max != 0 || b.After != 0 || b.Bytes() != 0 {
			t.Errorf("%s, strict: %d unmaps, window up to %v, %.0f bytes", workload, b.Unmaps, b.Max, b.After)
		}
		e := lazy.Exposure
		if lazy.group() != trade || lazy.Saved.Waiting < 0.4*lazy.Saves.Mean {
			t.Errorf("%s, lazy saves %v, waiting %.0f", workload, lazy.Saves, lazy.Saved.Waiting)
		}
		if e.Max == 0 || e.Max > latest+probe || e.Open != 0 {
			t.Errorf("%s, lazy: window up to %v, %d still open", workload, e.Max, e.Open)
		}
		// Buffers of nvme are all different; map-benchmark maps one again and again.
		want := float64(e.Unmaps) * 4096 * float64(e.Mean) / float64(lazy.out.(point).Elapsed)
		if workload == "map-benchmark" {
			want = min(want, 4096)
		}
		if e.After > want*1.01 || e.After < want*0.6 {
			t.Errorf("%s, lazy: %.0f bytes at any time, want about %.0f, less what comes after the run: %d unmaps of %v", workload, e.After, want, e.Unmaps, e.Mean)
		}
		if pass.Exposure.RAM != 1 || pass.Standing != More || pass.Saves.Mean <= lazy.Saves.Mean {
			t.Errorf("%s, pass-through: RAM %.2f, standing %d, saves %.0f (lazy %.0f)", workload, pass.Exposure.RAM, pass.Standing, pass.Saves.Mean, lazy.Saves.Mean)
		}
	}
}

// At a load that both can be given, windows are those that dmapath hazards measures, although it is another driver: 10,000 unmaps a second.
func TestWindowsAgreeWithHazards(t *testing.T) {
	r := baseline(t, "map-benchmark", "map_page@6.12", "iommu-lazy", "hot", 800, "workload.map_benchmark.trans_ns=100000")
	u := r.setup()
	e, err := u.measure()
	if err != nil {
		t.Fatal(err)
	}
	lazy := slices.IndexFunc(hazard.Backends(), func(b hazard.Backend) bool { return b.Name == "lazy" })
	w, err := hazard.Measure(r.Platform, hazard.Backends()[lazy], "map_page@6.12", 10_000, 1)
	if err != nil {
		t.Fatal(err)
	}
	if d := float64(e.Mean)/float64(w.Mean) - 1; math.Abs(d) > 0.1 {
		t.Errorf("windows are %v on average, and %v measured by hazards", e.Mean, w.Mean)
	}
	if d := float64(e.Max)/float64(w.Max) - 1; math.Abs(d) > 0.1 {
		t.Errorf("windows are %v at most, and %v measured by hazards", e.Max, w.Max)
	}
}

// A buffer that stays mapped costs two inlined tests per use: all map cost is saved, nothing waits, and its bytes are within reach for good.
func TestPremappedSavesAll(t *testing.T) {
	a, o := try(t, baseline(t, "map-benchmark", "map_page@7.3", "iommu-strict", "hot", 400), "premapped buffers")
	if left := o[0].Cost / a.Base.Cost; left > 0.05 {
		t.Errorf("%.1f %% of the cost is left", 100*left)
	}
	if e := o[0].Exposure; e.Kept != 4096 || e.After != 0 || e.Unmaps != 0 || o[0].Standing != More {
		t.Errorf("exposure %+v, standing %d: want the 4096 bytes of the buffer, kept", *e, o[0].Standing)
	}
}

// 128 KiB in 32 scattered pages: linking them is cheaper than a scatterlist, which becomes two DMA segments of 64 KiB, and exposes nothing more.
func TestLinksAgainstScatterlist(t *testing.T) {
	a, o := try(t, baseline(t, "map-benchmark", "map_sg@7.3", "iommu-strict", "hot", 100, "workload.segments=scattered", "workload.size=128KiB"), "iova_link@7.3", "map_phys@7.3")
	if o[0].group() != free {
		t.Errorf("links: group %d, saves %v of %.0f", o[0].group(), o[0].Saves, a.Base.Cost)
	}
	if o[1].group() != costs || a.Base.Exposure.Maps != 2*100 || o[0].Exposure.Maps != 100 || o[1].Exposure.Maps != 32*100 {
		t.Errorf("piece by piece: group %d, %d maps against %d", o[1].group(), o[1].Exposure.Maps, a.Base.Exposure.Maps)
	}
}

// Receive buffers of half a page expose the other half, whatever call maps them; a device that is not trusted gets a bounced copy and no
// neighbour. A pool keeps its buffers.
func TestNeighboursInAPage(t *testing.T) {
	a, o := try(t, baseline(t, "nic", "map_page@6.12", "iommu-strict", "hot", 600, "workload.nic.tx_percent=0"), "untrusted device: parts bounce", "page_pool", "map_page@7.3")
	if b := a.Base.Exposure; b.Beside != 2048 || math.Abs(b.BesideOverall/(256*2048)-1) > 0.02 {
		t.Errorf("strict: %.0f bytes per map, %.0f at any time; want 2048 and those of a ring of 256", b.Beside, b.BesideOverall)
	}
	if e := o[0].Exposure; e.Bytes() != 0 || o[0].Standing != Less {
		t.Errorf("bounced: %+v", *e)
	}
	if e := o[1].Exposure; e.Kept != 256*2048 || o[1].group() != trade {
		t.Errorf("page_pool: keeps %.0f bytes, group %d", e.Kept, o[1].group())
	}
	if o[2].Standing != Same {
		t.Errorf("newer kernel: standing %d", o[2].Standing)
	}
}

// A change that the machine refuses says why, and does not stop the others.
func TestWhatCannotBeHad(t *testing.T) {
	a, o := try(t, baseline(t, "nvme", "driver@6.12", "iommu-strict", "hot", 100, "workload.size=64KiB", "workload.nvme.queue_depth=64", "workload.nvme.media_latency=1ms", "workload.nvme.segments=contiguous", "kernel.swiotlb_mb=1", "kernel.swiotlb_dynamic=off"), "swiotlb=force", "iommu.passthrough=1")
	if o[0].group() != failed || !strings.Contains(o[0].Failed.Error(), "the bounce pool has no room") || !strings.Contains(o[0].Failed.Error(), "swiotlb-force") {
		t.Errorf("group %d, %v", o[0].group(), o[0].Failed)
	}
	if o[1].Failed != nil {
		t.Error(o[1].Failed)
	}
	var b bytes.Buffer
	if err := a.Record().Write(&b, results.ASCII); err != nil || !strings.Contains(b.String(), "[cannot be had]") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// The result is the same whatever the number of jobs, every table fits 80 columns, and the answer comes first.
func TestJobsDoNotMatter(t *testing.T) {
	r := baseline(t, "map-benchmark", "map_page@6.12", "iommu-strict", "hot", 96, "workload.map_benchmark.granule=1")
	r.Samples = 8
	var out []string
	for _, jobs := range []int{1, 3} {
		r.Jobs = jobs
		a, err := For(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		var b, text bytes.Buffer
		if err := a.Record().Write(&b, results.JSON); err != nil {
			t.Fatal(err)
		}
		out = append(out, b.String())
		if err := a.Record().Write(&text, results.ASCII); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(strings.Join(strings.Fields(text.String()), " "), a.Answer()) {
			t.Errorf("the answer %q does not come first:\n%.300s", a.Answer(), text.String())
		}
		for l := range strings.Lines(text.String()) {
			if len(l) > results.Width+1 {
				t.Errorf("%d columns: %s", len(l), l)
			}
		}
		for _, o := range a.Options {
			if s := o.Sure; o.Failed == nil && (s == nil || s.Judged != 8 || s.Saves > s.Judged || s.Best > s.Judged) {
				t.Errorf("%s: %+v of 8 samples", o.Name, s)
			}
		}
	}
	if out[0] != out[1] {
		t.Error("the record depends on the number of jobs")
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		change func(x *bench.Experiment)
		want   string
	}{
		{func(x *bench.Experiment) { x.Workloads = []string{"nvme", "nic"} }, "workload names 2"},
		{func(x *bench.Experiment) { x.Workloads = []string{"nvm"} }, "did you mean nvme?"},
		{func(x *bench.Experiment) { x.Backends = []string{"ops-gart"} }, "no device is behind"},
		{func(x *bench.Experiment) { x.Backends = []string{"iommu-lax"} }, "did you mean iommu-lazy?"},
		{func(x *bench.Experiment) { x.Source = "recorded" }, "recorded"},
	} {
		r := baseline(t, "map-benchmark", "map_page@7.3", "iommu-strict", "hot", 200)
		c.change(&r.Exp)
		if err := Check(r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: want %q", err, c.want)
		}
	}
}

// More of one kind of memory is not made up for by less of another.
func TestAgainst(t *testing.T) {
	all := Exposure{RAM: 1, Total: 1 << 38}
	for _, c := range []struct {
		e, f Exposure
		want Against
	}{
		{Exposure{}, Exposure{}, Same},
		{Exposure{BesideOverall: 1 << 20}, Exposure{BesideOverall: 1.04 * (1 << 20)}, Same},
		{Exposure{BesideOverall: 1 << 20}, Exposure{BesideOverall: 1.06 * (1 << 20)}, Less},
		{Exposure{After: 46 << 10, BesideOverall: 2 << 20}, Exposure{BesideOverall: 2 << 20}, More},
		{Exposure{After: 46 << 10}, Exposure{Kept: 4096}, Other},
		{all, all, Same},
		{Exposure{Kept: 1 << 30, After: 5}, all, Less},
		{all, Exposure{Kept: 1 << 30}, More},
	} {
		if got := c.e.Against(&c.f); got != c.want {
			t.Errorf("%+v against %+v is %d, want %d", c.e, c.f, got, c.want)
		}
	}
}

func TestSize(t *testing.T) {
	for b, want := range map[float64]string{0: "0 B", 64: "64 B", 1024: "1 KiB", 1536: "1.5 KiB", 512 << 10: "512 KiB", 1024*1024 - 1: "1.0 MiB", 256 << 30: "256 GiB"} {
		if got := Size(b); got != want {
			t.Errorf("%v is %q, want %q", b, got, want)
		}
	}
}
