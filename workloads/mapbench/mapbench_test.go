package mapbench

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

func run(t *testing.T, variant string, b platform.Backend, change func(*Config)) *workloads.Result {
	t.Helper()
	return runOn(t, "icelake-sp", variant, b, change)
}

func runOn(t *testing.T, preset, variant string, b platform.Backend, change func(*Config)) *workloads.Result {
	t.Helper()
	s, err := platform.Load(preset)
	if err != nil {
		t.Fatal(err)
	}
	v, err := dma.Lookup(variant)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Variant: v, Threads: 1, Rounds: 200, Seconds: 20, Node: -1, Bits: 64, Granule: 1, Around: &workloads.Ambience{}, Seed: 1}
	change(&c)
	m, err := platform.Build(s, platform.Options{Version: v.Version(), Backend: b, CPUs: max(c.Threads, 1), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(m, d, c)
	if err != nil {
		t.Fatal(err)
	}
	if d.Ctx.Dev.Mask != ^uint64(0) {
		t.Errorf("the device's mask is %#x after the run", d.Ctx.Dev.Mask)
	}
	return r
}

// The heading of each kernel's tool, and the two lines of figures, in the words of the tools.
func TestThreeLinesOfBothKernels(t *testing.T) {
	var sum totals
	for _, l := range []struct{ m, u uint64 }{{3, 12}, {5, 18}} { // 100 ns units
		sum.mapSum, sum.mapSq = sum.mapSum+l.m, sum.mapSq+l.m*l.m
		sum.unmapSum, sum.unmapSq = sum.unmapSum+l.u, sum.unmapSq+l.u*l.u
		sum.loops++
	}
	// Means 4 and 15; mean squares 17 and 234; variances 1 and 9.
	const figures = "average map latency(us):0.4 standard deviation:0.1\naverage unmap latency(us):1.5 standard deviation:0.3\n"
	for _, c := range []struct{ variant, head string }{
		{"map_page@6.12", "dma mapping benchmark: threads:4 seconds:30 node:-1 dir:FROM_DEVICE granule: 2\n"},
		{"map_phys@7.3", "dma mapping benchmark(SINGLE_MODE): threads:4 seconds:30 node:-1 dir:FROM_DEVICE granule:2\n"},
	} {
		v, err := dma.Lookup(c.variant)
		if err != nil {
			t.Fatal(err)
		}
		if got := sum.output(&Config{Variant: v, Threads: 4, Seconds: 30, Node: -1, Dir: kernel.FromDevice, Granule: 2}).String(); got != c.head+figures {
			t.Errorf("%s:\n%s\nwant\n%s", c.variant, got, c.head+figures)
		}
	}
}

// A latency is truncated to 100 ns before it is added, so that the printed mean is below the exact one by at most that; the
// exact cycles stand beside it.
func TestLatenciesAreTruncated(t *testing.T) {
	r := run(t, "map_phys@7.3", platform.IommuStrict, func(*Config) {})
	var mapUS, mapSD, unUS, unSD float64
	lines := strings.Split(r.Text, "\n")
	if _, err := fmt.Sscanf(lines[1], "average map latency(us):%f standard deviation:%f", &mapUS, &mapSD); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(lines[2], "average unmap latency(us):%f standard deviation:%f", &unUS, &unSD); err != nil {
		t.Fatal(err)
	}
	s, _ := platform.Load("icelake-sp")
	us := 1e6 / float64(s.CPU.Frequency)
	for _, c := range []struct {
		name    string
		printed float64
		op      *workloads.Op
	}{{"map", mapUS, r.Map}, {"unmap", unUS, r.Unmap}} {
		exact := c.op.Cycles.Mean() * us
		// One reading of the clock is inside what the tool measures; truncation twice takes up to 0.2 us.
		if c.printed < exact-0.2 || c.printed > exact+0.25 {
			t.Errorf("%s: %.1f us printed, %.3f us exact", c.name, c.printed, exact)
		}
	}
	if r.IOs != 200 || r.Bytes != 200*4096 || r.Map.Series.N != 200 {
		t.Errorf("%d rounds, %d bytes, %d maps", r.IOs, r.Bytes, r.Map.Series.N)
	}
}

// Rounds 0 runs for the simulated time; the transfer time is waited for between map and unmap.
func TestSecondsAndTransferTime(t *testing.T) {
	r := run(t, "map_phys@7.3", platform.Direct, func(c *Config) { c.Rounds, c.Seconds, c.TransNS = 0, 1, 10_000_000 })
	if r.IOs < 99 || r.IOs > 100 || r.Elapsed < sim.Second || r.Elapsed > sim.Second+11*sim.Millisecond {
		t.Errorf("%d rounds of 10 ms in %v", r.IOs, r.Elapsed)
	}
}

// Every thread has a CPU and does all rounds; the direction decides whether the buffer is dirtied.
func TestThreadsAndDirection(t *testing.T) {
	for _, dir := range []kernel.Direction{kernel.Bidirectional, kernel.ToDevice, kernel.FromDevice} {
		r := run(t, "map_page@7.3", platform.IommuStrict, func(c *Config) { c.Threads, c.Rounds, c.Dir, c.Granule = 2, 50, dir, 4 })
		if r.IOs != 100 || r.Bytes != 100*4*4096 || !strings.Contains(r.Text, "threads:2") || !strings.Contains(r.Text, "dir:"+dir.String()) {
			t.Errorf("%v: %d rounds, %d bytes, %q", dir, r.IOs, r.Bytes, r.Text)
		}
	}
	filled := run(t, "map_page@7.3", platform.Direct, func(c *Config) { c.Granule = 64 })
	plain := run(t, "map_page@7.3", platform.Direct, func(c *Config) { c.Granule, c.Dir = 64, kernel.FromDevice })
	if filled.Elapsed <= plain.Elapsed {
		t.Errorf("filling 256 KiB costs nothing: %v and %v", filled.Elapsed, plain.Elapsed)
	}
}

// int_sqrt64 against big integers.
func TestIsqrt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	check := func(n uint64) {
		if got, want := isqrt(n), new(big.Int).Sqrt(new(big.Int).SetUint64(n)).Uint64(); got != want {
			t.Errorf("isqrt(%d) = %d, want %d", n, got, want)
		}
	}
	for n := range uint64(2000) {
		check(n)
	}
	for range 2000 {
		x := r.Uint64() >> r.UintN(64)
		check(x)
		y := x >> 32
		check(y * y)
		check(y*y - 1)
	}
	check(math.MaxUint64)
}

