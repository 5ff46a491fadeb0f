package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"dmapath/kernel"
	"dmapath/kernel/described"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/mapbench"
	"dmapath/workloads/nic"
	"dmapath/workloads/probe"
	"dmapath/workloads/recorded"
)

// Experiment is everything that decides what compare prints: with the platform beside it, it is the manifest. Times and
// sizes are text with a unit, as in a platform file.
type Experiment struct {
	Workloads []string `yaml:"workloads"` // nvme, nic, netperf-rx, map-benchmark, dma-probe
	Variants  []string `yaml:"variants"`  // CALL@KERNEL; differences are against the first
	// Paths are the texts of described calls (kernel/described) that Variants names.
	Paths      []string  `yaml:"paths,omitempty"`
	Backends   []string  `yaml:"backends"`
	Caches     []string  `yaml:"caches"` // hot, warm, cold
	Source     string    `yaml:"source"` // modelled or recorded
	CPUs       int       `yaml:"cpus"`
	Size       string    `yaml:"size"`       // bytes per buffer
	Segments   string    `yaml:"segments"`   // one, scattered, contiguous: how the pages of a buffer lie
	Attrs      []string  `yaml:"attrs"`      // DMA_ATTR_* of every call, such as mmio
	Operations int64     `yaml:"operations"` // I/Os, frames or rounds per run
	Seed       uint64    `yaml:"seed"`
	NVMe       NVMe      `yaml:"nvme"`
	NIC        NIC       `yaml:"nic"`
	NetperfRX  NetperfRX `yaml:"netperf_rx"`
	MapBench   MapBench  `yaml:"map_benchmark"`
	Probe      Probe     `yaml:"probe"`

	stacks bool // account functions by their callers, for a profile
}

// NVMe is the drive and its load.
type NVMe struct {
	QueueDepth   int `yaml:"queue_depth"`
	WritePercent int `yaml:"write_percent"`
	// Segments says how the memory of an I/O lies, for whole drivers: scattered, contiguous or mixed. Single calls map contiguous memory.
	Segments string `yaml:"segments"`
	Offset   string `yaml:"offset"` // of an I/O's memory in its first page
	SGL      bool   `yaml:"sgl"`    // the controller takes scatter gather lists, for whole drivers
	// Target is where the data is: memory, or the BAR of a second device with struct pages (p2p-pages) or without (p2p-mmio); Route is how
	// the drive reaches that device: through the host bridge or a common switch. For whole drivers.
	Target string `yaml:"target"`
	Route  string `yaml:"route"`
	Rate   string `yaml:"rate"` // commands per second and CPU, 0 for a closed loop
	// Media latency: the mean and the form of its distribution (constant, exponential, lognormal).
	MediaLatency  string `yaml:"media_latency"`
	MediaShape    string `yaml:"media_distribution"`
	MediaChannels int    `yaml:"media_channels"`
	Coalesce      int    `yaml:"coalesce_completions"`
	CoalesceTime  string `yaml:"coalesce_time"`
	// Surround is how many instructions of block layer, system call and application run between two mapping calls: half of the
	// median recorded window of a 4 KiB I/O (kernel-traces, nvme_io.csv: 22900 instructions), as the presets' warm footprint is.
	Surround int `yaml:"surround_instructions"`
}

// NIC is the card and its traffic.
type NIC struct {
	Rate       int64  `yaml:"rate"`  // frames per second and queue
	Sizes      string `yaml:"sizes"` // imix, a number of bytes, or a file
	Arrivals   string `yaml:"arrivals"`
	Burst      int    `yaml:"burst"`
	Ring       int    `yaml:"ring"`
	PagePool   bool   `yaml:"page_pool"` // for single calls
	Driver     string `yaml:"driver"`    // how a whole driver maps: per-packet, page_pool, gso
	TxPercent  int    `yaml:"tx_percent"`
	Moderation string `yaml:"moderation"`
	// Surround is how many instructions of network stack and application run between two mapping calls; a guess.
	Surround int `yaml:"surround_instructions"`
}

