package bench

import (
	"fmt"
	"slices"

	"dmapath/kernel/vtd"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads/probe"
)

// Probe is the device that measures memory from the other side of the link, and what it does.
type Probe struct {
	Access string `yaml:"access"` // read, write, write-read
	Size   string `yaml:"size"`   // bytes per access
	Window string `yaml:"window"` // bytes over which the accesses go
	Order  string `yaml:"order"`  // random, sequential
	// Outstanding is how many accesses are under way: 1 measures latency, many measure throughput.
	Outstanding int    `yaml:"outstanding"`
	Pages       string `yaml:"pages"` // scattered: each page of 4 KiB lies somewhere else; contiguous: one buffer, which an IOMMU may map with large pages; demand: none is there, the device asks for each (PRI)
	State       string `yaml:"state"` // device: it has written the window before; cold: nobody has touched it
	// PageRequests is how many page requests the device has under way at most, with pages on demand.
	PageRequests int `yaml:"page_requests"`
	// Gap and GapByte are how long the card's engine is busy with an access and with each of its bytes.
	Gap     string `yaml:"gap"`
	GapByte string `yaml:"gap_byte"`
	// ReadEndByte is how long the card takes with each byte of a read that has arrived.
	ReadEndByte string `yaml:"read_end_byte"`
	// Ordered says that the card takes the ends of accesses in the order of their beginnings.
	Ordered bool `yaml:"ordered"`
}

// Words of Probe.
var (
	ProbeOrders = []string{"random", "sequential"}
	ProbePages  = []string{"scattered", "contiguous", "demand"}
	ProbeStates = []string{"device", "cold"}
)

const dmaProbe = "dma-probe"

// config reads the texts of p; errors name the keys.
func (p *Probe) config() (c probe.Config, errs []error) {
	bytes := func(key, text string) int64 {
		v, err := platform.ParseBytes(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("probe.%s: %w", key, err))
			return -1
		}
		return int64(v)
	}
	word := func(key, w string, allowed []string) {
		if !slices.Contains(allowed, w) {
			errs = append(errs, fmt.Errorf("probe.%s %q: allowed are %v%s", key, w, allowed, didYouMean(w, allowed)))
		}
	}
	times := func(key, text, limit string) sim.Time {
		most, _ := platform.ParseTime(limit)
		v, err := platform.ParseTime(text)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("probe.%s: %w", key, err))
		case v < 0 || v > most:
			errs = append(errs, fmt.Errorf("probe.%s is %s: allowed are 0ns to %s", key, text, limit))
		}
		return v
	}
	gap, gapByte := times("gap", p.Gap, "1ms"), times("gap_byte", p.GapByte, "1us")
	endByte := times("read_end_byte", p.ReadEndByte, "1us")
	size, window := bytes("size", p.Size), bytes("window", p.Window)
	word("access", p.Access, probe.Accesses)
	word("order", p.Order, ProbeOrders)
	word("pages", p.Pages, ProbePages)
	word("state", p.State, ProbeStates)
	if size != -1 && (size < 1 || size > 4096) {
		errs = append(errs, fmt.Errorf("probe.size is %s: allowed are 1B to 4KiB", p.Size))
	}
	if window != -1 && (window < 4096 || window > 1<<32 || window%4096 != 0) {
		errs = append(errs, fmt.Errorf("probe.window is %s: allowed are multiples of 4KiB up to 4GiB", p.Window))
	}
	if p.Outstanding < 1 || p.Outstanding > 1024 {
		errs = append(errs, fmt.Errorf("probe.outstanding is %d: allowed are 1 to 1024", p.Outstanding))
	}
	if p.PageRequests < 1 || p.PageRequests > 512 {
		errs = append(errs, fmt.Errorf("probe.page_requests is %d: allowed are 1 to 512", p.PageRequests))
	}
	return probe.Config{Access: probe.Access(p.Access), Size: int(size), Window: uint64(window), Sequential: p.Order == "sequential", Outstanding: p.Outstanding,
		Contiguous: p.Pages == "contiguous", Warm: p.State == "device", Demand: p.Pages == "demand", PageRequests: p.PageRequests, QueueOrder: vtd.PRQOrder,
		Gap: gap, GapByte: gapByte, ReadEndByte: endByte, Ordered: p.Ordered}, errs
}

