package sensitivity

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"dmapath/bench"
	"dmapath/results"
	"dmapath/results/figure"
)

// Record turns u into measurements and tables: how many conclusions survive, which do not, all of them by workload, backend and call, and
// what they go with.
func (u *Uncertainty) Record() *results.Record {
	r := &results.Record{Name: "Uncertainty", Seed: u.Exp.Seed}
	for _, c := range u.Conclusions {
		u.measure(r, c)
	}
	r.Tables = append(r.Tables, u.summary(), u.fragile())
	for _, w := range u.Exp.Workloads {
		for _, b := range u.Exp.Backends {
			for _, call := range Calls {
				r.Tables = append(r.Tables, u.table(fmt.Sprintf("%s, %s, %s", w, b, call), func(c *Conclusion) bool {
					return c.Workload == w && c.Backend == b && c.Call == call && c.Variant == ""
				}))
			}
		}
		r.Tables = append(r.Tables, u.table(w+", between backends", func(c *Conclusion) bool { return c.Workload == w && c.Variant != "" }))
	}
	r.Tables = append(r.Tables, u.drivers())
	var shown []*results.Table
	for _, t := range r.Tables {
		if len(t.Rows) > 0 {
			shown = append(shown, t)
		}
	}
	r.Tables = shown
	return r
}

// dims are the coordinates of c.
func (u *Uncertainty) dims(c *Conclusion) []results.Dim {
	d := []results.Dim{{Key: "platform", Value: u.Platform.Name}, {Key: "workload", Value: c.Workload}, {Key: "source", Value: u.Exp.Source}, {Key: "backend", Value: c.Backend},
		{Key: "cache", Value: c.Cache}, {Key: "call", Value: c.Call}, {Key: "conclusion", Value: c.Text()}, {Key: "kind", Value: c.Kind.String()}}
	across := "no"
	if c.Across {
		across = "yes"
	}
	return append(d, results.Dim{Key: "across_kernels", Value: across}, results.Dim{Key: "variant", Value: c.Variant})
}

func (u *Uncertainty) measure(r *results.Record, c *Conclusion) {
	d, n := u.dims(c), int64(c.Judged)
	add := func(metric string, v float64) {
		r.Add(results.Measurement{Dims: d, Metric: metric, Unit: "percent", Value: 100 * v, CI95: math.NaN(), N: n})
	}
	share, low, high := c.Share()
	p5, p50, p95 := c.Spread()
	add("holds", share)
	add("holds_low", low)
	add("holds_high", high)
	add("opposite_certain", float64(c.Against)/float64(n))
	add("effect_nominal", c.Nominal)
	add("effect_p5", p5)
	add("effect_p50", p50)
	add("effect_p95", p95)
	for _, g := range c.Goes {
		r.Add(results.Measurement{Dims: append(append([]results.Dim(nil), d...), results.Dim{Key: "parameter", Value: g.Key}), Metric: "rank_correlation", Unit: "count",
			Value: g.Rho, CI95: math.NaN(), N: n})
	}
}

// grades are how well a conclusion survives.
var grades = []struct {
	name string
	in   func(share float64) bool
}{
	{"in all samples", func(s float64) bool { return s == 1 }},
	{"in 95 % or more", func(s float64) bool { return s >= 0.95 && s < 1 }},
	{"in 80 to 95 %", func(s float64) bool { return s >= 0.8 && s < 0.95 }},
	{"in 50 to 80 %", func(s float64) bool { return s >= 0.5 && s < 0.8 }},
	{"in less than half", func(s float64) bool { return s < 0.5 }},
}

// summary counts conclusions by how well they survive.
func (u *Uncertainty) summary() *results.Table {
	t := &results.Table{ID: "uncertainty", Title: fmt.Sprintf("%s: what survives when %d uncertain values are varied, %d samples", u.Platform.Name, len(u.Keys), len(u.Samples)),
		Columns: []results.Column{{Name: "holds", Text: true}, {Name: "order"}, {Name: "order, kernels mixed"}, {Name: "by a margin"}, {Name: "alike"}, {Name: "over half"}, {Name: "backends"}}}
	for _, g := range grades {
		var n [6]int
		for _, c := range u.Conclusions {
			if share, _, _ := c.Share(); !g.in(share) {
				continue
			}
			switch {
			case c.Variant != "":
				n[5]++
			case c.Kind == Half:
				n[4]++
			case c.Kind == Alike:
				n[3]++
			case c.Over > 0:
				n[2]++
			case c.Across:
				n[1]++
			default:
				n[0]++
			}
		}
		t.Add(g.name, n[0], n[1], n[2], n[3], n[4], n[5])
	}
	t.Notes = []string{fmt.Sprintf("Each conclusion is what %s shows as it is (95 %% intervals), asked again of machines drawn from the plausible ranges of all its guessed and inferred values "+
		"(platform show prints them). Ranges are conventions where nobody published one: a share says how much a conclusion leans on unknown values, and is not the probability that it is true.", u.Platform.Name)}
	return t
}

