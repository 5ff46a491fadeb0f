package bench

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// op is one of the measured calls of an outcome with its name.
type op struct {
	name string
	*workloads.Op
}

func (o *Outcome) ops() []op {
	list := []op{{"map", o.Map}, {"unmap", o.Unmap}}
	for _, p := range []op{{"sync", o.Sync}, {"setup", o.Setup}, {"teardown", o.Teardown}} {
		if p.Op != nil {
			list = append(list, p)
		}
	}
	return slices.DeleteFunc(list, func(p op) bool { return p.N == 0 })
}

// find returns the op called name, nil if the outcome has none.
func (o *Outcome) find(name string) *workloads.Op {
	for _, p := range o.ops() {
		if p.name == name {
			return p.Op
		}
	}
	return nil
}

// kernelOf returns the part of a variant's name behind the @.
func kernelOf(variant string) string {
	_, k, _ := strings.Cut(variant, "@")
	return k
}

// Record turns the comparison into measurements and tables.
func (c *Comparison) Record() *results.Record {
	r := &results.Record{Name: "Compare", Seed: c.Exp.Seed}
	for _, o := range c.Outcomes {
		o.measure(r, c)
	}
	for _, p := range c.PfnValid {
		p.measure(r, c)
	}
	for _, w := range c.Exp.Workloads {
		for _, b := range c.Exp.Backends {
			r.Tables = append(r.Tables, c.unitTables(w, b)...)
			for _, name := range []string{"map", "unmap", "sync"} {
				if t := c.costTable(w, b, name); t != nil {
					r.Tables = append(r.Tables, t)
				}
			}
		}
	}
	for _, w := range c.Exp.Workloads {
		if w == dmaProbe {
			r.Tables = append(r.Tables, c.probeTable())
			if c.Exp.Probe.Pages == "demand" {
				r.Tables = append(r.Tables, c.faultTable())
			}
			continue
		}
		if w == netperfRX {
			r.Tables = append(r.Tables, c.netperfTables()...)
		}
		r.Tables = append(r.Tables, c.countTable(w))
	}
	for _, w := range c.Exp.Workloads {
		for _, b := range c.Exp.Backends {
			r.Tables = append(r.Tables, c.stepTables(w, b)...)
		}
	}
	r.Tables = append(r.Tables, c.pfnTable())
	if t := c.systemTable(); len(t.Rows) > 0 {
		r.Tables = append(r.Tables, t)
	}
	r.Warnings = c.warnings()
	return r
}

