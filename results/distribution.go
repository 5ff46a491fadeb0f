package results

import (
	"fmt"
	"math"
)

// MaxPoints is the largest number of buckets of a Distribution and of values of a Series, whatever the length of the run.
const MaxPoints = 512

// Bucket is a number of observations from From to below To.
type Bucket struct {
	From  float64 `json:"from"`
	To    float64 `json:"to"`
	Count int64   `json:"count"`
}

// Distribution is how one quantity of a run is distributed: counts in buckets of growing width, in ascending order. Between
// buckets that do not touch nothing was observed.
type Distribution struct {
	Dims    []Dim    `json:"dims"`
	Metric  string   `json:"metric"` // snake_case; without the unit in a Record, with it in a Document
	Unit    string   `json:"unit"`
	Buckets []Bucket `json:"buckets"`
}

// Series is a quantity over simulated time: Values[i] is its time-weighted mean from Start+i*Step to Start+(i+1)*Step.
type Series struct {
	Dims   []Dim     `json:"dims"`
	Metric string    `json:"metric"` // snake_case; without the unit in a Record, with it in a Document
	Unit   string    `json:"unit"`
	Start  float64   `json:"start_ns"`
	Step   float64   `json:"step_ns"` // more than 0
	Values []float64 `json:"values"`
}

// Name returns the metric with its unit, as Measurement.Name does: map_cycles.
func (d *Distribution) Name() string { return withUnit(d.Metric, d.Unit) }

// Name returns the metric with its unit, as Measurement.Name does: queue_depth.
func (s *Series) Name() string { return withUnit(s.Metric, s.Unit) }

// N returns the number of observations.
func (d *Distribution) N() (n int64) {
	for _, b := range d.Buckets {
		n += b.Count
	}
	return n
}

// AddDistribution appends a distribution. A malformed one is a mistake of the caller and panics.
func (r *Record) AddDistribution(d Distribution) {
	if err := d.check(); err != nil {
		panic("results: " + err.Error())
	}
	r.Distributions = append(r.Distributions, d)
}

// AddSeries appends a series. A malformed one is a mistake of the caller and panics.
func (r *Record) AddSeries(s Series) {
	if err := s.check(); err != nil {
		panic("results: " + err.Error())
	}
	r.Series = append(r.Series, s)
}

// check returns what is wrong with d.
func (d *Distribution) check() error {
	if err := checkName(d.Dims, d.Metric); err != nil {
		return err
	}
	if n := len(d.Buckets); n > MaxPoints {
		return fmt.Errorf("the distribution %s has %d buckets, allowed are %d", d.Metric, n, MaxPoints)
	}
	end := math.Inf(-1)
	var n int64
	for i, b := range d.Buckets {
		switch {
		case !isFinite(b.From) || !isFinite(b.To) || b.From >= b.To:
			return fmt.Errorf("bucket %d of the distribution %s goes from %v to %v", i, d.Metric, b.From, b.To)
		case b.From < end:
			return fmt.Errorf("bucket %d of the distribution %s begins at %v, before the end %v of the one before it", i, d.Metric, b.From, end)
		case b.Count < 0 || n > math.MaxInt64-b.Count:
			return fmt.Errorf("bucket %d of the distribution %s counts %d after %d", i, d.Metric, b.Count, n)
		}
		end = b.To
		n += b.Count
	}
	return nil
}

// check returns what is wrong with s.
func (s *Series) check() error {
	if err := checkName(s.Dims, s.Metric); err != nil {
		return err
	}
	if n := len(s.Values); n > MaxPoints {
		return fmt.Errorf("the series %s has %d values, allowed are %d", s.Metric, n, MaxPoints)
	}
	if !isFinite(s.Start) || !isFinite(s.Step) || s.Step <= 0 {
		return fmt.Errorf("the series %s starts at %v ns in steps of %v ns", s.Metric, s.Start, s.Step)
	}
	for i, v := range s.Values {
		if !isFinite(v) {
			return fmt.Errorf("value %d of the series %s is %v", i, s.Metric, v)
		}
	}
	return nil
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
