package host

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"dmapath/platform"
	"dmapath/sim"
)

// Value is one derived parameter.
type Value struct {
	Key, Text string // as a platform file writes them
	How       string // what was measured and what follows
}

// Derived is what follows from measurements.
type Derived struct {
	Base   string // preset extended
	Values []Value
	Notes  []string
	Spec   *platform.Spec // the machine
	// Checked compares the probes with the machine: fitted ones and those that nothing was fitted on.
	Checked []Checked
}

// Checked is a probe of the calibration on the derived machine.
type Checked struct {
	Probe               *Probe
	Measured, Simulated float64 // cycles per unit
	Fitted              bool
}

// fit says which parameter a probe decides: the one at which the simulated probe takes as long as the native one.
type fit struct {
	key, probe string
	unit       string  // suffix of the value: "cycles", "ns", "" for a count
	step       float64 // resolution in that unit
	slope      float64 // cycles per unit of the probe that one more unit of the parameter costs, to start with; 0: one cycle, or a ns in cycles
	lo, hi     float64
}

// fits in the order in which they are made: what a later probe contains is fitted before it.
var fits = []fit{
	{"cache.l1d.latency", "chase_l1", "cycles", 1, 0, 1, 40},
	{"cache.l2.latency", "chase_l2", "cycles", 1, 0, 4, 200},
	{"tlb.stlb_latency", "pages_256_12", "cycles", 1, 0, 0, 100},
	{"cache.llc.latency", "chase_llc", "ns", 0.1, 0, 5, 500},
	{"tlb.walk_start", "pages_4096_21", "cycles", 1, 0, 0, 100},
	{"dram.overhead", "chase_memory", "ns", 0.5, 0, 0, 900},
	{"cache.prefetch.next_line", "laps_memory", "", 1, -40, 1, 8},
	{"cpu.latency.mul", "muls", "cycles", 1, 0, 1, 32},
	{"cpu.latency.bit_scan", "scans", "cycles", 1, 0, 1, 16},
	{"cpu.latency.store_forward", "forwards", "cycles", 1, 0, 1, 32},
	{"cpu.latency.atomic", "xadds", "cycles", 1, 0, 1, 200},
	{"cpu.latency.fence", "storefences", "cycles", 1, 0, 0, 500},
	{"cpu.latency.serialize", "serials", "cycles", 1, 0, 0, 500},
	{"cpu.latency.sysreg", "counters", "cycles", 1, 0, 1, 1000},
	{"cpu.latency.pause", "pauses", "cycles", 1, 0, 1, 1000},
	{"cpu.branch.mispredict", "coin_random", "cycles", 1, 0.5, 1, 100},
	{"cpu.string.startup", "copy_8", "cycles", 1, 0, 0, 500},
}

// simulatedBytes is how much memory a probe may have to be simulated when nothing is fitted on it: the simulation needs as much.
const simulatedBytes = 512 << 20

// Derive finds the parameters of the machine that was measured. Measurements that are missing leave the preset's values. It is deterministic.
func Derive(ms *Measurements, base string) (*Derived, error) {
	spec, err := LoadBase(base)
	if err != nil {
		return nil, err
	}
	if spec.CPU.WeakStores != (ms.System.Arch == "arm64") {
		return nil, fmt.Errorf("preset %s is of another architecture than this machine (%s)", base, ms.System.Arch)
	}
	d := &Derived{Base: base, Spec: spec}
	probes := map[string]*Probe{}
	list := probesFor(&ms.System)
	for _, p := range list {
		probes[p.Name] = p
	}
	d.direct(ms)
	fitted := map[string]bool{}
	for _, f := range fits {
		want, ok := ms.Cycles[f.probe]
		if !ok {
			d.Notes = append(d.Notes, fmt.Sprintf("%s could not be measured: %s has the preset's value", f.probe, f.key))
			continue
		}
		if err := d.fit(f, probes[f.probe], want); err != nil {
			return nil, err
		}
		fitted[f.probe] = true
	}
	for _, p := range list {
		if v, ok := ms.Cycles[p.Name]; ok {
			got := math.NaN()
			if p.Bytes <= simulatedBytes {
				if got, err = Simulate(d.Spec, p); err != nil {
					return nil, err
				}
			}
			d.Checked = append(d.Checked, Checked{p, v, got, fitted[p.Name]})
		}
	}
	return d, nil
}

