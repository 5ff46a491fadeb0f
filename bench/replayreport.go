package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iova"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/ftrace"
	"dmapath/workloads/replay"
)

// replayCell is the calls of one interface and size class.
type replayCell struct {
	how   replay.How
	class replay.Class
}

func (c replayCell) String() string { return fmt.Sprintf("%v %v", c.how, c.class) }

// cells lists what any of rs has.
func cells(rs []*replayed) (cs []replayCell) {
	for h := range replay.NumHow {
		for c := range replay.Class(replay.Classes) {
			if slices.ContainsFunc(rs, func(r *replayed) bool { return r.Map[h][c] != nil || r.Unmap[h][c] != nil }) {
				cs = append(cs, replayCell{h, c})
			}
		}
	}
	return cs
}

// op returns the calls of a cell; nil when there are none that were performed.
func (r *replayed) op(call string, c replayCell) *workloads.Op {
	o := r.Unmap[c.how][c.class]
	if call == "map" {
		o = r.Map[c.how][c.class]
	}
	if o == nil || o.N == 0 {
		return nil
	}
	return o
}

func (r *replayed) pool(call string) *replay.Pool {
	if call == "map" {
		return &r.Maps
	}
	return &r.Unmaps
}

// replayCalls are the two kinds of calls.
var replayCalls = []string{"map", "unmap"}

// cost is the mean cost of the calls of a pool after the warm-up, with half of its 95 % interval; of too few calls the mean of all, without one.
func cost(p *replay.Pool) (mean, half float64) {
	if p.N() == 0 {
		return math.NaN(), math.NaN()
	}
	return steadyOf(&p.Series, p.Cycles)
}

// steady returns the mean after the warm-up with half its 95 % interval; of too few calls the mean of all, without one.
func steady(o *workloads.Op) (mean, half float64) { return steadyOf(&o.Series, o.Cycles) }

func steadyOf(s *sim.Series, all *sim.Histogram) (mean, half float64) {
	e := s.Steady()
	if e.N == 0 || math.IsNaN(e.Mean) {
		return all.Mean(), math.NaN()
	}
	return e.Mean, finite(e.HalfWidth)
}

// share is how much of one core the calls of the trace take at the trace's own rate, in percent, with half of its 95 % interval: calls per second
// of the trace times cycles per call. Calls that the machine refused are not in it.
func (p *Replayed) share(r *replayed) (percent, half float64) {
	span := float64(p.Trace.Extent.Span()) / float64(sim.Second)
	if span <= 0 {
		return math.NaN(), math.NaN()
	}
	maps, unmaps := p.Trace.Calls()
	square := 0.0
	for _, c := range []struct {
		n    int64
		pool *replay.Pool
	}{{maps, &r.Maps}, {unmaps, &r.Unmaps}} {
		mean, h := cost(c.pool)
		if math.IsNaN(mean) {
			continue
		}
		per := float64(c.n) * float64(c.pool.N()) / float64(c.pool.N()+c.pool.Refused) / span / float64(r.clock.Hz()) * 100
		percent += per * mean
		square += per * h * per * h
	}
	return percent, math.Sqrt(square)
}

// compared is the paired difference of two machines' calls; ok is false where they did not perform the same ones.
func compared(a, b *replay.Pool) (e sim.Estimate, ok bool) {
	if a.Refused != b.Refused || a.N() == 0 || b.N() == 0 {
		return e, false
	}
	e = sim.Difference(&a.Pairs, &b.Pairs)
	if a.Refused > 0 { // a zero in both for every refused call
		scale := float64(a.Pairs.N) / float64(a.N())
		e.Mean, e.HalfWidth = e.Mean*scale, e.HalfWidth*scale
	}
	return e, true
}

// paired is compared as a cell.
func paired(a, b *replay.Pool) any {
	e, ok := compared(a, b)
	if !ok {
		return "other calls"
	}
	return difference(e)
}

// base returns the run that r is compared with on its own backend, and with its variant on the first backend; nil: it is that itself.
func (p *Replayed) base(r *replayed) (variant, backend *replayed) {
	for _, o := range p.runs {
		if variant == nil && o.backend == r.backend {
			variant = o
		}
		if backend == nil && o.name == r.name {
			backend = o
		}
	}
	if variant == r {
		variant = nil
	}
	if backend == r {
		backend = nil
	}
	return variant, backend
}

// on lists the runs of one backend; backends all of them, in order.
func (p *Replayed) on(backend string) (rs []*replayed) {
	for _, r := range p.runs {
		if r.backend == backend {
			rs = append(rs, r)
		}
	}
	return rs
}