// MapBench is dma_map_benchmark's parameters. Bits is 64 here, not the tool's 32, with which every buffer above 4 GiB
// bounces where there is no IOMMU. Granule 0 takes the pages of --size.
type MapBench struct {
	Threads int `yaml:"threads"`
	Seconds int `yaml:"seconds"`
	Node    int `yaml:"node"`
	Bits    int `yaml:"bits"`
	Dir     int `yaml:"dir"`
	TransNS int `yaml:"trans_ns"`
	Granule int `yaml:"granule"`
	Mode    int `yaml:"mode"` // 0 single, 1 scatterlist
}

// Workloads, cache states and sources that exist.
var (
	Workloads = []string{"nvme", "nic", netperfRX, "map-benchmark", dmaProbe}
	Caches    = []string{"hot", "warm", "cold"}
	Sources   = []string{"modelled", "recorded"}
)

// Default is the main job: NVMe and NIC, the four variants, dma-direct and VT-d strict and lazy, all cache states.
func Default() Experiment {
	return Experiment{
		Workloads: []string{"nvme", "nic"},
		Variants:  []string{"map_page@6.12", "map_page@7.3", "map_phys@7.3", "map_phys_rederive@7.3"},
		Backends:  []string{"direct", "iommu-strict", "iommu-lazy"},
		Caches:    slices.Clone(Caches),
		Source:    "modelled", CPUs: 1, Size: "4KiB", Segments: mapbench.One, Attrs: []string{}, Operations: 1200, Seed: 1,
		NVMe: NVMe{QueueDepth: 32, Segments: "scattered", Offset: "0B", SGL: true, Target: "memory", Route: "host-bridge", Rate: "0", MediaLatency: "10us", MediaShape: "lognormal", MediaChannels: 64,
			Coalesce: 1, CoalesceTime: "0ns", Surround: 11450},
		NIC:       NIC{Rate: 50_000, Sizes: "1514", Arrivals: "poisson", Burst: 16, Ring: 256, Driver: "per-packet", TxPercent: 50, Moderation: "20us", Surround: 1500},
		NetperfRX: defaultNetperfRX(),
		MapBench:  MapBench{Threads: 1, Seconds: 20, Node: -1, Bits: 64},
		Probe:     Probe{Access: string(probe.Read), Size: "64B", Window: "4MiB", Order: "random", Outstanding: 64, Pages: "scattered", State: "device", PageRequests: 32, Gap: "0ns", GapByte: "0ps", ReadEndByte: "0ps"},
	}
}

// DropUnfit leaves out the backends that platform s cannot have, as long as one remains, and says why. It is for backends that nobody
// asked for by name.
func (x *Experiment) DropUnfit(s *platform.Spec) (why []error) {
	var have []string
	for _, b := range x.Backends {
		err := s.Fits(kernel.V7_3, platform.Backend(b))
		if err == nil {
			have = append(have, b)
			continue
		}
		why = append(why, fmt.Errorf("backend %s is left out: %w", b, err))
	}
	if len(have) == 0 {
		return nil
	}
	x.Backends = have
	return why
}

