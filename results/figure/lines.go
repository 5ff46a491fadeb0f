package figure

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is a series of points. X must not decrease.
type Line struct {
	Name string
	X, Y []float64
	CI   []float64 // half widths of error bars of Y; nil or NaN: none
}

// NewLines draws lines with markers at the points. A point that cannot be drawn interrupts its line.
func NewLines(a Axes, lines []Line) (*Plot, error) { return newLines(a, lines, false) }

func newLines(a Axes, lines []Line, steps bool) (*Plot, error) {
	var errs []error
	if len(lines) == 0 {
		errs = append(errs, errors.New("a figure needs at least one line"))
	}
	for _, l := range lines {
		if len(l.X) != len(l.Y) || l.CI != nil && len(l.CI) != len(l.Y) {
			errs = append(errs, fmt.Errorf("line %q has %d X, %d Y and %d intervals", l.Name, len(l.X), len(l.Y), len(l.CI)))
		} else if !slices.IsSorted(l.X) {
			errs = append(errs, fmt.Errorf("line %q goes back in X", l.Name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	pl := newPlot(a)
	pl.grid(true, true)
	xlo, xhi := math.Inf(1), math.Inf(-1)
	ylo, yhi := math.Inf(1), math.Inf(-1)
	for i, l := range lines {
		c := &curve{style: draw.LineStyle{Color: shade(i), Width: vg.Points(1.4), Dashes: dashes(i)}, steps: steps}
		var run []point
		flush := func() {
			if len(run) > 0 {
				c.runs = append(c.runs, run)
				run = nil
			}
		}
		for k := range l.X {
			if !finite(l.X[k]) || a.LogX && l.X[k] <= 0 || !pl.drawable(l.Y[k], a.LogY) {
				if !finite(l.X[k]) || a.LogX && l.X[k] <= 0 {
					pl.dropped++
				}
				flush()
				continue
			}
			p := point{x: l.X[k], y: l.Y[k]}
			if l.CI != nil && finite(l.CI[k]) && l.CI[k] > 0 {
				p.lo, p.hi = p.y-l.CI[k], p.y+l.CI[k]
				if a.LogY && p.lo <= 0 {
					p.lo = p.y
				}
				ylo, yhi = min(ylo, p.lo), max(yhi, p.hi)
			}
			run = append(run, p)
			xlo, xhi = min(xlo, p.x), max(xhi, p.x)
			ylo, yhi = min(ylo, p.y), max(yhi, p.y)
		}
		flush()
		pl.p.Add(c)
		pl.legend = append(pl.legend, legendEntry{l.Name, c})
	}
	if !a.LogY {
		if ylo > 0 && ylo < yhi/2 {
			ylo = 0 // show the zero unless the lines lie far from it
		}
		if pad := (yhi - ylo) * 0.04; finite(pad) && !steps {
			yhi += pad
			if ylo != 0 {
				ylo -= pad
			}
		}
	}
	span(&pl.p.X, xlo, xhi, a.LogX)
	if at := commonTicks(lines); a.LogX && !steps && at != nil {
		pl.p.X.Tick.Marker = at
	}
	span(&pl.p.Y, ylo, yhi, a.LogY)
	return pl, nil
}

// commonTicks marks a logarithmic axis at the points themselves (1, 2, 4, 8 CPUs) when they are few and not crowded; else it returns
// nil.
func commonTicks(lines []Line) plot.Ticker {
	var xs []float64
	for _, l := range lines {
		for _, x := range l.X {
			if finite(x) && x > 0 {
				xs = append(xs, x)
			}
		}
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	if len(xs) < 2 || len(xs) > 12 {
		return nil
	}
	near := math.Log(xs[len(xs)-1]/xs[0]) / 16
	var at []plot.Tick
	for i, x := range xs {
		if i > 0 && math.Log(x/xs[i-1]) < near {
			return nil
		}
		at = append(at, plot.Tick{Value: x, Label: label(x, x, x)})
	}
	return plot.ConstantTicks(at)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Distribution is the observations of one series, in any order, or weighted values such as a histogram's buckets.
type Distribution struct {
	Name   string
	Values []float64
	Counts []int64 // how often each value occurs; nil: once
}

// NewCDF draws cumulative distributions as steps: the share of observations up to X.
func NewCDF(a Axes, dists []Distribution) (*Plot, error) {
	var lines []Line
	dropped := 0
	for _, d := range dists {
		if d.Counts != nil && len(d.Counts) != len(d.Values) {
			return nil, fmt.Errorf("distribution %q has %d values and %d counts", d.Name, len(d.Values), len(d.Counts))
		}
		type vc struct {
			v float64
			n int64
		}
		var all []vc
		var total int64
		for i, v := range d.Values {
			n := int64(1)
			if d.Counts != nil {
				n = d.Counts[i]
			}
			if n < 0 {
				return nil, fmt.Errorf("distribution %q counts %g %d times", d.Name, v, n)
			}
			if !finite(v) || a.LogX && v <= 0 {
				dropped++
				continue
			}
			if n > 0 {
				all = append(all, vc{v, n})
				total += n
			}
		}
		slices.SortFunc(all, func(x, y vc) int {
			switch {
			case x.v < y.v:
				return -1
			case x.v > y.v:
				return 1
			}
			return 0
		})
		l := Line{Name: d.Name}
		var sum int64
		for i, p := range all {
			sum += p.n
			if i+1 < len(all) && all[i+1].v == p.v {
				continue
			}
			if len(l.X) == 0 {
				l.X, l.Y = append(l.X, p.v), append(l.Y, 0)
			}
			l.X, l.Y = append(l.X, p.v), append(l.Y, 100*float64(sum)/float64(total))
		}
		lines = append(lines, l)
	}
	if a.Y == "" {
		a.Y = "observations up to X [%]"
	}
	a.LogY = false
	pl, err := newLines(a, lines, true)
	if err != nil {
		return nil, err
	}
	pl.dropped += dropped
	pl.p.Y.Min, pl.p.Y.Max = 0, 100
	return pl, nil
}

type point struct{ x, y, lo, hi float64 }

// curve draws one line, in pieces where points are missing.
type curve struct {
	style draw.LineStyle
	runs  [][]point
	steps bool
}

// Plot draws the curve.
func (l *curve) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	bar := draw.LineStyle{Color: color.Gray{60}, Width: vg.Points(0.7)}
	dot := draw.GlyphStyle{Color: l.style.Color, Radius: vg.Points(2), Shape: draw.CircleGlyph{}}
	for _, run := range l.runs {
		var pts []vg.Point
		for i, q := range run {
			pt := vg.Point{X: tx(q.x), Y: ty(q.y)}
			if l.steps && i > 0 {
				pts = append(pts, vg.Point{X: pt.X, Y: pts[len(pts)-1].Y})
			}
			pts = append(pts, pt)
			if q.hi > q.lo {
				c.StrokeLine2(bar, pt.X, ty(q.lo), pt.X, ty(q.hi))
				c.StrokeLine2(bar, pt.X-vg.Points(2.5), ty(q.lo), pt.X+vg.Points(2.5), ty(q.lo))
				c.StrokeLine2(bar, pt.X-vg.Points(2.5), ty(q.hi), pt.X+vg.Points(2.5), ty(q.hi))
			}
		}
		if len(pts) > 1 {
			c.StrokeLines(l.style, pts)
		}
		if !l.steps {
			for _, q := range run {
				c.DrawGlyph(dot, vg.Point{X: tx(q.x), Y: ty(q.y)})
			}
		}
	}
}

// Thumbnail draws the legend's sample.
func (l *curve) Thumbnail(c *draw.Canvas) {
	y := (c.Min.Y + c.Max.Y) / 2
	c.StrokeLine2(l.style, c.Min.X, y, c.Max.X, y)
}
