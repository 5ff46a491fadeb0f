package nic

import (
	"math"
	"strings"
	"testing"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

func run(t *testing.T, b platform.Backend, change func(*Config)) (*workloads.Result, *platform.Machine) {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	return runOn(t, s, b, change)
}

func runOn(t *testing.T, s *platform.Spec, b platform.Backend, change func(*Config)) (*workloads.Result, *platform.Machine) {
	t.Helper()
	v, err := dma.Lookup("map_phys@7.3")
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := Fixed(1514)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Variant: v, CPUs: 1, Frames: 1000, Sizes: sizes, Arrive: Arrivals{Pattern: "constant", Rate: 200_000}, Ring: 256,
		Moderation: 20 * sim.Microsecond, Around: &workloads.Ambience{}, Seed: 1}
	change(&c)
	m, err := platform.Build(s, platform.Options{Version: v.Version(), Backend: b, CPUs: c.Cores(), Seed: 1})
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
	if r.Faults != 0 {
		t.Fatalf("%d faults", r.Faults)
	}
	return r, m
}

// Every frame that is received costs an unmap and a map; every frame sent a map and an unmap.
func TestMapPerFrame(t *testing.T) {
	for _, tx := range []int{0, 50, 100} {
		r, _ := run(t, platform.IommuStrict, func(c *Config) { c.TxPercent = tx })
		want := uint64(1000 + 10*tx)
		if r.IOs != 1000 || r.Drops != 0 || r.Bytes != 1514_000 || r.Map.Series.N != want || r.Unmap.Series.N != want || r.Sync != nil {
			t.Errorf("%d %% sent: %d frames, %d drops, %d bytes, %d maps, %d unmaps; want %d", tx, r.IOs, r.Drops, r.Bytes, r.Map.Series.N, r.Unmap.Series.N, want)
		}
	}
}

// A page pool keeps its buffers mapped: two syncs per frame received (for the CPU, and for the device when the page is
// recycled), maps only for what is sent.
func TestPagePoolOnlySyncs(t *testing.T) {
	r, m := run(t, platform.IommuStrict, func(c *Config) { c.PagePool, c.TxPercent = true, 0 })
	if r.IOs != 1000 || r.Map.Series.N != 0 || r.Unmap.Series.N != 0 || r.Sync == nil || r.Sync.Series.N != 2000 {
		t.Errorf("%d frames: %d maps, %d unmaps, want 1000, 0, 0 and 2000 syncs", r.IOs, r.Map.Series.N, r.Unmap.Series.N)
	}
	if s := m.Unit.Statistics(); s.Invalidations != 0 || s.Waits != 0 {
		t.Errorf("%d invalidations, %d waits", s.Invalidations, s.Waits)
	}
	if r, _ = run(t, platform.IommuStrict, func(c *Config) { c.PagePool, c.TxPercent = true, 30 }); r.Map.Series.N != 300 || r.Unmap.Series.N != 300 {
		t.Errorf("30 %% sent: %d maps, %d unmaps", r.Map.Series.N, r.Unmap.Series.N)
	}
}

// Frames that find no descriptor are dropped, and every frame is received or dropped.
func TestDropsWhenTheRingRunsDry(t *testing.T) {
	slow, _ := run(t, platform.IommuStrict, func(c *Config) { c.Arrive.Rate = 10_000; c.Ring = 64 })
	if slow.Drops != 0 || slow.IOs != 1000 {
		t.Errorf("10000 frames/s: %d drops of %d", slow.Drops, slow.IOs)
	}
	fast, _ := run(t, platform.IommuStrict, func(c *Config) { c.Arrive.Rate = 20_000_000; c.Ring, c.Sizes = 64, IMIX() })
	if fast.Drops == 0 || fast.IOs+fast.Drops != 1000 {
		t.Errorf("20 million frames/s on 64 descriptors: %d received, %d dropped", fast.IOs, fast.Drops)
	}
	if fast.IOs < 63 {
		t.Errorf("%d received, the ring alone holds 63", fast.IOs)
	}
}

