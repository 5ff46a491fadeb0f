package figure

import (
	"errors"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Series is one value for each group of a bar chart.
type Series struct {
	Name   string
	Values []float64 // NaN: no bar
	CI     []float64 // half widths of error bars; nil or NaN: none
}

// NewBars draws grouped bars: for each group one bar of every series, with error bars. The axis begins at zero.
func NewBars(a Axes, groups []string, series []Series) (*Plot, error) {
	if err := checkSeries(groups, series); err != nil {
		return nil, err
	}
	if a.LogY {
		return nil, errors.New("bars need an axis that begins at zero, not a logarithmic one")
	}
	pl := newPlot(a)
	pl.grid(false, true)
	lo, hi := 0.0, 0.0
	width := 0.8 / float64(max(len(series), 1))
	for i, s := range series {
		b := &boxes{fill: shade(i)}
		for g := range groups {
			v := s.Values[g]
			if !pl.drawable(v, false) {
				continue
			}
			x := float64(g) + (float64(i)-float64(len(series)-1)/2)*width
			box := box{x: x, half: width * 0.45, from: 0, to: v}
			if s.CI != nil && s.CI[g] > 0 && !math.IsInf(s.CI[g], 0) {
				box.ci = s.CI[g]
			}
			b.list = append(b.list, box)
			lo, hi = min(lo, v-box.ci), max(hi, v+box.ci)
		}
		pl.p.Add(b)
		pl.legend = append(pl.legend, legendEntry{s.Name, b})
	}
	pl.names(groups)
	pl.finishBars(len(groups), lo, hi)
	return pl, nil
}

// NewStack draws one bar for each group, made of one piece of every series from the bottom up: the steps of a path. Values are
// not negative.
func NewStack(a Axes, groups []string, series []Series) (*Plot, error) {
	if err := checkSeries(groups, series); err != nil {
		return nil, err
	}
	if a.LogY {
		return nil, errors.New("stacked bars need an axis that begins at zero, not a logarithmic one")
	}
	for _, s := range series {
		for g, v := range s.Values {
			if v < 0 {
				return nil, fmt.Errorf("%s of %s is %g: pieces of a stack are not negative", s.Name, groups[g], v)
			}
		}
	}
	pl := newPlot(a)
	pl.grid(false, true)
	base := make([]float64, len(groups))
	for i, s := range series {
		b := &boxes{fill: shade(i)}
		for g := range groups {
			if !pl.drawable(s.Values[g], false) {
				continue
			}
			if s.Values[g] > 0 {
				b.list = append(b.list, box{x: float64(g), half: 0.3, from: base[g], to: base[g] + s.Values[g]})
				base[g] += s.Values[g]
			}
		}
		pl.p.Add(b)
		pl.legend = append(pl.legend, legendEntry{s.Name, b})
	}
	hi := 0.0
	for _, v := range base {
		hi = max(hi, v)
	}
	pl.names(groups)
	pl.finishBars(len(groups), 0, hi)
	return pl, nil
}

func (pl *Plot) finishBars(groups int, lo, hi float64) {
	if lo < 0 {
		pl.p.Add(zeroLine{})
	}
	pl.p.X.Min, pl.p.X.Max = -0.6, float64(max(groups, 1))-0.4
	if lo == 0 && hi == 0 {
		hi = 1
	}
	pad := (hi - lo) * 0.05
	if lo < 0 {
		lo -= pad
	}
	if hi > 0 {
		hi += pad
	}
	pl.p.Y.Min, pl.p.Y.Max = lo, hi
}

func checkSeries(groups []string, series []Series) error {
	var errs []error
	if len(groups) == 0 || len(series) == 0 {
		errs = append(errs, errors.New("a bar chart needs groups and series"))
	}
	for _, s := range series {
		if len(s.Values) != len(groups) || s.CI != nil && len(s.CI) != len(groups) {
			errs = append(errs, fmt.Errorf("series %q has %d values and %d intervals for %d groups", s.Name, len(s.Values), len(s.CI), len(groups)))
		}
	}
	return errors.Join(errs...)
}

// box is one bar or piece of a bar, in data coordinates.
type box struct{ x, half, from, to, ci float64 }

// boxes draws the bars of one series.
type boxes struct {
	fill color.RGBA
	list []box
}

// Plot draws the bars.
func (b *boxes) Plot(c draw.Canvas, p *plot.Plot) {
	tx, ty := p.Transforms(&c)
	edge := draw.LineStyle{Color: color.White, Width: vg.Points(0.4)}
	for _, r := range b.list {
		pts := []vg.Point{{X: tx(r.x - r.half), Y: ty(r.from)}, {X: tx(r.x + r.half), Y: ty(r.from)},
			{X: tx(r.x + r.half), Y: ty(r.to)}, {X: tx(r.x - r.half), Y: ty(r.to)}}
		if r.from == r.to {
			continue
		}
		c.FillPolygon(b.fill, pts)
		c.StrokeLines(edge, append(pts, pts[0]))
	}
	line := draw.LineStyle{Color: color.Black, Width: vg.Points(0.8)}
	for _, r := range b.list {
		if r.ci == 0 {
			continue
		}
		x, y0, y1 := tx(r.x), ty(r.to-r.ci), ty(r.to+r.ci)
		cap := min(vg.Points(3), (tx(r.x+r.half)-tx(r.x-r.half))/3)
		c.StrokeLine2(line, x, y0, x, y1)
		c.StrokeLine2(line, x-cap, y0, x+cap, y0)
		c.StrokeLine2(line, x-cap, y1, x+cap, y1)
	}
}

// zeroLine is the line from which bars rise and hang.
type zeroLine struct{}

// Plot draws the line.
func (zeroLine) Plot(c draw.Canvas, p *plot.Plot) {
	_, ty := p.Transforms(&c)
	c.StrokeLine2(draw.LineStyle{Color: color.Gray{60}, Width: vg.Points(0.6)}, c.Min.X, ty(0), c.Max.X, ty(0))
}

// Thumbnail draws the legend's sample.
func (b *boxes) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(b.fill, []vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}})
}