// columns are those of tables of conclusions.
func columns() []results.Column {
	return []results.Column{{Name: "conclusion", Text: true}, {Name: "base", Unit: "%", Decimals: 1}, {Name: "p5", Unit: "%", Decimals: 1}, {Name: "p50", Unit: "%", Decimals: 1},
		{Name: "p95", Unit: "%", Decimals: 1}, {Name: "holds", Unit: "%", Text: true}}
}

func (c *Conclusion) row() []any {
	share, low, high := c.Share()
	p5, p50, p95 := c.Spread()
	return []any{c.Text(), 100 * c.Nominal, 100 * p5, 100 * p50, 100 * p95, fmt.Sprintf("%.0f (%.0f-%.0f)", 100*share, 100*low, 100*high)}
}

// fragile lists what holds in less than 95 % of the samples.
func (u *Uncertainty) fragile() *results.Table {
	t := &results.Table{ID: "uncertainty_fragile", Title: "What does not survive: conclusions that hold in less than 95 % of the samples", Columns: columns()}
	for _, c := range u.Conclusions {
		if share, _, _ := c.Share(); share >= 0.95 {
			continue
		}
		row := c.row()
		where := strings.Join([]string{c.Workload, short(c.Backend), c.Cache, c.Call}, " ")
		if c.Variant != "" {
			where = strings.Join([]string{c.Workload, c.Cache, c.Call, c.Variant}, " ")
		}
		row[0] = where + ": " + row[0].(string)
		t.Add(row...)
	}
	t.Notes = []string{legend}
	return t
}

const legend = "B > A: B costs more than A; ~: the difference is below 5 %; by 10 %: by more than that. base: the effect on the platform's own values, relative to A (of 'over half': the share); p5, p50, p95: over the samples. " +
	"holds: samples in which the statement is true, with its 95 % interval (Wilson)."

// short names a backend in a narrow place.
func short(backend string) string { return strings.TrimPrefix(backend, "iommu-") }

// table lists the conclusions for which in is true, by cache state and kernels.
func (u *Uncertainty) table(title string, in func(*Conclusion) bool) *results.Table {
	t := &results.Table{ID: "uncertainty_" + strings.NewReplacer("-", "_", ",", "", " ", "_").Replace(title), Title: fmt.Sprintf("%s on %s: how sure, %d samples", title, u.Platform.Name, len(u.Samples)), Columns: columns()}
	for _, state := range u.Exp.Caches {
		last := ""
		for pass := range 3 {
			for _, c := range u.Conclusions {
				if c.Cache != state || !in(c) || pass != map[bool]int{true: 2, false: 0}[c.Kind == Half] && !(pass == 1 && c.Across) || pass == 0 && c.Across {
					continue
				}
				head := "[" + state + ", " + kernelOf(c.First+c.Variant) + "]"
				switch {
				case c.Across:
					head = "[" + state + ", across kernels]"
				case c.Variant != "":
					head = "[" + state + ", " + c.Call + ", " + c.Variant + "]"
				}
				if head != last {
					t.Add(head, "", "", "", "", "")
					last = head
				}
				row := c.row()
				if c.Over > 0 && c.Kind != Alike {
					row[0] = fmt.Sprintf("- by over %.0f %%", 100*c.Over)
				}
				t.Add(row...)
			}
		}
	}
	if u.Exp.CrossesKernels() {
		t.Notes = []string{"Across kernels compiler, hardening options and page-table code differ too, not the API alone."}
	}
	return t
}

// drivers lists what the effects go with.
func (u *Uncertainty) drivers() *results.Table {
	t := &results.Table{ID: "uncertainty_parameters", Title: "What the size of each effect goes with", Keys: 2, Columns: []results.Column{{Name: "conclusion", Text: true}, {Name: "parameter", Text: true}, {Name: "rho", Decimals: 2, Signed: true}, {Name: "", Text: true}}}
	state := u.Exp.Caches[0]
	for _, s := range u.Exp.Caches {
		if s == "warm" {
			state = s
		}
	}
	for _, c := range u.Conclusions {
		if c.Cache != state || c.Over > 0 && c.Kind != Alike {
			continue
		}
		for i, g := range c.Goes {
			name := ""
			if i == 0 {
				name = fmt.Sprintf("%s %s %s: %s", c.Workload, short(c.Backend), c.Call, c.Text())
				if c.Variant != "" {
					name = fmt.Sprintf("%s %s %s: %s", c.Workload, c.Call, c.Variant, c.Text())
				}
			}
			t.Add(name, g.Key, g.Rho, mark(u.Platform, g.Key))
		}
	}
	t.Notes = []string{fmt.Sprintf("Cache state: %s. rho: Spearman's rank correlation of the effect with the parameter over the samples; shown are the first %d beyond %.2f, which the largest of %d unrelated ones exceeds in one run of twenty. "+
		"guess: nobody has measured it.", state, mostGoes, least(len(u.Samples), len(u.Keys)), len(u.Keys))}
	return t
}

