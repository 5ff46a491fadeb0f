package evidence

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"dmapath/results"
)

// Report is what a check found.
type Report struct {
	Name  string // one word: published
	Title string
	Rows  []Row // rows of one Set need not be neighbours
	Notes []string
}

// Tally counts rows by verdict.
type Tally [numVerdicts]int

// Rows is the number of rows.
func (t Tally) Rows() (n int) {
	for _, v := range t {
		n += v
	}
	return n
}

// Tally counts the rows of a set, of all with an empty name.
func (r *Report) Tally(set string) (t Tally) {
	for i := range r.Rows {
		if row := &r.Rows[i]; set == "" || row.Set == set {
			t[row.Verdict()]++
		}
	}
	return t
}

// Err is nil when no row is a miss.
func (r *Report) Err() error {
	if t := r.Tally(""); t[Miss] > 0 {
		return fmt.Errorf("%s: %d of %d rows are outside their tolerance", r.Name, t[Miss], t[OK]+t[Miss])
	}
	return nil
}

// Sets lists the sets in the order of their first row.
func (r *Report) Sets() (list []string) {
	for i := range r.Rows {
		if !slices.Contains(list, r.Rows[i].Set) {
			list = append(list, r.Rows[i].Set)
		}
	}
	return list
}

// Record shows the report: a table per set, then how many rows came out how. Measurements hold each row's prediction, reference,
// error and tolerance.
func (r *Report) Record() *results.Record {
	rec := &results.Record{Name: "Validate"}
	sets := r.Sets()
	for _, set := range sets {
		rec.Tables = append(rec.Tables, r.Table(set, 0))
	}
	if len(sets) > 0 {
		rec.Tables = append(rec.Tables, Summary([]*Report{r}))
	}
	rec.Warnings = slices.Clone(r.Notes)
	r.Measure(rec)
	return rec
}

// Measure adds the rows of r to a record.
func (r *Report) Measure(rec *results.Record) {
	for i := range r.Rows {
		r.Rows[i].measure(rec, r.Name)
	}
}

// shown says which rows of a set a table of at most max rows (0: any number) holds: of those that are ok only the ones furthest off when
// there are too many, everything else always.
func (r *Report) shown(set string, max int) (rows []*Row, left int) {
	var ok []*Row
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Set == set {
			rows = append(rows, row)
			if row.Verdict() == OK {
				ok = append(ok, row)
			}
		}
	}
	left = min(len(rows)-max, len(ok))
	if max == 0 || left <= 0 {
		return rows, 0
	}
	slices.SortStableFunc(ok, func(a, b *Row) int { return cmp.Compare(math.Abs(a.Error()), math.Abs(b.Error())) })
	drop := map[*Row]bool{}
	for _, row := range ok[:left] {
		drop[row] = true
	}
	return slices.DeleteFunc(rows, func(row *Row) bool { return drop[row] }), left
}

// Table shows the rows of one set, with reasons and sources below. With max above zero, rows that are ok are left out, the nearest first,
// until no more than max remain, and a note says how many.
func (r *Report) Table(set string, max int) *results.Table {
	t := &results.Table{ID: "rows", Title: set, Columns: []results.Column{{Name: "what", Text: true}, {Name: "model"}, {Name: "reference"},
		{Name: "unit", Text: true}, {Name: "error", Unit: "%", Decimals: 1, Signed: true}, {Name: "tol."}, {Name: "verdict", Text: true}}}
	if set == "" {
		t.Title = r.Title
	}
	note := func(s string) {
		if s != "" && !slices.Contains(t.Notes, s) {
			t.Notes = append(t.Notes, s)
		}
	}
	// because names the rows that have a reason in common before it.
	reasons := map[string]int{} // index into t.Notes
	because := func(verdict, reason, what string) {
		i, ok := reasons[verdict+reason]
		if !ok {
			reasons[verdict+reason] = len(t.Notes)
			t.Notes = append(t.Notes, verdict+what+": "+reason)
			return
		}
		t.Notes[i] = strings.TrimSuffix(t.Notes[i], ": "+reason) + "; " + what + ": " + reason
	}
	var sources []string
	rows, left := r.shown(set, max)
	for _, row := range rows {
		t.Add(row.What, Figures(row.Predicted), Figures(row.Reference), row.Unit, 100*row.Error(), row.tolerance(), results.Toned(row.Verdict().String(), row.Verdict().tone()))
		switch {
		case row.Skip != "":
			because("Skipped, ", row.Skip, row.What)
		case row.Verdict() == Miss && row.Why != "":
			because("Miss, ", row.Why, row.What)
		}
		if row.Source != "" && !slices.Contains(sources, row.Source) {
			sources = append(sources, row.Source)
		}
	}
	if left > 0 {
		note(fmt.Sprintf("%d more rows are ok and nearer than these.", left))
	}
	if len(sources) > 0 {
		note("Reference: " + strings.Join(sources, "; ") + ".")
	}
	return t
}

