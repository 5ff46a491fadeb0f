package advise

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dmapath/bench"
	"dmapath/bench/sensitivity"
	"dmapath/kernel/iommudma"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
)

// Record turns the advice into measurements and tables, the answer first.
func (a *Advice) Record() *results.Record {
	r := &results.Record{Name: "Advise", Version: results.Version(), Seed: a.seed}
	a.measure(r, a.Base)
	for _, o := range a.Options {
		a.measure(r, o)
	}
	r.Tables = append(r.Tables, a.answerTable(), a.exposureTable(), a.causeTable())
	if a.Samples > 0 {
		r.Tables = append(r.Tables, a.sureTable())
	}
	if t := a.Base.Setup.Trace; t != nil {
		r.Tables = append(r.Tables, t.table())
		r.Warnings = append(r.Warnings, t.blind()...)
	}
	r.Tables = append(r.Tables, a.termsTable())
	for _, n := range a.Platform.Notes() {
		r.Warnings = append(r.Warnings, a.Platform.Name+": "+n)
	}
	more := "--operations gives more"
	if a.Base.Setup.Trace != nil {
		more = "a longer trace or --sample gives more"
	}
	if len(a.ranked(untold)) > 0 {
		r.Warnings = append(r.Warnings, "too few operations for an interval, so that no difference is said: "+more)
	}
	var short []string
	for _, o := range append([]*Option{a.Base}, a.Options...) {
		if o.Failed == nil && o.Setup.backend().Lazy() && o.Exposure.Max > 0 && o.Exposure.Unmaps < steady*int64(o.out.cpus()) {
			short = append(short, fmt.Sprintf("%s (%d)", o.Name, o.Exposure.Unmaps))
		}
	}
	if len(short) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: so many unmaps do not fill the flush queues often enough for costs and windows to be steady, which takes about %d a CPU; %s", strings.Join(short, ", "), steady, more))
	}
	for _, o := range append([]*Option{a.Base}, a.Options...) {
		if o.Failed == nil && o.Drops > 0 {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: %d frames were dropped, so the CPU or the rings could not keep up", o.Name, o.Drops))
		}
		if o.Failed == nil && o.Refused > 0 {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s: the IOMMU refused %d transactions", o.Name, o.Refused))
		}
	}
	return r
}

// steady is how many unmaps a CPU makes until its flush queue is: a few rounds.
const steady = 3 * iommudma.QueueEntries

// number is v for a table, nothing where there is no interval.
func number(v float64) any {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return v
}

// order is the baseline and then all options as the tables have them.
func (a *Advice) order() []*Option {
	list := []*Option{a.Base}
	for g := range failed {
		list = append(list, a.ranked(g)...)
	}
	return list
}

