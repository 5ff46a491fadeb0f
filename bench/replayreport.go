package bench

import (
	"fmt"
	"math"
	"slices"

	"dmapath/kernel/iova"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/ftrace"
	"dmapath/workloads/replay"
)

// cell is the calls of one interface and size class.
type replayCell struct {
	how   replay.How
	class replay.Class
}

// cells lists what any of rs has.
func cells(rs []replayed) (cs []replayCell) {
	for h := range replay.NumHow {
		for c := range replay.Class(replay.Classes) {
			if slices.ContainsFunc(rs, func(r replayed) bool { return r.Map[h][c] != nil || r.Unmap[h][c] != nil }) {
				cs = append(cs, replayCell{h, c})
			}
		}
	}
	return cs
}

func (r *replayed) op(call string, c replayCell) *workloads.Op {
	if call == "map" {
		return r.Map[c.how][c.class]
	}
	return r.Unmap[c.how][c.class]
}

// measure adds the long form.
func (x *Replay) measure(r *results.Record, s *platform.Spec, tr *replay.Trace, rs []replayed) {
	trace := results.Dim{Key: "trace", Value: x.Name}
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
	for i := range rs {
		p := &rs[i]
		base := []results.Dim{{Key: "platform", Value: s.Name}, {Key: "backend", Value: x.Backend}, {Key: "cache", Value: x.Cache}, {Key: "variant", Value: p.name}}
		for _, c := range cells(rs) {
			dims := append(slices.Clone(base), results.Dim{Key: "call", Value: c.how.String()}, results.Dim{Key: "size", Value: c.class.String()})
			for _, call := range []string{"map", "unmap"} {
				o := p.op(call, c)
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
				if b := rs[0].op(call, c); i > 0 && b != nil {
					d := sim.Difference(&b.Series, &o.Series)
					add(call+"_vs_first", "cycles", d.Mean, d.HalfWidth, int64(d.N), dims...)
				}
			}
		}
		if u := p.M.Unit; u != nil {
			st := u.Statistics()
			add("iotlb_requests", "count", float64(st.Requests), none, int64(st.Requests), base...)
			add("iotlb_hits", "count", float64(st.Hits+st.Merges), none, int64(st.Requests), base...)
			add("iommu_walks", "count", float64(st.Walks), none, int64(st.Requests), base...)
			add("invalidation_descriptors", "count", float64(st.Invalidations), none, int64(st.TailWrites), base...)
			add("iotlb_entries_dropped", "count", float64(st.Dropped), none, int64(st.TailWrites), base...)
		}
		add("refused_maps", "count", float64(p.Failures), none, tr.Events, base...)
		add("iommu_faults", "count", float64(p.Faults), none, tr.Events, base...)
	}
}

// steady returns the mean after the warm-up with half its 95 % interval; of too few calls the mean of all, without one.
func steady(o *workloads.Op) (mean, half float64) {
	e := o.Series.Steady()
	if e.N == 0 || math.IsNaN(e.Mean) {
		return o.Cycles.Mean(), math.NaN()
	}
	return e.Mean, finite(e.HalfWidth)
}

// traceNote is one count of what the trace could not tell.
type traceNote struct {
	metric, text string
	count        int64
}

func traceNotes(tr *replay.Trace) []traceNote {
	return []traceNote{
		{"lines_other", "lines that are no dma or iommu events", tr.Skipped},
		{"lines_malformed", "malformed lines", tr.Malformed},
		{"unmaps_older", "unmaps of mappings older than the trace, skipped", tr.Older},
		{"unmaps_lost", "mappings whose unmap is not in the trace", tr.Lost},
		{"maps_failed", "maps that failed on the traced machine, skipped", tr.Failed},
		{"mappings_evicted", "mappings ended because too many were live", tr.Evicted},
		{"links_ruled", "links joined by rule", tr.Ruled},
		{"links_guessed", "links whose device was chosen among several", tr.Guessed},
		{"mappings_live", "mappings live at the end", tr.Live},
	}
}