// tolerance writes what is allowed.
func (r *Row) tolerance() string {
	rel, abs := Figures(100*r.Tolerance)+"%", "+-"+Figures(r.Slack)
	switch {
	case r.Tolerance > 0 && r.Slack > 0:
		return rel + abs
	case r.Tolerance > 0:
		return rel
	case r.Slack > 0:
		return abs
	}
	return "exact"
}

// Figures writes a value of any magnitude in about four figures; whole numbers stay whole up to a million. "-" is no number.
func Figures(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v):
		return "-"
	case math.IsInf(v, 0):
		return fmt.Sprint(v)
	case v == math.Trunc(v) && a < 1e6:
		return fmt.Sprintf("%.0f", v)
	case a >= 1e9 || a < 1e-3:
		return fmt.Sprintf("%.3g", v)
	case a >= 1000:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.1f", v)
	case a >= 10:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// Summary counts the rows of several reports by set and verdict.
func Summary(list []*Report) *results.Table {
	t := &results.Table{ID: "summary", Title: "Rows by verdict", Keys: 2, Columns: []results.Column{{Name: "check", Text: true}, {Name: "set", Text: true},
		{Name: "rows"}, {Name: "ok"}, {Name: "miss"}, {Name: "fit"}, {Name: "unv"}, {Name: "skip"}, {Name: "worst", Unit: "%", Decimals: 1, Signed: true}}}
	add := func(check, set string, n Tally, worst float64) {
		t.Add(check, set, n.Rows(), n[OK], n[Miss], n[Fitted], n[Unverified], n[Skipped], 100*worst)
	}
	var all Tally
	for _, r := range list {
		for _, set := range r.Sets() {
			short := set
			if head, _, ok := strings.Cut(set, ": "); ok && len(set) > 24 {
				short = head // the table itself has the whole
			}
			add(r.Name, short, r.Tally(set), r.worst(set))
		}
		for v, n := range r.Tally("") {
			all[v] += n
		}
	}
	add("all", "", all, math.NaN())
	t.Notes = []string{"fit: parameters were fitted on it; unv: the reference is unverified; skip: could not be run. Worst is the largest error among the rows " +
		"that decide (ok and miss)."}
	return t
}

// All is every row of several reports, as the CSV has them.
func All(list []*Report) *results.Table {
	t := &results.Table{ID: "rows", Title: "All rows", Keys: 3, Columns: []results.Column{{Name: "check", Text: true}, {Name: "set", Text: true}, {Name: "what", Text: true},
		{Name: "unit", Text: true}, {Name: "predicted", Decimals: 3}, {Name: "reference", Decimals: 3}, {Name: "error", Unit: "%", Decimals: 1, Signed: true},
		{Name: "tolerance", Unit: "%", Decimals: 1}, {Name: "slack", Decimals: 3}, {Name: "verdict", Text: true}, {Name: "source", Text: true}, {Name: "why", Text: true}}}
	for _, r := range list {
		for i := range r.Rows {
			row := &r.Rows[i]
			why := row.Why
			if row.Skip != "" {
				why = row.Skip
			}
			t.Add(r.Name, row.Set, row.What, row.Unit, row.Predicted, row.Reference, 100*row.Error(), 100*row.Tolerance, row.Slack, row.Verdict().String(), row.Source, why)
		}
	}
	return t
}

// worst is the error of the deciding row furthest off.
func (r *Report) worst(set string) float64 {
	worst := math.NaN()
	for i := range r.Rows {
		row := &r.Rows[i]
		if v := row.Verdict(); row.Set != set || v != OK && v != Miss {
			continue
		}
		if e := row.Error(); !math.IsNaN(e) && !(math.Abs(e) <= math.Abs(worst)) {
			worst = e
		}
	}
	return worst
}

// measure adds the long form of a row.
func (r *Row) measure(rec *results.Record, check string) {
	dims := []results.Dim{{Key: "check", Value: check}, {Key: "set", Value: r.Set}, {Key: "what", Value: r.What}, {Key: "verdict", Value: r.Verdict().String()}}
	add := func(metric, unit string, v float64) {
		if math.IsInf(v, 0) {
			v = math.NaN()
		}
		rec.Add(results.Measurement{Dims: dims, Metric: metric, Unit: unit, Value: v, CI95: math.NaN(), N: 1})
	}
	add("predicted", r.Unit, r.Predicted)
	add("reference", r.Unit, r.Reference)
	add("error", "percent", 100*r.Error())
	add("tolerance", "percent", 100*r.Tolerance)
}
