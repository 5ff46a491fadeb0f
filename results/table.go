package results

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Width is the widest line of an ASCII table.
const Width = 80

// Column is a column of a table.
type Column struct {
	Name     string // heading; spaces are where it may break
	Unit     string // second line of the heading, in brackets; empty for none
	Decimals int    // of numbers
	Signed   bool   // numbers show a plus sign
	Text     bool   // left-aligned text
}

// Table is a view of some measurements. The first Keys columns (at least one) name the row; they are repeated when an ASCII
// table is too wide and is printed in parts.
type Table struct {
	ID      string // snake_case, for file names and JSON
	Title   string
	Columns []Column
	Keys    int // 0 means 1
	Rows    [][]Cell
	Notes   []string
}

// Cell is one field: a number, a text, or nothing.
type Cell struct {
	Text   string
	Number float64 // valid when Kind is Number
	Kind   CellKind
	Tone   Tone // of the text on a terminal; see Colored
}

// CellKind says what a Cell holds.
type CellKind uint8

// Kinds of cells.
const (
	Empty CellKind = iota // nothing to report; printed as "-"
	Number
	Text
)

// Add appends a row. A cell is a string, an integer, a float64 (NaN: nothing to report) or nil. A row of another length than the
// heading, or another type, is a mistake of the caller and panics.
func (t *Table) Add(cells ...any) {
	if len(cells) != len(t.Columns) {
		panic(fmt.Sprintf("results: table %q: row of %d cells, %d columns", t.Title, len(cells), len(t.Columns)))
	}
	row := make([]Cell, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case nil:
		case Cell:
			row[i] = c
		case string:
			row[i] = Cell{Text: c, Kind: Text}
		case int:
			row[i] = Cell{Number: float64(c), Kind: Number}
		case int64:
			row[i] = Cell{Number: float64(c), Kind: Number}
		case uint64:
			row[i] = Cell{Number: float64(c), Kind: Number}
		case float64:
			if !math.IsNaN(c) && !math.IsInf(c, 0) {
				row[i] = Cell{Number: c, Kind: Number}
			}
		default:
			panic(fmt.Sprintf("results: table %q: cell of type %T", t.Title, c))
		}
	}
	t.Rows = append(t.Rows, row)
}

// Write writes t as ASCII, Markdown or CSV (wide: one line a row, headings in snake_case with the unit).
func (t *Table) Write(w io.Writer, f Format) error {
	if err := t.check(); err != nil {
		return err
	}
	switch f {
	case ASCII:
		return t.writeASCII(w)
	case Markdown:
		return t.writeMarkdown(w)
	case CSV:
		return t.writeCSV(w)
	}
	return fmt.Errorf("a table has no format %q", f)
}

func (t *Table) check() error {
	if len(t.Columns) == 0 {
		return fmt.Errorf("table %q has no columns", t.Title)
	}
	if t.Keys < 0 || t.Keys > len(t.Columns) {
		return fmt.Errorf("table %q has %d key columns of %d", t.Title, t.Keys, len(t.Columns))
	}
	for i, r := range t.Rows {
		if len(r) != len(t.Columns) {
			return fmt.Errorf("row %d of table %q has %d cells, %d columns", i, t.Title, len(r), len(t.Columns))
		}
	}
	return nil
}

// cell returns the text of row r, column c.
func (t *Table) cell(r, c int) string {
	cell := t.Rows[r][c]
	switch cell.Kind {
	case Text:
		return strings.Join(strings.Fields(cell.Text), " ")
	case Number:
		return formatNumber(cell.Number, t.Columns[c].Decimals, t.Columns[c].Signed)
	}
	return "-"
}

// formatNumber writes v with a fixed number of decimals. What rounds to zero has no sign.
func formatNumber(v float64, decimals int, signed bool) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Trim(s, "-0.") == "" {
		return strings.TrimPrefix(s, "-")
	}
	if signed && v > 0 {
		return "+" + s
	}
	return s
}

// writeCSV writes the table with full precision.
func (t *Table) writeCSV(w io.Writer) error {
	cw := csv.NewWriter(w)
	var head []string
	for _, c := range t.Columns {
		head = append(head, withUnit(c.Name, c.Unit))
	}
	if err := cw.Write(head); err != nil {
		return err
	}
	for _, r := range t.Rows {
		var line []string
		for _, c := range r {
			switch c.Kind {
			case Text:
				line = append(line, csvText(c.Text))
			case Number:
				line = append(line, exact(c.Number))
			default:
				line = append(line, "")
			}
		}
		if err := cw.Write(line); err != nil {
			return err
		}
	}
	cw.Flush()
	return cw.Error()
}

// exact writes v so that reading gives v back; NaN is empty.
func exact(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	if a := math.Abs(v); a >= 1e21 || a != 0 && a < 1e-9 {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