// eventTable says what was read.
func (x *Replay) eventTable(tr *replay.Trace) *results.Table {
	t := &results.Table{ID: "events", Title: fmt.Sprintf("%s: %d events in %d lines", x.Name, tr.Events, tr.Lines),
		Columns: []results.Column{{Name: "event", Text: true}, {Name: "read"}}}
	for k := range ftrace.NumKinds {
		if tr.Read[k] > 0 {
			name := ftrace.Kind(k).String()
			if k <= int(ftrace.IommuUnmap) {
				name = "iommu:" + name
			}
			t.Add(name, tr.Read[k])
		}
	}
	for _, n := range traceNotes(tr) {
		if n.count > 0 {
			t.Add(n.text, n.count)
		}
	}
	return t
}

// interfaces says what became of the recorded interfaces.
var interfaces = [replay.NumHow]string{"dma_map_page, dma_map_phys", "dma_map_sg", "IOVA links (no dma event)", "dma_map_resource, MMIO", "dma_alloc (not measured)"}

// callTable says which calls were performed.
func (x *Replay) callTable(tr *replay.Trace) *results.Table {
	t := &results.Table{ID: "calls", Title: fmt.Sprintf("%s: calls performed", x.Name),
		Columns: []results.Column{{Name: "recorded as", Text: true}, {Name: "call", Text: true}, {Name: "maps"}, {Name: "unmaps"}}, Keys: 2}
	for h := range replay.NumHow {
		if tr.Maps[h]+tr.Unmaps[h] > 0 {
			t.Add(interfaces[h], h.String(), tr.Maps[h], tr.Unmaps[h])
		}
	}
	return t
}