// LoadBase loads a preset; a file can be no base, since a file that extends it must be found.
func LoadBase(name string) (*platform.Spec, error) {
	if !slices.Contains(platform.Names(), name) {
		return nil, fmt.Errorf("%q is no preset that can be extended: presets are %s", name, strings.Join(platform.Names(), ", "))
	}
	return platform.Load(name)
}

// set changes a value; a value that the platform does not allow is a note and not a change.
func (d *Derived) set(key, text, how string) bool {
	s := d.Spec.Clone()
	err := s.Set(key, text)
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		d.Notes = append(d.Notes, fmt.Sprintf("%s: measured %s, which cannot be set: %v", key, text, err))
		return false
	}
	d.Spec = s
	d.Values = append(d.Values, Value{key, text, how})
	return true
}

// direct sets what follows without a simulation.
func (d *Derived) direct(ms *Measurements) {
	mhz := math.Round(ms.CoreHz / 1e6)
	d.set("cpu.frequency", fmt.Sprintf("%.0fMHz", mhz), "a chain of dependent additions, one a cycle, against the counter and the clock")
	for _, c := range []string{"l1i", "l1d", "l2", "llc"} {
		if g, ok := ms.System.Caches[c]; ok {
			// Size and ways belong together: one alone may give a number of sets that cannot be.
			s := d.Spec.Clone()
			if s.Set("cache."+c+".ways", strconv.Itoa(g.Ways)) == nil && s.Set("cache."+c+".size", fmt.Sprintf("%dKiB", g.Bytes>>10)) == nil && s.Check() == nil {
				how := "what the processor reports (cpuid or CCSIDR, by sysfs)"
				d.Spec = s
				d.Values = append(d.Values, Value{"cache." + c + ".size", fmt.Sprintf("%dKiB", g.Bytes>>10), how}, Value{"cache." + c + ".ways", strconv.Itoa(g.Ways), how})
			}
		}
	}
	if v, ok := ms.Cycles["stores"]; ok {
		n := max(1, min(4, math.Round(1/v)))
		d.set("cpu.commit_width", fmt.Sprintf("%.0f", n), fmt.Sprintf("%.2f cycles per store, each to another line than the one before", v))
	}
	if a, ok := ms.Cycles["copy_4096"]; ok {
		if b, ok := ms.Cycles["copy_16384"]; ok && b > a {
			n := max(1, min(64, math.Round(12288/(b-a))))
			d.set("cpu.string.bytes_per_cycle", fmt.Sprintf("%.0f", n), fmt.Sprintf("string copies of 4 and 16 KiB take %.0f and %.0f cycles", a, b))
		}
	}
	if v, ok := ms.Cycles["xaddloads"]; ok && ms.Cycles["chase_l1"] > 0 && ms.Cycles["xadds"] > 0 && bool(d.Spec.CPU.AtomicDrains) {
		both := ms.Cycles["xadds"] + 16*ms.Cycles["chase_l1"]
		text := "on"
		if v < both-ms.Cycles["xadds"]/2 {
			text = "off"
		}
		d.set("cpu.atomic_holds", text, fmt.Sprintf("a locked addition and 16 dependent loads of another line take %.1f cycles together and %.1f one after the other", v, both))
	}
	if page, ok := ms.Cycles["laps_l2"]; ok && ms.Cycles["chase_l2"] > 0 {
		all := ms.Cycles["chase_l2"]
		text := "off"
		if page < 0.85*all {
			text = "on"
		}
		d.set("cache.prefetch.next_line_l1", text, fmt.Sprintf("a chase in L2 takes %.1f cycles page by page and %.1f over all pages", page, all))
	}
	d.dtlb(ms)
	d.nested(ms)
}

