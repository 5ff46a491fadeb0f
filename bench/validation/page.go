package validation

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"dmapath/bench/evidence"
	"dmapath/results"
)

// PageRows is the most rows of a set that the page shows; misses are always there, and the CSV has all.
const PageRows = 12

// Record shows reports in one record: the summary, then a table per set with at most max rows (0: all) as evidence.Report.Table
// chooses them. Measurements are complete.
func Record(list []*evidence.Report, max int) *results.Record {
	rec := &results.Record{Name: "Validate", Tables: []*results.Table{evidence.Summary(list)}}
	for _, r := range list {
		for _, set := range r.Sets() {
			rec.Tables = append(rec.Tables, r.Table(set, max))
		}
		rec.Warnings = append(rec.Warnings, r.Notes...)
		r.Measure(rec)
	}
	return rec
}

// Misses counts the rows outside their tolerance, and those that decide.
func Misses(list []*evidence.Report) (miss, of int) {
	for _, r := range list {
		t := r.Tally("")
		miss, of = miss+t[evidence.Miss], of+t[evidence.Miss]+t[evidence.OK]
	}
	return miss, of
}

// WritePage writes the page in Markdown, with tables of at most 80 columns.
func WritePage(w io.Writer, list []*evidence.Report, extra []*results.Table) error {
	b := bufio.NewWriter(w)
	miss, of := Misses(list)
	fmt.Fprintf(b, "# How far the model is from the truth\n\n%s\n", results.Wrap(fmt.Sprintf("Every check there is: what the model predicts, what it is held against, "+
		"the error, what is allowed, and the verdict. Of %d rows that decide, %d are outside their tolerance; they stay in the tables. Rows marked unverified "+
		"have a reference that nobody could check, rows marked fitted one that parameters were chosen by; neither decides anything. A long table shows everything "+
		"that is not ok and the rows furthest off; rows.csv has all. What it means is in docs/validation.md.", of, miss)))
	table := func(t *results.Table) error {
		b.WriteString("```\n")
		if err := t.Write(b, results.ASCII); err != nil {
			return err
		}
		_, err := b.WriteString("```\n\n")
		return err
	}
	if err := table(evidence.Summary(list)); err != nil {
		return err
	}
	for _, t := range extra {
		if err := table(t); err != nil {
			return err
		}
	}
	for _, r := range list {
		fmt.Fprintf(b, "## %s (%s)\n\n", r.Title, r.Name)
		for _, n := range r.Notes {
			fmt.Fprintf(b, "%s\n", results.Wrap(n))
		}
		for _, set := range r.Sets() {
			if err := table(r.Table(set, PageRows)); err != nil {
				return err
			}
		}
	}
	return b.Flush()
}

// Manifest says which checks were run.
func Manifest(list []Check) *results.Manifest {
	var b strings.Builder
	b.WriteString("checks:\n")
	for _, c := range list {
		fmt.Fprintf(&b, "  - %s\n", c.Name)
	}
	return &results.Manifest{Version: results.Version(), Seed: 1, Config: []results.Section{{Name: "validate", Text: b.String()}}}
}

// Write puts the page, all rows as CSV, and the record as JSON into dir and completes it.
func Write(dir *results.OutputDir, list []*evidence.Report, extra []*results.Table, m *results.Manifest) error {
	rec := Record(list, 0)
	rec.Tables = append(rec.Tables, extra...)
	rec.Version, rec.ConfigHash, rec.Command = m.Version, m.Hash(), "dmapath validate"
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"validation.md", func(w io.Writer) error { return WritePage(w, list, extra) }},
		{"rows.csv", func(w io.Writer) error { return evidence.All(list).Write(w, results.CSV) }},
		{"validation.json", func(w io.Writer) error { return rec.Write(w, results.JSON) }},
	} {
		if err := dir.Create(f.name, f.write); err != nil {
			return err
		}
	}
	return dir.Commit(m)
}