func (p *Replayed) backends() (list []string) {
	for _, r := range p.runs {
		if !slices.Contains(list, r.backend) {
			list = append(list, r.backend)
		}
	}
	return list
}

// Record turns the replay into measurements and tables.
func (p *Replayed) Record() *results.Record {
	r := &results.Record{Name: "Replay", Version: results.Version(), Seed: p.x.Seed, ConfigHash: p.s.Hash(), Command: "dmapath replay"}
	p.measure(r)
	add := func(t *results.Table) {
		if t != nil && len(t.Rows) > 0 {
			r.Tables = append(r.Tables, t)
		}
	}
	add(p.answerTable())
	add(p.differenceTable())
	add(p.distributionTable())
	backends := p.backends()
	if len(backends) == 1 {
		for _, call := range replayCalls {
			add(p.costTable(call, backends[0]))
		}
	} else {
		for _, call := range replayCalls {
			add(p.classTable(call))
		}
	}
	for _, b := range backends {
		for _, call := range replayCalls {
			add(p.steps(call, b, len(backends)))
		}
	}
	if n := len(r.Tables) - 1; n >= 0 && len(backends) > 1 { // said once
		r.Tables[n].Notes = []string{stepNote + " One --backend shows more functions."}
	}
	add(p.unitTable())
	add(p.flushTable())
	add(p.callTable())
	add(p.predictionTable())
	add(p.eventTable())
	r.Warnings = p.warnings()
	return r
}

// measure adds the long form.
func (p *Replayed) measure(r *results.Record) {
	tr := p.Trace
	trace := results.Dim{Key: "trace", Value: p.x.Name}
	add := func(metric, unit string, v, ci float64, n int64, dims ...results.Dim) {
		r.Add(results.Measurement{Dims: append([]results.Dim{trace}, dims...), Metric: metric, Unit: unit, Value: v, CI95: finite(ci), N: n})
	}
	none := math.NaN()
	for k := range ftrace.NumKinds {
		if n := tr.Read[k]; n > 0 {
			add("events", "count", float64(n), none, n, results.Dim{Key: "event", Value: ftrace.Kind(k).String()})
		}
	}
	for _, n := range traceNotes(tr) {
		add(n.metric, "count", float64(n.count), none, tr.Events)
	}
	maps, unmaps := tr.Calls()
	add("trace_maps", "count", float64(maps), none, maps)
	add("trace_unmaps", "count", float64(unmaps), none, unmaps)
	add("trace_span", "s", float64(tr.Extent.Span())/float64(sim.Second), none, tr.Events)
	if p.Sample != nil {
		add("calls_performed", "count", float64(p.Sample.Kept), none, p.Sample.Seen)
	}
	for _, d := range tr.Devices {
		if d.Prediction == nil {
			continue
		}
		c := d.Prediction.Count()
		dev := results.Dim{Key: "device", Value: d.Name}
		judged := int64(c[iova.Exact] + c[iova.Wrong])
		add("iova_exact", "count", float64(c[iova.Exact]), none, judged, dev)
		add("iova_wrong", "count", float64(c[iova.Wrong]), none, judged, dev)
		add("iova_older", "count", float64(c[iova.Older]+c[iova.OlderGuessed]), none, judged, dev)
		if judged > 0 {
			add("iova_exact_rate", "percent", 100*float64(c[iova.Exact])/float64(judged), none, judged, dev)
		}
	}
	for _, m := range p.runs {
		dims := []results.Dim{trace, {Key: "platform", Value: p.s.Name}, {Key: "backend", Value: m.backend}, {Key: "cache", Value: p.x.Cache}, {Key: "variant", Value: m.name}}
		for _, call := range replayCalls {
			AddHistogram(r, dims, call, "cycles", m.pool(call).Cycles, 1)
		}
		p.measureRun(m, func(metric, unit string, v, ci float64, n int64, more ...results.Dim) {
			add(metric, unit, v, ci, n, append(slices.Clone(dims[1:]), more...)...)
		})
	}
}

