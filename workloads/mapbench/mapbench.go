// Package mapbench is the kernel's own benchmark of mapping calls, kernel/dma/map_benchmark.c, on the simulated machine:
// the same loop, the same parameters and the same three lines of output, so that a figure from a real machine can be laid
// beside it.
//
// Each thread, on a CPU of its own, repeats: dirty the buffer unless the direction is from-device; read the clock; map;
// read the clock; busy-wait for the transfer time; read the clock; unmap; read the clock. Each latency is truncated to
// 100 ns before it is added up, and mean, variance and root are integer arithmetic, as in the kernel. The exact
// values stand in the Result beside it.
//
// The benchmark of 7.3 has a mode for scatterlists (-m 1): as many entries as granule, of one page each. Segments does the same for every
// other call: the buffer is granule pages, scattered or side by side, that are mapped piece by piece, or in one call by a variant that
// can. A variant for device memory gets a window of the machine's MMIO range instead of RAM, which is not filled.
//
// No device is attached: the buffer is mapped and unmapped and nobody uses it. What is left out: the scheduler (a thread
// never loses its CPU) and the cond_resched between two rounds.
package mapbench

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	Mode    int              // -m of 7.3: 0 single, 1 scatterlist (map_sg@7.3 only)
	// Segments is how the pages of an operation lie: One buffer, or Scattered or Contiguous pieces of one page each.
	Segments string
	Attrs    kernel.Attrs // of every map and unmap
	Around   *workloads.Ambience
	Seed     uint64
}

// What Config.Segments may be; empty is One.
const (
	One        = "one"        // a physically contiguous buffer
	Scattered  = "scattered"  // every page somewhere else
	Contiguous = "contiguous" // one page behind the other, but described one by one
)

// Segmentations lists them.
var Segmentations = []string{One, Scattered, Contiguous}

// Validate lists everything that is out of range.
func (c *Config) Validate(cores int) error {
	var errs []error
	if c.Mode == 1 && (c.Variant.Name() != "map_sg@7.3" || c.pieces() == One) {
		errs = append(errs, fmt.Errorf("mode is 1: the benchmark of 7.3 maps a scatterlist with dma_map_sg; want variant map_sg@7.3, not %s, and segments", c.Variant.Name()))
	}
	if !slices.Contains(Segmentations, c.pieces()) {
		errs = append(errs, fmt.Errorf("segments is %q: allowed are %s", c.Segments, strings.Join(Segmentations, ", ")))
	}
	errs = append(errs, workloads.Ranges{
		{Key: "threads", Value: int64(c.Threads), Lo: 1, Hi: int64(min(cores, 1024))},
		{Key: "rounds", Value: c.Rounds, Lo: 0, Hi: 1 << 40},
		{Key: "seconds", Value: int64(c.Seconds), Lo: 1, Hi: 300},
		{Key: "node", Value: int64(c.Node), Lo: -1, Hi: 0},
		{Key: "bits", Value: int64(c.Bits), Lo: 20, Hi: 64},
		{Key: "dir", Value: int64(c.Dir), Lo: 0, Hi: 2},
		{Key: "trans_ns", Value: int64(c.TransNS), Lo: 0, Hi: 10_000_000},
		{Key: "granule", Value: int64(c.Granule), Lo: 1, Hi: 1024},
		{Key: "mode", Value: int64(c.Mode), Lo: 0, Hi: 1},
	}.Check())
	return errors.Join(errs...)
}

func (c *Config) pieces() string { return cmp.Or(c.Segments, One) }

// buffer allocates what thread i maps.
func (c *Config) buffer(m *platform.Machine, dev *platform.Device, bufs *workloads.Buffers, i int) (dma.Buffer, error) {
	size := uint64(c.Granule) * 4096
	one := dma.Buffer{Size: size}
	if dma.MemoryOf(c.Variant) == dma.DeviceMemory {
		at, ok := m.PlaceMMIO(uint64(m.Spec.Memory.MMIOBase)+uint64(i)*size, size)
		if !ok {
			return one, fmt.Errorf("no room for %d bytes in the MMIO window of the machine", size)
		}
		one.Phys = at
	} else if c.pieces() != Scattered {
		one = bufs.Next(size)
	}
	if c.pieces() == One {
		return one, nil
	}
	l := dev.Ctx.NewList(c.Granule)
	for k := range uint64(c.Granule) {
		at := one.Phys + k*4096
		if one.Phys == 0 {
			at = bufs.Next(4096).Phys
		}
		dev.Ctx.AddPiece(&l.List, at, 4096)
	}
	return l.Buffer(), nil
}

// fill dirties the buffer, as the kernel's memset does.
func (c *Config) fill(t *cpu.Thread, b dma.Buffer) {
	switch {
	case c.Dir == kernel.FromDevice || dma.MemoryOf(c.Variant) == dma.DeviceMemory:
	case b.List != nil:
		for i := range b.List.Entries {
			e := &b.List.Entries[i]
			t.StringSet(kernel.Virt(e.Phys), int(e.Size), 0)
		}
	default:
		t.StringSet(kernel.Virt(b.Phys), int(b.Size), 0)
	}
}

// totals are the atomic64 counters of the kernel module.
type totals struct{ mapSum, mapSq, unmapSum, unmapSq, loops uint64 }

// Run performs the benchmark with device dev on m.
func Run(m *platform.Machine, dev *platform.Device, cfg Config) (*workloads.Result, error) {
	if err := cfg.Validate(len(m.Cores)); err != nil {
		return nil, err
	}
	planned := cfg.Rounds * int64(cfg.Threads)
	res := &workloads.Result{Map: workloads.NewOp(planned).Named("map"), Unmap: workloads.NewOp(planned).Named("unmap"), CPUs: cfg.Threads}
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
			var buf dma.Buffer
			if buf, failed = cfg.buffer(m, dev, bufs, i); failed != nil {
				return
			}
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
	res.Text = sum.output(&cfg).String()
	return res, nil
}

// round is one pass of the loop of map_benchmark_thread.
func round(t *cpu.Thread, dev *platform.Device, cfg *Config, buf dma.Buffer, res *workloads.Result, sum *totals) error {
	cfg.fill(t, buf)
	cfg.Around.Pass(t)
	var addr uint64
	mapped, err := timed(t, res.Map, func() (err error) {
		addr, err = dma.MapBuffer(cfg.Variant, t, dev.Ctx, buf, cfg.Dir, cfg.Attrs)
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
		return dma.UnmapBuffer(cfg.Variant, t, dev.Ctx, buf, addr, cfg.Dir, cfg.Attrs)
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

// output is what the tool of the variant's kernel prints.
func (s *totals) output(c *Config) *Output {
	o := &Output{Version: c.Variant.Version(), Mode: c.Mode, Threads: c.Threads, Seconds: c.Seconds, Node: c.Node, Dir: c.Dir, Granule: c.Granule}
	if s.loops == 0 {
		return o
	}
	mean := func(sum, sq uint64) (float64, float64) {
		avg := sum / s.loops
		return float64(avg) / 10, float64(isqrt(sq/s.loops-avg*avg)) / 10
	}
	o.Figures = true
	o.Map, o.MapSD = mean(s.mapSum, s.mapSq)
	o.Unmap, o.UnmapSD = mean(s.unmapSum, s.unmapSq)
	return o
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
