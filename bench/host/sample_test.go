package host

import (
	"math"
	"testing"
)

func TestSample(t *testing.T) {
	for _, c := range []struct {
		name               string
		v                  []float64
		min, median, noise float64
	}{
		{"quiet", []float64{10, 10, 10, 10, 10}, 10, 10, 0},
		{"any order", []float64{14, 10, 12, 11, 13}, 10, 12, 2.0 / 12},
		{"one interruption does not show", []float64{10, 10, 10, 10, 10, 10, 10, 10, 9000}, 10, 10, 0},
		{"a neighbour half of the time does", []float64{10, 10, 10, 10, 20, 20, 20, 20}, 10, 15, 10.0 / 15},
		{"interpolated", []float64{0, 10, 20, 30}, 0, 15, 15.0 / 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSample(c.v, 3)
			if s.Min() != c.min || s.Median() != c.median || math.Abs(s.Noise()-c.noise) > 1e-12 || s.Lost != 3 || s.N() != len(c.v) {
				t.Errorf("min %v, median %v, noise %v, lost %d of %d", s.Min(), s.Median(), s.Noise(), s.Lost, s.N())
			}
			if d := s.Scale(2); d.Median() != 2*c.median || math.Abs(d.Noise()-c.noise) > 1e-12 {
				t.Errorf("twice: median %v, noise %v", d.Median(), d.Noise())
			}
		})
	}
	if s := NewSample(nil, 0); !math.IsNaN(s.Min()) || !math.IsNaN(s.Noise()) {
		t.Error("an empty sample has figures")
	}
	if s := NewSample([]float64{1, 2, 3}, 0); !math.IsNaN(s.Noise()) {
		t.Error("three measurements have a noise")
	}
	// The figure leaves half of the disturbance out and does not trust the luckiest run.
	if f := figure(NewSample([]float64{8, 10, 10, 10, 10, 10, 30, 30}, 0)); f != 10 {
		t.Errorf("figure %v, want 10", f)
	}
}