// Validate lists every problem of the experiment on platform s.
func (x *Experiment) Validate(s *platform.Spec) error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	words := func(key string, have, allowed []string) {
		if len(have) == 0 {
			bad("%s is empty: allowed are %s", key, strings.Join(allowed, ", "))
		}
		for i, w := range have {
			if !slices.Contains(allowed, w) {
				bad("%s %q: allowed are %s%s", key, w, strings.Join(allowed, ", "), didYouMean(w, allowed))
			}
			if slices.Contains(have[:i], w) {
				bad("%s %q is given twice", key, w)
			}
		}
	}
	x.canonical()
	errs = append(errs, x.define()...)
	words("workload", x.Workloads, Workloads)
	words("variant", x.Variants, slices.Concat(variantNames(), Drivers))
	words("backend", x.Backends, backendNames())
	words("cache", x.Caches, Caches)
	words("source", []string{x.Source}, Sources)
	words("segments", []string{x.Segments}, mapbench.Segmentations)
	if _, err := kernel.ParseAttrs(x.Attrs); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, x.mapBenchmarkOnly()...)
	number := func(key string, v, lo, hi int64) {
		if v < lo || v > hi {
			bad("%s is %d: allowed are %d to %d", key, v, lo, hi)
		}
	}
	number("cpus", int64(x.CPUs), 1, int64(s.CPU.Cores))
	number("operations", x.Operations, 64, 1<<40)
	number("nvme.surround_instructions", int64(x.NVMe.Surround), 0, 10_000_000)
	number("nic.surround_instructions", int64(x.NIC.Surround), 0, 10_000_000)
	number("nvme.queue_depth", int64(x.NVMe.QueueDepth), 1, 1023)
	number("nvme.write_percent", int64(x.NVMe.WritePercent), 0, 100)
	number("nvme.media_channels", int64(x.NVMe.MediaChannels), 1, 65536)
	number("nvme.coalesce_completions", int64(x.NVMe.Coalesce), 1, 256)
	number("nic.rate", x.NIC.Rate, 1, 1_000_000_000)
	number("nic.burst", int64(x.NIC.Burst), 1, 100_000)
	number("nic.ring", int64(x.NIC.Ring), 64, 4096)
	number("nic.tx_percent", int64(x.NIC.TxPercent), 0, 100)
	words("nic.arrivals", []string{x.NIC.Arrivals}, nic.Patterns)
	words("nvme.segments", []string{x.NVMe.Segments}, workloads.Layouts)
	words("nvme.target", []string{x.NVMe.Target}, Targets)
	words("nvme.route", []string{x.NVMe.Route}, Routes)
	words("nic.driver", []string{x.NIC.Driver}, nic.Styles)
	words("nvme.media_distribution", []string{x.NVMe.MediaShape}, shapes)
	if slices.Contains(x.Workloads, "map-benchmark") {
		b := &x.MapBench
		number("map_benchmark.threads", int64(b.Threads), 1, int64(x.CPUs))
		number("map_benchmark.seconds", int64(b.Seconds), 1, 300)
		number("map_benchmark.node", int64(b.Node), -1, 0)
		number("map_benchmark.bits", int64(b.Bits), 20, 64)
		number("map_benchmark.dir", int64(b.Dir), 0, 2)
		number("map_benchmark.trans_ns", int64(b.TransNS), 0, 10_000_000)
		number("map_benchmark.granule", int64(b.Granule), 0, 1024)
		number("map_benchmark.mode", int64(b.Mode), 0, 1)
		if b.Mode == 1 && !slices.Equal(x.Variants, []string{"map_sg@7.3"}) {
			bad("map_benchmark.mode is 1: the benchmark of 7.3 calls dma_map_sg; want map_sg@7.3 as the only variant")
		}
	}
	if x.NIC.Ring&(x.NIC.Ring-1) != 0 {
		bad("nic.ring is %d: allowed are powers of two", x.NIC.Ring)
	}
	for _, t := range []struct {
		key, text string
		lo, hi    sim.Time
	}{
		{"nvme.media_latency", x.NVMe.MediaLatency, 100 * sim.Nanosecond, sim.Second},
		{"nvme.coalesce_time", x.NVMe.CoalesceTime, 0, sim.Second},
		{"nic.moderation", x.NIC.Moderation, 0, sim.Second},
	} {
		v, err := platform.ParseTime(t.text)
		switch {
		case err != nil:
			bad("%s: %w", t.key, err)
		case v < t.lo || v > t.hi:
			bad("%s is %s: allowed are %v to %v", t.key, t.text, t.lo, t.hi)
		}
	}
	if v, err := platform.ParseBytes(x.NVMe.Offset); err != nil {
		bad("nvme.offset: %w", err)
	} else if v < 0 || v > 4095 || v%512 != 0 {
		bad("nvme.offset is %s: allowed are multiples of 512B below 4KiB", x.NVMe.Offset)
	}
	if _, err := x.sizes(); err != nil {
		bad("nic.sizes: %w", err)
	}
	if _, err := x.rate(); err != nil {
		errs = append(errs, err)
	}
	size, err := platform.ParseBytes(x.Size)
	switch {
	case err != nil:
		bad("size: %w", err)
	case size < 512 || size > 1<<20 || size%512 != 0:
		bad("size is %s: allowed are multiples of 512B up to 1MiB", x.Size)
	case size > 128<<10 && slices.Contains(x.Workloads, "map-benchmark"):
		bad("size is %s: map-benchmark allows up to 128KiB (dma_opt_mapping_size)", x.Size)
	}
	errs = append(errs, x.driverProblems(s)...)
	errs = append(errs, x.probeProblems(s)...)
	errs = append(errs, x.netperfProblems(s)...)
	if x.Source == "recorded" && len(errs) == 0 {
		errs = append(errs, x.recordings(s, uint64(size))...)
	}
	reach := ^uint64(0) >> (64 - min(max(x.MapBench.Bits, 20), 64))
	if slices.Contains(x.Workloads, "map-benchmark") && x.Source == "modelled" && s.RAMEnd()-1 > reach && uint64(s.Memory.LowTop)-1 > reach {
		for _, b := range x.Backends {
			if !platform.Backend(b).Translates() {
				bad("map_benchmark.bits is %d: on %s such a device reaches neither all RAM (up to %#x) nor the bounce pool (up to %#x)", x.MapBench.Bits, b, s.RAMEnd(), s.Memory.LowTop)
			}
		}
	}
	return errors.Join(errs...)
}