func (a *Advice) answerTable() *results.Table {
	b := a.Base
	t := &results.Table{ID: "advice", Title: a.Answer(), Columns: []results.Column{{Name: "change", Text: true}, {Name: "saves", Unit: "cyc"}, {Name: "+-", Unit: "cyc"},
		{Name: "saves", Unit: "%", Decimals: 1}, {Name: "of a core", Unit: "%", Decimals: 2}, {Name: "rate", Unit: "%", Decimals: 1, Signed: true}, {Name: "exposes", Text: true}}}
	row := func(o *Option) {
		name := o.Name
		if o.Front {
			name = "* " + name
		}
		if o == b {
			t.Add(name, nil, nil, nil, nil, nil, Size(o.Exposure.Bytes()))
			return
		}
		var rate any
		if o.Rate.Sign() != 0 && !o.resize {
			rate = o.Rate.Mean
		}
		t.Add(name, number(o.Saves.Mean), number(o.Saves.Half), number(100*o.Saves.Mean/b.Cost), number(o.Core.Mean), rate, Size(o.Exposure.Bytes()))
	}
	row(b)
	var notes []string
	for g := range numGroups {
		list := a.ranked(g)
		if len(list) > 0 {
			t.Add(groupNames[g], "", "", "", "", "", "")
		}
		for _, o := range list {
			if g == failed {
				t.Add(o.Name, "", "", "", "", "", "")
				continue
			}
			row(o)
		}
	}
	var why []string // in the order of the options that it concerns, each once
	whose := map[string][]string{}
	for _, o := range a.ranked(failed) {
		text := o.Failed.Error()
		if whose[text] == nil {
			why = append(why, text)
		}
		whose[text] = append(whose[text], o.Name)
	}
	for _, text := range why {
		notes = append(notes, strings.Join(whose[text], ", ")+": "+text)
	}
	x := &b.Setup.Exp
	rate, half := b.out.rate()
	t.Notes = append(notes, fmt.Sprintf("As it is: %s, %s, %s, caches %s, on %s: %s cycles per %s at %s per second.", b.Setup.load(), b.Setup.variant(), b.Setup.backend(),
		x.Caches[0], a.Platform.Name, plusMinus(b.Cost, b.Half), operation(b.Setup.workload()), plusMinus(rate, half)),
		"saves: mapping cost per "+operation(b.Setup.workload())+", all calls together, paired with the same arrivals and buffers; +- is half of the 95 % interval, and a saving whose interval contains zero is no difference. of a core: at the rate of the "+
			"baseline. rate: of operations, where it changes. exposes: bytes at any time that the device could reach and should not. *: nothing else is cheaper without exposing more, or as cheap with less.")
	if slices.ContainsFunc(a.Options, func(o *Option) bool { return len(o.Changes) > 1 }) {
		t.Notes = append(t.Notes, "Combinations that save no more than one of their parts are left out.")
	}
	if slices.ContainsFunc(a.Options, func(o *Option) bool { return o.Failed == nil && o.resize }) {
		t.Notes = append(t.Notes, "Operations of another size are compared per byte and not paired.")
	}
	if slices.ContainsFunc(a.Options, func(o *Option) bool { return o.Failed == nil && o.Setup.kernel() != b.Setup.kernel() }) {
		t.Notes = append(t.Notes, "Another kernel is more than another call: compiler, hardening options and page-table code differ too.")
	}
	return t
}

// load describes a workload in a sentence.
func (u *Setup) load() string {
	x := &u.Exp
	switch u.workload() {
	case tracedWorkload:
		_, maps := u.Trace.perMap()
		all, _ := u.Trace.Trace().Calls()
		return fmt.Sprintf("%s, %d of %d maps performed", u.Trace.Name(), maps, all)
	case "nic":
		s := fmt.Sprintf("nic, frames of %s, %d per second and queue", x.NIC.Sizes, x.NIC.Rate)
		if u.driver() {
			s += ", " + x.NIC.Driver
		}
		return s
	case "netperf-rx":
		return fmt.Sprintf("netperf-rx, frames of %d bytes at %s Gb/s", x.NetperfRX.FrameSize, x.NetperfRX.Rate)
	case "nvme":
		return fmt.Sprintf("nvme, %s, queue depth %d", x.Size, x.NVMe.QueueDepth)
	}
	return u.workload() + ", " + x.Size
}

func (a *Advice) exposureTable() *results.Table {
	t := &results.Table{ID: "exposure", Title: "What the device could reach and should not, measured", Columns: []results.Column{{Name: "change", Text: true}, {Name: "RAM", Unit: "%", Decimals: 0},
		{Name: "after unmap", Unit: "KiB", Decimals: 1}, {Name: "mean", Unit: "us"}, {Name: "worst", Unit: "us"}, {Name: "beside", Unit: "B/map"}, {Name: "kept", Unit: "KiB"}}}
	for _, o := range a.order() {
		e := o.Exposure
		if e.RAM > 0 {
			t.Add(o.Name, 100*e.RAM, nil, nil, nil, nil, nil)
			continue
		}
		us := func(v sim.Time) float64 { return float64(v) / float64(sim.Microsecond) }
		t.Add(o.Name, 0, e.After/1024, us(e.Mean), us(e.Max), e.Beside, e.Kept/1024)
	}
	t.Notes = []string{fmt.Sprintf("RAM: share of %d random pages that the device reached before anything was mapped. after unmap: memory it could still reach, as a mean over the run, when it tries every buffer that was unmapped each %d us until it is refused; "+
		"mean and worst: from the return of the unmap to the last access that got through. beside: memory in the pages of a live buffer that is not the buffer's, per map. kept: bytes mapped during the whole second half of the run.", samples, probe/sim.Microsecond)}
	return t
}