// An interrupt per frame without moderation at a low rate; with it no more than one in that time.
func TestModeration(t *testing.T) {
	r, _ := run(t, platform.Direct, func(c *Config) { c.Arrive.Rate, c.Moderation = 10_000, 0 })
	if r.Interrupts != 1000 {
		t.Errorf("unmoderated: %d interrupts for 1000 frames", r.Interrupts)
	}
	r, _ = run(t, platform.Direct, func(c *Config) { c.Arrive.Rate, c.Moderation = 100_000, 100*sim.Microsecond })
	if most := int64(r.Elapsed/(100*sim.Microsecond)) + 2; r.Interrupts > most || r.Interrupts < most*9/10 {
		t.Errorf("moderated to 100 us: %d interrupts in %v", r.Interrupts, r.Elapsed)
	}
	if min := int64(100_000 / 10); r.Latency.Mean() < float64(min) {
		t.Errorf("latency of %.0f ns with moderation", r.Latency.Mean())
	}
}

// Frames of several CPUs add up, the remainder goes to the first.
func TestQueuePerCPU(t *testing.T) {
	r, _ := run(t, platform.IommuLazy, func(c *Config) { c.CPUs, c.Frames = 3, 1000 })
	if r.IOs+r.Drops != 1000 || r.CPUs != 3 {
		t.Errorf("%d received, %d dropped on %d CPUs", r.IOs, r.Drops, r.CPUs)
	}
}

// A jumbo frame has a buffer that holds it.
func TestJumboFrames(t *testing.T) {
	r, _ := run(t, platform.IommuStrict, func(c *Config) { c.Sizes, _ = Fixed(9000); c.Frames = 200 })
	if r.IOs != 200 || r.Bytes != 200*9000 {
		t.Errorf("%d frames, %d bytes", r.IOs, r.Bytes)
	}
}

// The simple Internet mix: (7 x 60 + 4 x 590 + 1514) / 12 bytes on average, in those shares.
func TestIMIX(t *testing.T) {
	s := IMIX()
	if want := (7*60 + 4*590 + 1514) / 12.0; math.Abs(s.Mean()-want) > 1e-9 {
		t.Errorf("mean %v, want %v", s.Mean(), want)
	}
	r, count := sim.NewRand(1, "sizes"), map[int]int{}
	const n = 120_000
	for range n {
		count[s.Draw(r)]++
	}
	for size, share := range map[int]float64{60: 7, 590: 4, 1514: 1} {
		p := share / 12
		if sd := math.Sqrt(n * p * (1 - p)); math.Abs(float64(count[size])-n*p) > 5*sd {
			t.Errorf("%d of %d frames have %d bytes, want %.0f", count[size], n, size, n*p)
		}
	}
	if len(count) != 3 {
		t.Errorf("sizes %v", count)
	}
}

// Draw against the sums added up one by one.
func TestDrawAgainstASlowTwin(t *testing.T) {
	s, err := ReadSizes(strings.NewReader("60 3\n100\n1514 7\n61 2\n"), "f")
	if err != nil {
		t.Fatal(err)
	}
	a, b := sim.NewRand(3, "x"), sim.NewRand(3, "x")
	for range 10_000 {
		x := b.Int64N(13)
		want := 0
		for i, w := range []int64{3, 1, 7, 2} {
			if x -= w; x < 0 {
				want = []int{60, 100, 1514, 61}[i]
				break
			}
		}
		if got := s.Draw(a); got != want {
			t.Fatalf("drew %d, want %d", got, want)
		}
	}
}

