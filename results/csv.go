package results

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// tail is the columns after the dimensions.
var tail = []string{"metric", "unit", "value", "ci95", "n"}

// WriteCSV writes measurements in long form: one header line, then one measurement a line in the order of ms; a column for
// each dimension in the order of DimKeys, then metric (in snake_case with its unit), unit, value, ci95, n. Numbers are
// exact; what is missing is empty. Values of dimensions are escaped: control characters and backslashes as in Go, and an apostrophe stands
// before what a spreadsheet would calculate.
func WriteCSV(w io.Writer, ms []Measurement) error {
	keys := DimKeys(ms)
	cw := csv.NewWriter(w)
	if err := cw.Write(append(append([]string(nil), keys...), tail...)); err != nil {
		return err
	}
	line := make([]string, 0, len(keys)+len(tail))
	for i := range ms {
		m := &ms[i]
		if err := m.check(); err != nil {
			return err
		}
		line = line[:0]
		for _, k := range keys {
			line = append(line, csvText(m.Dim(k)))
		}
		line = append(line, m.Name(), m.Unit, exact(m.Value), exact(m.CI95), strconv.FormatInt(m.N, 10))
		if err := cw.Write(line); err != nil {
			return err
		}
	}
	cw.Flush()
	return cw.Error()
}

// MaxDims is how many dimensions ReadCSV reads; a sweep has one for each axis.
const MaxDims = 1024

// maxBadLines is how many bad lines ReadCSV reports before it gives up.
const maxBadLines = 20

// ReadCSV reads what WriteCSV wrote. A dimension whose field is empty is one that the measurement does not have. Bad
// lines are reported, the first twenty of them.
func ReadCSV(r io.Reader) ([]Measurement, error) {
	cr := csv.NewReader(r)
	head, err := cr.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the header line: %w", err)
	}
	nd := len(head) - len(tail)
	if nd > MaxDims {
		return nil, fmt.Errorf("the header has %d columns, at most %d are read", len(head), MaxDims+len(tail))
	}
	if nd < 0 {
		return nil, fmt.Errorf("the header has %d columns, at least %d are needed", len(head), len(tail))
	}
	for i, name := range tail {
		if head[nd+i] != name {
			return nil, fmt.Errorf("column %d of the header is %q, should be %q", nd+i+1, head[nd+i], name)
		}
	}
	// A bad column is one of every line: it is reported once.
	dims := make([]Dim, nd)
	for i, k := range head[:nd] {
		dims[i].Key = k
	}
	if err := checkName(dims, "metric_of_a_line"); err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	var ms []Measurement
	var errs []error
	for {
		if len(errs) == maxBadLines {
			return nil, errors.Join(append(errs, errors.New("more lines are not read"))...)
		}
		rec, err := cr.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		line, _ := cr.FieldPos(0)
		m := Measurement{Metric: rec[nd], Unit: rec[nd+1]}
		for i, k := range head[:nd] {
			if rec[i] != "" {
				m.Dims = append(m.Dims, Dim{k, csvValue(rec[i])})
			}
		}
		m.Metric = withoutUnit(m.Metric, m.Unit)
		var e1, e2, e3 error
		m.Value, e1 = parseExact(rec[nd+2])
		m.CI95, e2 = parseExact(rec[nd+3])
		m.N, e3 = strconv.ParseInt(rec[nd+4], 10, 64)
		if err := errors.Join(e1, e2, e3, checkName(nil, m.Metric), m.checkValues()); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		ms = append(ms, m)
	}
	return ms, errors.Join(errs...)
}

// withoutUnit undoes withUnit.
func withoutUnit(name, unit string) string {
	for i := len(name) - 1; i > 0; i-- {
		if name[i] == '_' && withUnit(name[:i], unit) == name && toSnake(name[:i]) == name[:i] {
			return name[:i]
		}
	}
	return name
}

func parseExact(s string) (float64, error) {
	if s == "" {
		return math.NaN(), nil
	}
	return strconv.ParseFloat(s, 64)
}
