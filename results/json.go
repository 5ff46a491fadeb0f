package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// SchemaVersion is the version of Document. It grows when a field changes its meaning or goes; a new field does not change it.
const SchemaVersion = 1

// Document is the JSON form of a Record.
type Document struct {
	SchemaVersion int    `json:"schema_version"` // 1
	Tool          string `json:"tool"`           // "dmapath"
	ToolVersion   string `json:"tool_version"`   // see Version
	Name          string `json:"name"`           // experiment
	Command       string `json:"command"`        // command line
	ConfigHash    string `json:"config_hash"`    // SHA-256 of the effective configuration, hex
	Seed          uint64 `json:"seed,string"`    // a string, because JSON numbers end at 2^53
	// Warnings are doubts about the figures.
	Warnings     []string     `json:"warnings"`
	Measurements []DocMeasure `json:"measurements"`
	Tables       []DocTable   `json:"tables"`
	// Distributions and Series are left out when there are none.
	Distributions []Distribution `json:"distributions,omitempty"`
	Series        []Series       `json:"series,omitempty"`
}

// DocMeasure is a Measurement. Quantities that are not there are null.
type DocMeasure struct {
	Dims   []Dim    `json:"dims"`
	Metric string   `json:"metric"` // snake_case with its unit: map_p99_cycles
	Unit   string   `json:"unit"`   // cycles
	Value  *float64 `json:"value"`
	CI95   *float64 `json:"ci95"` // half width of the 95 % confidence interval
	N      int64    `json:"n"`    // observations
}

// DocTable is a Table. A cell is a number, a string or null.
type DocTable struct {
	ID      string      `json:"id"`
	Title   string      `json:"title"`
	Columns []DocColumn `json:"columns"`
	Rows    [][]any     `json:"rows"`
	Notes   []string    `json:"notes"`
}

// DocColumn is a Column.
type DocColumn struct {
	Name string `json:"name"` // snake_case with its unit
	Unit string `json:"unit"`
}

// Document returns r in the form that JSON has.
func (r *Record) Document() *Document {
	d := &Document{SchemaVersion: SchemaVersion, Tool: Tool, ToolVersion: r.Version, Name: r.Name, Command: r.Command,
		ConfigHash: r.ConfigHash, Seed: r.Seed, Warnings: notNil(r.Warnings), Measurements: []DocMeasure{}, Tables: []DocTable{}}
	for i := range r.Measurements {
		m := &r.Measurements[i]
		d.Measurements = append(d.Measurements, DocMeasure{Dims: notNil(m.Dims), Metric: m.Name(), Unit: m.Unit,
			Value: orNull(m.Value), CI95: orNull(m.CI95), N: m.N})
	}
	for _, t := range r.Tables {
		dt := DocTable{ID: t.ID, Title: t.Title, Columns: []DocColumn{}, Rows: [][]any{}, Notes: notNil(t.Notes)}
		for _, c := range t.Columns {
			dt.Columns = append(dt.Columns, DocColumn{withUnit(c.Name, c.Unit), c.Unit})
		}
		for _, row := range t.Rows {
			cells := make([]any, len(row))
			for i, c := range row {
				switch c.Kind {
				case Number:
					cells[i] = c.Number
				case Text:
					cells[i] = c.Text
				}
			}
			dt.Rows = append(dt.Rows, cells)
		}
		d.Tables = append(d.Tables, dt)
	}
	for _, x := range r.Distributions {
		x.Metric, x.Dims, x.Buckets = x.Name(), notNil(x.Dims), notNil(x.Buckets)
		d.Distributions = append(d.Distributions, x)
	}
	for _, x := range r.Series {
		x.Metric, x.Dims, x.Values = x.Name(), notNil(x.Dims), notNil(x.Values)
		d.Series = append(d.Series, x)
	}
	return d
}

func (r *Record) writeJSON(w io.Writer) error {
	for _, t := range r.Tables {
		if err := t.check(); err != nil {
			return err
		}
	}
	for i := range r.Distributions {
		if err := r.Distributions[i].check(); err != nil {
			return err
		}
	}
	for i := range r.Series {
		if err := r.Series[i].check(); err != nil {
			return err
		}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(r.Document())
}

// ReadJSON reads a Document strictly: unknown fields, another schema version, trailing data, and distributions and series
// that Record would refuse are errors.
func ReadJSON(r io.Reader) (*Document, error) {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	var d Document
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("reading results: %w", err)
	}
	if d.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("results have schema version %d, this program reads %d", d.SchemaVersion, SchemaVersion)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("results are followed by other data")
	}
	for i := range d.Distributions {
		if err := d.Distributions[i].check(); err != nil {
			return nil, fmt.Errorf("results: %w", err)
		}
	}
	for i := range d.Series {
		if err := d.Series[i].check(); err != nil {
			return nil, fmt.Errorf("results: %w", err)
		}
	}
	return &d, nil
}

func orNull(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