func TestValidate(t *testing.T) {
	v, _ := dma.Lookup("map_phys@7.3")
	bad := Config{Variant: v, Threads: 3, Rounds: -1, Seconds: 301, Node: 1, Bits: 19, Dir: kernel.NoDirection, TransNS: 10_000_001, Granule: 1025}
	err := bad.Validate(2)
	for _, w := range []string{"threads is 3", "rounds is -1", "seconds is 301", "node is 1", "bits is 19", "dir is 3", "trans_ns is 10000001", "granule is 1025"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v lacks %q", err, w)
		}
	}
}

// The pages of an operation are where Segments says, and every variant maps all of them.
func TestSegments(t *testing.T) {
	for _, v := range dma.Variants() {
		r := run(t, v.Name(), platform.IommuLazy, func(c *Config) { c.Rounds, c.Granule, c.Segments, c.Dir = 20, 5, Scattered, kernel.FromDevice })
		if r.IOs != 20 || r.Bytes != 20*5*4096 {
			t.Errorf("%s: %d rounds, %d bytes", v.Name(), r.IOs, r.Bytes)
		}
	}
}

// A list costs less than its pieces one by one where addresses are translated, and contiguous pieces less than scattered ones: they
// are mapped together.
func TestListsAreCheaperThanPieces(t *testing.T) {
	cost := func(variant, segments string) float64 {
		return run(t, variant, platform.IommuStrict, func(c *Config) { c.Granule, c.Segments = 32, segments }).Map.Cycles.Mean()
	}
	for _, v := range []string{"6.12", "7.3"} {
		each, list, together := cost("map_page@"+v, Scattered), cost("map_sg@"+v, Scattered), cost("map_sg@"+v, Contiguous)
		if list >= each || together >= list {
			t.Errorf("%s: %.0f cycles one by one, %.0f as a list, %.0f contiguous", v, each, list, together)
		}
	}
}

// The scatterlist mode is the 7.3 tool's.
func TestScatterlistMode(t *testing.T) {
	r := run(t, "map_sg@7.3", platform.Direct, func(c *Config) { c.Rounds, c.Granule, c.Mode, c.Segments = 20, 4, 1, Scattered })
	if !strings.HasPrefix(r.Text, "dma mapping benchmark(SG_MODE): threads:1 ") {
		t.Error(r.Text)
	}
	v, _ := dma.Lookup("map_page@7.3")
	c := Config{Variant: v, Threads: 1, Rounds: 1, Seconds: 1, Node: -1, Bits: 64, Granule: 1, Mode: 1, Segments: Scattered}
	if err := c.Validate(1); err == nil || !strings.Contains(err.Error(), "map_sg@7.3") {
		t.Errorf("single call in scatterlist mode: %v", err)
	}
}
