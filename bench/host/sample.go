package host

import (
	"math"
	"slices"
)

// Sample is repeated measurements of one thing, in any unit.
type Sample struct {
	sorted []float64
	Lost   int // measurements thrown away because the processor was taken away in the middle
}

// NewSample sorts values, of which lost were thrown away before.
func NewSample(values []float64, lost int) Sample {
	s := slices.Clone(values)
	slices.Sort(s)
	return Sample{s, lost}
}

// N is how many measurements there are.
func (s Sample) N() int { return len(s.sorted) }

// Quantile returns the value below which a fraction q of the measurements lies, interpolated between neighbours; NaN of an empty sample.
func (s Sample) Quantile(q float64) float64 {
	n := len(s.sorted)
	if n == 0 {
		return math.NaN()
	}
	at := q * float64(n-1)
	i := min(int(at), n-1)
	j := min(i+1, n-1)
	return s.sorted[i] + (at-float64(i))*(s.sorted[j]-s.sorted[i])
}

// Min is the smallest measurement: what the machine can do when nobody disturbs.
func (s Sample) Min() float64 { return s.Quantile(0) }

// Median is the middle one.
func (s Sample) Median() float64 { return s.Quantile(0.5) }

// Noise is the interquartile range over the median: how far apart the middle half of the measurements lies. A neighbour that uses the same
// core, cache or memory widens it; a single interruption does not.
func (s Sample) Noise() float64 {
	if len(s.sorted) < 4 {
		return math.NaN()
	}
	return (s.Quantile(0.75) - s.Quantile(0.25)) / s.Median()
}

// Scale returns the sample in another unit.
func (s Sample) Scale(f float64) Sample {
	t := make([]float64, len(s.sorted))
	for i, v := range s.sorted {
		t[i] = v * f
	}
	slices.Sort(t)
	return Sample{t, s.Lost}
}
