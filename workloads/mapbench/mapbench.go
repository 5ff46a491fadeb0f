// Package mapbench is the kernel's own benchmark of mapping calls, kernel/dma/map_benchmark.c, on the simulated machine:
// the same loop, the same parameters and the same three lines of output, so that a figure from a real machine can be laid
// beside it.
//
// Each thread, on a CPU of its own, repeats: dirty the buffer unless the direction is from-device; read the clock; map;
// read the clock; busy-wait for the transfer time; read the clock; unmap; read the clock. Each latency is truncated to
// 100 ns before it is added up, and mean, variance and root are integer arithmetic, as in the kernel. The exact
// values stand in the Result beside it.
//
// No device is attached: the buffer is mapped and unmapped and nobody uses it. What is left out: the scheduler (a thread
// never loses its CPU) and the cond_resched between two rounds.
package mapbench

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// Config is struct map_benchmark, with a number of rounds in place of a number of seconds where that is wanted.
type Config struct {
	Variant dma.Variant
	Threads int              // -t, 1 to 1024, at most one per CPU
	Rounds  int64            // map and unmap pairs per thread; 0: until Seconds have passed
	Seconds int              // -s, 1 to 300 simulated seconds
	Node    int              // -n, -1 for any; the simulated machine has one node
	Bits    int              // -b, width of the DMA mask, 20 to 64
	Dir     kernel.Direction // -d: 0 bidirectional, 1 to device, 2 from device
	TransNS int              // -x, nanoseconds of busy-wait between map and unmap, 0 to 10 ms
	Granule int              // -g, pages per operation, 1 to 1024
	Around  *workloads.Ambience
	Seed    uint64
}

// Validate lists everything that is out of range.
func (c *Config) Validate(cores int) error {
	return workloads.Ranges{
		{Key: "threads", Value: int64(c.Threads), Lo: 1, Hi: int64(min(cores, 1024))},
		{Key: "rounds", Value: c.Rounds, Lo: 0, Hi: 1 << 40},
		{Key: "seconds", Value: int64(c.Seconds), Lo: 1, Hi: 300},
		{Key: "node", Value: int64(c.Node), Lo: -1, Hi: 0},
		{Key: "bits", Value: int64(c.Bits), Lo: 20, Hi: 64},
		{Key: "dir", Value: int64(c.Dir), Lo: 0, Hi: 2},
		{Key: "trans_ns", Value: int64(c.TransNS), Lo: 0, Hi: 10_000_000},
		{Key: "granule", Value: int64(c.Granule), Lo: 1, Hi: 1024},
	}.Check()
}

// totals are the atomic64 counters of the kernel module.
type totals struct{ mapSum, mapSq, unmapSum, unmapSq, loops uint64 }

// Run performs the benchmark with device dev on m.
func Run(m *platform.Machine, dev *platform.Device, cfg Config) (*workloads.Result, error) {
	if err := cfg.Validate(len(m.Cores)); err != nil {
		return nil, err
	}
	planned := cfg.Rounds * int64(cfg.Threads)
	res := &workloads.Result{Map: workloads.NewOp(planned), Unmap: workloads.NewOp(planned), CPUs: cfg.Threads}
	oldMask := dev.Ctx.Dev.Mask
	dev.Ctx.Dev.Mask = ^uint64(0) >> (64 - cfg.Bits)
	defer func() { dev.Ctx.Dev.Mask = oldMask }()
	var sum totals
	var failed error
	live := cfg.Threads
	start := m.Eng.Now()
	end := start + sim.Time(cfg.Seconds)*sim.Second
	for i := range cfg.Threads {
		bufs := workloads.NewBuffers(m, sim.NewRand(cfg.Seed, fmt.Sprintf("buffers %d", i)))
		m.Spawn(i, fmt.Sprintf("cpu %d dma-map-benchmark", i), func(t *cpu.Thread) {
			defer func() {
				if live--; live == 0 {
					m.Eng.Stop()
				}
			}()
			buf := bufs.Next(uint64(cfg.Granule) * 4096)
			began := t.Now()
			for n := int64(0); failed == nil && (n < cfg.Rounds || cfg.Rounds == 0 && t.Now() < end); n++ {
				if err := round(t, dev, &cfg, buf, res, &sum); err != nil {
					failed = fmt.Errorf("thread %d, round %d: %w", i, n, err)
				}
			}
			res.Busy += t.Now() - began
		})
	}
	if err := m.Run(); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	res.Elapsed = m.Eng.Now() - start
	res.Text = sum.format(&cfg)
	return res, nil
}

