package host

import (
	"context"
	"errors"
	"math"
	"math/bits"

	"dmapath/bench/host/program"
)

// probesFor lists what a calibration of a machine measures, in order. Twins of kernel code are other probes with other programs: the two
// share no measurement.
func probesFor(sys *System) []*Probe {
	named := func(name string, p *Probe) *Probe {
		p.Name = name
		return p
	}
	// Sizes that are held by one level alone. The last-level cache is looked at with twice the L2 and no more: where neighbours stream
	// through it, lines do not survive long laps.
	l1, l2, llc := int64(32<<10), int64(1<<20), int64(32<<20)
	if g, ok := sys.Caches["l1d"]; ok {
		l1 = g.Bytes
	}
	if g, ok := sys.Caches["l2"]; ok {
		l2 = g.Bytes
	}
	if g, ok := sys.Caches["llc"]; ok {
		llc = g.Bytes
	}
	memory := uint64(256 << 20)
	for memory < 1<<30 && memory < 4*uint64(llc) {
		memory *= 2
	}
	list := []*Probe{
		named("chase_l1", lineChase(floorPow2(l1/2))), named("chase_l2", lineChase(floorPow2(min(l2/4, 4*l1)))), named("chase_llc", lineChase(floorPow2(2*l2))),
		named("chase_memory", lineChase(memory)), named("laps_l2", pageLapChase(256<<10)), named("laps_memory", pageLapChase(memory)),
		pageChase(256, 12), pageChase(256, 21), pageChase(4096, 12), pageChase(4096, 21), pageChase(8192, 12), pageChase(8192, 21),
	}
	for _, size := range []uint64{4 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 1 << 30} {
		list = append(list, lineChase(size))
	}
	for _, n := range dtlbSteps {
		list = append(list, pageChase(n, 12))
	}
	return append(list,
		loop("muls", "dependent multiplications", program.Muls, 100, 16, nothing),
		loop("scans", "dependent bit scans, each with an operation", program.Scans, 100, 16, func(_ *program.Arena, s *program.State) { s.R[2] = 16 }),
		loop("loads", "independent loads, L1", program.Loads, 100, 32, nothing),
		loop("stores", "stores, each to another line than the one before, L1", program.Stores, 100, 32, nothing),
		loop("forwards", "a store and a load of it, dependent", program.Forwards, 100, 16, func(_ *program.Arena, s *program.State) { s.R[4] = s.R[2] }),
		loop("xadds", "locked additions to one word, dependent", program.Xadds, 100, 16, nothing),
		loop("xaddloads", "a locked addition and 16 dependent loads of another line", program.XaddLoads, 100, 1, func(a *program.Arena, s *program.State) {
			a.Put(a.Base, a.Base)
			s.R[4] = a.Base + 4096 + 1088 // no line and no page offset in common
		}),
		loop("xaddstores", "a locked addition and 3 stores to another line", program.XaddStores, 100, 1, func(a *program.Arena, s *program.State) {
			s.R[4] = a.Base + 4096 + 1088
		}),
		loop("storefences", "a store and a full fence", program.StoreFences, 100, 8, nothing),
		loop("storeorders", "a store and a fence of stores alone", program.StoreOrders, 100, 8, nothing),
		loop("serials", "serialising instructions", program.Serials, 100, 8, nothing),
		loop("counters", "reads of the cycle counter", program.Counters, 100, 8, nothing),
		loop("pauses", "spin-loop pauses", program.Pauses, 10, 8, nothing),
		loop("flushes", "a store to a line and its flush", program.Flushes, 100, 8, nothing),
		copyOf(8), copyOf(4096), copyOf(16384),
		coin("coin_random", "a branch on a random bit", true), coin("coin_zero", "a branch on a bit that is always 0", false),
		gather(256<<10), named("gather_memory", gather(memory)),
		stream("store_stream", "stores to consecutive lines of memory", program.StoreStream, 256<<20),
		stream("load_stream", "loads of consecutive lines of memory", program.LoadStream, 256<<20))
}

// floorPow2 is the largest power of two that is not above n.
func floorPow2(n int64) uint64 { return 1 << (bits.Len64(uint64(n)) - 1) }

// dtlbSteps are the numbers of pages at which the end of the first-level data TLB is looked for.
var dtlbSteps = []int{16, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128}

// Measurements is what a calibration found: cycles per unit by probe, and the clock.
type Measurements struct {
	CoreHz float64
	Cycles map[string]float64 // by Probe.Name
	Noise  map[string]float64 // interquartile range over median
	System System
}

// ErrBusy says that others leave no time to measure in.
var ErrBusy = errors.New("the machine is too busy: not one run of the shortest loops was undisturbed")

// figure is the value of a sample that stands for an undisturbed machine: the lower quartile. The minimum would be a run in which caches or
// predictors happened to be kinder than they mostly are, the median contains neighbours.
func figure(s Sample) float64 { return s.Quantile(0.25) }

// Calibrate measures everything. progress is told the probe that comes next; nil is allowed.
func Calibrate(ctx context.Context, m *Meter, progress func(done, total int, what string)) (*Measurements, error) {
	sys, err := ReadSystem()
	if err != nil {
		return nil, err
	}
	list := probesFor(sys)
	out := &Measurements{Cycles: map[string]float64{}, Noise: map[string]float64{}, System: *sys}
	for i, p := range list {
		if progress != nil {
			progress(i, len(list), p.Name)
		}
		if p.Prog.AMD64 && sys.Arch != "amd64" {
			continue
		}
		s, err := m.settled(ctx, p)
		if err != nil {
			return nil, err
		}
		if v := figure(s); v > 0 && !math.IsNaN(v) {
			out.Cycles[p.Name], out.Noise[p.Name] = v, s.Noise()
		}
		if p.Bytes > 16<<20 {
			m.free(p.Bytes)
		}
	}
	if progress != nil {
		progress(len(list), len(list), "")
	}
	out.CoreHz = m.CoreHz()
	if out.Cycles["chase_l1"] == 0 {
		return nil, ErrBusy
	}
	return out, nil
}