// guesses counts the guessed values below some prefixes.
func guesses(s *platform.Spec, prefixes ...string) (n int) {
	for _, k := range s.Guesses() {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
			n++
		}
	}
	return n
}

func (a *Advice) causeTable() *results.Table {
	t := &results.Table{ID: "causes", Title: "What each saving consists of, cycles per " + operation(a.Base.Setup.workload()), Columns: []results.Column{{Name: "change", Text: true},
		{Name: "saves", Unit: "cyc"}, {Name: "execution", Unit: "cyc"}, {Name: "memory", Unit: "cyc"}, {Name: "waiting", Unit: "cyc"}, {Name: "waiting", Unit: "%", Decimals: 0}}}
	for _, o := range a.order()[1:] {
		sum := o.Saved.Execution + o.Saved.Memory + o.Saved.Waiting
		var share any
		if o.Saves.Sign() != 0 && sum != 0 {
			share = 100 * o.Saved.Waiting / sum
		}
		t.Add(o.Name, number(o.Saves.Mean), o.Saved.Execution, o.Saved.Memory, o.Saved.Waiting, share)
	}
	s := a.Platform
	t.Notes = []string{fmt.Sprintf("waiting: for registers, locks and the IOMMU. It rests on %d guessed values of iommu.* and %d of pcie.* of %s, memory on %d of cache.*, dram.* and tlb.*, execution on %d of cpu.* (dmapath platform show %s); "+
		"--uncertainty says whether the order survives when they are varied.", guesses(s, "iommu."), guesses(s, "pcie."), s.Name, guesses(s, "cache.", "dram.", "tlb."), guesses(s, "cpu."), s.Name)}
	return t
}

func (a *Advice) sureTable() *results.Table {
	t := &results.Table{ID: "sure", Title: fmt.Sprintf("How sure: %d machines drawn from the plausible ranges of %s", a.Samples, a.Platform.Name), Columns: []results.Column{{Name: "change", Text: true},
		{Name: "saves", Unit: "%", Decimals: 1}, {Name: "p5", Unit: "%"}, {Name: "p50", Unit: "%"}, {Name: "p95", Unit: "%"}, {Name: "saves in", Unit: "%", Text: true}, {Name: "best in", Unit: "%"}}}
	for _, o := range a.order()[1:] {
		s := o.Sure
		if s == nil || s.Judged == 0 {
			t.Add(o.Name, number(100*o.Saves.Mean/a.Base.Cost), nil, nil, nil, "", nil)
			continue
		}
		v := slices.DeleteFunc(slices.Clone(s.Saved), math.IsNaN)
		slices.Sort(v)
		at := func(q float64) float64 { return v[min(int(q*float64(len(v))), len(v)-1)] }
		low, high := sensitivity.Wilson(s.Saves, s.Judged)
		t.Add(o.Name, number(100*o.Saves.Mean/a.Base.Cost), at(0.05), at(0.5), at(0.95), fmt.Sprintf("%.0f (%.0f-%.0f)", 100*float64(s.Saves)/float64(s.Judged), 100*low, 100*high), 100*float64(s.Best)/float64(s.Judged))
	}
	t.Notes = []string{"saves: on the platform as it is, percent of the baseline's cost; p5 to p95: over the machines. saves in: share of the machines on which it saves, with its 95 % interval. best in: share on which no other change of its group saves more. " +
		"Ranges are conventions where nobody published one: a share says how much an order leans on unknown values, and is not the probability that it is true."}
	return t
}

