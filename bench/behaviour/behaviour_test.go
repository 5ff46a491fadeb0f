package behaviour

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"dmapath/results"
)

func constant(v float64) func() (float64, error) { return func() (float64, error) { return v, nil } }

func sample() *Behaviour {
	return &Behaviour{Name: "sample", Title: "A sample", Source: "nowhere", Setup: "Ours: none.", Label: "row", Unit: "us", Ours: "us",
		Rows: []Row{{"one", 10, constant(2)}, {"two", 20, constant(3)}},
		Claims: []Claim{
			{"It grows", func(v []float64) bool { return v[1] > v[0] }},
			{"It doubles", func(v []float64) bool { return v[1] >= 2*v[0] }},
		}}
}

// A claim that does not hold stays in the table, in capitals, and is counted.
func TestClaimsAreJudged(t *testing.T) {
	out, err := Run(context.Background(), []*Behaviour{sample()}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !out[0].Held[0] || out[0].Held[1] || Failed(out) != 1 {
		t.Errorf("held %v, failed %d; want the first to hold and the second not to", out[0].Held, Failed(out))
	}
	var b bytes.Buffer
	if err := Record(out).Write(&b, results.ASCII); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"It grows: holds.", "It doubles: DOES NOT HOLD.", "20.00", "1.50"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &b)
		}
	}
}

// Of two rows that fail the first in order is reported, by name; a cancelled run says so.
func TestErrors(t *testing.T) {
	bad := sample()
	bad.Rows[1].Run = func() (float64, error) { return 0, errors.New("no such machine") }
	if _, err := Run(context.Background(), []*Behaviour{sample(), bad}, 2); err == nil || !strings.Contains(err.Error(), "sample, two: no such machine") {
		t.Errorf("error %v, want the behaviour, the row and the reason", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, []*Behaviour{sample()}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
}

// The rows of a behaviour that is cheap to run: what a device sees of an IOTLB.
func TestIOTLBWindow(t *testing.T) {
	b := iotlbWindow()
	out, err := Run(context.Background(), []*Behaviour{b}, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range b.Claims {
		if !out[0].Held[i] {
			t.Errorf("%s does not hold: %.2f", c.Text, out[0].Values)
		}
	}
}

// Every behaviour names its source and says what of its set-up is not that of the source; names are unique.
func TestEveryBehaviourIsDescribed(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range All() {
		if seen[b.Name] || b.Title == "" || b.Source == "" || !strings.HasPrefix(b.Setup, "Ours: ") || len(b.Rows) < 2 || len(b.Claims) == 0 {
			t.Errorf("%s is not described", b.Name)
		}
		seen[b.Name] = true
	}
}

// With 16 threads an SMMU's command queue is most of an unmap and its indexes are fought over; with one they are not.
func TestSMMUQueueIsContended(t *testing.T) {
	one, err := smmuLoop(1)
	if err != nil {
		t.Fatal(err)
	}
	many, err := smmuLoop(16)
	if err != nil {
		t.Fatal(err)
	}
	a, b := one.values(), many.values()
	if a[2] != 1 || b[2] < 1.5 {
		t.Errorf("%.2f and %.2f compare-and-exchanges per submission, want 1 and more than 1.5", a[2], b[2])
	}
	if b[0] < 4*a[0] || a[1] < 50 || a[1] > 75 || b[1] < 80 {
		t.Errorf("%.0f ns with %.0f %% in the queue and %.0f ns with %.0f %%: want four times the latency, and 50 to 75 against more than 80 %%", a[0], a[1], b[0], b[1])
	}
}
