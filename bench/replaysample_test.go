package bench

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"dmapath/platform"
	"dmapath/results"
)

// longTrace is a trace of n maps and n unmaps of 4 KiB each, every third of 1 MiB when large is set, a mapping living for ten others.
func longTrace(n int, large bool) string {
	const line = "io-%d [%03d] d.h1. %d.%06d: dma_%s_phys: 0000:00:03.0 dir=TO_DEVICE dma_addr=%x size=%d%s attrs=\n"
	var b strings.Builder
	b.WriteString("# tracer: nop\n# entries-in-buffer/entries-written: 1/1   #P:2\n")
	at := func(i int) (addr, size int) {
		if size = 4096; large && i%3 == 0 {
			size = 1 << 20
		}
		return 1<<28 + i%64<<21, size
	}
	for i := range n + 10 {
		us := i * 20
		if i < n {
			a, size := at(i)
			fmt.Fprintf(&b, line, 1, i%2, us/1e6, us%1e6, "map", a, size, fmt.Sprintf(" phys_addr=%x", a))
		}
		if i >= 10 {
			a, size := at(i - 10)
			fmt.Fprintf(&b, line, 1, i%2, (us+10)/1e6, (us+10)%1e6, "unmap", a, size, "")
		}
	}
	return b.String()
}

// replayText replays text as a file on icelake-sp.
func replayText(t *testing.T, x Replay, text string) (*Replayed, error) {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x.Name, x.Cache, x.Seed = "t", "hot", 1
	return x.File(context.Background(), s, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
}

func metric(r *results.Record, name, backend, variant string) float64 {
	for _, m := range r.Measurements {
		if m.Metric == name && m.Dim("backend") == backend && m.Dim("variant") == variant && m.Dim("call") == "" {
			return m.Value
		}
	}
	return math.NaN()
}

// Of a long trace a sample is performed, which the answer says; what is said of the trace is of all of it; the bytes are the same for any number of
// machines at a time, and for a stream.
func TestReplaySamplesALongTrace(t *testing.T) {
	text := longTrace(3000, false)
	x := Replay{Sample: leastSample, Backends: []string{"direct", "iommu-lazy"}, Variants: []string{"map_phys@7.3", "map_page@6.12"}}
	p, err := replayText(t, x, text)
	if err != nil {
		t.Fatal(err)
	}
	r := p.Record()
	want := written(t, r, results.JSON)
	if kept := metric(r, "calls_performed", "", ""); kept < leastSample/2 || kept > leastSample {
		t.Errorf("%v of 6000 calls performed, want %d at most", kept, leastSample)
	}
	if maps := metric(r, "trace_maps", "", ""); maps != 3000 {
		t.Errorf("%v maps in the trace, want 3000", maps)
	}
	if out := written(t, r, results.ASCII); !strings.Contains(out, "A sample: ") {
		t.Errorf("the answer does not say that it is a sample:\n%.2000s", out)
	}
	// The part of a core is cycles times calls per second.
	mean := metric(r, "map_mean", "direct", "map_phys@7.3")*3000 + metric(r, "unmap_mean", "direct", "map_phys@7.3")*3000
	share := mean / metric(r, "trace_span", "", "") / float64(p.runs[0].clock.Hz()) * 100
	if got := metric(r, "core_share", "direct", "map_phys@7.3"); math.Abs(got-share) > share*1e-9 {
		t.Errorf("%g %% of a core, want %g", got, share)
	}
	x.Jobs = 3
	if p, err = replayText(t, x, text); err != nil || written(t, p.Record(), results.JSON) != want {
		t.Errorf("three machines at a time give another result: %v", err)
	}
	s, _ := platform.Load("icelake-sp")
	x.Name, x.Cache, x.Seed = "t", "hot", 1
	if p, err = x.Stream(context.Background(), s, strings.NewReader(text)); err != nil || written(t, p.Record(), results.JSON) != want {
		t.Errorf("a stream gives another result: %v", err)
	}
}

// All calls at once, in groups of machines, from a file or a stream: what a sample that is not one gives.
func TestReplayOfAllCalls(t *testing.T) {
	text := longTrace(400, false)
	x := Replay{Sample: leastSample, Backends: []string{"direct", "iommu-strict"}, Variants: []string{"map_phys@7.3", "map_page@6.12"}}
	p, err := replayText(t, x, text)
	if err != nil || !p.Sample.Whole() {
		t.Fatalf("%v", err)
	}
	tables := func(p *Replayed) string { return written(t, p.Record(), results.ASCII) }
	want := tables(p)
	x.Sample = 0
	for _, x.Jobs = range []int{1, 3} {
		if p, err = replayText(t, x, text); err != nil || tables(p) != want {
			t.Errorf("all calls by %d machines at a time: %v\n%s", x.Jobs, err, tables(p))
		}
	}
	s, _ := platform.Load("icelake-sp")
	x.Name, x.Cache, x.Seed = "t", "hot", 1
	if p, err = x.Stream(context.Background(), s, strings.NewReader(text)); err != nil || tables(p) != want {
		t.Errorf("a stream of all calls gives another result: %v", err)
	}
}

// What a backend refuses is counted and said, and stands beside what others performed.
func TestReplayCountsWhatABackendRefuses(t *testing.T) {
	p, err := replayText(t, Replay{Sample: leastSample, Backends: []string{"direct", "swiotlb-force"}, Variants: []string{"map_phys@7.3", "map_page@7.3"}}, longTrace(60, true))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Record()
	if n := metric(r, "map_refused", "swiotlb-force", "map_phys@7.3"); n != 20 {
		t.Errorf("%v maps refused, want 20", n)
	}
	if v := metric(r, "map_vs_first_backend", "swiotlb-force", "map_phys@7.3"); !math.IsNaN(v) {
		t.Errorf("a difference of %v between machines that performed different calls", v)
	}
	if v := metric(r, "map_vs_first_variant", "swiotlb-force", "map_page@7.3"); math.IsNaN(v) {
		t.Error("no difference between variants that refused the same calls")
	}
	out := strings.Join(strings.Fields(written(t, r, results.ASCII)), " ")
	for _, want := range []string{"refused", "other calls", "swiotlb-force 7.3: 20 maps were refused", "larger than a segment of the bounce pool"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said in\n%s", want, out)
		}
	}
}

