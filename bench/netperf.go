package bench

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/nic"
)

// NetperfRX is a TCP-like receiver: the link, the senders, the card, stack and application, and who else uses the machine.
type NetperfRX struct {
	Rate       string `yaml:"rate"`       // of the link, Gb/s
	FrameSize  int    `yaml:"frame_size"` // bytes without FCS
	Flows      int    `yaml:"flows"`      // connections per queue
	Window     string `yaml:"window"`     // bytes of a connection sent and not read, at most
	RTT        string `yaml:"rtt"`        // outside of the host
	Ring       int    `yaml:"ring"`
	Buffer     string `yaml:"buffer"`     // packet memory of the card
	Pause      bool   `yaml:"pause"`      // pause frames instead of losses
	Buffers    string `yaml:"buffers"`    // per-packet, page_pool, page-reuse
	Moderation string `yaml:"moderation"` // least time between two interrupts of a queue
	Read       string `yaml:"read"`       // bytes per recv
	// Instructions of the stack per frame, aggregate (GRO), acknowledgement, recv and frame read.
	FrameInstructions     int `yaml:"frame_instructions"`
	AggregateInstructions int `yaml:"aggregate_instructions"`
	AckInstructions       int `yaml:"ack_instructions"`
	RecvInstructions      int `yaml:"recv_instructions"`
	PageInstructions      int `yaml:"page_instructions"`
	// Antagonists: receiving CPUs with a process that spins beside the application, for a slice at a time; further CPUs that stream through
	// a window of memory each.
	CPUAntagonists    int    `yaml:"cpu_antagonists"`
	Slice             string `yaml:"slice"`
	MemoryAntagonists int    `yaml:"memory_antagonists"`
	MemoryWindow      string `yaml:"memory_window"`
	MemoryWrites      bool   `yaml:"memory_writes"`
}

const (
	netperfRX = "netperf-rx"
	pageReuse = "page-reuse"
)

func defaultNetperfRX() NetperfRX {
	s := nic.DefaultStack()
	return NetperfRX{Rate: "100", FrameSize: 1514, Flows: 1, Window: "1MiB", RTT: "20us", Ring: 1024, Buffer: "512KiB", Buffers: string(nic.PerPacket), Moderation: "20us", Read: "128KiB",
		FrameInstructions: s.Frame, AggregateInstructions: s.Aggregate, AckInstructions: s.Ack, RecvInstructions: s.Recv, PageInstructions: s.Page,
		Slice: "100us", MemoryWindow: "64MiB"}
}

// netperf makes the configuration of a run; errors name the keys.
func (x *Experiment) netperf(v dma.Variant, whole bool) (nic.Config, error) {
	n := &x.NetperfRX
	var errs []error
	bad := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("netperf_rx.%s: %w", key, err))
		}
	}
	bytes := func(key, text string) int {
		b, err := platform.ParseBytes(text)
		bad(key, err)
		return int(b)
	}
	span := func(key, text string) sim.Time {
		t, err := platform.ParseTime(text)
		bad(key, err)
		return t
	}
	rate, err := strconv.ParseFloat(n.Rate, 64)
	if err != nil {
		bad("rate", fmt.Errorf("%q is not a number of Gb/s", n.Rate))
	}
	sizes, err := nic.Fixed(n.FrameSize)
	bad("frame_size", err)
	if allowed := []string{string(nic.PerPacket), string(nic.Pool), pageReuse}; !slices.Contains(allowed, n.Buffers) {
		bad("buffers", fmt.Errorf("%q: allowed are %v%s", n.Buffers, allowed, didYouMean(n.Buffers, allowed)))
	}
	pool := n.Buffers == string(nic.Pool)
	c := nic.Config{Variant: v, Driver: whole, Style: nic.Style(n.Buffers), CPUs: x.CPUs, Frames: x.Operations, Sizes: sizes, Ring: n.Ring, PagePool: pool,
		Moderation: span("moderation", n.Moderation), Around: &workloads.Ambience{}, Seed: x.Seed,
		Stream: &nic.Stream{Rate: rate, Flows: n.Flows, Reuse: n.Buffers == pageReuse, Window: bytes("window", n.Window), RTT: span("rtt", n.RTT), Buffer: bytes("buffer", n.Buffer), Pause: n.Pause, Read: bytes("read", n.Read),
			Stack:          nic.Stack{Frame: n.FrameInstructions, Aggregate: n.AggregateInstructions, Ack: n.AckInstructions, Recv: n.RecvInstructions, Page: n.PageInstructions},
			CPUAntagonists: n.CPUAntagonists, Slice: span("slice", n.Slice), MemoryAntagonists: n.MemoryAntagonists, MemoryWindow: bytes("memory_window", n.MemoryWindow), MemoryWrites: n.MemoryWrites}}
	return c, errors.Join(errs...)
}