// WriteSamples writes the varied values of every sample as CSV, a line per sample, values as a platform file writes them.
func (u *Uncertainty) WriteSamples(w io.Writer) error {
	cw := csv.NewWriter(w)
	if err := cw.Write(append([]string{"sample"}, u.Keys...)); err != nil {
		return err
	}
	for i, s := range u.Samples {
		line := []string{strconv.Itoa(i + 1)}
		for _, k := range u.Keys {
			v, err := s.Get(k)
			if err != nil {
				return err
			}
			line = append(line, v)
		}
		if err := cw.Write(line); err != nil {
			return err
		}
	}
	cw.Flush()
	return cw.Error()
}

// WriteEffects writes the effect of every conclusion on every sample as CSV, relative (0.1 is 10 %).
func (u *Uncertainty) WriteEffects(w io.Writer) error {
	cw := csv.NewWriter(w)
	if err := cw.Write([]string{"workload", "backend", "cache", "call", "variant", "conclusion", "sample", "effect"}); err != nil {
		return err
	}
	for _, c := range u.Conclusions {
		for i, e := range c.Effects {
			v := ""
			if !math.IsNaN(e) {
				v = strconv.FormatFloat(e, 'g', 6, 64)
			}
			if err := cw.Write([]string{c.Workload, c.Backend, c.Cache, c.Call, c.Variant, c.Text(), strconv.Itoa(i + 1), v}); err != nil {
				return err
			}
		}
	}
	cw.Flush()
	return cw.Error()
}

// Manifest returns what repeats the run: the experiment and the whole platform, and how many samples there were.
func (u *Uncertainty) Manifest() *results.Manifest {
	m := (&bench.Comparison{Platform: u.Platform, Exp: u.Exp}).Manifest()
	m.Config = append(m.Config, results.Section{Name: "uncertainty", Text: fmt.Sprintf("samples: %d\n", len(u.Samples))})
	return m
}

// Write puts r, which is u.Record, in all formats with the samples, the effects and a plot per workload and call into dir and commits it.
func (u *Uncertainty) Write(dir *results.OutputDir, r *results.Record, m *results.Manifest) error {
	for _, f := range []struct {
		ending string
		format results.Format
	}{{"txt", results.ASCII}, {"md", results.Markdown}, {"csv", results.CSV}, {"json", results.JSON}} {
		if err := dir.Create("uncertainty."+f.ending, func(w io.Writer) error { return r.Write(w, f.format) }); err != nil {
			return err
		}
	}
	if err := dir.Create("samples.csv", u.WriteSamples); err != nil {
		return err
	}
	if err := dir.Create("effects.csv", u.WriteEffects); err != nil {
		return err
	}
	for _, w := range u.Exp.Workloads {
		for _, call := range Calls {
			p, err := u.Figure(w, call)
			if err != nil {
				return err
			}
			if p == nil {
				continue
			}
			for _, format := range figure.Formats {
				if err := dir.Create(fmt.Sprintf("plots/uncertainty_%s_%s.%s", strings.ReplaceAll(w, "-", "_"), call, format), func(w io.Writer) error { return p.Write(w, format) }); err != nil {
					return err
				}
			}
		}
	}
	return dir.Commit(m)
}

// Figure draws how far the differences between variants of one kernel are spread over the samples, a curve per conclusion of the warm (or
// first) cache state on the last backend; nil when there is none.
func (u *Uncertainty) Figure(workload, call string) (*figure.Plot, error) {
	state, backend := u.Exp.Caches[0], u.Exp.Backends[0]
	for _, s := range u.Exp.Caches {
		if s == "warm" {
			state = s
		}
	}
	for _, b := range u.Exp.Backends {
		if b == "iommu-strict" {
			backend = b
		}
	}
	var dists []figure.Distribution
	for _, c := range u.Conclusions {
		if c.Workload != workload || c.Call != call || c.Cache != state || c.Backend != backend || c.Variant != "" || c.Kind == Half || c.Over > 0 && c.Kind != Alike {
			continue
		}
		d := figure.Distribution{Name: c.Second + " - " + c.First}
		for _, e := range c.Effects {
			d.Values = append(d.Values, 100*e)
		}
		dists = append(dists, d)
	}
	if len(dists) == 0 {
		return nil, nil
	}
	return figure.NewCDF(figure.Axes{Title: fmt.Sprintf("%s on %s, %s: difference in %s over %d samples", workload, backend, state, call, len(u.Samples)),
		Note: fmt.Sprintf("simulated; %d uncertain values of %s varied", len(u.Keys), u.Platform.Name), X: "difference, relative to what is subtracted [%]", Y: "samples up to X [%]"}, dists)
}
