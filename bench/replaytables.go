package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dmapath/kernel/iova"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/ftrace"
	"dmapath/workloads/replay"
)

// where names the trace and how it is performed, for titles.
func (p *Replayed) where() string { return fmt.Sprintf("%s on %s, %s", p.x.Name, p.s.Name, p.x.Cache) }

// groups adds rows to t, those of each backend under its name.
func (p *Replayed) groups(t *results.Table, row func(r *replayed) []any) {
	for _, b := range p.backends() {
		head := make([]any, len(t.Columns))
		head[0] = "[" + b + "]"
		t.Add(head...)
		for _, r := range p.on(b) {
			t.Add(append([]any{r.name}, row(r)...)...)
		}
	}
}

// answerTable is the answer: what the trace's calls would cost on every backend with every variant.
func (p *Replayed) answerTable() *results.Table {
	t := &results.Table{ID: "answer", Title: p.where() + ": cost of its calls",
		Columns: []results.Column{{Name: "variant", Text: true}, {Name: "map", Unit: "cyc"}, {Name: "+-", Unit: "cyc"}, {Name: "unmap", Unit: "cyc"}, {Name: "+-", Unit: "cyc"},
			{Name: "core", Unit: "%"}, {Name: "+-", Unit: "%"}}}
	least := math.Inf(1) // gets two digits
	for _, r := range p.runs {
		if v, _ := p.share(r); v > 0 {
			least = min(least, v)
		}
	}
	decimals := 1
	for ; least < 1 && decimals < 6; least *= 10 {
		decimals++
	}
	t.Columns[5].Decimals, t.Columns[6].Decimals = decimals, decimals
	refused := slices.ContainsFunc(p.runs, func(r *replayed) bool { return r.Maps.Refused > 0 })
	if refused {
		t.Columns = append(t.Columns, results.Column{Name: "refused", Unit: "%", Decimals: 1})
	}
	p.groups(t, func(r *replayed) []any {
		m, mh := cost(&r.Maps)
		u, uh := cost(&r.Unmaps)
		c, ch := p.share(r)
		row := []any{m, mh, u, uh, c, ch}
		if refused {
			row = append(row, 100*float64(r.Maps.Refused)/float64(max(r.Maps.N()+r.Maps.Refused, 1)))
		}
		return row
	})
	maps, unmaps := p.Trace.Calls()
	span := float64(p.Trace.Extent.Span()) / float64(sim.Second)
	if span > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("core: part of one core that mapping and unmapping take at the trace's own rate, %s maps and %s unmaps a second over %s s (%s events a second).",
			rate(float64(maps)/span), rate(float64(unmaps)/span), rate(span), rate(float64(p.Trace.Events)/span)))
	}
	t.Notes = append(t.Notes, "map, unmap: mean cycles of a call after the warm-up, with half of its 95 % interval, of all interfaces and sizes together. A call maps a whole request, in several steps where it has several pieces.")
	switch s := p.Sample; {
	case s == nil || s.Whole():
		t.Notes = append(t.Notes, "Every call of the trace was performed.")
	default:
		t.Notes = append(t.Notes, fmt.Sprintf("A sample: %d of the trace's %d calls were performed, in %d windows of %d, evenly spread. --sample 0 performs all; the interval is of the calls performed.", s.Kept, s.Seen, s.Windows(), replay.SampleWindow))
	}
	if refused {
		t.Notes = append(t.Notes, "refused: maps that this machine cannot make (see the notes at the end); they have no cost here.")
	}
	return t
}