// measureRun adds what one machine found.
func (p *Replayed) measureRun(m *replayed, add func(metric, unit string, v, ci float64, n int64, dims ...results.Dim)) {
	none := math.NaN()
	variant, backend := p.base(m)
	if v, h := p.share(m); !math.IsNaN(v) {
		add("core_share", "percent", v, h, m.Maps.N()+m.Unmaps.N())
	}
	for _, call := range replayCalls {
		pool := m.pool(call)
		if pool.N() == 0 {
			continue
		}
		mean, half := cost(pool)
		add(call+"_mean", "cycles", mean, half, pool.N())
		for _, q := range quantiles {
			add(call+"_"+q.name, "cycles", float64(pool.Cycles.Quantile(q.q)), none, pool.N())
		}
		for _, o := range []struct {
			name string
			with *replayed
		}{{"vs_first_variant", variant}, {"vs_first_backend", backend}} {
			if o.with == nil {
				continue
			}
			if d, ok := compared(o.with.pool(call), pool); ok {
				add(call+"_"+o.name, "cycles", d.Mean, d.HalfWidth, int64(d.N))
			}
		}
		if pool.Refused > 0 {
			add(call+"_refused", "count", float64(pool.Refused), none, pool.N()+pool.Refused)
		}
	}
	for _, c := range cells(p.runs) {
		dims := []results.Dim{{Key: "call", Value: c.how.String()}, {Key: "size", Value: c.class.String()}}
		for _, call := range replayCalls {
			o := m.op(call, c)
			if o == nil {
				continue
			}
			e, half := steady(o)
			add(call+"_mean", "cycles", e, half, o.N, dims...)
			for _, q := range quantiles {
				add(call+"_"+q.name, "cycles", float64(o.Cycles.Quantile(q.q)), none, o.N, dims...)
			}
			tot := o.Acct.Total()
			add(call+"_instructions", "count", float64(tot.Instructions())/float64(o.N), none, o.N, dims...)
		}
	}
	if m.unit {
		st := &m.iommu
		add("iotlb_requests", "count", float64(st.Requests), none, int64(st.Requests))
		add("iotlb_hits", "count", float64(st.Hits+st.Merges), none, int64(st.Requests))
		add("iommu_walks", "count", float64(st.Walks), none, int64(st.Requests))
		add("invalidation_descriptors", "count", float64(st.Invalidations), none, int64(st.TailWrites))
		add("iotlb_entries_dropped", "count", float64(st.Dropped), none, int64(st.TailWrites))
	}
	if m.flush.Queued > 0 {
		add("flush_queue_unmaps", "count", float64(m.flush.Queued), none, m.Unmaps.N())
		add("flush_queue_full", "count", float64(m.flush.Flushes), none, int64(m.flush.Queued))
		add("flush_queue_timer", "count", float64(m.flush.TimerFlushes), none, int64(m.flush.Queued))
	}
	if m.bounce.Copies > 0 {
		add("bounce_copies", "count", float64(m.bounce.Copies), none, int64(m.bounce.Maps))
		add("bounce_copied", "bytes", float64(m.bounce.Bytes), none, int64(m.bounce.Copies))
	}
	add("refused_maps", "count", float64(m.Failures), none, p.Trace.Events)
	add("iommu_faults", "count", float64(m.Faults), none, p.Trace.Events)
	add("calls_late", "count", float64(m.Delayed), none, m.Done)
}

// traceNote is one count of what the trace could not tell.
type traceNote struct {
	metric, text string
	count        int64
}

func traceNotes(tr *replay.Trace) []traceNote {
	return []traceNote{
		{"lines_other", "lines that are no dma or iommu events", tr.Skipped - tr.Unread},
		{"lines_unread", "dma and iommu events that are not used", tr.Unread},
		{"lines_malformed", "malformed lines", tr.Malformed},
		{"events_lost", "events the tracer says it lost", tr.Lost},
		{"lost_marks", "places where the tracer says so", tr.LostMarks},
		{"events_without_cpu", "events without a CPU, taken for CPU 0", tr.NoCPU},
		{"events_crowded", "events of devices beyond 250", tr.Crowded},
		{"time_restarts", "places where time starts again", tr.Restarts},
		{"unmaps_older", "unmaps of mappings older than the trace, skipped", tr.Older},
		{"unmaps_lost", "mappings whose unmap is not in the trace", tr.Counts.Lost},
		{"maps_failed", "maps that failed on the traced machine, skipped", tr.Failed},
		{"mappings_evicted", "mappings ended because too many were live", tr.Evicted},
		{"links_ruled", "links joined by rule", tr.Ruled},
		{"links_guessed", "links whose device was chosen among several", tr.Guessed},
		{"mappings_live", "mappings live at the end", tr.Live},
	}
}

// accountOf adds up the accounts of all calls of a kind, as an Op for steps.
func (r *replayed) accountOf(call string) *workloads.Op {
	sum := &workloads.Op{Acct: cpu.NewAccount()}
	for h := range replay.NumHow {
		for c := range replay.Class(replay.Classes) {
			if o := r.op(call, replayCell{h, c}); o != nil {
				sum.Acct.Add(o.Acct)
				sum.N += o.N
			}
		}
	}
	return sum
}

