package validation

import (
	"context"
	"errors"
	"strings"
	"testing"

	"dmapath/bench/evidence"
	"dmapath/results"
)

func fake(name string, rows ...evidence.Row) Check {
	return Check{Name: name, Run: func(context.Context, int) (*evidence.Report, error) {
		return &evidence.Report{Name: name, Title: "The " + name, Rows: rows, Notes: []string{"said of " + name}}, nil
	}}
}

func TestChecksAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Checks() {
		if c.Name == "" || c.Short == "" || c.Run == nil || seen[c.Name] {
			t.Errorf("check %q is incomplete or there twice", c.Name)
		}
		seen[c.Name] = true
		if _, ok := Find(c.Name); !ok {
			t.Errorf("%s is not found", c.Name)
		}
	}
}

// A miss stays on the page, counts, and everything fits into 80 columns.
func TestPage(t *testing.T) {
	list, err := Run(context.Background(), []Check{
		fake("laws", evidence.Row{Set: "M/D/1", What: "wait at 0.5", Unit: "ns", Predicted: 10, Reference: 10.2, Tolerance: 0.05}),
		fake("tables", evidence.Row{Set: "T2", What: "64 B", Unit: "Gb/s", Predicted: 4, Reference: 10, Tolerance: 0.1, Why: "walks do not overlap"},
			evidence.Row{Set: "T1", What: "map", Unit: "cycles", Predicted: 4, Reference: 10, Unverified: true})}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if miss, of := Misses(list); miss != 1 || of != 2 {
		t.Errorf("%d of %d rows miss, want 1 of 2", miss, of)
	}
	var b strings.Builder
	if err := WritePage(&b, list, nil); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"Of 2 rows that decide, 1 are outside", "## The laws (laws)", "said of tables", "MISS", "walks do not overlap", "unverified"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	for l := range strings.Lines(page) {
		if len(l) > results.Width+1 {
			t.Errorf("%d columns: %s", len(l)-1, l)
		}
	}
}

// A check that cannot run is an error, never a page without it.
func TestAFailedCheckIsAnError(t *testing.T) {
	broken := Check{Name: "broken", Run: func(context.Context, int) (*evidence.Report, error) { return nil, errors.New("no file") }}
	if _, err := Run(context.Background(), []Check{fake("laws"), broken}, 1, nil); err == nil || err.Error() != "broken: no file" {
		t.Errorf("error: %v", err)
	}
}
