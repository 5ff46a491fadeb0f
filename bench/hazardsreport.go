package bench

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"

	"dmapath/kernel"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads/hazard"
)

// Record turns the matrix into measurements and tables.
func (h *Hazards) Record() *results.Record {
	r := &results.Record{Name: "Hazards", Version: results.Version(), Seed: h.Opt.Seed}
	for _, c := range h.Results {
		h.measure(r, c)
	}
	r.Tables = append(r.Tables, h.matrix()...)
	r.Tables = append(r.Tables, h.hazards(), h.errors(), h.protection(), h.missing())
	if len(h.Windows) > 0 {
		r.Tables = append(r.Tables, h.windows(r))
	}
	r.Tables = slices.DeleteFunc(r.Tables, func(t *results.Table) bool { return len(t.Rows) == 0 })
	return r
}

// dims are the coordinates of a cell.
func (h *Hazards) dims(c *hazard.Result) []results.Dim {
	return []results.Dim{{Key: "platform", Value: h.Platform.Name}, {Key: "kernel", Value: c.Call.Version.String()}, {Key: "call", Value: c.Call.Name},
		{Key: "memory", Value: c.Memory.Name}, {Key: "backend", Value: c.Backend.Name}, {Key: "status", Value: c.Status.String()}}
}

// measure adds the long form of a cell.
func (h *Hazards) measure(r *results.Record, c *hazard.Result) {
	d := h.dims(c)
	add := func(d []results.Dim, metric, unit string, v, ci float64, n int64) {
		r.Add(results.Measurement{Dims: d, Metric: metric, Unit: unit, Value: v, CI95: ci, N: n})
	}
	add(d, "hazards", "count", float64(len(c.Hazards)), math.NaN(), 1)
	for _, f := range c.Hazards {
		inferred := "no"
		if f.Inferred {
			inferred = "yes"
		}
		add(append(slices.Clone(d), results.Dim{Key: "hazard", Value: f.Kind.String()}, results.Dim{Key: "step", Value: f.Step}, results.Dim{Key: "inferred", Value: inferred}),
			"hazard", "count", 1, math.NaN(), 1)
	}
	if c.Map != nil {
		for _, o := range []op{{"map", c.Map}, {"unmap", c.Unmap}} {
			e, tot, n := o.Series.SecondHalf(), o.Acct.Total(), float64(o.N)
			add(d, o.name+"_mean", "cycles", e.Mean, finite(e.HalfWidth), int64(e.N))
			add(d, o.name+"_instructions", "count", float64(tot.Instructions())/n, math.NaN(), o.N)
		}
		for _, x := range []struct {
			name string
			v    float64
		}{{"beside_bytes", float64(c.Exposed.Beside)}, {"reached_after_unmap", yes(c.Exposed.After)}, {"reached_20ms_after_unmap", yes(c.Exposed.Later)}} {
			add(d, x.name, "count", x.v, math.NaN(), 1)
		}
	}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// backends returns the backends of the results, in order.
func (h *Hazards) backends() []string {
	var names []string
	for _, b := range hazard.Backends() {
		if slices.ContainsFunc(h.Results, func(r *hazard.Result) bool { return r.Backend.Name == b.Name }) {
			names = append(names, b.Name)
		}
	}
	return names
}

// matrix returns one table per kernel and memory: calls by backends. Columns and tables without an answer are left out.
func (h *Hazards) matrix() []*results.Table {
	var list []*results.Table
	for i := 0; i < len(h.Results); {
		first := h.Results[i]
		end := i
		for end < len(h.Results) && h.Results[end].Memory.Name == first.Memory.Name && h.Results[end].Call.Version == first.Call.Version {
			end++
		}
		if t := h.table(h.Results[i:end]); t != nil {
			list = append(list, t)
		}
		i = end
	}
	return list
}

// statusTones are those of a cell's answer.
var statusTones = [hazard.NotModelled + 1]results.Tone{hazard.Hazardous: results.Bad, hazard.Fatal: results.Bad, hazard.Failed: results.Doubt,
	hazard.Impossible: results.Faint, hazard.NotModelled: results.Faint}

func (h *Hazards) table(part []*hazard.Result) *results.Table {
	answered := map[string]bool{}
	for _, r := range part {
		answered[r.Backend.Name] = answered[r.Backend.Name] || r.Status != hazard.NotModelled
	}
	first := part[0]
	t := &results.Table{ID: fmt.Sprintf("hazards_%s_%s", first.Call.Version, first.Memory.Name),
		Title:   fmt.Sprintf("Linux %v, %s: %s", first.Call.Version, first.Memory.Name, first.Memory.What),
		Columns: []results.Column{{Name: "call", Text: true}}}
	var names []string
	for _, b := range h.backends() {
		if answered[b] {
			names = append(names, b)
			t.Columns = append(t.Columns, results.Column{Name: b, Text: true})
		}
	}
	if len(names) == 0 {
		return nil
	}
	for i := 0; i < len(part); {
		row := []any{part[i].Call.Name}
		cells := map[string]results.Cell{}
		name := part[i].Call.Name
		for ; i < len(part) && part[i].Call.Name == name; i++ {
			cells[part[i].Backend.Name] = results.Toned(part[i].Short(), statusTones[part[i].Status])
		}
		for _, b := range names {
			row = append(row, cells[b])
		}
		t.Add(row...)
	}
	return t
}

// places are the cells that have something in common, by coordinate.
type places struct{ kernels, steps, calls, memories, backends []string }

func (p *places) add(r *hazard.Result, step string) {
	for _, x := range []struct {
		to   *[]string
		name string
	}{{&p.kernels, r.Call.Version.String()}, {&p.steps, step}, {&p.calls, r.Call.Name}, {&p.memories, r.Memory.Name}, {&p.backends, r.Backend.Name}} {
		if x.name != "" && !slices.Contains(*x.to, x.name) {
			*x.to = append(*x.to, x.name)
		}
	}
}

// several lists names, the first few of many.
func several(names []string) string {
	const most = 6
	if n := len(names); n > most+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n-most)
	}
	return strings.Join(names, ", ")
}