// AddPath adds a described call, read from a file called name, and returns the name of the variant that it is.
func (x *Experiment) AddPath(name, text string) (string, error) {
	p, err := described.Parse(name, text)
	if err != nil {
		return "", err
	}
	// As a manifest can hold it.
	var b strings.Builder
	for l := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(strings.ReplaceAll(l, "\t", "    "), " \r\n") + "\n")
	}
	if text = strings.Trim(b.String(), "\n") + "\n"; !slices.Contains(x.Paths, text) {
		x.Paths = append(slices.Clone(x.Paths), text)
	}
	return p.Name(), nil
}

// Define makes the described calls of x known.
func (x *Experiment) Define() error { return errors.Join(x.define()...) }

// define makes the described calls known.
func (x *Experiment) define() (errs []error) {
	for i, text := range x.Paths {
		p, err := described.Parse(fmt.Sprintf("paths[%d]", i), text)
		if err == nil {
			err = described.Define(p)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// canonical gives variants that were named by an alias their own names.
func (x *Experiment) canonical() {
	x.Variants = slices.Clone(x.Variants)
	for i, n := range x.Variants {
		if v, err := dma.Lookup(n); err == nil {
			x.Variants[i] = v.Name()
		}
	}
}

// NeedsMapBenchmark says why variant n, with the segments and attributes of x, runs as map-benchmark only; empty when it runs everywhere.
func (x *Experiment) NeedsMapBenchmark(n string) string {
	v, err := dma.Lookup(n)
	switch {
	case err != nil:
		return ""
	case dma.MemoryOf(v) == dma.DeviceMemory:
		return "it maps device memory, which drives and cards of this model do not use"
	case dma.MemoryOf(v) == dma.OwnMemory:
		return "it needs buffers that belong to the driver (nic.page_pool does the same inside nic)"
	case x.Segments != "" && x.Segments != mapbench.One:
		return "with segments: drives and cards decide themselves how their buffers lie"
	case slices.ContainsFunc(x.Backends, func(b string) bool { return platform.Backend(b).Provider() }):
		return "with a provider of dma_map_ops: no device is behind it"
	case len(x.Attrs) > 0:
		return "with attributes: drivers choose their own"
	}
	return ""
}

// mapBenchmarkOnly lists the combinations that no other workload runs.
func (x *Experiment) mapBenchmarkOnly() (errs []error) {
	for _, w := range x.Workloads {
		provider := false
		for _, b := range x.Backends {
			provider = provider || platform.Backend(b).Provider()
			if platform.Backend(b).Provider() && w != "map-benchmark" {
				errs = append(errs, fmt.Errorf("backend %q runs as workload map-benchmark only, not %s: what would translate its addresses for a device is not modelled", b, w))
			}
		}
		for _, v := range x.Variants {
			if why := x.NeedsMapBenchmark(v); why != "" && !provider && w != "map-benchmark" {
				errs = append(errs, fmt.Errorf("variant %q runs as workload map-benchmark only, not %s: %s", v, w, why))
			}
		}
	}
	return errs
}

// IsRecorded tells whether a variant has been recorded, as a call of 4 KiB on dma-direct at least, on the architecture of s.
func IsRecorded(s *platform.Spec, variant string) bool {
	names := recorded.Calls(s.Arch(), variant, string(platform.Direct), 4096)
	return recorded.Has(names[0]) && recorded.Has(names[1])
}

// recordings lists what --source recorded lacks: it runs the recorded calls in a loop, as map-benchmark does.
func (x *Experiment) recordings(s *platform.Spec, size uint64) (errs []error) {
	if !slices.Equal(x.Workloads, []string{"map-benchmark"}) {
		errs = append(errs, fmt.Errorf("workload %s: recorded calls run as map-benchmark only", strings.Join(x.Workloads, ",")))
	}
	if s.IOMMU.Trapped {
		errs = append(errs, errors.New("iommu.trapped is on: the recorded kernels ran on the metal"))
	}
	for _, b := range x.Backends {
		if platform.Backend(b).Translates() && s.IOMMU.Dialect == "amd-vi" {
			errs = append(errs, fmt.Errorf("backend %s on %s: the recorded drivers are those of VT-d and SMMUv3, and iommu.dialect is %s", b, s.Name, s.IOMMU.Dialect))
			continue
		}
		for _, v := range x.Variants {
			if names := recorded.Calls(s.Arch(), v, b, size); !recorded.Has(names[0]) || !recorded.Has(names[1]) {
				errs = append(errs, fmt.Errorf("variant %q on %s with %s: there is no recording of it; dmapath list shows those there are", v, b, x.Size))
			}
		}
	}
	return errs
}

func variantNames() []string {
	var n []string
	for _, v := range dma.Variants() {
		n = append(n, v.Name())
	}
	return n
}

func backendNames() []string {
	var n []string
	for _, b := range platform.Backends {
		n = append(n, string(b))
	}
	return n
}

// VariantByName is dma.Lookup for a name that a user typed: the error suggests the nearest.
func VariantByName(name string) (dma.Variant, error) {
	if v, err := dma.Lookup(name); err == nil {
		return v, nil
	}
	return nil, fmt.Errorf("variant %q: allowed are %s%s", name, strings.Join(variantNames(), ", "), didYouMean(name, variantNames()))
}

// CrossesKernels reports whether the variants of x belong to more than one kernel: then more than the API differs.
func (x *Experiment) CrossesKernels() bool {
	var seen [2]bool
	for _, n := range x.Variants {
		if v, _, err := lookup(n); err == nil {
			seen[v.Version()] = true
		}
	}
	return seen[kernel.V6_12] && seen[kernel.V7_3]
}

// didYouMean suggests the allowed word nearest to w.
func didYouMean(w string, allowed []string) string {
	if best, ok := platform.Nearest(w, allowed, len(w)/2); ok {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return ""
}
