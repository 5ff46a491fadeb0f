package nic

import (
	"testing"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// stream runs a transfer on icelake-sp: one CPU, 10 Gb/s, a window that holds the link's bandwidth times its round trip many times.
func stream(t *testing.T, b platform.Backend, change func(*Config, *Stream)) (*workloads.Result, *platform.Machine) {
	t.Helper()
	spec, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	spec.DRAM.Channels = 2 // so that few antagonists are enough
	return runOn(t, spec, b, func(c *Config) {
		s := &Stream{Rate: 10, Flows: 1, Window: 1 << 20, RTT: 20 * sim.Microsecond, Buffer: 512 << 10, Read: 128 << 10, Stack: DefaultStack(), Slice: 100 * sim.Microsecond, MemoryWindow: 64 << 20}
		c.Frames, c.Stream, c.Ring = 1500, s, 512
		change(c, s)
	})
}

func gbps(r *workloads.Result) float64 {
	rate, _ := r.Throughput()
	return rate * float64(r.Bytes) / float64(r.IOs) * 8 / 1e9
}

// TestLinkLimits: with a fast host the payload arrives at the rate of the link less framing and headers.
func TestLinkLimits(t *testing.T) {
	for _, rate := range []float64{2, 10} {
		r, _ := stream(t, platform.Direct, func(_ *Config, s *Stream) { s.Rate = rate })
		want := rate * float64(1514-headers) / float64(1514+framing)
		if g := gbps(r); g < 0.97*want || g > 1.01*want {
			t.Errorf("link of %v Gb/s: %.3f Gb/s of payload, want %.3f", rate, g, want)
		}
		if r.Drops != 0 || r.Wire.Sent < r.IOs {
			t.Errorf("%d drops, %d frames sent for %d read", r.Drops, r.Wire.Sent, r.IOs)
		}
	}
}

// TestWindowLimits: a window W and a round trip R allow W/R, whatever the link could carry.
func TestWindowLimits(t *testing.T) {
	const window, rtt = 64 << 10, 200 * sim.Microsecond
	r, _ := stream(t, platform.Direct, func(_ *Config, s *Stream) { s.Window, s.RTT = window, rtt })
	frames := window / (1514 - headers)
	most := float64(frames*(1514-headers)) * 8 / float64(rtt) * float64(sim.Second) / 1e9
	if g := gbps(r); g > most || g < 0.6*most { // the host's own time is a part of the round trip
		t.Errorf("%.2f Gb/s, a window of %d frames in %v allows %.2f", g, frames, rtt, most)
	}
}

// TestCPULimits: when the link is faster than the CPU, throughput is what the cycles per frame allow, and strict mode, which costs more
// cycles, receives less.
func TestCPULimits(t *testing.T) {
	rate := map[platform.Backend]float64{}
	for _, b := range []platform.Backend{platform.Direct, platform.IommuLazy, platform.IommuStrict} {
		r, m := stream(t, b, func(c *Config, s *Stream) { s.Rate, c.Frames = 100, 2000 })
		rate[b] = gbps(r)
		if busy := float64(r.Busy) / float64(r.Elapsed); busy < 0.85 {
			t.Errorf("%s: %.1f Gb/s with the CPU busy %.2f of the time", b, rate[b], busy)
		}
		if m.Unit != nil && m.Unit.Statistics().Walks == 0 {
			t.Errorf("%s: no walks", b)
		}
	}
	if !(rate[platform.IommuStrict] < rate[platform.IommuLazy] && rate[platform.IommuLazy] < rate[platform.Direct]) {
		t.Errorf("strict %.1f, lazy %.1f, direct %.1f Gb/s", rate[platform.IommuStrict], rate[platform.IommuLazy], rate[platform.Direct])
	}
}

// TestPauseLosesNothing: with pause frames the link waits; without, frames are lost, and each is sent again.
func TestPauseLosesNothing(t *testing.T) {
	small := func(pause bool) func(*Config, *Stream) {
		return func(c *Config, s *Stream) {
			s.Rate, s.Buffer, s.Window, s.Pause, c.Ring, s.Flows, c.Frames = 100, 32<<10, 1<<20, pause, 64, 2, 1000
		}
	}
	r, _ := stream(t, platform.IommuStrict, small(true))
	if r.Drops != 0 || r.Wire.Paused == 0 {
		t.Errorf("with pause frames %d drops, the link stood still for %v", r.Drops, r.Wire.Paused)
	}
	r, _ = stream(t, platform.IommuStrict, small(false))
	if r.Drops == 0 || r.Wire.Paused != 0 || r.Drops != r.Wire.NoBuffer+r.Wire.NoRoom || r.Wire.Sent < r.IOs+r.Drops/2 {
		t.Errorf("without, %d drops (%d, %d), pause %v, %d sent", r.Drops, r.Wire.NoBuffer, r.Wire.NoRoom, r.Wire.Paused, r.Wire.Sent)
	}
}

// TestPoolMapsNothing: buffers of a page_pool are mapped once; what is mapped while the stream runs is acknowledgements and the few
// pages by which the pool grows.
func TestPoolMapsNothing(t *testing.T) {
	r, _ := stream(t, platform.IommuStrict, func(c *Config, s *Stream) { c.PagePool, s.Rate = true, 20 })
	p, _ := stream(t, platform.IommuStrict, func(_ *Config, s *Stream) { s.Rate = 20 })
	if r.Calls[workloads.CallUnmap]*4 > r.IOs || r.Sync.Series.N < 2*uint64(r.IOs)*9/10 {
		t.Errorf("page_pool: %d unmaps, %d syncs for %d frames", r.Calls[workloads.CallUnmap], r.Sync.Series.N, r.IOs)
	}
	if p.Calls[workloads.CallUnmap] < p.IOs {
		t.Errorf("per packet: %d unmaps for %d frames", p.Calls[workloads.CallUnmap], p.IOs)
	}
	if r.Busy >= p.Busy {
		t.Errorf("page_pool keeps the CPU busy for %v, per-packet mapping for %v", r.Busy, p.Busy)
	}
}

// TestAntagonists: a process beside the application takes about half of what is left of the CPU when both always want to run; streams
// through memory slow the copies down.
func TestAntagonists(t *testing.T) {
	heavy := func(c *Config, s *Stream) { s.Rate, c.Frames, c.PagePool, c.Ring = 100, 3000, true, 1024 }
	alone, _ := stream(t, platform.IommuLazy, heavy)
	shared, _ := stream(t, platform.IommuLazy, func(c *Config, s *Stream) { heavy(c, s); s.CPUAntagonists, s.Slice = 1, 50*sim.Microsecond })
	if r := gbps(shared) / gbps(alone); r < 0.35 || r > 0.8 {
		t.Errorf("beside a spinning process %.2f of the throughput, want 0.5 to 0.75: interrupts are not shared", r)
	}
	mem, _ := stream(t, platform.IommuLazy, func(c *Config, s *Stream) { heavy(c, s); s.MemoryAntagonists, s.MemoryWrites = 6, true })
	if gbps(mem) >= 0.95*gbps(alone) || mem.Wire.Antagonists == 0 {
		t.Errorf("beside six streams through memory %.1f Gb/s, alone %.1f; the streams moved %d bytes", gbps(mem), gbps(alone), mem.Wire.Antagonists)
	}
}

// TestManyQueues: connections spread over queues share the link.
func TestManyQueues(t *testing.T) {
	r, _ := stream(t, platform.IommuLazy, func(c *Config, s *Stream) { c.CPUs, s.Flows, s.Rate, c.PagePool = 4, 3, 40, true; c.Frames = 2400 })
	want := 40 * float64(1514-headers) / float64(1514+framing)
	if g := gbps(r); g < 0.9*want {
		t.Errorf("%.1f Gb/s on four CPUs, the link carries %.1f", g, want)
	}
}

func TestStreamIsChecked(t *testing.T) {
	v, err := dma.Lookup("map_phys@7.3")
	if err != nil {
		t.Fatal(err)
	}
	sizes, _ := Fixed(1514)
	ok := Config{Variant: v, CPUs: 1, Frames: 100, Sizes: sizes, Ring: 64, Around: &workloads.Ambience{}}
	good := Stream{Rate: 10, Flows: 1, Window: 1 << 20, RTT: sim.Microsecond, Buffer: 1 << 20, Read: 65536, Slice: sim.Millisecond, MemoryWindow: 1 << 20}
	for name, bad := range map[string]func(*Stream){
		"rate": func(s *Stream) { s.Rate = 0 }, "flows": func(s *Stream) { s.Flows = 0 }, "window": func(s *Stream) { s.Window = 1 },
		"rtt": func(s *Stream) { s.RTT = 0 }, "buffer": func(s *Stream) { s.Buffer = 0 }, "read": func(s *Stream) { s.Read = 1 },
		"more antagonists than CPUs": func(s *Stream) { s.CPUAntagonists = 2 }, "no CPU for it": func(s *Stream) { s.MemoryAntagonists = 8 },
		"stack": func(s *Stream) { s.Frame = -1 },
	} {
		s := good
		bad(&s)
		c := ok
		c.Stream = &s
		if c.Validate(8) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c := ok
	c.Stream = &good
	if err := c.Validate(8); err != nil {
		t.Error(err)
	}
	c.Sizes = IMIX()
	if c.Validate(8) == nil {
		t.Error("frames of several sizes are accepted")
	}
}

// TestPagesAreUsedAgain: with a ring that takes longer to go around than a frame is unread, nearly every frame finds the other half of its
// page free, and nothing is unmapped but acknowledgements; with a short ring and a reader that is kept from its CPU it is taken.
func TestPagesAreUsedAgain(t *testing.T) {
	fast, _ := stream(t, platform.IommuStrict, func(_ *Config, s *Stream) { s.Reuse, s.Rate, s.Window = true, 5, 128<<10 })
	slow, _ := stream(t, platform.IommuStrict, func(c *Config, s *Stream) { s.Reuse, s.Rate, s.CPUAntagonists, c.Ring = true, 20, 1, 128 })
	per := func(r *workloads.Result) float64 { return float64(r.Calls[workloads.CallUnmap]) / float64(r.IOs) }
	if fast.Calls[workloads.CallSync] < 2*fast.IOs*9/10 {
		t.Errorf("%d syncs for %d frames", fast.Calls[workloads.CallSync], fast.IOs)
	}
	if f, s := per(fast), per(slow); f > 0.2 || s < f+0.2 {
		t.Errorf("%.2f unmaps per frame in time, %.2f late", f, s)
	}
}