// round is one pass of the loop of map_benchmark_thread.
func round(t *cpu.Thread, dev *platform.Device, cfg *Config, buf dma.Buffer, res *workloads.Result, sum *totals) error {
	if cfg.Dir != kernel.FromDevice {
		t.StringSet(kernel.Virt(buf.Phys), int(buf.Size), 0)
	}
	cfg.Around.Pass(t)
	var addr uint64
	mapped, err := timed(t, res.Map, func() (err error) {
		addr, err = cfg.Variant.Map(t, dev.Ctx, buf, cfg.Dir, 0)
		return err
	})
	if err != nil {
		return err
	}
	if cfg.TransNS > 0 {
		t.WaitUntil(cpu.StallIdle, t.Now()+sim.Time(cfg.TransNS)*sim.Nanosecond)
	}
	cfg.Around.Pass(t)
	unmapped, err := timed(t, res.Unmap, func() error {
		return cfg.Variant.Unmap(t, dev.Ctx, addr, buf.Size, cfg.Dir, 0)
	})
	if err != nil {
		return err
	}
	const unit = 100 * sim.Nanosecond
	m, u := uint64(mapped/unit), uint64(unmapped/unit)
	sum.mapSum += m
	sum.mapSq += m * m
	sum.unmapSum += u
	sum.unmapSq += u * u
	sum.loops++
	res.Complete(t.Now(), int64(buf.Size))
	return nil
}

// timed measures call between two readings of the clock (ktime_get: the time stamp counter, about 15 instructions). Reading it is
// ordered (rdtsc_ordered): what went before has finished, what follows has not begun.
func timed(t *cpu.Thread, o *workloads.Op, call func() error) (sim.Time, error) {
	clock(t)
	t.Sync()
	start := t.Now()
	err := o.Measure(t, call)
	clock(t)
	t.Sync()
	return t.Now() - start, err
}

func clock(t *cpu.Thread) {
	t.Call(ktimeGet)
	t.Nop(1)
	t.ALU(3, 0)
	t.Serialize()
	v := t.Op(cpu.Sysreg, 0) // rdtsc
	t.Serialize()
	t.ALU(9, v)
	t.Ret()
}

var ktimeGet = cpu.NewFunc("ktime_get", "kernel/time/timekeeping.c", 160)

// format prints what tools/dma/dma_map_benchmark prints; the heading differs between the versions.
func (s *totals) format(c *Config) string {
	dir := c.Dir.String()
	head := fmt.Sprintf("dma mapping benchmark: threads:%d seconds:%d node:%d dir:%s granule: %d", c.Threads, c.Seconds, c.Node, dir, c.Granule)
	if c.Variant.Version() == kernel.V7_3 {
		head = fmt.Sprintf("dma mapping benchmark(SINGLE_MODE): threads:%d seconds:%d node:%d dir:%s granule:%d", c.Threads, c.Seconds, c.Node, dir, c.Granule)
	}
	line := func(name string, sum, sq uint64) string {
		if s.loops == 0 {
			return ""
		}
		avg := sum / s.loops
		return fmt.Sprintf("average %s latency(us):%.1f standard deviation:%.1f\n", name, float64(avg)/10, float64(isqrt(sq/s.loops-avg*avg))/10)
	}
	return head + "\n" + line("map", s.mapSum, s.mapSq) + line("unmap", s.unmapSum, s.unmapSq)
}

// isqrt is int_sqrt64: the integer part of the root.
func isqrt(n uint64) uint64 {
	var r uint64
	for bit := uint64(1) << 62; bit > 0; bit >>= 2 {
		if n >= r+bit {
			n -= r + bit
			r = r>>1 + bit
		} else {
			r >>= 1
		}
	}
	return r
}
