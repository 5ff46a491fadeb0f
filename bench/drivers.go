package bench

import (
	"fmt"
	"slices"
	"strings"

	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/mm"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// Drivers are the variants that are whole drivers of a kernel instead of one call: driver@KERNEL. nvme and nic run them.
var Drivers = []string{"driver@6.12", "driver@7.3"}

// driver returns the call with which the whole driver called name maps a single segment; ok is false for other names.
func driver(name string) (v dma.Variant, ok bool) {
	if !slices.Contains(Drivers, name) {
		return nil, false
	}
	v, err := dma.Lookup("map_page@" + kernelOf(name))
	return v, err == nil
}

// isDriver reports whether a variant is a whole driver.
func isDriver(name string) bool {
	_, ok := driver(name)
	return ok
}

// lookup returns the call that a variant makes, and whether a whole driver makes it.
func lookup(name string) (v dma.Variant, whole bool, err error) {
	if v, ok := driver(name); ok {
		return v, true, nil
	}
	v, err = VariantByName(name)
	return v, false, err
}

// Where the data of an NVMe I/O can be, and how the drive reaches a second device.
var (
	Targets = []string{"memory", "p2p-pages", "p2p-mmio"}
	Routes  = []string{"host-bridge", "switch"}
)

// driverProblems lists what whole drivers, and only they, can be asked for.
func (x *Experiment) driverProblems(s *platform.Spec) (errs []error) {
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if kind, ok := x.peerKind(); ok {
		if _, err := s.PeerRange(kind); err != nil {
			bad("nvme.target is %s: %w", x.NVMe.Target, err)
		}
		for _, n := range x.Variants {
			if !isDriver(n) {
				bad("nvme.target is %s: variant %s maps memory; allowed are %s", x.NVMe.Target, n, strings.Join(Drivers, ", "))
			}
		}
	}
	i := slices.IndexFunc(x.Variants, isDriver)
	if i < 0 {
		return errs
	}
	driver := x.Variants[i]
	for _, w := range x.Workloads {
		if w != "nvme" && w != "nic" && w != netperfRX {
			bad("variant %s: workload %s has no driver; allowed are nvme, nic, netperf-rx", driver, w)
		}
	}
	if x.Source == "recorded" {
		bad("variant %s: --source recorded has single calls only", driver)
	}
	return errs
}

// peerKind says what the memory of the second device is; ok is false when there is none.
func (x *Experiment) peerKind() (kind mm.Kind, ok bool) {
	switch {
	case !slices.Contains(x.Workloads, "nvme"):
	case x.NVMe.Target == "p2p-pages":
		return mm.ZoneDevice, true
	case x.NVMe.Target == "p2p-mmio":
		return mm.MMIO, true
	}
	return mm.RAM, false
}

// options are those of the machine for variants of kernel v: Debian builds 7.3 with CONFIG_PCI_P2PDMA and 6.12 without, and who moves
// data between devices builds both with it.
func (x *Experiment) options(s *platform.Spec, v kernel.Version, backend string) (platform.Options, error) {
	o := platform.Options{Version: v, Backend: platform.Backend(backend), CPUs: x.CPUs, Seed: x.Seed, P2PDMA: v == kernel.V7_3, Stacks: x.stacks}
	if kind, ok := x.peerKind(); ok {
		bar, err := s.PeerRange(kind)
		if err != nil {
			return o, err
		}
		o.P2PDMA, o.Extra = true, mm.MemoryMap{bar}
	}
	return o, nil
}

// peer plugs in the second device that dev's data goes to; nil when it goes to memory.
func (x *Experiment) peer(m *platform.Machine, dev *platform.Device) (*platform.Peer, error) {
	if _, ok := x.peerKind(); !ok {
		return nil, nil
	}
	p, err := m.AddPeer("0000:02:00.0", 0x0200, m.Opt.Extra[0])
	if err != nil {
		return nil, err
	}
	route := kernel.P2PHostBridge
	if x.NVMe.Route == "switch" {
		route = kernel.P2PBusAddress
	}
	dev.Reaches(p, route)
	return p, nil
}

// unitTables show what all mapping calls of one operation cost together: of an I/O, of a packet. They are there when a whole driver
// is among the variants.
func (c *Comparison) unitTables(workload, backend string) (tables []*results.Table) {
	if !slices.ContainsFunc(c.Exp.Variants, isDriver) {
		return nil
	}
	for i := range c.row(workload, backend, c.stepCache())[0].Units {
		if t := c.unitTable(workload, backend, i); len(t.Rows) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

func (c *Comparison) unitTable(workload, backend string, unit int) *results.Table {
	name := c.row(workload, backend, c.stepCache())[0].Units[unit].Name
	t := &results.Table{ID: snake(workload + "_" + backend + "_per_" + strings.ReplaceAll(name, "/", "")),
		Title: fmt.Sprintf("%s, %s on %s: mapping cost per %s, all calls together", c.load(workload), backend, c.Platform.Name, name),
		Columns: []results.Column{{Name: "variant", Text: true}, {Name: "calls", Decimals: 1}, {Name: "instr"}, {Name: "cycles", Unit: "cyc"}, {Name: "+-", Unit: "cyc"},
			{Name: "vs first", Unit: "cyc", Text: true}, {Name: "around", Unit: "cyc"}, {Name: "sum", Unit: "cyc"}}}
	around := false
	for _, state := range c.Exp.Caches {
		shown := false
		row := c.row(workload, backend, state)
		for _, o := range row {
			u := o.Units[unit]
			if u.Cycles.N == 0 {
				continue
			}
			if !shown {
				t.Add("["+state+"]", "", "", "", "", "", "", "")
				shown = true
			}
			cost := u.Cycles.SecondHalf()
			vs := ""
			if first := row[0].Units[unit]; first != u && first.Cycles.N > 0 {
				vs = difference(sim.SecondHalfDifference(&first.Cycles, &u.Cycles))
			}
			var own, sum any
			if isDriver(o.Variant) {
				a := u.Around.SecondHalf().Mean
				own, sum, around = a, a+cost.Mean, true
			}
			t.Add(o.Variant, u.Calls.SecondHalf().Mean, u.Instr.SecondHalf().Mean, cost.Mean, finite(cost.HalfWidth), vs, own, sum)
		}
	}
	t.Notes = append(t.Notes, "calls, instr, cycles: of the DMA API, from the first map to the last unmap of one "+name+".")
	if around {
		t.Notes = append(t.Notes, "around: what the driver does because of how it maps (scatterlists, descriptor lists, their pools); estimated from the source, not recorded.")
	}
	if workload == "nvme" && slices.ContainsFunc(c.Exp.Variants, func(n string) bool { return !isDriver(n) }) {
		t.Notes = append(t.Notes, "Single calls map one contiguous buffer, whatever nvme.segments says.")
	}
	if c.Exp.CrossesKernels() {
		t.Notes = append(t.Notes, "Across kernels compiler, hardening and page tables differ too: 'vs first' is the difference of driver and kernel together.")
	}
	return t
}

// crossing says on the tables of single calls that compare kernels what that means.
const crossing = "'vs first' across kernels is not the price of the API (compiler, hardening, page tables differ too): 'in kernel' is."

// measureUnits adds the long form of what operations cost.
func (o *Outcome) measureUnits(row []*Outcome, add func(metric, unit string, v, ci float64, n int64)) {
	for i, u := range o.Units {
		if u.Cycles.N == 0 {
			continue
		}
		name := strings.ReplaceAll(snake(strings.ToLower(u.Name)), "/", "")
		for _, s := range []struct {
			metric, unit string
			of           func(u *workloads.Unit) *sim.Series
		}{{"_mapping", "cycles", func(u *workloads.Unit) *sim.Series { return &u.Cycles }}, {"_mapping_instructions", "count", func(u *workloads.Unit) *sim.Series { return &u.Instr }},
			{"_mapping_calls", "count", func(u *workloads.Unit) *sim.Series { return &u.Calls }}, {"_mapping_around", "cycles", func(u *workloads.Unit) *sim.Series { return &u.Around }}} {
			if s.metric == "_mapping_around" && !isDriver(o.Variant) {
				continue
			}
			e := s.of(u).SecondHalf()
			add(name+s.metric, s.unit, e.Mean, e.HalfWidth, int64(e.N))
		}
		if first := row[0].Units[i]; first != u && first.Cycles.N > 0 {
			d := sim.SecondHalfDifference(&first.Cycles, &u.Cycles)
			add(name+"_mapping_vs_first", "cycles", d.Mean, d.HalfWidth, int64(d.N))
		}
	}
}
