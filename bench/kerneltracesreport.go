package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"dmapath/kernel/recorded"
	"dmapath/results"
)

// Tally counts rows of a validation.
type Tally struct{ Rows, Within, Miss, Unmodelled int }

func (n *Tally) add(within, modelled bool) {
	n.Rows++
	switch {
	case !modelled:
		n.Unmodelled++
	case within:
		n.Within++
	default:
		n.Miss++
	}
}

// Tally counts the rows of one kernel, of all with an empty name.
func (v *Validation) Tally(kern string) (n Tally) {
	for _, r := range v.Results {
		if r.Judged() && (kern == "" || r.Kernel == kern) {
			n.add(r.Within(), r.Modelled != nil)
		}
	}
	return n
}

// paths counts the recorded paths other than what Tally counts.
func (v *Validation) paths(kern string) (n Tally) {
	for _, r := range v.Results {
		for _, p := range r.Paths {
			if kern == "" || r.Kernel == kern {
				n.add(p.Within, p.Calls > 0)
			}
		}
	}
	return n
}

// kernels lists the kernels in the order of the recordings.
func (v *Validation) kernels() (list []string) {
	for _, r := range v.Results {
		if !slices.Contains(list, r.Kernel) {
			list = append(list, r.Kernel)
		}
	}
	return list
}