// dtlb finds where a chase over pages begins to miss the first-level data TLB: the last number of pages at less than half the rise.
func (d *Derived) dtlb(ms *Measurements) {
	lo, ok1 := ms.Cycles["pages_16_12"]
	hi, ok2 := ms.Cycles["pages_128_12"]
	if !ok1 || !ok2 || hi < lo+2 {
		return
	}
	last, next := 0, 0
	for _, n := range dtlbSteps {
		v, ok := ms.Cycles[fmt.Sprintf("pages_%d_12", n)]
		if !ok {
			return
		}
		if v > (lo+hi)/2 {
			next = n
			break
		}
		last = n
	}
	if next == 0 {
		return
	}
	how := fmt.Sprintf("a chase over one line a page takes %.1f cycles up to %d pages and %.1f from %d on", lo, last, hi, next)
	have := int(d.Spec.TLB.DTLB4K.Entries)
	if have >= last && have < next {
		d.set("tlb.dtlb_4k.entries", strconv.Itoa(have), how)
		return
	}
	s := d.Spec.Clone()
	ways := int(s.TLB.DTLB4K.Ways)
	if ways == have { // fully associative stays that
		ways = last
	}
	if s.Set("tlb.dtlb_4k.entries", strconv.Itoa(last)) == nil && s.Set("tlb.dtlb_4k.ways", strconv.Itoa(ways)) == nil && s.Check() == nil {
		if _, _, err := s.LoneCore(newSpace(nil)); err == nil {
			d.Spec = s
			d.Values = append(d.Values, Value{"tlb.dtlb_4k.entries", strconv.Itoa(last), how}, Value{"tlb.dtlb_4k.ways", strconv.Itoa(ways), how})
			return
		}
	}
	d.Notes = append(d.Notes, fmt.Sprintf("tlb.dtlb_4k: %s; the preset's %d entries stay", how, have))
}

// nested finds out whether TLBs hold huge pages as small ones, which they do where a hypervisor maps memory by small pages. What is bigger on
// its side than 4 KiB cannot be told from bare metal by this, and walks are as short.
func (d *Derived) nested(ms *Measurements) {
	flat, ok1 := ms.Cycles["pages_16_12"]
	small, ok2 := ms.Cycles["pages_256_12"]
	huge, ok3 := ms.Cycles["pages_256_21"]
	if !ok1 || !ok2 || !ok3 || small < flat+2 {
		return
	}
	share := (huge - flat) / (small - flat)
	how := fmt.Sprintf("256 times 4 KiB cost %.1f cycles in small and %.1f in huge pages", small, huge)
	switch {
	case ms.System.Virtual && share > 0.5:
		d.set("tlb.nested", "4KiB", how+": huge pages are held as small ones")
	case ms.System.Virtual:
		d.set("tlb.nested", "2MiB", how+": the host's pages are not small; that they are 2 MiB and not larger is a guess")
	default:
		d.set("tlb.nested", "off", "no hypervisor is reported")
	}
}

// fit moves one parameter until the simulated probe takes as long as the native one, by the secant method on the parameter's grid.
func (d *Derived) fit(f fit, p *Probe, want float64) error {
	text, err := d.Spec.Get(f.key)
	if err != nil {
		return err
	}
	slope := f.slope
	if slope == 0 {
		slope = 1
	}
	if f.unit == "ns" {
		slope *= float64(d.Spec.CPU.Frequency) / float64(sim.Second) * float64(sim.Nanosecond)
	}
	grid := func(v float64) float64 { return math.Round(min(max(v, f.lo), f.hi)/f.step) * f.step }
	decimals := 0
	if f.step < 1 {
		decimals = 1
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) + f.unit }
	n, _ := d.Spec.Number(f.key)
	x := float64(n)
	if f.unit == "ns" {
		x /= float64(sim.Nanosecond)
	}
	x = grid(x)
	tried := map[float64]float64{}
	best, bestErr := x, math.Inf(1)
	var lastX, lastV float64
	for i := range 7 {
		s := d.Spec.Clone()
		v := math.NaN()
		if err := s.Set(f.key, number(x)); err == nil && s.Check() == nil {
			if v, err = Simulate(s, p); err != nil {
				return fmt.Errorf("%s = %s: %w", f.key, number(x), err)
			}
		}
		if math.IsNaN(v) {
			break
		}
		tried[x] = v
		if e := math.Abs(v - want); e < bestErr {
			best, bestErr = x, e
		}
		if i > 0 && x != lastX && (v-lastV)/(x-lastX)/slope > 0.05 { // the same direction, and not flat
			slope = (v - lastV) / (x - lastX)
		}
		lastX, lastV = x, v
		x = grid(x + (want-v)/slope)
		if _, done := tried[x]; done {
			break
		}
	}
	v := tried[best]
	off := math.Abs(v-want) / want
	if off > 0.1 {
		d.Notes = append(d.Notes, fmt.Sprintf("%s: no value makes the simulated probe %s take %s cycles; %s gives %s (the preset has %s)", f.key, p.Name, short(want), number(best), short(v), text))
	}
	if off <= 0.25 { // else the probe measured something else: a neighbour, or what the model does not have
		d.set(f.key, number(best), fmt.Sprintf("%s: %s cycles", p.What, short(want)))
	}
	return nil
}

// short writes a number of cycles.
func short(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