// Every pattern has the mean rate; constant has no spread, poisson that of the exponential, onoff more.
func TestArrivals(t *testing.T) {
	const n, rate = 200_000, 1e6
	for _, c := range []struct {
		a        Arrivals
		lo, hi   float64 // of the coefficient of variation
		tolerate float64
	}{
		{Arrivals{Pattern: "constant", Rate: rate}, 0, 0, 1e-9},
		{Arrivals{Pattern: "poisson", Rate: rate}, 0.98, 1.02, 0.015},
		{Arrivals{Pattern: "onoff", Rate: rate, Burst: 16}, 2, 20, 0.05},
		{Arrivals{Pattern: "onoff", Rate: rate, Burst: 1}, 0.5, 1, 0.015},
	} {
		r := sim.NewRand(1, "arrivals")
		var sum, sq float64
		for range n {
			x := float64(c.a.Next(r)) / float64(sim.Second)
			sum, sq = sum+x, sq+x*x
		}
		mean := sum / n
		cv := math.Sqrt(max(0, sq/n-mean*mean)) / mean
		if math.Abs(mean*rate-1) > c.tolerate || cv < c.lo-1e-4 || cv > c.hi+1e-4 {
			t.Errorf("%s, burst %d: %.0f per second, coefficient of variation %.3f; want %.0f, %v to %v", c.a.Pattern, c.a.Burst, 1/mean, cv, rate, c.lo, c.hi)
		}
	}
}

// A file of frame lengths: comments, weights, and errors with the line.
func TestReadSizes(t *testing.T) {
	s, err := ReadSizes(strings.NewReader("# mix\n60 3\n\n1514 # full\n"), "mix.txt")
	if err != nil || math.Abs(s.Mean()-(3*60+1514)/4.0) > 1e-9 || s.Name != "mix.txt" {
		t.Errorf("%v: mean %v", err, s.Mean())
	}
	for _, c := range []struct{ in, want string }{
		{"60\nabc\n", `f:2: "abc": want a frame length`},
		{"60 0\n", "f:1:"}, {"60 -1\n", "f:1:"}, {"60 1 1\n", "f:1:"}, {"60 x\n", "f:1:"}, {"60 1000001\n", "f:1:"},
		{"60\n59\n", "f:2: frame of 59 bytes: allowed are 60 to 9000"}, {"9001\n", "f:1: frame of 9001"},
		{"# nothing\n", "f: no frame length"}, {"60" + strings.Repeat(" ", 70_000) + "\n", "f: "},
	} {
		if _, err := ReadSizes(strings.NewReader(c.in), "f"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %q", c.in, err, c.want)
		}
	}
	if _, err := Fixed(59); err == nil {
		t.Error("a frame of 59 bytes was accepted")
	}
}

// What is accepted can be drawn from, and lies in the allowed range.
func FuzzReadSizes(f *testing.F) {
	f.Add("60 3\n1514\n")
	f.Add("60 1000000\n# x\n9000 1000000")
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ReadSizes(strings.NewReader(in), "fuzz")
		if err != nil {
			return
		}
		r := sim.NewRand(1, "x")
		for range 20 {
			if n := s.Draw(r); n < minFrame || n > maxFrame {
				t.Fatalf("drew %d", n)
			}
		}
		if m := s.Mean(); !(m >= minFrame && m <= maxFrame) {
			t.Fatalf("mean %v", m)
		}
	})
}

func TestValidate(t *testing.T) {
	sizes := IMIX()
	good := Config{CPUs: 1, Frames: 1000, Sizes: sizes, Arrive: Arrivals{Pattern: "onoff", Rate: 1000, Burst: 4}, Ring: 256}
	if err := good.Validate(2); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"cpus is 3: allowed are 1 to 2":       func(c *Config) { c.CPUs = 3 },
		"nic.frames is 0":                     func(c *Config) { c.Frames = 0 },
		"nic.ring is 32":                      func(c *Config) { c.Ring = 32 },
		"nic.ring is 100: allowed are powers": func(c *Config) { c.Ring = 100 },
		"nic.rate is 0":                       func(c *Config) { c.Arrive.Rate = 0 },
		"nic.tx_percent is 101":               func(c *Config) { c.TxPercent = 101 },
		`nic.arrivals is "never"`:             func(c *Config) { c.Arrive.Pattern = "never" },
		"nic.burst is -1: allowed are 1 to":   func(c *Config) { c.Arrive.Burst = -1 },
		"nic.sizes is empty":                  func(c *Config) { c.Sizes = Sizes{} },
	} {
		c := good
		change(&c)
		if err := c.Validate(2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