// measure adds the long form of o.
func (o *Outcome) measure(r *results.Record, c *Comparison) {
	dims := []results.Dim{{Key: "platform", Value: c.Platform.Name}, {Key: "workload", Value: o.Workload}, {Key: "source", Value: c.Exp.Source},
		{Key: "backend", Value: o.Backend}, {Key: "cache", Value: o.Cache}, {Key: "variant", Value: o.Variant}}
	add := func(metric, unit string, v float64, ci float64, n int64) {
		r.Add(results.Measurement{Dims: dims, Metric: metric, Unit: unit, Value: v, CI95: finite(ci), N: n})
	}
	row := c.row(o.Workload, o.Backend, o.Cache)
	for _, p := range o.ops() {
		e := p.Series.SecondHalf()
		add(p.name+"_mean", "cycles", e.Mean, e.HalfWidth, int64(e.N))
		add(p.name+"_warmup", "calls", float64(e.Warmup), math.NaN(), int64(p.Series.N))
		for _, q := range quantiles {
			add(p.name+"_"+q.name, "cycles", float64(p.Cycles.Quantile(q.q)), quantileHalf(p.Cycles, q.q), p.N)
		}
		add(p.name+"_max", "cycles", float64(p.Cycles.Max), math.NaN(), p.N)
		for _, b := range []struct {
			name string
			o    *Outcome
		}{{"vs_first", row[0]}, {"vs_same_kernel", base(row, o)}} {
			if q := b.o.find(p.name); q != nil && b.o != o {
				d := sim.SecondHalfDifference(&q.Series, &p.Series)
				add(p.name+"_"+b.name, "cycles", d.Mean, d.HalfWidth, int64(d.N))
			}
		}
		t := p.Acct.Total()
		n := float64(p.N)
		count := func(metric, unit string, f func(f *cpu.FnCount) int64) {
			add(p.name+"_"+metric, unit, float64(f(&t))/n, p.Interval(f), p.N)
		}
		count("instructions", "count", (*cpu.FnCount).Instructions)
		count("loads", "count", (*cpu.FnCount).Loads)
		count("stores", "count", (*cpu.FnCount).Stores)
		count("mispredicts", "count", func(f *cpu.FnCount) int64 { return f.Mispredicts })
		for l := range cache.NumLevels {
			count("lines_"+strings.ToLower(cache.Level(l).String()), "count", func(f *cpu.FnCount) int64 { return f.Level[l] })
		}
		for s := cpu.StallFetch; s < cpu.NumStalls; s++ {
			if t.Stall[s] > 0 {
				count("stall_"+s.String(), "cycles", func(f *cpu.FnCount) int64 { return f.Stall[s] })
			}
		}
		for _, st := range steps(p.Op) {
			r.Add(results.Measurement{Dims: append(slices.Clone(dims), results.Dim{Key: "function", Value: st.name}), Metric: p.name + "_step", Unit: "cycles",
				Value: st.cycles, CI95: p.StepInterval(st.ids), N: p.N})
		}
	}
	o.distribute(r, dims)
	o.plotOverTime(r, dims)
	o.measureUnits(row, add)
	seconds := float64(o.Elapsed) / float64(sim.Second)
	if seconds > 0 {
		rate, half := o.Throughput()
		add("throughput", "per_second", rate, half, o.IOs)
		perIO := float64(o.Bytes) / float64(o.IOs) * 8 / 1e9
		add("bandwidth", "Gbit/s", rate*perIO, half*perIO, o.IOs)
		if o.CPUs > 0 {
			share, half := o.MapShare(o.Clock, false), o.shareHalf()
			add("mapping_share_of_cpu", "percent", 100*share, 100*half, o.IOs)
			busy := o.MapShare(o.Clock, true)
			add("mapping_share_of_busy", "percent", 100*busy, 100*half*busy/share, o.IOs)
		}
	}
	if o.Latency != nil && o.Latency.N > 0 {
		add("latency_mean", "ns", o.Latency.Mean(), normal95*o.Latency.StdDev()/math.Sqrt(float64(o.Latency.N)), int64(o.Latency.N))
		add("latency_p50", "ns", float64(o.Latency.Quantile(0.5)), quantileHalf(o.Latency, 0.5), int64(o.Latency.N))
		add("latency_p99", "ns", float64(o.Latency.Quantile(0.99)), quantileHalf(o.Latency, 0.99), int64(o.Latency.N))
	}
	add("drops", "count", float64(o.Drops), math.NaN(), o.IOs)
	add("interrupts", "count", float64(o.Interrupts), math.NaN(), o.IOs)
	add("faults", "count", float64(o.Faults), math.NaN(), o.IOs)
	if o.Walkers > 0 {
		n := float64(o.IOMMU.Hits + o.IOMMU.Merges + o.IOMMU.Walks)
		p := o.HitRate() / 100
		add("iotlb_hit_rate", "percent", o.HitRate(), 100*normal95*math.Sqrt(p*(1-p)/n), int64(o.IOMMU.Requests))
		walks := o.IOMMU.WalkTimes
		add("walk_mean", "ns", o.WalkMean(), normal95*walks.StdDev()/float64(sim.Nanosecond)/math.Sqrt(float64(walks.N)), int64(o.IOMMU.Walks))
	}
}

var quantiles = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}}

// normal95 is the two-sided 95 % quantile of the normal distribution.
const normal95 = 1.96