// warnings are what the reader has to know.
func (p *Replayed) warnings() (w []string) {
	tr := p.Trace
	add := func(format string, a ...any) { w = append(w, fmt.Sprintf(format, a...)) }
	for _, err := range p.left {
		add("%v", err)
	}
	if tr.Lost > 0 || tr.LostMarks > 0 {
		add("the tracer lost events (%d, in %d places): mappings whose map or unmap is missing are skipped or ended when their address is mapped again. A larger buffer (trace-cmd -b, perf -m, buffer_size_kb) loses fewer.", tr.Lost, tr.LostMarks)
	}
	if tr.Malformed > 0 {
		add("%d lines are malformed and were skipped.", tr.Malformed)
	}
	switch {
	case tr.Extent.Dma == 0:
		add("the trace has no dma: events: devices, directions and exact sizes are unknown. Record with -e dma, on Linux 6.12 or newer.")
	case tr.Extent.Iommu == 0 && tr.Extent.Version == kernel.V7_3:
		add("the trace has no iommu: events: the machine had no translating IOMMU, or they were not recorded; then requests that 7.3 maps by IOVA links are missing.")
	}
	if tr.Restarts > 0 {
		add("time stamps go back %d times by more than a second: several traces one after the other are taken for one, without the time between them.", tr.Restarts)
	}
	if gap, span := tr.Extent.LongestGap, tr.Extent.Span(); gap > span/2 && tr.Events > 2 {
		add("for %.3g of the trace's %.3g s there is no event: the part of a core is of all that time.", float64(gap)/float64(sim.Second), float64(span)/float64(sim.Second))
	}
	w = append(w, p.runWarnings()...)
	if p.grown > 0 {
		add("memory.ram is %d GiB here, so that the recorded addresses are inside.", p.grown)
	}
	if n := tr.Read[ftrace.SyncForCPU] + tr.Read[ftrace.SyncForDevice]; n > 0 {
		add("%d dma_sync events were read and not performed.", n)
	}
	if tr.Maps[replay.Link] > 0 {
		add("links have no event that names their device: they are taken for the block device of the trace.")
	}
	add("calls of different CPUs are performed one after the other: no lock contention, and no overlap.")
	add("the trace does not say what ran between two calls of a CPU, only for how long: with --cache warm the platform's surroundings (those of an NVMe request) displace as much as they can in that time; --cache hot and cold are the bounds.")
	return w
}

// runWarnings are those of the machines; what holds for several is said once.
func (p *Replayed) runWarnings() (w []string) {
	tr := p.Trace
	said := map[string][]string{}
	var order []string
	add := func(who, format string, a ...any) {
		text := fmt.Sprintf(format, a...)
		if said[text] == nil {
			order = append(order, text)
		}
		if !slices.Contains(said[text], who) {
			said[text] = append(said[text], who)
		}
	}
	all := len(p.backends()) > 1
	for _, r := range p.runs {
		who := r.name
		if all {
			who = r.backend
		}
		if r.PerRun > 0 {
			add(who, "scatterlists and linked requests were mapped by one call per contiguous run, because nothing translates.")
		} else if tr.Maps[replay.Link] > 0 {
			how := "dma_iova_try_alloc, dma_iova_link per contiguous run, dma_iova_sync, dma_iova_destroy"
			if r.version == kernel.V6_12 {
				how = "iommu-dma's scatterlist path, as 6.12 has no links"
			}
			add(kernelOf(r.name), "linked requests were performed by %s, not by the variant's call.", how)
		}
		if tr.Maps[replay.List] > 0 && r.PerRun == 0 {
			add(who, "scatterlists were performed by iommu-dma's scatterlist path, not by the variant's call.")
		}
		if r.Moved > 0 {
			add(who, "%d mappings lie another GiB up, where the simulated machine has no RAM at the recorded address or its kernel keeps its own objects there.", r.Moved)
		}
		if r.Failures > 0 {
			add(r.backend+" "+kernelOf(r.name), "%d maps were refused; they and their unmaps have no cost here, and a driver would have to split or fail them. The first: %v", r.Failures, r.First)
		}
		if r.Faults > 0 {
			add(r.backend+" "+r.name, "the IOMMU refused %d transactions.", r.Faults)
		}
		if r.Delayed > r.Done/10 && r.Done > 100 {
			add(r.backend, "more than a tenth of the calls began later than recorded, because the machine was still busy with the calls before.")
		}
	}
	for _, text := range order {
		who := said[text]
		if len(who) == len(p.backends()) && all && !strings.Contains(who[0], "@") && slices.Contains(p.backends(), who[0]) {
			w = append(w, text)
			continue
		}
		w = append(w, strings.Join(who, ", ")+": "+text)
	}
	return w
}
