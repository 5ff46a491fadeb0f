package results

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// timed is a record with distributions and series.
func timed() *Record {
	r := &Record{Name: "Compare", Seed: 1}
	dims := []Dim{{"variant", "map_phys@7.3"}, {"cache", "warm"}}
	r.AddDistribution(Distribution{dims, "map", "cycles", []Bucket{{0, 1, 0}, {52, 53, 7}, {60, 64, 2}, {64, 1e9, 1}}})
	r.AddDistribution(Distribution{nil, "nothing", "ns", nil})
	r.AddSeries(Series{dims, "iotlb_occupancy", "entries", 1500, 0.5, []float64{0, 3.25, -1}})
	r.AddSeries(Series{nil, "queue_depth", "count", 0, 1, nil})
	return r
}

func TestDistributionsAndSeriesAreInTheDocument(t *testing.T) {
	r := timed()
	text, d := roundTrip(t, r)
	if len(d.Distributions) != 2 || d.Distributions[0].Metric != "map_cycles" || d.Distributions[0].N() != 10 || d.Distributions[0].Name() != "map_cycles" {
		t.Errorf("distributions %+v", d.Distributions)
	}
	if len(d.Series) != 2 || d.Series[0].Metric != "iotlb_occupancy_entries" || d.Series[1].Metric != "queue_depth" || !slices.Equal(d.Series[0].Values, []float64{0, 3.25, -1}) {
		t.Errorf("series %+v", d.Series)
	}
	if r.Distributions[0].Metric != "map" {
		t.Error("writing changes the record")
	}
	for _, f := range []Format{ASCII, Markdown, CSV, Bench} {
		with := render1(t, r, f)
		if without := render1(t, &Record{Name: "Compare", Seed: 1}, f); with != without {
			t.Errorf("%s is changed by distributions and series: %q, was %q", f, with, without)
		}
	}
	if text := render1(t, &Record{Name: "Compare"}, JSON); strings.Contains(text, "distributions") || strings.Contains(text, "series") {
		t.Errorf("a record without has them: %s", text)
	}
	for _, change := range [][2]string{{`"to": 53`, `"to": 61`}, {`"count": 7`, `"count": -7`}, {`"step_ns": 0.5`, `"step_ns": 0`}, {`"count": 7`, `"count": 7, "share": 1`}} {
		bad := strings.Replace(text, change[0], change[1], 1)
		if bad == text {
			t.Fatalf("%q is not in the document", change[0])
		}
		if _, err := ReadJSON(strings.NewReader(bad)); err == nil {
			t.Errorf("accepted: %v", change)
		}
	}
}

func TestMalformedDistributions(t *testing.T) {
	full := make([]Bucket, MaxPoints)
	for i := range full {
		full[i] = Bucket{float64(i), float64(i + 1), 1}
	}
	if err := (&Distribution{nil, "map", "cycles", full}).check(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		d   Distribution
		why string
	}{
		{Distribution{nil, "Map", "cycles", nil}, "not snake_case"},
		{Distribution{[]Dim{{"unit", "x"}}, "map", "cycles", nil}, "name of a column"},
		{Distribution{[]Dim{{"a", "x"}, {"a", "y"}}, "map", "cycles", nil}, "given twice"},
		{Distribution{nil, "map", "cycles", []Bucket{{1, 1, 0}}}, "from 1 to 1"},
		{Distribution{nil, "map", "cycles", []Bucket{{1, math.Inf(1), 0}}}, "to +Inf"},
		{Distribution{nil, "map", "cycles", []Bucket{{math.NaN(), 1, 0}}}, "from NaN"},
		{Distribution{nil, "map", "cycles", []Bucket{{0, 2, 1}, {1, 3, 1}}}, "before the end 2"},
		{Distribution{nil, "map", "cycles", []Bucket{{0, 1, -1}}}, "counts -1"},
		{Distribution{nil, "map", "cycles", []Bucket{{0, 1, math.MaxInt64}, {1, 2, 1}}}, "counts 1 after"},
		{Distribution{nil, "map", "cycles", append(slices.Clone(full), Bucket{1e9, 2e9, 1})}, "513 buckets, allowed are 512"},
	} {
		if err := c.d.check(); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: got %v, want %q", c.d, err, c.why)
		}
	}
	for _, c := range []struct {
		s   Series
		why string
	}{
		{Series{nil, "", "ns", 0, 1, nil}, "not snake_case"},
		{Series{nil, "depth", "count", 0, 0, nil}, "in steps of 0 ns"},
		{Series{nil, "depth", "count", math.Inf(-1), 1, nil}, "starts at -Inf"},
		{Series{nil, "depth", "count", 0, 1, []float64{1, math.NaN()}}, "value 1 of the series depth is NaN"},
		{Series{nil, "depth", "count", 0, 1, make([]float64, MaxPoints+1)}, "513 values, allowed are 512"},
	} {
		if err := c.s.check(); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%+v: got %v, want %q", c.s, err, c.why)
		}
		if err := (&Record{Name: "X", Series: []Series{c.s}}).Write(&strings.Builder{}, JSON); err == nil {
			t.Errorf("written: %+v", c.s)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("AddDistribution accepts what it must not")
		}
	}()
	(&Record{}).AddDistribution(Distribution{nil, "map", "cycles", []Bucket{{1, 0, 0}}})
}
