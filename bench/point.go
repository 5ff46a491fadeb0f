package bench

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"

	"dmapath/iommu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/mapbench"
	"dmapath/workloads/nic"
	"dmapath/workloads/nvme"
	"dmapath/workloads/probe"
	"dmapath/workloads/recorded"
)

// Point is one run: a cell of an experiment's grid.
type Point struct {
	Workload, Backend, Cache, Variant string
}

// String names the point in progress lines and errors.
func (p Point) String() string {
	return fmt.Sprintf("%s %s %s %s", p.Workload, p.Backend, p.Cache, p.Variant)
}

// Outcome is what a run found.
type Outcome struct {
	Point
	*workloads.Result
	Clock   sim.Clock
	IOMMU   iommu.Stats // zero without an IOMMU
	Walkers int
	curves  []curve
}

// Points lists the grid of x in the order of tables: workload, backend, cache, variant.
func (x *Experiment) Points() []Point {
	var ps []Point
	probed := map[string]bool{}
	for _, w := range x.Workloads {
		for _, b := range x.Backends {
			for _, c := range x.Caches {
				for _, v := range x.Variants {
					p := Point{w, b, c, v}
					switch {
					case w == dmaProbe && !probeDiffers(probed, p):
					case w == netperfRX && c != x.stepCache(): // the run itself makes what is in the caches
					default:
						ps = append(ps, p)
					}
				}
			}
		}
	}
	return ps
}

// Run simulates one point on a machine of its own. x must have passed Validate on s.
func (x *Experiment) Run(s *platform.Spec, p Point) (*Outcome, error) { return x.Inspect(s, p, nil) }

// Inspect is Run for who wants to see the machine itself: begin, unless nil, is called when it is ready for the workload, and what it returns,
// unless nil, when the run is over, while everything still stands as the workload left it.
func (x *Experiment) Inspect(s *platform.Spec, p Point, begin func(*platform.Machine, *platform.Device) (end func(*workloads.Result) error, err error)) (*Outcome, error) {
	v, whole, err := lookup(p.Variant)
	if err != nil {
		return nil, err
	}
	opt, err := x.options(s, v.Version(), p.Backend)
	if err != nil {
		return nil, err
	}
	opt.CPUs = x.cores(p.Workload)
	m, err := platform.Build(s, opt)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	dev, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		return nil, err
	}
	peer, err := x.peer(m, dev)
	if err != nil {
		return nil, err
	}
	around, err := x.ambience(m, p.Cache, map[string]int{"nvme": x.NVMe.Surround, "nic": x.NIC.Surround}[p.Workload])
	if err != nil {
		return nil, err
	}
	size, err := platform.ParseBytes(x.Size)
	if err != nil {
		return nil, err
	}
	if err := m.LookUpMemory(); err != nil {
		return nil, err
	}
	if err := m.Settle(); err != nil {
		return nil, err
	}
	if m.Unit != nil {
		m.Unit.ResetStats()
	}
	dev.Port.Reads().Restart(m.Eng.Now())
	began := m.Eng.Now()
	var end func(*workloads.Result) error
	if begin != nil {
		if end, err = begin(m, dev); err != nil {
			return nil, err
		}
	}
	var r *workloads.Result
	switch {
	case x.Source == "recorded":
		r, err = recorded.Run(m, dev, recorded.Config{Variant: v, Backend: p.Backend, Rounds: x.Operations, Size: uint64(size), Around: around})
	case p.Workload == "nvme":
		var c nvme.Config
		if c, err = x.nvme(v, whole, int(size), around); err == nil {
			c.Peer = peer
			r, err = nvme.Run(m, dev, c)
		}
	case p.Workload == "nic":
		var c nic.Config
		if c, err = x.nic(v, whole, around); err == nil {
			r, err = nic.Run(m, dev, c)
		}
	case p.Workload == netperfRX:
		var c nic.Config
		if c, err = x.netperf(v, whole); err == nil {
			r, err = nic.Run(m, dev, c)
		}
	case p.Workload == dmaProbe:
		var c probe.Config
		if c, err = x.probeConfig(); err == nil {
			r, err = probe.Run(m, dev, c)
		}
	default:
		b := &x.MapBench
		segments := x.Segments
		if b.Mode == 1 && segments == mapbench.One {
			segments = mapbench.Scattered
		}
		attrs, e := kernel.ParseAttrs(x.Attrs)
		if e != nil {
			return nil, e
		}
		r, err = mapbench.Run(m, dev, mapbench.Config{Variant: v, Threads: b.Threads, Rounds: x.Operations, Seconds: b.Seconds, Node: b.Node,
			Bits: b.Bits, Dir: kernel.Direction(b.Dir), TransNS: b.TransNS, Granule: cmp.Or(b.Granule, int(size+4095)/4096), Mode: b.Mode,
			Segments: segments, Attrs: attrs, Around: around, Seed: x.Seed})
	}
	if err != nil {
		return nil, fmt.Errorf("%v: %w", p, err)
	}
	o := &Outcome{Point: p, Result: r, Clock: m.Clock}
	if m.Unit != nil {
		o.IOMMU, o.Walkers = *m.Unit.Statistics(), m.Unit.Walkers()
	}
	o.curves = curvesOf(m, dev, r, began)
	if end != nil {
		err = end(r)
	}
	return o, err
}

