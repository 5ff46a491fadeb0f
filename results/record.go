package results

import (
	"fmt"
	"io"
	"strings"
)

// Record is what one run of the tool found: the measurements, the tables that show them, and what is needed to repeat them.
type Record struct {
	Name       string // of the experiment, one CamelCase or snake_case word: Compare
	Version    string // of the tool; see Version
	Command    string // command line
	ConfigHash string
	Seed       uint64
	Warnings   []string // doubts about the figures, for the reader
	Tables     []*Table
	// Measurements in the order in which they are written. Add checks them.
	Measurements []Measurement
	// Distributions and Series are in the JSON form only. AddDistribution and AddSeries check them.
	Distributions []Distribution
	Series        []Series
}

// Add appends a measurement. A malformed one is a mistake of the caller and panics.
func (r *Record) Add(m Measurement) {
	if err := m.check(); err != nil {
		panic("results: " + err.Error())
	}
	r.Measurements = append(r.Measurements, m)
}

// Format is a way to write a Record.
type Format string

// Formats.
const (
	ASCII    Format = "ascii"    // tables of at most 80 columns, plain ASCII, for a mail
	Markdown Format = "markdown" // tables
	CSV      Format = "csv"      // measurements, one a line
	JSON     Format = "json"     // everything; see Document
	Bench    Format = "bench"    // measurements in the Go benchmark format, for benchstat
)

// Formats lists all formats.
var formats = []Format{ASCII, Markdown, CSV, JSON, Bench}

// ParseFormat returns the format of that name.
func ParseFormat(s string) (Format, error) {
	var names []string
	for _, f := range formats {
		if string(f) == s {
			return f, nil
		}
		names = append(names, string(f))
	}
	return "", fmt.Errorf("there is no format %q: allowed are %s", s, strings.Join(names, ", "))
}

// Write writes r in a format.
func (r *Record) Write(w io.Writer, f Format) error {
	switch f {
	case CSV:
		return WriteCSV(w, r.Measurements)
	case JSON:
		return r.writeJSON(w)
	case Bench:
		return r.writeBench(w)
	case ASCII, Markdown:
		return r.writeTables(w, f)
	}
	return fmt.Errorf("there is no format %q", f)
}

func (r *Record) writeTables(w io.Writer, f Format) error {
	for i, t := range r.Tables {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := t.Write(w, f); err != nil {
			return fmt.Errorf("table %q: %w", t.Title, err)
		}
	}
	if len(r.Warnings) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, s := range r.Warnings {
		if f == Markdown {
			b.WriteString("> **Note:** " + escapeMarkdown(s) + "\n>\n")
			continue
		}
		var note strings.Builder
		wrap(&note, "note: ", plainASCII(s), Width)
		if _, color := w.(Colored); color {
			b.WriteString(paint(note.String(), sgrYellow))
		} else {
			b.WriteString(note.String())
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