// finding is the same defect in several cells.
type finding struct {
	hazard.Found
	places
}

// String tells it in one paragraph.
func (f *finding) String() string {
	inferred := ""
	if f.Inferred {
		inferred = "*"
	}
	return fmt.Sprintf("%s%s %v: %s. Kernel %s; step %s; calls %s; memory %s; backend %s.", hazard.Code(f.Kind), inferred, f.Kind, generic(f.Note),
		several(f.kernels), several(f.steps), several(f.calls), several(f.memories), several(f.backends))
}

// hazards counts the cells of each kind of hazard, and tells each once per reason.
func (h *Hazards) hazards() *results.Table {
	t := &results.Table{ID: "hazards_found", Title: "What the cells mean, and what goes wrong where", Keys: 2, Columns: []results.Column{{Name: "cell", Text: true},
		{Name: "meaning", Text: true}, {Name: "cells"}, {Name: "inferred"}}}
	var status [hazard.NotModelled + 1]int
	for _, r := range h.Results {
		status[r.Status]++
	}
	t.Add("123", "cycles of map and unmap together", status[hazard.OK]+status[hazard.Hazardous], 0)
	for _, s := range []struct {
		code, what string
		hazard.Status
	}{{"ERR", "the kernel returns an error", hazard.Failed}, {"n/a", "the call cannot be made", hazard.Impossible}, {"?", "not modelled", hazard.NotModelled}} {
		if n := status[s.Status]; n > 0 {
			t.Add(s.code, s.what, n, 0)
		}
	}
	for k := range kernel.NumHazards {
		n, inferred := 0, 0
		for _, r := range h.Results {
			if i := slices.IndexFunc(r.Hazards, func(f hazard.Found) bool { return f.Kind == k }); i >= 0 {
				n++
				if r.Hazards[i].Inferred {
					inferred++
				}
			}
		}
		if n > 0 {
			what := k.String()
			if k.Fatal() {
				what += " (fatal)"
			}
			t.Add(hazard.Code(k), what, n, inferred)
		}
	}
	t.Notes = []string{"Caches are warm. *, inferred: read in the source that nothing prevents it, seen by nobody. The step is the kernel function that does it, or the API call after which the oracle sees it. The " +
		"worst behaviour of the caches between map and unmap counts. dmapath hazards --explain CALL@KERNEL/MEMORY/BACKEND tells a cell's story."}
	for _, f := range h.findings() {
		t.Notes = append(t.Notes, f.String())
	}
	return t
}

func (h *Hazards) findings() []*finding {
	var list []*finding
	index := map[string]*finding{}
	for _, r := range h.Results {
		for _, f := range r.Hazards {
			key := fmt.Sprint(f.Kind, f.Inferred, generic(f.Note))
			x := index[key]
			if x == nil {
				x = &finding{Found: f}
				index[key] = x
				list = append(list, x)
			}
			x.add(r, f.Step)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Kind < list[j].Kind })
	return list
}

// number is an address or a count in a note.
var number = regexp.MustCompile(`0x[0-9a-f]+|\b[0-9]+ (of [0-9]+ )?(bytes|mappings)`)

// generic is a note without the addresses and counts of the one cell that it comes from.
func generic(note string) string {
	return number.ReplaceAllStringFunc(note, func(s string) string {
		if strings.HasPrefix(s, "0x") {
			return "0x..."
		}
		return s[strings.LastIndexByte(s, ' ')+1:]
	})
}

