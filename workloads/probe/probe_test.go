package probe

import (
	"strings"
	"testing"

	"dmapath/cache"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

func run(tb testing.TB, backend platform.Backend, cfg Config) (*workloads.Result, *platform.Machine) {
	tb.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		tb.Fatal(err)
	}
	m, err := platform.Build(s, platform.Options{Version: kernel.V7_3, Backend: backend, CPUs: 1, Seed: 1})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(m.Close)
	dev, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := Run(m, dev, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return r, m
}

// base is one read of 64 bytes at a time in a window that the device has just written.
func base() Config {
	return Config{Access: Read, Size: 64, Window: 256 << 10, Outstanding: 1, Operations: 4000, Warm: true, Seed: 1}
}

// perAccess is the time per access with many under way, in nanoseconds.
func perAccess(r *workloads.Result) float64 {
	return float64(r.Elapsed) / float64(r.IOs) / float64(sim.Nanosecond)
}

// A window that the IOTLB covers costs no walk; one eight times as large misses in seven of eight accesses, whose reads take a walk
// longer; with large pages it costs nothing again.
func TestWindowBeyondTheIOTLB(t *testing.T) {
	mean := func(backend platform.Backend, c Config) (ns, missRate float64) {
		r, m := run(t, backend, c)
		if r.IOs != c.Operations {
			t.Fatalf("%d accesses, want %d", r.IOs, c.Operations)
		}
		if m.Unit != nil {
			missRate = float64(m.Unit.Statistics().Walks) / float64(m.Unit.Statistics().Requests)
		}
		return r.Latency.Mean(), missRate
	}
	entries := 128.0
	small := base()
	large := base()
	large.Window = 4 << 20
	off, _ := mean(platform.Direct, large)
	in, inMiss := mean(platform.IommuStrict, small)
	out, outMiss := mean(platform.IommuStrict, large)
	if inMiss > 0.02 {
		t.Errorf("a window of 64 pages misses in %.1f %%", 100*inMiss)
	}
	if want := 1 - entries/1024; outMiss < want-0.05 || outMiss > want+0.05 {
		t.Errorf("a window of 1024 pages misses in %.1f %%, want %.1f %%", 100*outMiss, 100*want)
	}
	if in > off*1.05 {
		t.Errorf("hits take %.0f ns, without an IOMMU a read takes %.0f", in, off)
	}
	if out < in+100 {
		t.Errorf("beyond the IOTLB a read takes %.0f ns, within it %.0f: a walk is missing", out, in)
	}
	large.Contiguous = true
	if huge, miss := mean(platform.IommuStrict, large); miss > 0.01 || huge > in*1.05 {
		t.Errorf("with large pages %.0f ns and %.1f %% misses, want %.0f and none", huge, 100*miss, in)
	}
}

// With many reads under way and every one a miss, the walkers are the limit: N walks of T each are N/T accesses.
func TestWalkersLimitTheRate(t *testing.T) {
	c := base()
	c.Window, c.Outstanding = 16<<20, 64
	r, m := run(t, platform.IommuStrict, c)
	st := m.Unit.Statistics()
	walk := st.WalkTimes.Mean() / float64(sim.Nanosecond)
	busy := float64(m.Unit.WalkerBusy()) / float64(r.Elapsed) / float64(m.Unit.Walkers())
	if busy < 0.9 {
		t.Errorf("the walkers are busy %.0f %% of the time, want nearly always (a walk with its wait %.0f ns, %.1f ns per access)", 100*busy, walk, perAccess(r))
	}
	c.Size = 512
	if wide, _ := run(t, platform.IommuStrict, c); perAccess(wide) > perAccess(r)*1.5 {
		t.Errorf("512 bytes take %.1f ns each, 64 bytes %.1f: the walkers, not the link, should be the limit", perAccess(wide), perAccess(r))
	}
}

// A write that is read back takes longer than either alone, and sequential accesses miss once per page.
func TestAccesses(t *testing.T) {
	latency := map[Access]float64{}
	for _, a := range []Access{Read, Write, WriteRead} {
		c := base()
		c.Access = a
		r, _ := run(t, platform.IommuStrict, c)
		latency[a] = r.Latency.Mean()
	}
	if latency[WriteRead] <= latency[Read] || latency[WriteRead] >= latency[Read]+latency[Write] {
		t.Errorf("read %.0f ns, write %.0f, write and read %.0f", latency[Read], latency[Write], latency[WriteRead])
	}
	c := base()
	c.Window, c.Sequential, c.Operations = 4<<20, true, 64*1000
	_, m := run(t, platform.IommuStrict, c)
	if st := m.Unit.Statistics(); st.Walks != 1000 {
		t.Errorf("1000 pages one after the other take %d walks", st.Walks)
	}
}

func TestConfigIsChecked(t *testing.T) {
	c := Config{Access: "peek", Size: 5000, Window: 1, Outstanding: 0, Operations: 0}
	err := c.Validate()
	for _, want := range []string{"peek", "size", "window", "outstanding", "operations"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
}

// An engine that is busy with every access for a while begins no more than that, whatever the link could carry.
func TestGapIsTheRate(t *testing.T) {
	c := base()
	c.Outstanding, c.Gap, c.GapByte = 32, 50*sim.Nanosecond, 100*sim.Picosecond
	for _, a := range []Access{Read, Write} {
		c.Access = a
		r, _ := run(t, platform.Direct, c)
		if got := perAccess(r); got < 56.4 || got > 56.6 { // 50 + 64 x 0.1, and once the way there and back
			t.Errorf("a %s every %v ns, want one every 56.4", a, got)
		}
	}
}

// A card that takes ends in order loses more to a few misses than their own time: what is behind a walk waits for it.
func TestOrderedEnds(t *testing.T) {
	rate := func(window uint64, ordered bool) float64 {
		c := base()
		c.Window, c.Outstanding, c.Ordered = window, 27, ordered
		r, _ := run(t, platform.IommuStrict, c)
		return 1 / perAccess(r)
	}
	const fits, tooLarge = 256 << 10, 640 << 10 // of 128 pages in the IOTLB
	if in, any := rate(fits, true), rate(fits, false); in < 0.99*any {
		t.Errorf("without misses: %v in order, %v in any", in, any)
	}
	if in, any := rate(tooLarge, true), rate(tooLarge, false); in > 0.97*any {
		t.Errorf("with misses: %v in order, %v in any", in, any)
	}
}

// The last byte of a read is where it belongs so much later.
func TestReadEnd(t *testing.T) {
	c := base()
	without, _ := run(t, platform.Direct, c)
	c.ReadEndByte = sim.Nanosecond
	with, _ := run(t, platform.Direct, c)
	if d := with.Latency.Mean() - without.Latency.Mean(); d < 63.5 || d > 64.5 {
		t.Errorf("64 bytes of 1 ns each add %v ns", d)
	}
}

// The CPU that mapped the window wrote the tables through its caches, so walks find them in the LLC: all of them where what a unit
// reads stays there, most of them else (device writes push some out).
func TestTablesAreInTheLLC(t *testing.T) {
	c := base()
	c.Window = 8 << 20
	_, m := run(t, platform.IommuStrict, c)
	if r := m.Unit.Statistics().PTEReads; r[cache.LLC] < 9*r[cache.DRAM] {
		t.Errorf("reads of tables by level: %v", r)
	}
}
