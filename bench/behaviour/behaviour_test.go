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

// With 16 threads the wait for the SMMU is most of an unmap. Where it works on several CMD_SYNC at once, the CPUs fight over the indexes of the
// queue instead.
func TestSMMUQueueIsContended(t *testing.T) {
	loop := func(n int, set ...string) [4]float64 {
		c, err := smmuLoop(n, set...)
		if err != nil {
			t.Fatal(err)
		}
		return c.values()
	}
	one, inTurn, overlap := loop(1), loop(16, serial...), loop(16, overlapping...)
	if one[2] != 1 || overlap[2] < 1.5 || inTurn[2] > overlap[2] {
		t.Errorf("%.2f, %.2f and %.2f compare-and-exchanges per submission, want 1, and the last more than 1.5", one[2], inTurn[2], overlap[2])
	}
	if inTurn[0] < 7*one[0] || inTurn[3] < 0.7*inTurn[0] || overlap[3] > 0.5*overlap[0] || overlap[1] < 80 {
		t.Errorf("ns, %% in the queue, attempts, ns of wait: %.0f alone, %.0f with 16, %.0f with 16 and overlap", one, inTurn, overlap)
	}
}

// Threads are spread over nodes first, then over clusters, and every thread has a CPU of its own.
func TestThreadsAreSpread(t *testing.T) {
	s, err := spec("kunpeng-920")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for i := range int(s.CPU.Cores) {
		cpu := place(s, i)
		if cpu < 0 || cpu >= 96 || seen[cpu] {
			t.Fatalf("thread %d on CPU %d, taken is %v", i, cpu, seen[cpu])
		}
		seen[cpu] = true
		if node := cpu / 24; node != i%4 {
			t.Errorf("thread %d is in node %d", i, node)
		}
		if i >= 4 && i < 24 && cpu/4 == place(s, i-4)/4 {
			t.Errorf("threads %d and %d share a cluster, and others are empty", i, i-4)
		}
	}
}
