package closedforms

import (
	"math"
	"reflect"
	"testing"

	"dmapath/bench/evidence"
	"dmapath/sim"
)

// Every row is within its tolerance; rows and values do not depend on the number of jobs.
func TestClosedForms(t *testing.T) {
	r, err := Run(t.Context(), Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Verdict() != evidence.OK {
			t.Errorf("%s, %s: %v %s, formula %v, allowed %v or %v", row.Set, row.What, row.Predicted, row.Unit, row.Reference, row.Tolerance, row.Slack)
		}
		if row := &r.Rows[i]; row.Source == "" || row.Unit == "" {
			t.Errorf("%s, %s: no source or unit", row.Set, row.What)
		}
	}
	if got := r.Tally("").Rows(); got < 250 {
		t.Errorf("%d rows", got)
	}
	// Slack must judge: where it is as wide as the value itself the row says nothing.
	for _, row := range r.Rows {
		if row.Slack > 0.5*math.Abs(row.Reference) {
			t.Errorf("%s, %s: slack %.3g for %.3g", row.Set, row.What, row.Slack, row.Reference)
		}
	}
}

func TestJobsDoNotMatter(t *testing.T) {
	for _, g := range []group{{"", reach}, {"", walks}} {
		a, err := g.run(7)
		if err != nil {
			t.Fatal(err)
		}
		b, err := g.run(7)
		if err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("two runs differ: %v", err)
		}
	}
}

// Known values of the formulas.
func TestFormulas(t *testing.T) {
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-4*math.Abs(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("one server waits with the probability of its load", erlangC(1, 0.7), 0.7)
	near("Erlang C, 2 servers at 0.8", erlangC(2, 0.8), 0.711111)
	near("Erlang C, 5 servers at 0.8", erlangC(5, 0.8), 0.554113)
	near("Che, uniform references", newZipf(100, 0).hitRate(25), 0.25)
	if z := newZipf(1000, 1); z.hitRate(10) >= z.hitRate(100) || z.hitRate(999) > 1 {
		t.Error("more room, fewer hits")
	}
	near("Gen3 x8, MPS 256, the published 57.9 Gb/s", linkRate(3, 8, 256), 57.88)
	mean, half := interval([]float64{1, 2, 3, 4})
	near("mean", mean, 2.5)
	near("t(3) at 99.95 % is 12.92", half, 12.924*math.Sqrt(5./3)/2)
}

// The checks can fail: a queue that serves a little slower than it says, a miss register that is held too long.
func TestAWrongQueueMisses(t *testing.T) {
	var q sim.Server
	const rho = 0.8
	got, half := waits(sim.NewRand(1, "wrong"), rho, 1, func(now sim.Time) sim.Time {
		start, _ := q.Serve(now, service*103/100)
		return start - now
	})
	s := float64(service) / float64(sim.Nanosecond)
	if row := (evidence.Row{Predicted: got, Reference: rho * s / (2 * (1 - rho)), Slack: half}); row.Verdict() == evidence.OK {
		t.Errorf("3 %% more service time pass: %v against %v +- %v", got, row.Reference, half)
	}
}