// probeProblems lists what is wrong with the keys of the probe.
func (x *Experiment) probeProblems(s *platform.Spec) []error {
	c, errs := x.Probe.config()
	if slices.Contains(x.Workloads, dmaProbe) && errs == nil {
		if room := int64(s.Memory.RAM) / 2; int64(c.Window) > room {
			errs = append(errs, fmt.Errorf("probe.window is %s: half of the RAM, which may be used, is %d MiB", x.Probe.Window, room>>20))
		}
		if slices.ContainsFunc(x.Backends, func(b string) bool { return b == string(platform.SwiotlbForce) }) {
			errs = append(errs, fmt.Errorf("backend %s: workload %s would have its whole window in the bounce pool", platform.SwiotlbForce, dmaProbe))
		}
	}
	return errs
}

// probeTable shows what the probe saw.
func (c *Comparison) probeTable() *results.Table {
	p := &c.Exp.Probe
	t := &results.Table{ID: "dma_probe", Title: fmt.Sprintf("dma-probe: %s %s %s in %s (%s, %s), %d under way", p.Order, p.Access, p.Size, p.Window, p.Pages, p.State, p.Outstanding), Keys: 1,
		Columns: []results.Column{{Name: "backend", Text: true}, {Name: "kernel", Text: true}, {Name: "mean", Unit: "ns", Decimals: 1}, {Name: "p50", Unit: "ns"}, {Name: "p99", Unit: "ns"},
			{Name: "rate", Unit: "M/s", Decimals: 2}, {Name: "payload", Unit: "Gbit/s", Decimals: 2}, {Name: "IOTLB hit", Unit: "%", Decimals: 1}, {Name: "walk", Unit: "ns", Decimals: 0}}}
	for _, b := range c.Exp.Backends {
		for _, o := range c.row(dmaProbe, b, c.Exp.Caches[0]) {
			h := o.Latency
			rate, _ := o.Throughput()
			t.Add(short(b), o.Variant, h.Mean(), h.Quantile(0.5), h.Quantile(0.99), rate/1e6, rate*float64(o.Bytes)/float64(o.IOs)*8/1e9, o.HitRate(), o.WalkMean())
		}
	}
	t.Notes = []string{"From issue of an access to its end at the device (reads) or in memory (writes). Call and cache state do not matter to it, beyond the kernel whose tables it goes through."}
	return t
}

// faultTable shows what page faults cost the device.
func (c *Comparison) faultTable() *results.Table {
	t := &results.Table{ID: "page_requests", Title: fmt.Sprintf("dma-probe: page requests, at most %d under way", c.Exp.Probe.PageRequests), Keys: 1,
		Columns: []results.Column{{Name: "backend", Text: true}, {Name: "kernel", Text: true}, {Name: "faults"}, {Name: "mean", Unit: "ns"}, {Name: "p50", Unit: "ns"}, {Name: "p99", Unit: "ns"},
			{Name: "rate", Unit: "k/s", Decimals: 1}, {Name: "asked again"}, {Name: "dropped"}}}
	for _, b := range c.Exp.Backends {
		for _, o := range c.row(dmaProbe, b, c.Exp.Caches[0]) {
			if p := o.Pages; p != nil {
				t.Add(short(b), o.Variant, p.Requests, p.Latency.Mean(), p.Latency.Quantile(0.5), p.Latency.Quantile(0.99),
					float64(p.Made)/(float64(o.Elapsed)/float64(sim.Millisecond)), p.Again, p.Dropped)
			}
		}
	}
	t.Notes = []string{"From the page request leaving the device to the answer's arrival: link, queue, interrupt, IRQ thread, worker, page, response descriptor. Nothing of the kernel's part is recorded.",
		"No dma_map call faults: this is memory of a process that the device shares (SVA)."}
	return t
}

// probeDiffers tells whether a point of the grid is not the same to the probe as one before: neither cache state nor call matter to it.
func probeDiffers(seen map[string]bool, p Point) bool {
	id := p.Backend + "@" + kernelOf(p.Variant)
	if seen[id] {
		return false
	}
	seen[id] = true
	return true
}

// probeConfig is the probe's part of a run.
func (x *Experiment) probeConfig() (probe.Config, error) {
	c, errs := x.Probe.config()
	if errs != nil {
		return c, errs[0]
	}
	c.Operations, c.Seed = x.Operations, x.Seed
	return c, nil
}