// errors lists what the kernel returns, by reason.
func (h *Hazards) errors() *results.Table {
	t := &results.Table{ID: "hazards_errors", Title: "What the kernel refuses", Columns: []results.Column{{Name: "reason", Text: true}, {Name: "cells"}}}
	type reason struct {
		why   string
		cells int
		places
	}
	var list []*reason
	index := map[string]*reason{}
	for _, r := range h.Results {
		if r.Status != hazard.Failed {
			continue
		}
		why := r.Err.Error()
		why = strings.TrimSpace(why[strings.LastIndex(why, ": ")+1:])
		x := index[why]
		if x == nil {
			x = &reason{why: why}
			index[why] = x
			list = append(list, x)
		}
		x.cells++
		x.add(r, "")
	}
	for _, x := range list {
		t.Add(x.why, x.cells)
		t.Notes = append(t.Notes, fmt.Sprintf("%s: kernel %s; calls %s; memory %s; backend %s.", x.why, several(x.kernels), several(x.calls), several(x.memories), several(x.backends)))
	}
	return t
}

// protection says what the device can reach beside what it was told.
func (h *Hazards) protection() *results.Table {
	t := &results.Table{ID: "hazards_protection", Title: "What a device can reach that it has no right to", Keys: 2, Columns: []results.Column{{Name: "kernel", Text: true}, {Name: "backend", Text: true},
		{Name: "memory", Text: true}, {Name: "buffer", Unit: "B"}, {Name: "beside it", Unit: "B"}, {Name: "after unmap", Text: true}, {Name: "20 ms later", Text: true}}}
	seen := map[string]bool{}
	for _, b := range h.backends() {
		for _, r := range h.Results {
			key := fmt.Sprint(r.Call.Version, b, r.Memory.Name)
			if r.Backend.Name != b || r.Call.Wrong || seen[key] || r.Status != hazard.OK && r.Status != hazard.Hazardous {
				continue
			}
			seen[key] = true
			t.Add(r.Call.Version.String(), b, r.Memory.Name, r.Size, r.Exposed.Beside, reach(r.Exposed.After), reach(r.Exposed.Later))
		}
	}
	t.Notes = []string{"beside it: bytes of the pages around the buffer that the device can read or write while the buffer is mapped. after unmap: whether a device that goes on using the buffer's address still gets through, " +
		"right after the call and 20 ms later. Seen with the first call of the kernel that the memory allows."}
	return t
}

func reach(b bool) string {
	if b {
		return "reached"
	}
	return "refused"
}

// missing says what was not run and why.
func (h *Hazards) missing() *results.Table {
	t := &results.Table{ID: "hazards_not_modelled", Title: "Not modelled", Columns: []results.Column{{Name: "backend or memory", Text: true}, {Name: "reason", Text: true}}}
	seen := map[string]bool{}
	add := func(what, why string) {
		if why != "" && !seen[what] {
			seen[what] = true
			t.Add(what, why)
		}
	}
	for _, r := range h.Results {
		add(r.Backend.Name, r.Backend.Missing)
	}
	for _, r := range h.Results {
		add(r.Memory.Name, r.Memory.Missing)
	}
	return t
}

// windows is the table of windows; it adds their long form to r.
func (h *Hazards) windows(r *results.Record) *results.Table {
	t := &results.Table{ID: "hazards_windows", Title: fmt.Sprintf("How long a device still reaches an unmapped buffer, on %s", h.Platform.Name), Keys: 3,
		Columns: []results.Column{{Name: "backend", Text: true}, {Name: "variant", Text: true}, {Name: "load", Unit: "unmap/s", Text: true}, {Name: "mean", Unit: "us", Decimals: 1},
			{Name: "max", Unit: "us", Decimals: 1}, {Name: "never"}, {Name: "full queue"}, {Name: "timer"}}}
	for _, w := range h.Windows {
		load := "one by one"
		if w.PerSec > 0 {
			load = fmt.Sprint(w.PerSec)
		}
		us := func(t sim.Time) float64 { return float64(t) / float64(sim.Microsecond) }
		t.Add(w.Backend.Name, w.Variant, load, us(w.Mean), us(w.Max), w.Never, w.Flushes, w.Timer)
		d := []results.Dim{{Key: "platform", Value: h.Platform.Name}, {Key: "kernel", Value: kernelOf(w.Variant)}, {Key: "call", Value: w.Variant[:strings.IndexByte(w.Variant, '@')]}, {Key: "backend", Value: w.Backend.Name}, {Key: "load", Value: load}}
		for _, m := range []struct {
			metric, unit string
			v            float64
		}{{"window_mean", "ns", us(w.Mean) * 1000}, {"window_max", "ns", us(w.Max) * 1000}, {"window_never_reached", "count", float64(w.Never)},
			{"window_full_queue_flushes", "count", float64(w.Flushes)}, {"window_timer_flushes", "count", float64(w.Timer)}} {
			r.Add(results.Measurement{Dims: d, Metric: m.metric, Unit: m.unit, Value: m.v, CI95: math.NaN(), N: w.Unmaps})
		}
	}
	t.Notes = []string{fmt.Sprintf("Time from the return of the unmap to the last moment at which the device reached the buffer; it tries every %d us. One CPU; the device has read the buffer before. "+
		"never: buffers that it did not reach any more. full queue, timer: flushes of the whole domain.", hazard.Probe/sim.Microsecond)}
	return t
}
