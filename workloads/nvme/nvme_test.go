package nvme

import (
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

func machine(t testing.TB, variant string, b platform.Backend, cpus int) (*platform.Machine, *platform.Device, dma.Variant) {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	v, err := dma.Lookup(variant)
	if err != nil {
		t.Fatal(err)
	}
	m, err := platform.Build(s, platform.Options{Version: v.Version(), Backend: b, CPUs: cpus, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	return m, d, v
}

func constant(d sim.Time) Media {
	return Media{Latency: func(*rand.Rand, bool) sim.Time { return d }, Channels: 64}
}

// config is 4 KiB reads at queue depth 8 on media of constant latency.
func config(v dma.Variant) Config {
	return Config{Variant: v, CPUs: 1, IOs: 2000, Size: 4096, Depth: 8, Media: constant(100 * sim.Microsecond),
		Coalescing: Coalescing{Threshold: 1}, Around: &workloads.Ambience{}, Seed: 1}
}

func run(t testing.TB, c Config, b platform.Backend) *workloads.Result {
	t.Helper()
	m, dev, _ := machine(t, c.Variant.Name(), b, c.CPUs)
	r, err := Run(m, dev, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func phys(t testing.TB) dma.Variant {
	v, err := dma.Lookup("map_phys@7.3")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Little's law: in a closed loop the depth = throughput x (latency + time that a tag is unused), and a tag is unused no longer than the
// one CPU takes for the completions and submissions of the others.
func TestClosedLoopObeysLittlesLaw(t *testing.T) {
	for _, depth := range []int{1, 8, 32} {
		c := config(phys(t))
		c.Depth = depth
		r := run(t, c, platform.IommuStrict)
		seconds := float64(r.Elapsed) / float64(sim.Second)
		rate := float64(r.IOs) / seconds
		mean := r.Latency.Mean() * 1e-9
		unused := float64(r.Busy) / float64(sim.Second) / float64(r.IOs) * float64(depth)
		if least, most := rate*mean, rate*(mean+unused); least > 1.01*float64(depth) || most < 0.97*float64(depth) {
			t.Errorf("depth %d: %.0f commands/s x %.1f to %.1f us = %.2f to %.2f in flight", depth, rate, mean*1e6, (mean+unused)*1e6, least, most)
		}
		if r.Latency.Min < 100_000 || float64(depth)/100e-6 < rate {
			t.Errorf("depth %d: latency from %d ns, %.0f commands/s on media of 100 us", depth, r.Latency.Min, rate)
		}
		if r.IOs != c.IOs || r.Bytes != c.IOs*4096 || r.Faults != 0 || r.Map.Series.N != uint64(c.IOs) || r.Unmap.Series.N != uint64(c.IOs) {
			t.Errorf("depth %d: %d commands, %d bytes, %d faults, %d maps, %d unmaps", depth, r.IOs, r.Bytes, r.Faults, r.Map.Series.N, r.Unmap.Series.N)
		}
	}
}

// Media with one channel serves one command at a time: throughput is 1 / latency, whatever the depth.
func TestOneChannelServesOneAtATime(t *testing.T) {
	c := config(phys(t))
	c.Media.Channels, c.Media.Latency, c.IOs = 1, constant(20*sim.Microsecond).Latency, 500
	r := run(t, c, platform.Direct)
	if rate := float64(r.IOs) / (float64(r.Elapsed) / float64(sim.Second)); math.Abs(rate/50_000-1) > 0.01 {
		t.Errorf("%.0f commands/s, want 50000", rate)
	}
}

// An open loop completes what arrives: the rate is the arrivals', and latency counts from the arrival, queueing included.
func TestOpenLoop(t *testing.T) {
	c := config(phys(t))
	c.Rate, c.Depth = 20_000, 256
	r := run(t, c, platform.IommuStrict)
	rate := float64(r.IOs) / (float64(r.Elapsed) / float64(sim.Second))
	if math.Abs(rate/20_000-1) > 0.08 { // 2000 exponential gaps: a standard error of 2.2 %
		t.Errorf("%.0f commands/s arrive at 20000", rate)
	}
	if busy := float64(r.Busy) / float64(r.Elapsed); busy > 0.5 {
		t.Errorf("the CPU is busy %.0f %% of the time", 100*busy)
	}
	// Twice what one channel can do: the queue grows, and with it the latency from arrival.
	c.Media, c.Rate, c.Depth, c.IOs = constant(100*sim.Microsecond), 20_000, 4, 400
	c.Media.Channels = 1
	r = run(t, c, platform.IommuStrict)
	if last := 400 * 50_000; r.Latency.Max < int64(last)*8/10 || r.Latency.Max > int64(last)*12/10 {
		t.Errorf("overload: the last command waits %d ns, want about %d", r.Latency.Max, last)
	}
}

// Coalescing sends an interrupt per Threshold completions, or when the first has waited for Time.
func TestInterruptCoalescing(t *testing.T) {
	c := config(phys(t))
	c.IOs, c.Depth, c.Coalescing = 800, 8, Coalescing{Threshold: 8, Time: sim.Millisecond}
	if r := run(t, c, platform.Direct); r.Interrupts != 100 {
		t.Errorf("8 in flight, 8 to an interrupt: %d interrupts for 800, want 100", r.Interrupts)
	}
	c.Depth, c.IOs = 4, 400
	r := run(t, c, platform.Direct) // never 8 completions: the time decides
	if r.Interrupts != 100 || r.Latency.Min < 1_000_000 {
		t.Errorf("4 in flight: %d interrupts for 400, want 100; latency from %d ns, want the coalescing time and more", r.Interrupts, r.Latency.Min)
	}
	c.Coalescing = Coalescing{Threshold: 1}
	if r := run(t, c, platform.Direct); r.Interrupts != 400 {
		t.Errorf("no coalescing: %d interrupts for 400", r.Interrupts)
	}
}

// bench is a device without a driver: the test plays the driver.
func bench(t *testing.T, b platform.Backend, coal Coalescing) (m *platform.Machine, dev *platform.Device, d *Device, irqs *[]sim.Time) {
	m, dev, _ = machine(t, "map_phys@7.3", b, 1)
	irqs = new([]sim.Time)
	d, err := NewDevice(m.Eng, dev.Port, dev.RID, constant(10*sim.Microsecond), coal, sim.NewRand(1, "media"), func(int) { *irqs = append(*irqs, m.Eng.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	return m, dev, d, irqs
}

// The coalescing time runs from the first completion that has not been sent: a timer set for what the threshold has sent since
// does not cut it short.
func TestCoalescingTimeStartsWithTheFirstUnsent(t *testing.T) {
	m, _, d, irqs := bench(t, platform.Direct, Coalescing{Threshold: 2, Time: 100 * sim.Microsecond})
	q := d.AddQueue(0x10000000, 0x10010000, 16, 8)
	post := m.Eng.Register("completion", func(a uint64) { d.posted(arg(q, uint32(a))) })
	for i, at := range []sim.Time{0, 10, 90} { // two are sent at 10 us; the third has until 190 us
		m.Eng.At(at*sim.Microsecond, post, uint64(i))
	}
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	lat := (*irqs)[0] - 10*sim.Microsecond
	if len(*irqs) != 2 || (*irqs)[1]-lat != 190*sim.Microsecond {
		t.Errorf("interrupts at %v, want %v and %v", *irqs, 10*sim.Microsecond+lat, 190*sim.Microsecond+lat)
	}
}

// A read command writes the data to memory, a write command reads it; both in pieces of the PRPs.
func TestWriteCommandsReadData(t *testing.T) {
	m, _, d, irqs := bench(t, platform.Direct, Coalescing{Threshold: 1})
	q := d.AddQueue(0x10000000, 0x10010000, 16, 8)
	for i, write := range []bool{false, true, true} {
		d.queues[q].slots[i] = uint32(i)
		d.queues[q].cmds[i] = command{write: write, size: 6000, prps: []uint64{0x20000e00 + uint64(i)<<20, 0x20001000 + uint64(i)<<20, 0x20002000 + uint64(i)<<20}, list: 0x30000000}
	}
	d.WriteReg(uint64(q), 3, 0)
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	if d.BytesWritten != 6000 || d.BytesRead != 12000 || len(*irqs) != 3 || d.queues[q].done.n != 3 || d.Faults != 0 {
		t.Errorf("%d bytes to memory, %d from it, %d interrupts, %d completions, %d faults", d.BytesWritten, d.BytesRead, len(*irqs), d.queues[q].done.n, d.Faults)
	}
	if (*irqs)[0] < 10*sim.Microsecond {
		t.Errorf("the first interrupt comes after %v, before the media", (*irqs)[0])
	}
}

// Transactions that the IOMMU refuses are counted and end the run with the first of them.
func TestFaultsAreReported(t *testing.T) {
	m, _, d, _ := bench(t, platform.IommuStrict, Coalescing{Threshold: 1})
	q := d.AddQueue(0x10000000, 0x10010000, 16, 8) // mapped by nobody
	d.queues[q].cmds[0] = command{size: 4096, prps: []uint64{0x20000000}}
	d.WriteReg(uint64(q), 1, 0)
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	if d.Faults != 3 || d.Err == nil || !strings.Contains(d.Err.Error(), "nvme device at") { // command, data, completion
		t.Errorf("%d faults, %v; want 3", d.Faults, d.Err)
	}
	if m.Unit.Statistics().Faults < 3 {
		t.Errorf("the unit counts %d faults", m.Unit.Statistics().Faults)
	}
}

// 128 KiB take 32 pages: the driver writes a list of 31 entries, which the device reads; the map is one call.
func TestLargeCommandsUsePRPLists(t *testing.T) {
	c := config(phys(t))
	c.Size, c.IOs, c.WritePercent = 128<<10, 300, 50
	m, dev, _ := machine(t, "map_phys@7.3", platform.IommuStrict, 1)
	r, err := Run(m, dev, c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Map.Series.N != 300 || r.Bytes != 300*128<<10 || r.Faults != 0 {
		t.Errorf("%d maps, %d bytes, %d faults", r.Map.Series.N, r.Bytes, r.Faults)
	}
	// 32 pages of data, the list, command and completion: 35 translations at least, of lines or TLPs.
	if st := m.Unit.Statistics(); st.Walks < 300*32 || st.Requests < 300*35 {
		t.Errorf("%d walks, %d requests for 300 commands", st.Walks, st.Requests)
	}
	small := config(phys(t))
	small.IOs = 300
	if s := run(t, small, platform.IommuStrict); s.Latency.Mean() >= r.Latency.Mean() {
		t.Errorf("4 KiB take %.0f ns, 128 KiB %.0f", s.Latency.Mean(), r.Latency.Mean())
	}
}

// Every CPU has its queue pair and does its part of the work.
func TestQueuesPerCPU(t *testing.T) {
	c := config(phys(t))
	c.CPUs, c.IOs = 4, 2000
	r := run(t, c, platform.IommuStrict)
	rate := float64(r.IOs) / (float64(r.Elapsed) / float64(sim.Second))
	if want := 4 * 8 / 100e-6; r.CPUs != 4 || rate > want || rate < 0.85*want {
		t.Errorf("4 CPUs of depth 8 on 100 us: %.0f commands/s, want a little less than %.0f", rate, want)
	}
}

// Six thousand commands take the memory that one thousand take.
func TestMemoryDoesNotGrowWithTheCommands(t *testing.T) {
	heap := func() uint64 {
		var ms runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&ms)
		return ms.HeapAlloc
	}
	measure := func(ios int64) (frames int, grown int64) {
		c := config(phys(t))
		c.IOs, c.WritePercent = ios, 30
		m, dev, _ := machine(t, "map_phys@7.3", platform.IommuStrict, 1)
		before := heap()
		if _, err := Run(m, dev, c); err != nil {
			t.Fatal(err)
		}
		grown = int64(heap()) - int64(before)
		runtime.KeepAlive(m)
		return m.Mem.Frames(), grown
	}
	fs, hs := measure(1000)
	fl, hl := measure(6000)
	if fl > fs+fs/20 || hl > hs+1<<20 {
		t.Errorf("1000 commands: %d frames, %d bytes of heap; 6000: %d frames, %d bytes", fs, hs, fl, hl)
	}
}

// The same seed gives the same run, another seed another.
func TestDeterministic(t *testing.T) {
	c := config(phys(t))
	c.WritePercent, c.IOs = 50, 300
	c.Media.Latency = func(r *rand.Rand, _ bool) sim.Time { return sim.Time(r.ExpFloat64() * float64(20*sim.Microsecond)) }
	a, b := run(t, c, platform.IommuStrict), run(t, c, platform.IommuStrict)
	if a.Elapsed != b.Elapsed || a.Map.Cycles.Mean() != b.Map.Cycles.Mean() {
		t.Errorf("the same seed: %v and %v", a.Elapsed, b.Elapsed)
	}
	c.Seed = 2
	if x := run(t, c, platform.IommuStrict); x.Elapsed == a.Elapsed {
		t.Error("another seed gives the same run")
	}
}

// Everything out of range is said at once.
func TestValidate(t *testing.T) {
	m, dev, v := machine(t, "map_phys@7.3", platform.Direct, 2)
	bad := Config{Variant: v, CPUs: 3, IOs: 0, Size: 1000, Depth: 1024, WritePercent: 101, Rate: math.NaN()}
	_, err := Run(m, dev, bad)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, w := range []string{"cpus is 3: allowed are 1 to 2", "nvme.ios is 0", "multiples of 512", "nvme.queue_depth is 1024", "nvme.write_percent is 101", "nvme.rate is NaN"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v\nlacks %q", err, w)
		}
	}
	good := config(v)
	good.Media.Channels, good.Coalescing.Threshold = 0, 0
	if _, err := Run(m, dev, good); err == nil || !strings.Contains(err.Error(), "channels 0") || !strings.Contains(err.Error(), "threshold 0") {
		t.Errorf("device: %v", err)
	}
}