// quantileHalf returns half of the 95 % interval of quantile q: the distance between the values whose ranks bound it with
// that probability when the values are independent. NaN when the upper rank lies beyond the largest value.
func quantileHalf(h *sim.Histogram, q float64) float64 {
	d := normal95 * math.Sqrt(q*(1-q)/float64(h.N))
	if q+d >= 1 || q-d <= 0 {
		return math.NaN()
	}
	return float64(h.Quantile(q+d)-h.Quantile(q-d)) / 2
}

// shareHalf returns half of the 95 % interval of the share of the CPUs' time spent in mapping calls, 0 to 1: the sum of the
// calls' own intervals, which is what it is at most.
func (o *Outcome) shareHalf() (half float64) {
	for _, p := range o.ops() {
		half += p.ShareInterval(o.Clock)
	}
	return half / float64(o.CPUs)
}

// HitRate is the share of translated requests that the IOTLB answered, in percent; NaN without any.
func (o *Outcome) HitRate() float64 {
	s := &o.IOMMU
	return 100 * float64(s.Hits+s.Merges) / float64(s.Hits+s.Merges+s.Walks)
}

// WalkMean is the mean latency of a page walk in nanoseconds; NaN without any.
func (o *Outcome) WalkMean() float64 {
	if h := o.IOMMU.WalkTimes; h != nil && h.N > 0 {
		return h.Mean() / float64(sim.Nanosecond)
	}
	return math.NaN()
}

func finite(v float64) float64 {
	if math.IsInf(v, 0) {
		return math.NaN()
	}
	return v
}

// step is one kernel function's share of a call.
type step struct {
	name          string
	ids           []uint16 // of its functions, see cpu.FuncByID
	cycles, instr float64
	level         [cpu.NumLevels]float64
	wait          float64 // cycles of waiting for others: registers, locks, invalidations
}

// steps lists the functions of a call by their cycles per call, most first. What the driver itself executes (the call
// instruction) is one entry, and so are functions of one name.
func steps(o *workloads.Op) []step {
	var list []step
	index := map[string]int{}
	n := float64(o.N)
	for id := range o.Acct.Fn {
		f := &o.Acct.Fn[id]
		if f.Instructions() == 0 && f.Cycles == 0 {
			continue
		}
		fn := cpu.FuncByID(uint16(id))
		name := fn.Name
		if id == 0 || !o.Driver && (strings.HasPrefix(fn.File, "drivers/nvme/") || strings.HasPrefix(fn.File, "drivers/net/")) {
			name = "(caller)"
		}
		i, ok := index[name]
		if !ok {
			i = len(list)
			index[name] = i
			list = append(list, step{name: name})
		}
		s := &list[i]
		s.ids = append(s.ids, uint16(id))
		s.cycles += float64(f.Cycles) / n
		s.instr += float64(f.Instructions()) / n
		s.wait += float64(f.Stall[cpu.StallMMIO]+f.Stall[cpu.StallLock]+f.Stall[cpu.StallInv]) / n
		for l := range s.level {
			s.level[l] += float64(f.Level[l]) / n
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].cycles > list[j].cycles })
	return list
}

// difference prints an estimate of a difference: the mean with half its 95 % interval in brackets, and a tilde when the interval
// contains zero.
func difference(e sim.Estimate) string {
	if math.IsInf(e.HalfWidth, 0) || math.IsNaN(e.Mean) {
		return "too few"
	}
	format := "%+.1f (%.1f)"
	if math.Abs(e.Mean) >= 1000 || e.HalfWidth >= 100 {
		format = "%+.0f (%.0f)"
	}
	s := fmt.Sprintf(format, e.Mean, e.HalfWidth)
	if !e.Significant() && e.Mean != 0 {
		s = "~" + s
	}
	if e.Mean == 0 && e.HalfWidth == 0 {
		return "0"
	}
	return s
}