// CPUs with higher numbers than there are CPUs (some are offline) are found in a file; a stream says what to do.
func TestReplayFindsCPUsThatComeLate(t *testing.T) {
	text := longTrace(30_000, false) // more than is looked at ahead
	text += strings.ReplaceAll(longTrace(2, false), "[001]", "[005]")
	if len(text) < probeBytes {
		t.Fatalf("%d bytes are looked at as a whole", len(text))
	}
	x := Replay{Sample: leastSample, Backends: []string{"direct"}, Variants: []string{"map_phys@7.3"}}
	p, err := replayText(t, x, text)
	if err != nil || p.cpus != 6 {
		t.Fatalf("%v: a machine of %d CPUs, want 6", err, p.cpus)
	}
	s, _ := platform.Load("icelake-sp")
	x.Name, x.Cache = "t", "hot"
	if _, err := x.Stream(context.Background(), s, strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "of CPU 5: the machine has 2 CPUs (--cpus)") {
		t.Errorf("a stream: %v", err)
	}
}

// A compressed trace that is cut off is no shorter trace: the error says where, what was read, and how to replay that.
func TestReplayOfACutTrace(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	io.WriteString(w, longTrace(500, false))
	w.Close()
	cut := z.String()[:z.Len()-100]
	x := Replay{Sample: leastSample, Backends: []string{"direct"}, Variants: []string{"map_phys@7.3"}}
	_, err := replayText(t, x, cut)
	if err == nil {
		t.Fatal("no error")
	}
	var events int64
	i := strings.Index(err.Error(), "--limit ")
	if _, e := fmt.Sscanf(err.Error()[max(i, 0):], "--limit %d replays what is before", &events); e != nil || events == 0 || !strings.Contains(err.Error(), "gzip: the input is cut off") {
		t.Fatalf("%v", err)
	}
	x.Limit = events
	if p, err := replayText(t, x, cut); err != nil || p.Trace.Events != events {
		t.Errorf("--limit %d: %v", events, err)
	}
	// Behind what is looked at ahead, too.
	long := longTrace(40_000, false)
	broken := errors.New("broken pipe of somebody")
	s, _ := platform.Load("icelake-sp")
	x.Limit, x.Name, x.Cache = 0, "t", "hot"
	if _, err := x.Stream(context.Background(), s, io.MultiReader(strings.NewReader(long), failing{broken})); !errors.Is(err, broken) || !strings.Contains(err.Error(), "after 80000 events") {
		t.Errorf("%v", err)
	}
}

// A backend that the platform cannot have is left out, which is said, and refused when it was asked for.
func TestReplayLeavesOutWhatThePlatformCannotHave(t *testing.T) {
	s, err := platform.Load("cortex-a15")
	if err != nil {
		t.Fatal(err)
	}
	x := Replay{Name: "t", Cache: "hot", Sample: leastSample, CPUs: 2, Variants: []string{"map_phys@7.3"}}
	r, err := ReplayStream(context.Background(), s, x, strings.NewReader(longTrace(50, false)))
	if err != nil {
		t.Fatal(err)
	}
	if out := strings.Join(r.Warnings, "\n"); !strings.Contains(out, "backend iommu-strict is left out") {
		t.Errorf("%s", out)
	}
	x.Backends = []string{"iommu-strict"}
	if _, err := ReplayStream(context.Background(), s, x, strings.NewReader(longTrace(50, false))); !errors.As(err, new(platform.Unfit)) {
		t.Errorf("%v", err)
	}
}