// ambience prepares the surroundings of cache state name, with so many instructions between two calls.
func (x *Experiment) ambience(m *platform.Machine, name string, instructions int) (*workloads.Ambience, error) {
	return workloads.AmbienceOf(m, name, instructions, x.Seed)
}

func (x *Experiment) nvme(v dma.Variant, whole bool, size int, around *workloads.Ambience) (nvme.Config, error) {
	n := &x.NVMe
	lat, err := platform.ParseTime(n.MediaLatency)
	if err != nil {
		return nvme.Config{}, err
	}
	coal, err := platform.ParseTime(n.CoalesceTime)
	if err != nil {
		return nvme.Config{}, err
	}
	offset, err := platform.ParseBytes(n.Offset)
	if err != nil {
		return nvme.Config{}, err
	}
	rate, err := x.rate()
	return nvme.Config{Variant: v, Driver: whole, Layout: workloads.Layout(n.Segments), Offset: int(offset), SGL: n.SGL, CPUs: x.CPUs, IOs: x.Operations, Size: size, Depth: n.QueueDepth, WritePercent: n.WritePercent, Rate: rate,
		Media:      nvme.Media{Latency: media(n.MediaShape, lat), Channels: n.MediaChannels},
		Coalescing: nvme.Coalescing{Threshold: n.Coalesce, Time: coal}, Around: around, Seed: x.Seed}, err
}

// rate reads the arrival rate of an open loop.
func (x *Experiment) rate() (float64, error) {
	r, err := strconv.ParseFloat(x.NVMe.Rate, 64)
	if err != nil || r < 0 || r > 1e9 || math.IsNaN(r) {
		return 0, fmt.Errorf("nvme.rate is %q: allowed are 0 (closed loop) to 1e9 commands per second", x.NVMe.Rate)
	}
	return r, nil
}

// shapes are the distributions of the media latency.
var shapes = []string{"constant", "exponential", "lognormal"}

// sigma is the shape of the lognormal media latency: p99 is about 3.2 times the median, as flash reads are in the FIO
// figures that the drives' datasheets quote; a guess.
const sigma = 0.5

func media(shape string, mean sim.Time) func(*rand.Rand, bool) sim.Time {
	switch shape {
	case "exponential":
		return func(r *rand.Rand, _ bool) sim.Time { return sim.Time(r.ExpFloat64() * float64(mean)) }
	case "lognormal":
		median := float64(mean) * math.Exp(-sigma*sigma/2)
		return func(r *rand.Rand, _ bool) sim.Time { return sim.Time(median * math.Exp(sigma*r.NormFloat64())) }
	}
	return func(*rand.Rand, bool) sim.Time { return mean }
}

func (x *Experiment) nic(v dma.Variant, whole bool, around *workloads.Ambience) (nic.Config, error) {
	n := &x.NIC
	sizes, err := x.sizes()
	if err != nil {
		return nic.Config{}, err
	}
	mod, err := platform.ParseTime(n.Moderation)
	return nic.Config{Variant: v, Driver: whole, Style: nic.Style(n.Driver), CPUs: x.CPUs, Frames: x.Operations, Sizes: sizes, Arrive: nic.Arrivals{Pattern: n.Arrivals, Rate: float64(n.Rate), Burst: n.Burst},
		Ring: n.Ring, PagePool: n.PagePool, TxPercent: n.TxPercent, Moderation: mod, Around: around, Seed: x.Seed}, err
}

// sizes reads nic.sizes: the name of a mix, a number of bytes, or a file.
func (x *Experiment) sizes() (nic.Sizes, error) {
	if x.NIC.Sizes == "imix" {
		return nic.IMIX(), nil
	}
	if n, err := strconv.Atoi(x.NIC.Sizes); err == nil {
		return nic.Fixed(n)
	}
	f, err := os.Open(x.NIC.Sizes)
	if err != nil {
		return nic.Sizes{}, fmt.Errorf("want imix, a frame length in bytes or a file of lengths: %w", err)
	}
	defer f.Close()
	return nic.ReadSizes(f, x.NIC.Sizes)
}
