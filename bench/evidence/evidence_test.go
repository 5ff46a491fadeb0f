package evidence

import (
	"math"
	"strings"
	"testing"

	"dmapath/results"
)

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		row  Row
		want Verdict
	}{
		{"at the tolerance", Row{Predicted: 1.1, Reference: 1, Tolerance: 0.1}, OK},
		{"just outside", Row{Predicted: 1.1001, Reference: 1, Tolerance: 0.1}, Miss},
		{"below as above", Row{Predicted: 0.9, Reference: 1, Tolerance: 0.1}, OK},
		{"a negative reference", Row{Predicted: -1.2, Reference: -1, Tolerance: 0.1}, Miss},
		{"the slack is enough", Row{Predicted: 3, Reference: 1, Tolerance: 0.1, Slack: 2}, OK},
		{"a zero reference needs slack", Row{Predicted: 0.1, Tolerance: 0.1}, Miss},
		{"exact", Row{Predicted: 7, Reference: 7}, OK},
		{"not exact", Row{Predicted: 7, Reference: 8}, Miss},
		{"no number", Row{Predicted: math.NaN(), Reference: 8, Tolerance: 10}, Miss},
		{"no number, with a reason", Row{Predicted: math.NaN(), Reference: 8, Skip: "no such machine"}, Skipped},
		{"fitted decides nothing", Row{Predicted: 1, Reference: 2, Fitted: true}, Fitted},
		{"unverified decides nothing", Row{Predicted: 1, Reference: 2, Unverified: true}, Unverified},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.row.Verdict(); got != c.want {
				t.Errorf("%v, want %v (error %v)", got, c.want, c.row.Error())
			}
		})
	}
}

func TestReport(t *testing.T) {
	r := &Report{Name: "published", Title: "Published tables", Rows: []Row{
		{Set: "T2", What: "64 B", Unit: "Gb/s", Predicted: 10, Reference: 10.1, Tolerance: 0.1, Source: "a paper"},
		{Set: "T1", What: "map", Unit: "cycles", Predicted: 500, Reference: 727, Tolerance: 0.15, Unverified: true},
		{Set: "T2", What: "512 B", Unit: "Gb/s", Predicted: 30, Reference: 55, Tolerance: 0.1, Why: "no write combining", Source: "a paper"},
		{Set: "T3", What: "64 B", Predicted: 30, Reference: 55, Why: "one reason"}, {Set: "T3", What: "128 B", Predicted: 30, Reference: 55, Why: "one reason"},
	}}
	if got := r.Tally("T2"); got[OK] != 1 || got[Miss] != 1 || got.Rows() != 2 {
		t.Errorf("T2: %v", got)
	}
	if err := r.Err(); err == nil || err.Error() != "published: 3 of 4 rows are outside their tolerance" {
		t.Errorf("Err: %v", err)
	}
	var b strings.Builder
	if err := r.Record().Write(&b, results.ASCII); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{"T2\n", "Reference: a paper.", "Miss, 512 B: no write combining", "Miss, 64 B; 128 B: one reason", "Rows by verdict", "unverified"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for l := range strings.Lines(got) {
		if len(l) > results.Width+1 {
			t.Errorf("%d columns: %s", len(l), l)
		}
	}
	// The worst error is that of the rows that decide.
	if w := r.worst("T1"); !math.IsNaN(w) {
		t.Errorf("worst of unverified rows: %v", w)
	}
	if w := r.worst("T2"); math.Abs(w+25.0/55) > 1e-12 {
		t.Errorf("worst of T2: %v", w)
	}
	b.Reset()
	if err := r.Record().Write(&b, results.CSV); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "published,T2,512 B,MISS,predicted_gb_per_s,Gb/s,30,,1") {
		t.Error(b.String())
	}
}

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{{0, "0"}, {12, "12"}, {123456, "123456"}, {0.25, "0.250"}, {12.345, "12.35"}, {99.9999, "100.00"}, {1234.5, "1234"}, {1e12, "1e+12"}, {1.5e-5, "1.5e-05"}, {math.NaN(), "-"}, {-3.25, "-3.250"}} {
		if got := Figures(c.v); got != c.want {
			t.Errorf("%v: %q, want %q", c.v, got, c.want)
		}
	}
}

// A short table keeps everything that is not ok, and of the rest the rows furthest off.
func TestShortTable(t *testing.T) {
	r := &Report{}
	for i := range 10 {
		r.Rows = append(r.Rows, Row{Set: "s", What: string(rune('a' + i)), Predicted: 100 + float64(i), Reference: 100, Tolerance: 0.085})
	}
	for _, c := range []struct {
		max  int
		want string
	}{{0, "abcdefghij"}, {10, "abcdefghij"}, {4, "ghij"}, {1, "j"}} {
		var got string
		rows, left := r.shown("s", c.max)
		for _, row := range rows {
			got += row.What
		}
		if got != c.want || left != 10-len(c.want) {
			t.Errorf("at most %d: %s and %d more, want %s", c.max, got, left, c.want)
		}
	}
}