// costTable shows the cycles of one map or unmap by interface and size.
func (x *Replay) costTable(s *platform.Spec, call string, rs []replayed) *results.Table {
	t := &results.Table{ID: "replay_" + call, Title: fmt.Sprintf("%s, %s, %s on %s: cycles per %s", x.Name, x.Backend, x.Cache, s.Name, call),
		Columns: []results.Column{{Name: "variant", Text: true}, {Name: "calls"}, {Name: "mean", Unit: "cyc"}, {Name: "+-", Unit: "cyc"}, {Name: "p50", Unit: "cyc"},
			{Name: "p99", Unit: "cyc"}, {Name: "p99.9", Unit: "cyc"}}}
	several := len(rs) > 1
	if several {
		t.Columns = append(t.Columns, results.Column{Name: "vs first", Unit: "cyc", Text: true})
	}
	add := func(cells ...any) {
		if several && len(cells) < len(t.Columns) {
			cells = append(cells, nil)
		}
		t.Add(cells...)
	}
	for _, c := range cells(rs) {
		shown := false
		for i := range rs {
			o := rs[i].op(call, c)
			if o == nil {
				continue
			}
			if !shown {
				add(fmt.Sprintf("[%v %v]", c.how, c.class), nil, nil, nil, nil, nil, nil)
				shown = true
			}
			m, half := steady(o)
			row := []any{rs[i].name, o.N, m, half}
			for _, q := range quantiles {
				row = append(row, o.Cycles.Quantile(q.q))
			}
			if b := rs[0].op(call, c); i > 0 && b != nil {
				row = append(row, difference(sim.Difference(&b.Series, &o.Series)))
			}
			add(row...)
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	t.Notes = []string{"mean: after the warm-up, +- half of its 95 % interval; the distribution is of all calls. [interface, size]: sizes are of the whole request."}
	if several {
		t.Notes = append(t.Notes, "vs first: mean of the paired differences, with half of its 95 % interval; ~ means that the interval contains zero.")
	}
	exp := Experiment{}
	for _, r := range rs {
		exp.Variants = append(exp.Variants, r.name)
	}
	if exp.CrossesKernels() {
		t.Notes = append(t.Notes, "6.12 and 7.3 differ in compiler, hardening options and page-table code as well as in the API.")
	}
	return t
}

// predictionTable compares the recorded IOVAs with the modelled allocator's.
func (x *Replay) predictionTable(tr *replay.Trace) *results.Table {
	t := &results.Table{ID: "iova_prediction", Title: fmt.Sprintf("%s: recorded IOVAs against the modelled allocator", x.Name),
		Columns: []results.Column{{Name: "device", Text: true}, {Name: "mode", Text: true}, {Name: "allocations"}, {Name: "exact"}, {Name: "wrong"},
			{Name: "exact", Unit: "%", Decimals: 2}, {Name: "older"}, {Name: "of these guessed"}}}
	for _, d := range tr.Devices {
		if d.Prediction == nil {
			continue
		}
		c := d.Prediction.Count()
		mode := "strict"
		if d.Prediction.Lazy {
			mode = "lazy"
		}
		judged := c[iova.Exact] + c[iova.Wrong]
		rate := math.NaN()
		if judged > 0 {
			rate = 100 * float64(c[iova.Exact]) / float64(judged)
		}
		t.Add(d.Name, mode, judged+c[iova.Older]+c[iova.OlderGuessed], c[iova.Exact], c[iova.Wrong], rate, c[iova.Older]+c[iova.OlderGuessed], c[iova.OlderGuessed])
	}
	if len(t.Rows) == 0 {
		return nil
	}
	t.Notes = []string{"exact, wrong: allocations whose history the trace contains; the rate is exact / (exact + wrong). older: first allocations from a state older " +
		"than the trace. mode: of the traced domain, by which rules predict it better."}
	return t
}

// unitTable shows what the IOMMU did.
func (x *Replay) unitTable(rs []replayed) *results.Table {
	t := &results.Table{ID: "iommu", Title: fmt.Sprintf("%s, %s: IOMMU", x.Name, x.Backend),
		Columns: []results.Column{{Name: "variant", Text: true}, {Name: "requests"}, {Name: "IOTLB hit", Unit: "%", Decimals: 1}, {Name: "walks"},
			{Name: "walk", Unit: "ns", Decimals: 0}, {Name: "invali- dations"}, {Name: "waits"}, {Name: "dropped entries"}}}
	for i := range rs {
		st := rs[i].M.Unit.Statistics()
		o := Outcome{IOMMU: *st}
		t.Add(rs[i].name, st.Requests, o.HitRate(), st.Walks, o.WalkMean(), st.Invalidations, st.Waits, st.Dropped)
	}
	t.Notes = []string{"requests: each buffer is moved once by the device before its unmap. invalidations: descriptors executed, without waits. dropped: IOTLB entries found by them."}
	return t
}

// warnings are what the reader has to know.
func (x *Replay) warnings(tr *replay.Trace, rs []replayed, grown uint64) (w []string) {
	add := func(format string, a ...any) { w = append(w, fmt.Sprintf(format, a...)) }
	add("calls of different CPUs are performed one after the other: no lock contention, and no overlap.")
	for i := range rs {
		p := &rs[i]
		if p.PerRun > 0 {
			add("%s: %d scatterlists and linked requests were mapped by one call per contiguous run, because nothing translates.", p.name, p.PerRun)
		} else if n := tr.Maps[replay.Link]; n > 0 {
			how := "dma_iova_try_alloc, dma_iova_link per contiguous run, dma_iova_sync, dma_iova_destroy"
			if p.Variant.Version().String() == "6.12" {
				how = "iommu-dma's scatterlist path, as 6.12 has no links"
			}
			add("%s: %d linked requests were performed by %s, not by the variant's call.", p.name, n, how)
		}
		if n := tr.Maps[replay.List]; n > 0 && p.PerRun == 0 {
			add("%s: %d scatterlists were performed by iommu-dma's scatterlist path, not by the variant's call.", p.name, n)
		}
		if p.Moved > 0 {
			add("%s: %d mappings lie another GiB up, where the simulated machine has no RAM at the recorded address or its kernel keeps its own objects there.", p.name, p.Moved)
		}
		if p.Failures > 0 {
			add("%s: %d maps were refused and their unmaps skipped; the first: %v", p.name, p.Failures, p.First)
		}
		if p.Faults > 0 {
			add("%s: the IOMMU refused %d transactions.", p.name, p.Faults)
		}
	}
	if grown > 0 {
		add("memory.ram is %d GiB here, so that the recorded addresses are inside.", grown)
	}
	if n := tr.Read[ftrace.SyncForCPU] + tr.Read[ftrace.SyncForDevice]; n > 0 {
		add("%d dma_sync events were read and not performed.", n)
	}
	if tr.Maps[replay.Link] > 0 {
		add("links have no event that names their device: they are taken for the block device of the trace.")
	}
	return w
}
