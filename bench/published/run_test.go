package published

import (
	"context"
	"math"
	"strings"
	"testing"

	"dmapath/bench/evidence"
	"dmapath/results"
)

// claimed parses a target whose sweep over threads has the values given, and judges it.
func claimed(t *testing.T, claim string, values ...float64) evidence.Row {
	t.Helper()
	labels := []string{"1", "16", "32", "64"}[:len(values)]
	text := "targets:\n  - {id: A, title: t, source: s, confidence: verified, setup: {workload: map-benchmark}, metric: unmap_mean, unit: ns, sweep: {cpus: [" +
		strings.Join(labels, ", ") + "]}, claims: [" + claim + "]}\n"
	list, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	rows := list[0].rows(values, make([]string, len(values)))
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	return rows[0]
}

func TestClaims(t *testing.T) {
	for _, c := range []struct {
		claim     string
		values    []float64
		predicted float64
		verdict   evidence.Verdict
	}{
		{"{claim: ratio, of: 16, to: 1, value: 4, tolerance: 10%}", []float64{100, 420}, 4.2, evidence.OK},
		{"{claim: ratio, of: 16, to: 1, value: 4, tolerance: 10%}", []float64{100, 450}, 4.5, evidence.Miss},
		{"{claim: difference, of: 16, to: 1, value: 300, tolerance: +-20}", []float64{100, 420}, 320, evidence.OK},
		{"{claim: exponent, from: 16, to: 64, value: 1.5, tolerance: +-0.1}", []float64{1, 10, 20, 80}, 1.5, evidence.OK},
		{"{claim: exponent, from: 16, to: 64, value: 1.2, tolerance: +-0.1}", []float64{1, 10, 20, 80}, 1.5, evidence.Miss},
		{"{claim: slope, from: 16, to: 32, per: 4, value: 2.5, tolerance: 1%}", []float64{1, 10, 20}, 2.5, evidence.OK},
		{"{claim: ascending, cells: [1, 16, 32]}", []float64{1, 2, 3}, 2, evidence.OK},
		{"{claim: ascending, cells: [1, 16, 32]}", []float64{1, 2, 2}, 1, evidence.Miss},
		{"{claim: descending, cells: [1, 32]}", []float64{1, 2, 0.5}, 1, evidence.OK},
		{"{claim: knee, along: cpus, after: 1, by: 32, loss: 10%}", []float64{100, 95, 80, 10}, 3, evidence.OK},
		{"{claim: knee, along: cpus, after: 1, by: 32, loss: 10%}", []float64{100, 80, 80, 10}, 2, evidence.OK},
		{"{claim: knee, along: cpus, after: 16, by: 32, loss: 10%}", []float64{100, 80, 80, 10}, 2, evidence.Miss},
		{"{claim: knee, along: cpus, after: 1, by: 32, loss: 10%}", []float64{100, 95, 95, 10}, 4, evidence.Miss},
		{"{claim: knee, along: cpus, after: 1, by: 16, loss: 10%}", []float64{100, 95}, 3, evidence.Miss},
		{"{claim: knee, along: cpus, after: 1, by: 32, rise: 10%}", []float64{100, 95, 120, 130}, 3, evidence.OK},
		{"{claim: knee, along: cpus, after: 1, by: 16, rise: 10%}", []float64{100, 50, 120, 130}, 3, evidence.Miss},
		{"{claim: ratio, of: 16, to: 1, value: 4, tolerance: 10%, confidence: unverified}", []float64{100, 900}, 9, evidence.Unverified},
		{"{claim: ratio, of: 16, to: 1, value: 4, tolerance: 10%, fitted: true}", []float64{100, 900}, 9, evidence.Fitted},
		{"{claim: ratio, of: 16, to: 1, value: 4, tolerance: 10%}", []float64{100, math.NaN()}, math.NaN(), evidence.Miss},
	} {
		r := claimed(t, c.claim, c.values...)
		if r.Verdict() != c.verdict || r.Predicted != c.predicted && !(math.IsNaN(r.Predicted) && math.IsNaN(c.predicted)) {
			t.Errorf("%s of %v: %v %v, want %v %v", c.claim, c.values, r.Predicted, r.Verdict(), c.predicted, c.verdict)
		}
	}
}

// The report is the same whatever the number of jobs, and runs are shared between targets that ask for the same.
func TestRunIsIndependentOfJobs(t *testing.T) {
	list, err := Parse("f.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	w, err := plan(append(list, list...))
	if err != nil || len(w.runs) != 4 {
		t.Errorf("%d runs of two equal targets with four cells, %v", len(w.runs), err)
	}
	var texts []string
	for _, jobs := range []int{1, 3} {
		r, err := Run(context.Background(), Options{Targets: list}, jobs)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Rows) != 3+5 { // a cell has no published value
			t.Errorf("%d rows", len(r.Rows))
		}
		var b strings.Builder
		if err := r.Record().Write(&b, results.ASCII); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, b.String())
	}
	if texts[0] != texts[1] {
		t.Errorf("with one job:\n%s\nwith three:\n%s", texts[0], texts[1])
	}
}

// A ratio to another set-up divides by that run, and a skipped target is shown and not run.
func TestRelativeAndSkip(t *testing.T) {
	list, err := Parse("f.yaml", []byte(`targets:
  - {id: A, title: t, source: s, confidence: derived, setup: {workload: dma-probe, operations: 600}, metric: rate, relative_to: {seed: 1}, tolerance: 1%, value: 1}
  - {id: B, title: t, source: s, confidence: unverified, skip: "no such machine", metric: rate, unit: M/s, tolerance: 1%, value: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(context.Background(), Options{Targets: list}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows[0].Predicted != 1 || r.Rows[0].Verdict() != evidence.OK || r.Rows[1].Verdict() != evidence.Skipped {
		t.Errorf("%+v", r.Rows)
	}
	if got, err := Select(list, []string{"C"}); err == nil || !strings.Contains(err.Error(), `no target "C"`) {
		t.Errorf("%v, %v", got, err)
	}
}

// The targets of the program can be read, and everything that they ask for exists.
func TestEmbedded(t *testing.T) {
	list, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(list); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, x := range list {
		if seen[x.ID] {
			t.Errorf("%s is there twice", x.ID)
		}
		seen[x.ID] = true
	}
}