// rate prints a number of about three digits.
func rate(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// differenceTable compares variants on a backend, and backends.
func (p *Replayed) differenceTable() *results.Table {
	if len(p.runs) < 2 {
		return nil
	}
	first := p.runs[0]
	t := &results.Table{ID: "differences", Title: p.where() + ": differences, call by call", Columns: []results.Column{{Name: "variant", Text: true}}}
	var what []string
	variants, backends := len(p.on(first.backend)) > 1, len(p.backends()) > 1
	add := func(of, against string) {
		for _, call := range replayCalls {
			t.Columns = append(t.Columns, results.Column{Name: call + ", " + of, Unit: "cyc", Text: true})
		}
		what = append(what, of+": against "+against)
	}
	if variants {
		add("variant", first.name+" on the same backend")
	}
	if backends {
		add("backend", "the same variant on "+first.backend)
	}
	p.groups(t, func(r *replayed) (row []any) {
		against := func(o *replayed) {
			if o == nil {
				row = append(row, nil, nil)
				return
			}
			row = append(row, paired(&o.Maps, &r.Maps), paired(&o.Unmaps, &r.Unmaps))
		}
		variant, backend := p.base(r)
		if variants {
			against(variant)
		}
		if backends {
			against(backend)
		}
		return row
	})
	t.Notes = []string{strings.Join(what, "; ") + ". Means of the paired differences, with half of the 95 % interval in brackets; ~: the interval contains zero. " +
		"other calls: one of the two refused calls that the other performed."}
	if p.crossesKernels() {
		t.Notes = append(t.Notes, "6.12 and 7.3 differ in compiler, hardening options and page-table code as well as in the API.")
	}
	return t
}

func (p *Replayed) crossesKernels() bool {
	return slices.ContainsFunc(p.runs, func(r *replayed) bool { return r.version != p.runs[0].version })
}

// distributionTable shows quantiles of all calls.
func (p *Replayed) distributionTable() *results.Table {
	t := &results.Table{ID: "distribution", Title: p.where() + ": distribution", Columns: []results.Column{{Name: "variant", Text: true}}}
	for _, call := range replayCalls {
		for _, q := range []string{"p50", "p99", "p99.9"} {
			t.Columns = append(t.Columns, results.Column{Name: call + " " + q, Unit: "cyc"})
		}
	}
	p.groups(t, func(r *replayed) (row []any) {
		for _, call := range replayCalls {
			for _, q := range quantiles {
				if pool := r.pool(call); pool.N() > 0 {
					row = append(row, pool.Cycles.Quantile(q.q))
				} else {
					row = append(row, nil)
				}
			}
		}
		return row
	})
	t.Notes = []string{"Of all calls performed, the warm-up included."}
	return t
}

// classTable shows the mean by interface and size for every backend, a column for each variant.
func (p *Replayed) classTable(call string) *results.Table {
	t := &results.Table{ID: "by_size_" + call, Title: fmt.Sprintf("%s: cycles per %s by interface and size", p.where(), call),
		Columns: []results.Column{{Name: "interface, size", Text: true}, {Name: "calls"}}}
	names := p.on(p.runs[0].backend)
	for _, r := range names {
		t.Columns = append(t.Columns, results.Column{Name: strings.Replace(r.name, "@", " @", 1), Unit: "cyc"})
	}
	for _, b := range p.backends() {
		head := make([]any, len(t.Columns))
		head[0] = "[" + b + "]"
		t.Add(head...)
		for _, c := range cells(p.runs) {
			row := []any{c.String(), nil}
			some := false
			for _, r := range p.on(b) {
				o := r.op(call, c)
				if o == nil {
					row = append(row, nil)
					continue
				}
				m, _ := steady(o)
				row, row[1], some = append(row, m), o.N, true
			}
			if some {
				t.Add(row...)
			}
		}
	}
	t.Notes = []string{"Sizes are of the whole request. One --backend shows intervals and quantiles as well."}
	return t
}

// costTable shows the cycles of one map or unmap by interface and size on one backend.
func (p *Replayed) costTable(call, backend string) *results.Table {
	rs := p.on(backend)
	t := &results.Table{ID: "replay_" + call, Title: fmt.Sprintf("%s, %s: cycles per %s by interface and size", p.where(), backend, call),
		Columns: []results.Column{{Name: "variant", Text: true}, {Name: "calls"}, {Name: "mean", Unit: "cyc"}, {Name: "+-", Unit: "cyc"}, {Name: "p50", Unit: "cyc"},
			{Name: "p99", Unit: "cyc"}, {Name: "p99.9", Unit: "cyc"}}}
	several := len(rs) > 1
	if several {
		t.Columns = append(t.Columns, results.Column{Name: "vs first", Unit: "cyc", Text: true})
	}
	add := func(cells ...any) {
		for len(cells) < len(t.Columns) {
			cells = append(cells, nil)
		}
		t.Add(cells...)
	}
	for _, c := range cells(rs) {
		shown := false
		for i, r := range rs {
			o := r.op(call, c)
			if o == nil {
				continue
			}
			if !shown {
				add("[" + c.String() + "]")
				shown = true
			}
			m, half := steady(o)
			row := []any{r.name, o.N, m, half}
			for _, q := range quantiles {
				row = append(row, o.Cycles.Quantile(q.q))
			}
			if b := rs[0].op(call, c); i > 0 && b != nil && b.N == o.N {
				row = append(row, difference(sim.Difference(&b.Series, &o.Series)))
			}
			add(row...)
		}
	}
	t.Notes = []string{"mean: after the warm-up, +- half of its 95 % interval; the distribution is of all calls. [interface, size]: sizes are of the whole request."}
	if several {
		t.Notes = append(t.Notes, "vs first: mean of the paired differences, with half of its 95 % interval; ~ means that the interval contains zero.")
	}
	return t
}

// stepNote says what steps are of.
const stepNote = "Of all calls performed, the warm-up included, per call; what refused calls executed before they were refused is in it."

// fewSteps is how many functions a table of steps names when there is one for every backend.
const fewSteps = 5

// steps shows where the cycles of the calls of one backend go, by kernel function.
func (p *Replayed) steps(call, backend string, tables int) *results.Table {
	var names []string
	var ops []*workloads.Op
	for _, r := range p.on(backend) {
		names, ops = append(names, r.name), append(ops, r.accountOf(call))
	}
	limit := maxSteps
	if tables > 1 {
		limit = fewSteps
	}
	t := functionTable(snake(backend+"_"+call+"_steps"), fmt.Sprintf("%s, %s: cycles per %s by kernel function", p.where(), backend, call), names, ops, limit)
	if t != nil && tables == 1 {
		t.Notes = []string{stepNote}
	}
	return t
}

// unitTable shows what the IOMMU did.
func (p *Replayed) unitTable() *results.Table {
	t := &results.Table{ID: "iommu", Title: p.where() + ": IOMMU",
		Columns: []results.Column{{Name: "variant", Text: true}, {Name: "requests"}, {Name: "IOTLB hit", Unit: "%", Decimals: 1}, {Name: "walks"},
			{Name: "walk", Unit: "ns", Decimals: 0}, {Name: "invali- dations"}, {Name: "waits"}, {Name: "dropped entries"}}}
	for _, b := range p.backends() {
		rs := p.on(b)
		if !rs[0].unit || platform.Backend(b).Passthrough() {
			continue
		}
		t.Add("["+b+"]", nil, nil, nil, nil, nil, nil, nil)
		for _, r := range rs {
			o := Outcome{IOMMU: r.iommu}
			t.Add(r.name, r.iommu.Requests, o.HitRate(), r.iommu.Walks, o.WalkMean(), r.iommu.Invalidations, r.iommu.Waits, r.iommu.Dropped)
		}
	}
	t.Notes = []string{"requests: each buffer is moved once by the device before its unmap. invalidations: descriptors executed, without waits. dropped: IOTLB entries found by them."}
	return t
}

// flushTable shows what was put off and what was copied.
func (p *Replayed) flushTable() *results.Table {
	t := &results.Table{ID: "deferred", Title: p.where() + ": flush queues and bounce buffers",
		Columns: []results.Column{{Name: "variant", Text: true}, {Name: "queued unmaps"}, {Name: "flushes, queue full"}, {Name: "flushes, timer"}, {Name: "copies"}, {Name: "copied", Unit: "MB", Decimals: 1}}}
	for _, b := range p.backends() {
		rs := p.on(b)
		if !slices.ContainsFunc(rs, func(r *replayed) bool { return r.flush.Queued+r.bounce.Copies > 0 }) {
			continue
		}
		t.Add("["+b+"]", nil, nil, nil, nil, nil)
		for _, r := range rs {
			t.Add(r.name, r.flush.Queued, r.flush.Flushes, r.flush.TimerFlushes, r.bounce.Copies, float64(r.bounce.Bytes)/1e6)
		}
	}
	t.Notes = []string{"queued: unmaps whose invalidation waits in a flush queue until it is full or its timer fires, which follows the trace's own time."}
	return t
}

// eventTable says what was read.
func (p *Replayed) eventTable() *results.Table {
	tr := p.Trace
	t := &results.Table{ID: "events", Title: fmt.Sprintf("%s: %d events in %d lines", p.x.Name, tr.Events, tr.Lines),
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

// callTable says which calls the trace has.
func (p *Replayed) callTable() *results.Table {
	t := &results.Table{ID: "calls", Title: p.x.Name + ": calls of the trace",
		Columns: []results.Column{{Name: "recorded as", Text: true}, {Name: "call", Text: true}, {Name: "maps"}, {Name: "unmaps"}}, Keys: 2}
	for h := range replay.NumHow {
		if p.Trace.Maps[h]+p.Trace.Unmaps[h] > 0 {
			t.Add(interfaces[h], h.String(), p.Trace.Maps[h], p.Trace.Unmaps[h])
		}
	}
	return t
}

// predictionTable compares the recorded IOVAs with the modelled allocator's.
func (p *Replayed) predictionTable() *results.Table {
	t := &results.Table{ID: "iova_prediction", Title: p.x.Name + ": recorded IOVAs against the modelled allocator",
		Columns: []results.Column{{Name: "device", Text: true}, {Name: "mode", Text: true}, {Name: "allocations"}, {Name: "exact"}, {Name: "wrong"},
			{Name: "exact", Unit: "%", Decimals: 2}, {Name: "older"}, {Name: "of these guessed"}}}
	for _, d := range p.Trace.Devices {
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
	t.Notes = []string{"exact, wrong: allocations whose history the trace contains; the rate is exact / (exact + wrong). older: first allocations from a state older " +
		"than the trace. mode: of the traced domain, by which rules predict it better."}
	return t
}