// Record turns the validation into tables and measurements.
func (v *Validation) Record() *results.Record {
	rec := &results.Record{Name: "KernelTraces"}
	type place struct{ kernel, backend string }
	var places []place
	for _, r := range v.Results {
		r.measure(rec)
		if p := (place{r.Kernel, r.Backend}); !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	add := func(t *results.Table) {
		if len(t.Rows) > 0 {
			rec.Tables = append(rec.Tables, t)
		}
	}
	for _, p := range places {
		of := func(r *CallResult) bool { return r.Kernel == p.kernel && r.Backend == p.backend }
		add(v.counts(p.kernel+" "+p.backend, of))
		add(v.flow(p.kernel+" "+p.backend, of))
		add(v.cycleTable(p.kernel+" "+p.backend, of))
	}
	for _, r := range v.Results {
		if r.Judged() && r.Modelled != nil && !r.Within() {
			add(r.functions())
		}
	}
	add(v.pathTable())
	add(v.unmodelled())
	add(v.cycleSummary())
	add(v.summary())
	rec.Warnings = slices.Clone(v.Notes)
	return rec
}

// measure adds the long form of r.
func (r *CallResult) measure(rec *results.Record) {
	dims := []results.Dim{{Key: "kernel", Value: r.Kernel}, {Key: "backend", Value: r.Backend}, {Key: "api", Value: r.API},
		{Key: "size", Value: strconv.FormatUint(r.Size, 10)}}
	add := func(dims []results.Dim, metric, unit string, v float64, n int) {
		rec.Add(results.Measurement{Dims: dims, Metric: metric, Unit: unit, Value: v, CI95: math.NaN(), N: int64(n)})
	}
	known := func(n int) float64 {
		if n < 0 {
			return math.NaN()
		}
		return float64(n)
	}
	if r.Judged() {
		for m := range numMetrics {
			got := math.NaN()
			if r.Modelled != nil {
				got = known(r.Modelled.Counts[m])
			}
			add(dims, m.String()+"_modelled", "count", got, r.Of)
			add(dims, m.String()+"_recorded", "count", known(r.Counts[m]), r.Of)
			add(dims, m.String()+"_deviation", "percent", 100*r.Deviation(m), r.Of)
		}
		within := math.NaN()
		if r.Modelled != nil {
			within = 0
			if r.Within() {
				within = 1
			}
		}
		add(dims, "within_tolerance", "", within, r.Of)
	}
	if r.Cycles != nil {
		for i, s := range States {
			d := append(slices.Clone(dims), results.Dim{Key: "state", Value: s})
			add(d, "modelled", "cycles", r.Cycles.Modelled[i], codeStarts*cycleRounds)
			add(d, "recorded", "cycles", r.Cycles.Recorded[i], codeStarts*cycleRounds)
			add(d, "cycles_deviation", "percent", 100*r.Cycles.Deviation(i), codeStarts*cycleRounds)
		}
	}
	for _, p := range r.Paths {
		d := append(slices.Clone(dims), results.Dim{Key: "path", Value: strconv.Itoa(p.Number)})
		got := math.NaN()
		if p.Calls > 0 {
			got = float64(p.Instructions)
		}
		add(d, "path_instructions_modelled", "count", got, p.Calls)
		add(d, "path_instructions_recorded_min", "count", float64(p.Min), p.Count)
		add(d, "path_instructions_recorded_max", "count", float64(p.Max), p.Count)
	}
}

// sizeName writes a size shortly.
func sizeName(n uint64) string {
	switch {
	case n == 0:
		return "-"
	case n%(1<<30) == 0:
		return fmt.Sprintf("%dG", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dM", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%dK", n>>10)
	}
	return strconv.FormatUint(n, 10)
}

// versus writes modelled/recorded.
func (r *CallResult) versus(m Metric) string {
	if r.Counts[m] < 0 {
		return fmt.Sprintf("%d/?", r.Modelled.Counts[m])
	}
	return fmt.Sprintf("%d/%d", r.Modelled.Counts[m], r.Counts[m])
}

// verdictTone is that of a row that is within its tolerance or not.
func verdictTone(within bool) results.Tone {
	if within {
		return results.Good
	}
	return results.Bad
}

// counts is the table of judged metrics of a kernel and backend.
func (v *Validation) counts(place string, of func(*CallResult) bool) *results.Table {
	pct := func(name string) results.Column {
		return results.Column{Name: name, Unit: "%", Decimals: 1, Signed: true}
	}
	t := &results.Table{ID: "counts", Title: place + ": modelled/recorded, and the deviation", Keys: 2, Columns: []results.Column{{Name: "call", Text: true},
		{Name: "size", Text: true}, {Name: "instructions"}, pct("instr"), pct("loads"), pct("stores"), {Name: "lines"}, {Name: "verdict", Text: true}}}
	atypical := false
	for _, r := range v.Results {
		if !of(r) || !r.Judged() || r.Modelled == nil {
			continue
		}
		verdict := "ok"
		if !r.Within() {
			verdict = "MISS"
		}
		if !r.Typical {
			verdict, atypical = verdict+" ~", true
		}
		t.Add(r.API, sizeName(r.Size), r.versus(Instructions), 100*r.Deviation(Instructions), 100*r.Deviation(Loads), 100*r.Deviation(Stores),
			r.versus(Lines), results.Toned(verdict, verdictTone(r.Within())))
	}
	if atypical {
		t.Notes = append(t.Notes, "~ no instruction count is typical of the recorded calls (the shape of the IOVA tree, or the place in the bounce pool, changes from call to call): means of both, without the smallest and the largest.")
	}
	return t
}

// flow is the table of the other metrics.
func (v *Validation) flow(place string, of func(*CallResult) bool) *results.Table {
	t := &results.Table{ID: "control_flow", Title: place + ": modelled/recorded, not judged", Keys: 2, Columns: []results.Column{{Name: "call", Text: true},
		{Name: "size", Text: true}, {Name: "branches"}, {Name: "atom"}, {Name: "fence"}, {Name: "ind. calls"}, {Name: "flush"}, {Name: "PTEs"}}}
	for _, r := range v.Results {
		if of(r) && r.Judged() && r.Modelled != nil {
			t.Add(r.API, sizeName(r.Size), r.versus(Branches), r.versus(Atomics), r.versus(Fences), r.versus(IndirectCalls), r.versus(LineFlushes),
				r.versus(PTEsWritten))
		}
	}
	return t
}

// functions shows where a call that misses differs.
func (r *CallResult) functions() *results.Table {
	what := fmt.Sprintf("%s %s %s %s", r.Kernel, r.Backend, r.API, sizeName(r.Size))
	t := &results.Table{ID: "functions", Title: what + ": modelled/recorded by function", Columns: []results.Column{{Name: "function", Text: true},
		{Name: "calls"}, {Name: "instructions"}, {Name: "loads"}, {Name: "stores"}}}
	if len(r.Functions) == 0 {
		t.Notes = []string{"Neither functions.csv nor a steps file knows this call: the modelled functions alone."}
	}
	pair := func(got, want int) string { return fmt.Sprintf("%d/%d", got, want) }
	row := func(name string, g, w recorded.Function) {
		t.Add(name, pair(g.Calls, w.Calls), pair(g.Instructions, w.Instructions), pair(g.Loads, w.Loads), pair(g.Stores, w.Stores))
	}
	find := func(fs []recorded.Function, name string) (f recorded.Function) {
		if i := slices.IndexFunc(fs, func(f recorded.Function) bool { return f.Name == name }); i >= 0 {
			f = fs[i]
		}
		return f
	}
	for _, g := range r.Modelled.Functions {
		row(g.Name, g, find(r.Functions, g.Name))
	}
	for _, w := range r.Functions {
		if find(r.Modelled.Functions, w.Name).Calls == 0 && find(r.Modelled.Functions, w.Name).Instructions == 0 {
			row(w.Name, recorded.Function{}, w)
		}
	}
	return t
}

// pathTable shows the paths of variants.csv.
func (v *Validation) pathTable() *results.Table {
	t := &results.Table{ID: "paths", Title: "Paths by the set of functions executed, and how many calls took them", Keys: 1, Columns: []results.Column{
		{Name: "path", Text: true}, {Name: "calls modelled"}, {Name: "calls recorded"}, {Name: "instr. modelled"}, {Name: "recorded"}, {Name: "verdict", Text: true}},
		Notes: []string{"A recorded path whose functions no modelled call executes is not modelled (\"none\"). The modelled count is the most common " +
			"on the path, the recorded one the range. Paths do not decide the exit code."}}
	for _, r := range v.Results {
		for _, p := range r.Paths {
			name := fmt.Sprintf("%s %s %s %s #%d", r.Kernel, r.Backend, r.API, sizeName(r.Size), p.Number)
			want, verdict := strconv.Itoa(p.Min), "off"
			if p.Max != p.Min {
				want = fmt.Sprintf("%d-%d", p.Min, p.Max)
			}
			if p.Within {
				verdict = "ok"
			}
			if p.Calls == 0 {
				t.Add(name, nil, p.Count, nil, want, "none")
			} else {
				t.Add(name, p.Calls, p.Count, p.Instructions, want, verdict)
			}
		}
	}
	return t
}

// unmodelled lists what the model cannot answer for, and why.
func (v *Validation) unmodelled() *results.Table {
	t := &results.Table{ID: "not_modelled", Title: "Not modelled", Columns: []results.Column{{Name: "where", Text: true}, {Name: "calls", Text: true},
		{Name: "reason", Text: true}}}
	type why struct{ where, reason string }
	var order []why
	calls := map[why][]string{}
	for _, r := range v.Results {
		if r.Reason != nil {
			w := why{r.Kernel + " " + r.Backend, r.Reason.Error()}
			if calls[w] == nil {
				order = append(order, w)
			}
			name := r.API
			if r.Size > 0 {
				name += " " + sizeName(r.Size)
			}
			calls[w] = append(calls[w], name)
		}
	}
	for _, w := range order {
		t.Add(w.where, strings.Join(calls[w], ", "), w.reason)
	}
	return t
}

// summary counts rows and paths by kernel.
func (v *Validation) summary() *results.Table {
	t := &results.Table{ID: "summary", Title: fmt.Sprintf("Model against %s", v.Dir), Columns: []results.Column{{Name: "kernel", Text: true}, {Name: "rows"},
		{Name: "within"}, {Name: "miss"}, {Name: "not modelled"}, {Name: "paths"}, {Name: "paths within"}, {Name: "paths off"}, {Name: "paths not modelled"}}}
	row := func(name, kern string) {
		n, p := v.Tally(kern), v.paths(kern)
		t.Add(name, n.Rows, n.Within, n.Miss, n.Unmodelled, p.Rows, p.Within, p.Miss, p.Unmodelled)
	}
	for _, k := range v.kernels() {
		row(k, k)
	}
	row("all", "")
	n := v.Tally("")
	t.Notes = []string{
		fmt.Sprintf("%d rows, %d within, %d miss, %d not modelled.", n.Rows, n.Within, n.Miss, n.Unmodelled),
		fmt.Sprintf("A row is one kernel, backend, call and size; within is %g %% in instructions, loads and stores, and %g %% or %d in distinct lines.",
			100*Tolerance, 100*Tolerance, LineSlack),
		"The recordings' emulator completed invalidations at once; the model's wait for them is left out, too."}
	return t
}