// netperfProblems lists what is wrong with the keys of netperf-rx.
func (x *Experiment) netperfProblems(s *platform.Spec) []error {
	c, err := x.netperf(nil, slices.Contains(x.Workloads, netperfRX) && slices.ContainsFunc(x.Variants, isDriver))
	if err == nil {
		err = c.Validate(int(s.CPU.Cores))
	}
	if err == nil {
		return nil
	}
	if !slices.Contains(x.Workloads, netperfRX) && x.NetperfRX == defaultNetperfRX() {
		return nil // few CPUs, another workload
	}
	return []error{err}
}

// cores is how many CPUs of the machine a run of workload takes.
func (x *Experiment) cores(workload string) int {
	if workload == netperfRX {
		return x.CPUs + x.NetperfRX.MemoryAntagonists
	}
	return x.CPUs
}

// netperfTables show the transfer: what was received, what was lost, and what a frame cost.
func (c *Comparison) netperfTables() []*results.Table {
	n := &c.Exp.NetperfRX
	who := ""
	if n.CPUAntagonists > 0 {
		who += fmt.Sprintf(", %d beside spinning processes", n.CPUAntagonists)
	}
	if n.MemoryAntagonists > 0 {
		who += fmt.Sprintf(", %d CPUs stream through memory", n.MemoryAntagonists)
	}
	col := func(name, unit string, decimals int) results.Column {
		return results.Column{Name: name, Unit: unit, Decimals: decimals}
	}
	keys := []results.Column{{Name: "backend", Text: true}, {Name: "variant", Text: true}}
	t := &results.Table{ID: "netperf_rx", Keys: 2, Title: fmt.Sprintf("netperf-rx: %s Gb/s link, frames of %d, %s, %d CPUs x %d connections%s", n.Rate, n.FrameSize, n.Buffers, c.Exp.CPUs, n.Flows, who),
		Columns: append(slices.Clone(keys), col("payload", "Gbit/s", 2), col("+-", "", 2), col("CPU", "%", 1), col("per frame", "cyc", 0), col("mapping", "cyc", 0), col("IOTLB", "misses/fr", 3), col("walk", "ns", 0))}
	l := &results.Table{ID: "netperf_rx_losses", Keys: 2, Title: "netperf-rx: losses and latency",
		Columns: append(slices.Clone(keys), col("lost", "%", 3), col("no buffer", "", 0), col("no room", "", 0), col("paused", "%", 2), col("in memory", "us", 1), col("antagonists", "GB/s", 1))}
	for _, b := range c.Exp.Backends {
		for _, o := range c.row(netperfRX, b, c.stepCache()) {
			rate, half := o.Throughput()
			gbit := float64(o.Bytes) / float64(o.IOs) * 8 / 1e9
			cycles := float64(o.Busy) / float64(sim.Second) * float64(o.Clock.Hz()) / float64(o.IOs)
			var walk any
			if o.Walkers > 0 {
				walk = o.WalkMean()
			}
			t.Add(short(b), o.Variant, rate*gbit, half*gbit, 100*float64(o.Busy)/float64(o.Elapsed)/float64(o.CPUs), cycles, o.MapShare(o.Clock, true)*cycles, o.MissesPerOperation(), walk)
			l.Add(short(b), o.Variant, 100*float64(o.Drops)/float64(o.Wire.Sent), float64(o.Wire.NoBuffer), float64(o.Wire.NoRoom), 100*float64(o.Wire.Paused)/float64(o.Elapsed), o.Latency.Mean()/1000,
				float64(o.Wire.Antagonists)/float64(o.Elapsed)*float64(sim.Second)/1e9)
		}
	}
	t.Notes = []string{"payload: what the applications have read, second half of the run. CPU: of the receiving CPUs, without antagonists. per frame, mapping: cycles of all CPUs, and those in the DMA API, per frame read, whole run. " +
		"IOTLB: walks per frame read, for data, descriptors and acknowledgements. What the stack executes is guessed."}
	l.Notes = []string{"lost: of the frames sent. no buffer: the ring was empty; no room: the card's packet memory was full. in memory: from arrival at the card to the driver."}
	return []*results.Table{t, l}
}

// MissesPerOperation is how many walks the IOMMU has begun per completed operation.
func (o *Outcome) MissesPerOperation() float64 { return float64(o.IOMMU.Walks) / float64(o.IOs) }
