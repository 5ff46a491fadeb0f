package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"dmapath/platform"
	"dmapath/results"
)

// maxDirFile is the largest file of a directory that DiffDirs reads, bytes.
const maxDirFile = 256 << 20

// maxDiffRows is how many measurements DiffDirs shows.
const maxDiffRows = 40

// DiffDirs compares two directories that compare or sweep wrote: the measurements that both have and that differ by more than their
// intervals, the largest relative difference first, and what of the configuration differs.
func DiffDirs(a, b string) (*results.Record, error) {
	var ms [2][]results.Measurement
	var config [2][]string
	for i, dir := range []string{a, b} {
		var err error
		if ms[i], err = readMeasurements(dir); err != nil {
			return nil, err
		}
		if config[i], err = readConfig(dir); err != nil {
			return nil, err
		}
	}
	r := &results.Record{Name: "DiffDirs", Version: results.Version()}
	if t := configTable(config[0], config[1]); t != nil {
		r.Tables = append(r.Tables, t)
	}
	type row struct {
		m, n  results.Measurement
		ratio float64
	}
	index := map[string]results.Measurement{}
	for _, m := range ms[0] {
		index[measurementKey(&m)] = m
	}
	var rows []row
	both, same := 0, 0
	for _, n := range ms[1] {
		m, ok := index[measurementKey(&n)]
		if !ok {
			continue
		}
		both++
		half := math.Hypot(zeroIfNone(m.CI95), zeroIfNone(n.CI95))
		if d := n.Value - m.Value; math.IsNaN(d) || math.Abs(d) <= half || d == 0 {
			same++
			continue
		}
		ratio := math.Inf(1)
		if m.Value != 0 {
			ratio = n.Value / m.Value
		}
		rows = append(rows, row{m, n, ratio})
	}
	distance := func(x row) float64 { return math.Abs(math.Log(math.Abs(x.ratio))) }
	slices.SortStableFunc(rows, func(x, y row) int { return cmp.Compare(distance(y), distance(x)) })
	t := &results.Table{ID: "measurements", Title: fmt.Sprintf("What differs between %s (A) and %s (B)", a, b), Columns: []results.Column{{Name: "where", Text: true}, {Name: "metric", Text: true},
		{Name: "A", Decimals: 2}, {Name: "B", Decimals: 2}, {Name: "ratio", Decimals: 3}}}
	for i, x := range rows {
		if i < maxDiffRows {
			t.Add(where(&x.m), x.m.Name(), x.m.Value, x.n.Value, x.ratio)
		}
		dims := slices.Clone(x.m.Dims)
		if x.m.Dim("side") == "" { // a sweep may have an axis of that name
			dims = append(dims, results.Dim{Key: "side", Value: "b_minus_a"})
		}
		r.Add(results.Measurement{Dims: dims, Metric: x.m.Metric, Unit: x.m.Unit, Value: finite(x.n.Value - x.m.Value), CI95: finite(math.Hypot(zeroIfNone(x.m.CI95), zeroIfNone(x.n.CI95))), N: min(x.m.N, x.n.N)})
	}
	t.Notes = []string{fmt.Sprintf("%d measurements are in both, %d of them without a difference beyond their intervals; %d are in A alone, %d in B alone.", both, same, len(ms[0])-both, len(ms[1])-both)}
	if len(rows) > maxDiffRows {
		t.Notes = append(t.Notes, fmt.Sprintf("The %d largest of %d; --format csv has all.", maxDiffRows, len(rows)))
	}
	r.Tables = append(r.Tables, t)
	return r, nil
}

func zeroIfNone(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// where is a measurement's coordinates in short.
func where(m *results.Measurement) string {
	var s []string
	for _, d := range m.Dims {
		s = append(s, d.Value)
	}
	return strings.Join(s, " ")
}

func measurementKey(m *results.Measurement) string {
	var b strings.Builder
	for _, d := range m.Dims {
		fmt.Fprintf(&b, "%q=%q,", d.Key, d.Value)
	}
	return b.String() + m.Name()
}

// readMeasurements reads compare.csv or results.csv of a directory.
func readMeasurements(dir string) ([]results.Measurement, error) {
	var tried []string
	for _, name := range []string{"compare.csv", "results.csv"} {
		data, err := platform.ReadFile(filepath.Join(dir, name), maxDirFile)
		if err != nil {
			tried = append(tried, name)
			continue
		}
		ms, err := results.ReadCSV(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		return ms, nil
	}
	return nil, fmt.Errorf("%s has neither %s: it is no directory of results", dir, strings.Join(tried, " nor "))
}

// readConfig lists the lines of the configuration of a directory, each under its section.
func readConfig(dir string) (lines []string, err error) {
	name := filepath.Join(dir, results.ManifestName)
	data, err := platform.ReadFile(name, maxDirFile)
	if err != nil {
		return nil, fmt.Errorf("%s is not complete: %w", dir, err)
	}
	m, err := results.ReadManifest(name, data)
	if err != nil {
		return nil, err
	}
	lines = append(lines, fmt.Sprintf("seed: %d", m.Seed))
	for _, s := range m.Config {
		var path []string // of the keys that a line stands below
		for _, l := range strings.Split(strings.TrimSuffix(s.Text, "\n"), "\n") {
			depth := (len(l) - len(strings.TrimLeft(l, " "))) / 2
			key := strings.TrimSpace(l)
			path = append(path[:min(depth, len(path))], strings.TrimSuffix(key, ":"))
			if !strings.HasSuffix(key, ":") {
				lines = append(lines, s.Name+"."+strings.Join(path[:len(path)-1], ".")+": "+key)
			}
		}
	}
	return lines, nil
}

// configTable shows the lines of the configuration that one side has and the other has not; nil when there are none.
func configTable(a, b []string) *results.Table {
	t := &results.Table{ID: "configuration", Title: "What of the configuration differs", Columns: []results.Column{{Name: "side", Text: true}, {Name: "line", Text: true}}}
	only := func(side string, x, y []string) {
		have := map[string]bool{}
		for _, l := range y {
			have[l] = true
		}
		for _, l := range x {
			if !have[l] {
				t.Add(side, l)
			}
		}
	}
	only("A", a, b)
	only("B", b, a)
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}