// costTable shows the cycles of one call of one workload on one backend.
func (c *Comparison) costTable(workload, backend, call string) *results.Table {
	first := c.Exp.Variants[0]
	t := &results.Table{ID: snake(workload + "_" + backend + "_" + call), Columns: []results.Column{{Name: "variant", Text: true}, {Name: "mean", Unit: "cyc"},
		{Name: "p50", Unit: "cyc"}, {Name: "p99", Unit: "cyc"}, {Name: "p99.9", Unit: "cyc"}, {Name: "vs first", Unit: "cyc", Text: true},
		{Name: "in kernel", Unit: "cyc", Text: true}},
		Title: fmt.Sprintf("%s, %s on %s (%s): cycles per %s", c.load(workload), backend, c.Platform.Name, c.Exp.Source, call)}
	for _, state := range c.Exp.Caches {
		row := c.row(workload, backend, state)
		shown := false
		for _, o := range row {
			p := o.find(call)
			if p == nil {
				continue
			}
			if !shown {
				t.Add("["+state+"]", "", "", "", "", "", "")
				shown = true
			}
			vs, in := "", ""
			if q := row[0].find(call); q != nil && row[0] != o {
				vs = difference(sim.SecondHalfDifference(&q.Series, &p.Series))
			}
			if q := base(row, o).find(call); q != nil && q != p {
				in = difference(sim.SecondHalfDifference(&q.Series, &p.Series))
			}
			t.Add(o.Variant, p.Series.SecondHalf().Mean, p.Cycles.Quantile(0.5), p.Cycles.Quantile(0.99), p.Cycles.Quantile(0.999), vs, in)
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	if slices.ContainsFunc(c.Exp.Variants, isDriver) {
		t.Notes = append(t.Notes, "driver@: the "+call+"s of one request together, as many calls as the driver makes for it.")
	}
	if workload == c.Exp.Workloads[0] && backend == c.Exp.Backends[0] && call == "map" {
		t.Notes = append(t.Notes, fmt.Sprintf("vs first: mean difference to %s with half of its 95 %% interval; ~ means that the interval contains zero. "+
			"in kernel: the same against the first variant of the same kernel. All figures are of the second half of the calls; the end of the warm-up found (MSER-5) is in the CSV.", first))
		if n := c.Outcomes[0].ops()[0].N; n < 1000 {
			t.Notes = append(t.Notes, fmt.Sprintf("With %d calls in that half p99.9 is the largest or nearly so: --operations gives more.", n))
		}
	}
	if c.Exp.CrossesKernels() {
		t.Notes = append(t.Notes, crossing)
	}
	return t
}

// load describes a workload in a title.
func (c *Comparison) load(workload string) string {
	whole := slices.ContainsFunc(c.Exp.Variants, isDriver)
	switch {
	case workload == "nic" && whole:
		return "nic (" + c.Exp.NIC.Driver + "), frames of " + c.Exp.NIC.Sizes
	case workload == "nvme" && whole:
		if t := c.Exp.NVMe.Target; t != "memory" {
			return "nvme, " + c.Exp.Size + " " + c.Exp.NVMe.Segments + ", " + t + " by " + c.Exp.NVMe.Route
		}
		return "nvme, " + c.Exp.Size + " " + c.Exp.NVMe.Segments
	case workload == netperfRX:
		return fmt.Sprintf("netperf-rx, frames of %d", c.Exp.NetperfRX.FrameSize)
	case workload == "nic":
		return "nic, frames of " + c.Exp.NIC.Sizes
	}
	return workload + ", " + c.Exp.Size
}

// countTable shows what each call executes and where its loads are served.
func (c *Comparison) countTable(workload string) *results.Table {
	t := &results.Table{ID: snake(workload + "_counts"), Title: fmt.Sprintf("%s: instructions per call, and lines by the level that served them", workload), Keys: 3,
		Columns: []results.Column{{Name: "backend", Text: true}, {Name: "call", Text: true}, {Name: "variant", Text: true}, {Name: "instr", Decimals: 0},
			{Name: "L1", Decimals: 1}, {Name: "L2", Decimals: 1}, {Name: "LLC", Decimals: 1}, {Name: "peer", Decimals: 1}, {Name: "DRAM", Decimals: 1}}}
	state := c.stepCache()
	for _, b := range c.Exp.Backends {
		for _, name := range []string{"map", "unmap", "sync", "setup", "teardown"} {
			for _, o := range c.row(workload, b, state) {
				p := o.find(name)
				if p == nil {
					continue
				}
				tot, n := p.Acct.Total(), float64(p.N)
				t.Add(short(b), name, o.Variant, float64(tot.Instructions())/n, float64(tot.Level[cache.L1])/n, float64(tot.Level[cache.L2])/n,
					float64(tot.Level[cache.LLC])/n, float64(tot.Level[cache.Peer])/n, float64(tot.Level[cache.DRAM])/n)
			}
		}
	}
	t.Notes = []string{"Cache state: " + state + ". The other states are in the CSV."}
	return t
}

// short names a backend in a narrow column.
func short(backend string) string { return strings.TrimPrefix(backend, "iommu-") }

// stepCache is the cache state whose steps are shown: warm if there is one.
func (c *Comparison) stepCache() string { return c.Exp.stepCache() }

func (x *Experiment) stepCache() string {
	if slices.Contains(x.Caches, "warm") {
		return "warm"
	}
	return x.Caches[0]
}

// maxSteps is how many functions a step table names; the rest is summed.
const maxSteps = 14

// stepTables say in which kernel function the cycles go, by variant.
func (c *Comparison) stepTables(workload, backend string) []*results.Table {
	var tables []*results.Table
	state := c.stepCache()
	row := c.row(workload, backend, state)
	for _, call := range []string{"map", "unmap"} {
		var names []string
		var ops []*workloads.Op
		for _, o := range row {
			names, ops = append(names, o.Variant), append(ops, o.find(call))
		}
		t := functionTable(snake(workload+"_"+backend+"_"+call+"_steps"), fmt.Sprintf("%s, %s, %s: cycles per %s by kernel function", workload, backend, state, call), names, ops, maxSteps)
		if t != nil {
			tables = append(tables, t)
		}
	}
	return tables
}

// functionTable shows where the cycles of ops, a column each, go: by kernel function, those with the most first, at most as many rows as limit says.
// It is nil when nothing was executed.
func functionTable(id, title string, variants []string, ops []*workloads.Op, limit int) *results.Table {
	t := &results.Table{ID: id, Title: title, Columns: []results.Column{{Name: "function", Text: true}}}
	var names []string
	cycles := map[string][]float64{}
	total := make([]float64, len(ops))
	for i, o := range ops {
		t.Columns = append(t.Columns, results.Column{Name: strings.Replace(variants[i], "@", " @", 1), Decimals: 1})
		if o == nil || o.N == 0 {
			continue
		}
		for _, s := range steps(o) {
			if cycles[s.name] == nil {
				cycles[s.name] = make([]float64, len(ops))
				names = append(names, s.name)
			}
			cycles[s.name][i] += s.cycles
			total[i] += s.cycles
		}
	}
	if names == nil {
		return nil
	}
	most := func(n string) float64 { return slices.Max(cycles[n]) }
	sort.SliceStable(names, func(i, j int) bool { return most(names[i]) > most(names[j]) })
	add := func(name string, v []float64) {
		cells := []any{name}
		for _, x := range v {
			if x == 0 {
				cells = append(cells, nil)
			} else {
				cells = append(cells, x)
			}
		}
		t.Add(cells...)
	}
	rest := make([]float64, len(ops))
	for k, n := range names {
		if k < limit {
			add(n, cycles[n])
			continue
		}
		for i, v := range cycles[n] {
			rest[i] += v
		}
	}
	if len(names) > limit {
		add(fmt.Sprintf("(%d others)", len(names)-limit), rest)
	}
	add("sum", total)
	return t
}

// systemTable shows what the calls mean for the whole machine.
func (c *Comparison) systemTable() *results.Table {
	t := &results.Table{ID: "system", Title: "The whole: throughput, CPU share of mapping, IOTLB", Keys: 2,
		Columns: []results.Column{{Name: "run", Text: true}, {Name: "variant", Text: true}, {Name: "rate", Unit: "1000/s", Decimals: 1},
			{Name: "+-", Decimals: 1}, {Name: "Gbit/s", Decimals: 2}, {Name: "map share", Unit: "%", Decimals: 1}, {Name: "IOTLB hit", Unit: "%", Decimals: 1},
			{Name: "walk", Unit: "ns", Decimals: 0}}}
	state := c.stepCache()
	for _, w := range c.Exp.Workloads {
		if w == dmaProbe {
			continue // it has a table of its own, and no CPU
		}
		for _, b := range c.Exp.Backends {
			for _, o := range c.row(w, b, state) {
				rate, half := o.Throughput()
				hit, walk := math.NaN(), math.NaN()
				if o.Walkers > 0 {
					hit, walk = o.HitRate(), o.WalkMean()
				}
				t.Add(w+" "+short(b), o.Variant, rate/1000, half/1000, rate*float64(o.Bytes)/float64(o.IOs)*8/1e9, 100*o.MapShare(o.Clock, true), hit, walk)
			}
		}
	}
	t.Notes = []string{"Cache state: " + state + ". +-: half of the 95 % interval of the rate. map share: part of the CPUs' busy time spent in mapping calls, of a whole driver also around them."}
	return t
}

// Text returns what the outcomes print in the words of the tool they imitate, empty when none does.
func (c *Comparison) Text() string {
	var b strings.Builder
	for _, o := range c.Outcomes {
		if o.Text != "" {
			fmt.Fprintf(&b, "# %v\n%s", o.Point, o.Text)
		}
	}
	return b.String()
}

// warnings are the doubts about the figures.
func (c *Comparison) warnings() []string {
	var w []string
	for _, n := range c.Platform.Notes() {
		w = append(w, c.Platform.Name+": "+n)
	}
	seen := map[string]bool{}
	add := func(o *Outcome, call string, errs []error) {
		for _, err := range errs {
			if s := fmt.Sprintf("%v, %s: %v", o.Point, call, err); !seen[s] {
				seen[s] = true
				w = append(w, s)
			}
		}
	}
	for _, o := range c.Outcomes {
		first := c.row(o.Workload, o.Backend, o.Cache)[0]
		for _, p := range o.ops() {
			add(o, p.name, p.Series.SecondHalf().Warnings)
			if q := first.find(p.name); q != nil && q != p.Op {
				add(o, p.name+", difference to "+first.Variant, slices.DeleteFunc(sim.SecondHalfDifference(&q.Series, &p.Series).Warnings, func(err error) bool {
					return said(err, p.Series.SecondHalf().Warnings) || said(err, q.Series.SecondHalf().Warnings)
				}))
			}
			if err := p.Warning(); err != nil {
				w = append(w, fmt.Sprintf("%v, %s: %v", o.Point, p.name, err))
			}
		}
		if o.Drops > 0 {
			w = append(w, fmt.Sprintf("%v: %d frames were dropped, so the CPU or the rings could not keep up", o.Point, o.Drops))
		}
		if o.Faults > 0 {
			w = append(w, fmt.Sprintf("%v: the IOMMU refused %d transactions", o.Point, o.Faults))
		}
	}
	return append(w, c.lazyWarnings()...)
}

// said reports whether one of the warnings has the same words.
func said(err error, list []error) bool {
	return slices.ContainsFunc(list, func(w error) bool { return w.Error() == err.Error() })
}

func snake(s string) string {
	return strings.NewReplacer("-", "_", "@", "_", ".", "_", " ", "_").Replace(s)
}
