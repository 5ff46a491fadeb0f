package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"dmapath/results"
)

// data is what the page's script reads. Names are short because they are written thousands of times, and numbers have six
// significant digits: the documents have all.
type data struct {
	Docs     []doc     `json:"docs"`
	Manifest *manifest `json:"manifest"`
	Checked  []string  `json:"checked"`
	Missing  []string  `json:"missing"`
	Skipped  []string  `json:"skipped"`
}

type manifest struct {
	Version  string      `json:"version"`
	Seed     string      `json:"seed"`
	Hash     string      `json:"hash"`
	Command  []string    `json:"command"`
	Sections [][2]string `json:"sections"` // name, text
}

type doc struct {
	File     string   `json:"file"`
	Name     string   `json:"name"`
	Command  string   `json:"command"`
	Version  string   `json:"version"`
	Hash     string   `json:"hash"`
	Seed     string   `json:"seed"`
	Warnings []string `json:"warnings"`
	Tables   []table  `json:"tables"`
	// Keys are the dimensions, Values their values; a coordinate is the index of a value, -1 where there is none.
	Keys    []string    `json:"keys"`
	Values  [][]string  `json:"values"`
	Metrics [][2]string `json:"metrics"` // name, unit
	Points  []point     `json:"points"`
	Dists   []dist      `json:"dists"`
	Series  []series    `json:"series"`
}

type table struct {
	ID      string      `json:"id"`
	Title   string      `json:"title"`
	Columns [][2]string `json:"columns"` // name, unit
	Rows    [][]any     `json:"rows"`
	Notes   []string    `json:"notes"`
}

// point is all measurements with the same dimensions.
type point struct {
	At     []int `json:"at"`
	Values []num `json:"m"` // four each: index of the metric, value, ci95, n
}

type dist struct {
	At     []int `json:"at"`
	Metric int   `json:"k"`
	Values []num `json:"b"` // three each: from, to, count
}

type series struct {
	At     []int `json:"at"`
	Metric int   `json:"k"`
	Start  num   `json:"start"`
	Step   num   `json:"step"`
	Values []num `json:"v"`
}

// num is written with six significant digits, whole numbers below 2^53 completely; NaN is null.
type num float64

func (n num) MarshalJSON() ([]byte, error) {
	v := float64(n)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return []byte("null"), nil
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.AppendFloat(nil, v+0, 'f', 0, 64), nil
	}
	return strconv.AppendFloat(nil, v, 'g', 6, 64), nil
}

func orNaN(v *float64) num {
	if v == nil {
		return num(math.NaN())
	}
	return num(*v)
}

// index numbers strings in the order of their first appearance.
type index struct {
	of   map[string]int
	list []string
}

func (x *index) at(s string) int {
	i, ok := x.of[s]
	if !ok {
		if x.of == nil {
			x.of = map[string]int{}
		}
		i = len(x.list)
		x.of[s] = i
		x.list = append(x.list, s)
	}
	return i
}

// packer numbers the dimensions and metrics of a document.
type packer struct {
	keys    index
	values  []*index
	metrics index
	units   []string
}

func (p *packer) key(k string) int {
	i := p.keys.at(k)
	if i == len(p.values) {
		p.values = append(p.values, &index{})
	}
	return i
}

// at returns the coordinates that dims are.
func (p *packer) at(dims []results.Dim) []int {
	at := make([]int, len(p.keys.list))
	for i := range at {
		at[i] = -1
	}
	for _, d := range dims {
		k := p.key(d.Key)
		at[k] = p.values[k].at(visible(d.Value))
	}
	return at
}

func (p *packer) metric(name, unit string) int {
	i := p.metrics.at(name + "\x00" + unit)
	if i == len(p.units) {
		p.units = append(p.units, unit)
	}
	return i
}

// pack brings a document into the form of the page.
func pack(file string, d *results.Document) doc {
	out := doc{File: visible(file), Name: visible(d.Name), Command: visible(d.Command), Version: visible(d.ToolVersion), Hash: visible(d.ConfigHash),
		Seed: fmt.Sprint(d.Seed), Warnings: visibles(d.Warnings), Tables: []table{}, Points: []point{}, Dists: []dist{}, Series: []series{}, Metrics: [][2]string{},
		Keys: []string{}, Values: [][]string{}}
	var p packer
	for _, m := range d.Measurements { // all keys first: coordinates are equally long
		for _, x := range m.Dims {
			p.key(x.Key)
		}
	}
	for _, x := range d.Distributions {
		for _, x := range x.Dims {
			p.key(x.Key)
		}
	}
	for _, x := range d.Series {
		for _, x := range x.Dims {
			p.key(x.Key)
		}
	}
	var known index
	for _, m := range d.Measurements {
		at := p.at(m.Dims)
		i := known.at(fmt.Sprint(at))
		if i == len(out.Points) {
			out.Points = append(out.Points, point{At: at})
		}
		out.Points[i].Values = append(out.Points[i].Values, num(p.metric(m.Metric, m.Unit)), orNaN(m.Value), orNaN(m.CI95), num(m.N))
	}
	for _, x := range d.Distributions {
		y := dist{At: p.at(x.Dims), Metric: p.metric(x.Metric, x.Unit), Values: []num{}}
		for _, b := range x.Buckets {
			y.Values = append(y.Values, num(b.From), num(b.To), num(b.Count))
		}
		out.Dists = append(out.Dists, y)
	}
	for _, x := range d.Series {
		y := series{At: p.at(x.Dims), Metric: p.metric(x.Metric, x.Unit), Start: num(x.Start), Step: num(x.Step), Values: []num{}}
		for _, v := range x.Values {
			y.Values = append(y.Values, num(v))
		}
		out.Series = append(out.Series, y)
	}
	for i, k := range p.keys.list {
		out.Keys = append(out.Keys, visible(k))
		out.Values = append(out.Values, append([]string{}, p.values[i].list...))
	}
	for i, m := range p.metrics.list {
		name, _, _ := strings.Cut(m, "\x00")
		out.Metrics = append(out.Metrics, [2]string{visible(name), visible(p.units[i])})
	}
	for _, t := range d.Tables {
		out.Tables = append(out.Tables, packTable(t))
	}
	return out
}

func packTable(t results.DocTable) table {
	y := table{ID: visible(t.ID), Title: visible(t.Title), Columns: [][2]string{}, Rows: [][]any{}, Notes: visibles(t.Notes)}
	for _, c := range t.Columns {
		y.Columns = append(y.Columns, [2]string{visible(c.Name), visible(c.Unit)})
	}
	for _, r := range t.Rows {
		cells := make([]any, len(t.Columns)) // a row of another length is cut or filled
		for i := range min(len(r), len(cells)) {
			switch c := r[i].(type) {
			case float64:
				cells[i] = num(c)
			case string:
				cells[i] = visible(c)
			case nil:
			default:
				cells[i] = visible(fmt.Sprint(c))
			}
		}
		y.Rows = append(y.Rows, cells)
	}
	return y
}

// visible is the only way of a text into the page.
func visible(s string) string { return results.Visible(s) }

func visibles(list []string) []string {
	out := make([]string, 0, len(list))
	for _, s := range list {
		out = append(out, visible(s))
	}
	return out
}