// termsTable says in words what each change exposes and needs.
func (a *Advice) termsTable() *results.Table {
	t := &results.Table{ID: "terms", Title: "What each change exposes, and what must hold to make it", Columns: []results.Column{{Name: "change", Text: true}, {Name: "exposes", Text: true}, {Name: "needs", Text: true}}}
	for _, o := range append(a.order(), a.ranked(failed)...) {
		var needs []string
		for _, c := range o.Changes {
			needs = append(needs, c.Needs)
		}
		says := ""
		if o.Failed == nil {
			says = o.Exposure.sentence()
		}
		t.Add(o.Name, says, strings.Join(needs, "; "))
	}
	return t
}

// measure adds the long form of an option.
func (a *Advice) measure(r *results.Record, o *Option) {
	u := o.Setup
	dims := []results.Dim{{Key: "platform", Value: a.Platform.Name}, {Key: "workload", Value: u.workload()}, {Key: "change", Value: o.Name}, {Key: "backend", Value: string(u.backend())},
		{Key: "cache", Value: u.Exp.Caches[0]}, {Key: "variant", Value: u.variant()}}
	add := func(metric, unit string, v, half float64, n int64) {
		if math.IsInf(half, 0) {
			half = math.NaN()
		}
		r.Add(results.Measurement{Dims: dims, Metric: metric, Unit: unit, Value: v, CI95: half, N: n})
	}
	none := math.NaN()
	if o.Failed != nil {
		add("failed", "count", 1, none, 1)
		return
	}
	n := o.out.count()
	add("cost", "cycles", o.Cost, o.Half, n)
	if o != a.Base {
		add("saves", "cycles", o.Saves.Mean, o.Saves.Half, n)
		add("saves", "percent", 100*o.Saves.Mean/a.Base.Cost, 100*o.Saves.Half/a.Base.Cost, n)
		add("saves_of_core", "percent", o.Core.Mean, o.Core.Half, n)
		add("rate_change", "percent", o.Rate.Mean, o.Rate.Half, n)
		add("saves_execution", "cycles", o.Saved.Execution, none, n)
		add("saves_memory", "cycles", o.Saved.Memory, none, n)
		add("saves_waiting", "cycles", o.Saved.Waiting, none, n)
	}
	rate, half := o.out.rate()
	add("throughput", "per_second", rate, half, n)
	e := o.Exposure
	add("exposed", "bytes", e.Bytes(), none, 1)
	add("exposed_ram", "percent", 100*e.RAM, none, samples)
	if e.RAM == 0 {
		add("exposed_after_unmap", "bytes", e.After, none, e.Unmaps)
		add("window_mean", "ns", float64(e.Mean)/float64(sim.Nanosecond), none, e.Unmaps)
		bench.AddHistogram(r, dims, "window", "ns", e.Windows, 1)
		add("window_max", "ns", float64(e.Max)/float64(sim.Nanosecond), none, e.Unmaps)
		add("exposed_beside_a_buffer", "bytes", e.Beside, none, e.Maps)
		add("exposed_beside", "bytes", e.BesideOverall, none, e.Maps)
		add("exposed_kept", "bytes", e.Kept, none, 1)
	}
	if s := o.Sure; s != nil && s.Judged > 0 && o != a.Base {
		add("saves_in_samples", "percent", 100*float64(s.Saves)/float64(s.Judged), none, int64(s.Judged))
		add("best_in_samples", "percent", 100*float64(s.Best)/float64(s.Judged), none, int64(s.Judged))
	}
}

// Manifest returns what repeats the advice: experiment and platform, and how many samples there were.
func (a *Advice) Manifest() *results.Manifest {
	m := (&bench.Comparison{Platform: a.Platform, Exp: a.Base.Setup.Exp}).Manifest()
	if t := a.Base.Setup.Trace; t != nil {
		u, ext := a.Base.Setup, &t.Trace().Extent
		m.Config[0] = results.Section{Name: "trace", Text: fmt.Sprintf("name: %q\nevents: %d\nbackend: %s\nvariant: %s\ncache: %s\n", t.Name(), ext.Events, u.backend(), u.variant(), u.Exp.Caches[0])}
	}
	if a.Samples > 0 {
		m.Config = append(m.Config, results.Section{Name: "uncertainty", Text: fmt.Sprintf("samples: %d\n", a.Samples)})
	}
	return m
}
