package host

import (
	"strings"
	"testing"

	"dmapath/bench/evidence"
	"dmapath/platform"
)

// TestRow: what is judged and what is skipped.
func TestRow(t *testing.T) {
	quiet := []float64{100, 100, 101, 101, 102, 102, 103, 103}
	for _, c := range []struct {
		name      string
		values    []float64
		lost      int
		drift     float64
		state     string
		memory    string
		simulated float64
		want      evidence.Verdict
		why       string
	}{
		{"within", quiet, 0, 0, "hot", "", 119, evidence.OK, ""},
		{"outside", quiet, 0, 0, "hot", "", 125, evidence.Miss, ""},
		{"lost runs", quiet[:2], 30, 0, "hot", "", 125, evidence.Skipped, "taken away in 30 of 32 runs"},
		{"none at all", nil, 32, 0, "hot", "", 125, evidence.Skipped, "taken away"},
		{"clock", quiet, 0, 0.2, "hot", "", 100, evidence.Skipped, "drifted by 20 %"},
		{"noise", []float64{100, 100, 100, 100, 150, 150, 150, 150}, 0, 0, "hot", "", 100, evidence.Skipped, "too noisy"},
		{"memory, hot does not care", quiet, 0, 0, "hot", "slow", 100, evidence.OK, ""},
		{"memory, cold does", quiet, 0, 0, "cold", "slow", 100, evidence.Skipped, "slow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &Meter{Scale: 1, Step: 1, drift: c.drift}
			x := &measured{&Twin{Name: "a twin"}, &Probe{Runs: 8, Units: 1}, c.state, NewSample(c.values, c.lost)}
			r := m.row(x, c.simulated, c.memory, &System{})
			if r.Verdict() != c.want || !strings.Contains(r.Skip, c.why) {
				t.Errorf("%v (%s), want %v (%s)", r.Verdict(), r.Skip, c.want, c.why)
			}
		})
	}
}

// TestSimulatedTwinsRepeat: the same machine gives the same cycles, and colder is not faster.
func TestSimulatedTwinsRepeat(t *testing.T) {
	s, err := platform.Load("genoa")
	if err != nil {
		t.Fatal(err)
	}
	sts := states(1240, 32<<20)
	for _, tw := range Twins() {
		if strings.Contains(tw.Name, "4096") || strings.Contains(tw.Name, "512") {
			continue // as the others, on more memory
		}
		last := 0.0
		for i := range sts {
			st := sts[i]
			st.SimRuns, st.Warm = 2, 1
			a, err := Simulate(s, tw.probe(st))
			if err != nil {
				t.Fatal(err)
			}
			b, err := Simulate(s, tw.probe(st))
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Errorf("%s, %s: %v and %v cycles", tw.Name, st.Name, a, b)
			}
			if a < 0.9*last {
				t.Errorf("%s: %s takes %.1f cycles, the state before %.1f", tw.Name, st.Name, a, last)
			}
			last = a
		}
	}
}

// TestCalibrationAndTwinsShareNothing: no program of a twin is one of the calibration.
func TestCalibrationAndTwinsShareNothing(t *testing.T) {
	twins := map[string]bool{}
	for _, tw := range Twins() {
		twins[tw.Prog.Name] = true
	}
	names := map[string]bool{}
	for _, p := range probesFor(&System{}) {
		if twins[p.Prog.Name] {
			t.Errorf("%s runs %s, which is a twin's", p.Name, p.Prog.Name)
		}
		if names[p.Name] {
			t.Errorf("two probes are called %s", p.Name)
		}
		names[p.Name] = true
	}
	for _, f := range fits {
		if !names[f.probe] {
			t.Errorf("%s is fitted on %s, which nobody measures", f.key, f.probe)
		}
	}
}
