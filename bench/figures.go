package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"

	"dmapath/results"
	"dmapath/results/figure"
)

// Write puts tables, measurements and figures into dir and commits it with manifest m.
func (c *Comparison) Write(dir *results.OutputDir, r *results.Record, m *results.Manifest) error {
	if err := AllFormats(dir, "compare", r); err != nil {
		return err
	}
	if text := c.Text(); text != "" {
		if err := dir.Create("map-benchmark.txt", func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			return err
		}
	}
	for _, w := range c.Exp.Workloads {
		if w == dmaProbe || w == netperfRX {
			continue // no calls to draw
		}
		for _, b := range c.Exp.Backends {
			p, err := c.costFigure(w, b)
			if err != nil {
				return err
			}
			if err := save(dir, snake(w+"_"+b), p); err != nil {
				return err
			}
			if p, err = c.unitFigure(w, b); err != nil {
				return err
			}
			if err := save(dir, snake(w+"_"+b+"_operation"), p); err != nil {
				return err
			}
			if p, err = c.stepFigure(w, b); err != nil {
				return err
			}
			if err := save(dir, snake(w+"_"+b+"_steps"), p); err != nil {
				return err
			}
		}
	}
	return dir.Commit(m)
}

// AllFormats puts r into dir in every format.
func AllFormats(dir *results.OutputDir, name string, r *results.Record) error {
	for _, f := range []struct {
		ending string
		format results.Format
	}{{"txt", results.ASCII}, {"md", results.Markdown}, {"csv", results.CSV}, {"json", results.JSON}, {"bench", results.Bench}} {
		if err := dir.Create(name+"."+f.ending, func(w io.Writer) error { return r.Write(w, f.format) }); err != nil {
			return err
		}
	}
	return nil
}

// save writes a figure as SVG and PNG; nil is no figure.
func save(dir *results.OutputDir, name string, p *figure.Plot) error {
	if p == nil {
		return nil
	}
	for _, format := range []string{"svg", "png"} {
		if err := dir.Create("plots/"+name+"."+format, func(w io.Writer) error { return p.Write(w, format) }); err != nil {
			return err
		}
	}
	return nil
}

// costFigure draws the cycles of map and unmap by cache state, a bar per variant.
func (c *Comparison) costFigure(workload, backend string) (*figure.Plot, error) {
	var groups []string
	series := make([]figure.Series, len(c.Exp.Variants))
	for i, v := range c.Exp.Variants {
		series[i].Name = v
	}
	for _, call := range []string{"map", "unmap"} {
		for _, state := range c.Exp.Caches {
			groups = append(groups, call+", "+state)
			for i, o := range c.row(workload, backend, state) {
				value, ci := math.NaN(), math.NaN()
				if p := o.find(call); p != nil {
					e := p.Series.SecondHalf()
					value, ci = e.Mean, finite(e.HalfWidth)
				}
				series[i].Values, series[i].CI = append(series[i].Values, value), append(series[i].CI, ci)
			}
		}
	}
	return figure.NewBars(figure.Axes{Title: fmt.Sprintf("%s on %s: cycles per call", c.load(workload), backend),
		Note: fmt.Sprintf("simulated, %s, %s; error bars: 95 %% interval", c.Platform.Name, c.Exp.Source), Y: "core cycles"}, groups, series)
}

// unitFigure draws what one operation costs with whole drivers: in the calls, and around them. nil without whole drivers.
func (c *Comparison) unitFigure(workload, backend string) (*figure.Plot, error) {
	if !slices.ContainsFunc(c.Exp.Variants, isDriver) {
		return nil, nil
	}
	state := c.stepCache()
	row := c.row(workload, backend, state)
	var groups []string
	series := make([]figure.Series, len(row))
	for u, unit := range row[0].Units {
		for _, part := range []string{"calls", "around"} {
			groups = append(groups, unit.Name+": "+part)
			for i, o := range row {
				series[i].Name = o.Variant
				cost := &o.Units[u].Cycles
				if part == "around" {
					cost = &o.Units[u].Around
				}
				value, ci := math.NaN(), math.NaN()
				if cost.N > 0 && (part == "calls" || isDriver(o.Variant)) {
					e := cost.SecondHalf()
					value, ci = e.Mean, finite(e.HalfWidth)
				}
				series[i].Values, series[i].CI = append(series[i].Values, value), append(series[i].CI, ci)
			}
		}
	}
	return figure.NewBars(figure.Axes{Title: fmt.Sprintf("%s on %s: mapping of one operation, %s", c.load(workload), backend, state),
		Note: fmt.Sprintf("simulated, %s, %s; error bars: 95 %% interval", c.Platform.Name, c.Exp.Source), Y: "core cycles"}, groups, series)
}

// figureSteps is how many kernel functions a stacked bar names.
const figureSteps = 9

// stepFigure draws where the cycles of map and unmap go, a stacked bar per variant.
func (c *Comparison) stepFigure(workload, backend string) (*figure.Plot, error) {
	row := c.row(workload, backend, c.stepCache())
	var groups []string
	sums := map[string]float64{}
	parts := []map[string]float64{}
	for _, call := range []string{"map", "unmap"} {
		for _, o := range row {
			p := o.find(call)
			if p == nil {
				continue
			}
			groups = append(groups, call+" "+strings.TrimPrefix(o.Variant, "map_"))
			part := map[string]float64{}
			for _, s := range steps(p) {
				part[s.name] += s.cycles
				sums[s.name] += s.cycles
			}
			parts = append(parts, part)
		}
	}
	if len(groups) == 0 {
		return nil, nil
	}
	names := make([]string, 0, len(sums))
	for n := range sums {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool {
		if sums[names[i]] != sums[names[j]] {
			return sums[names[i]] > sums[names[j]]
		}
		return names[i] < names[j]
	})
	shown := names[:min(len(names), figureSteps)]
	var series []figure.Series
	for _, n := range shown {
		s := figure.Series{Name: n}
		for _, p := range parts {
			s.Values = append(s.Values, p[n])
		}
		series = append(series, s)
	}
	if len(names) > len(shown) {
		rest := figure.Series{Name: "others"}
		for _, p := range parts {
			sum := 0.0
			for _, n := range names { // in a fixed order: addition of floats is not associative
				if !slices.Contains(shown, n) {
					sum += p[n]
				}
			}
			rest.Values = append(rest.Values, sum)
		}
		series = append(series, rest)
	}
	return figure.NewStack(figure.Axes{Title: fmt.Sprintf("%s on %s, %s: cycles by kernel function", workload, backend, c.stepCache()),
		Note: fmt.Sprintf("simulated, %s, %s", c.Platform.Name, c.Exp.Source), Y: "core cycles"}, groups, series)
}
