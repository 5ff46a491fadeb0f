package figure

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// Axes is what every figure has: a title, its axes, and a line of explanation under the title.
type Axes struct {
	Title, Note string
	X, Y        string // labels, with units
	LogX, LogY  bool   // logarithmic; what is not positive is left out
	// Width and Height in centimetres; 0 means 16 by 10.
	Width, Height float64
}

// Plot is a finished figure.
type Plot struct {
	p             *plot.Plot
	width, height vg.Length
	legend        []legendEntry
	groups        []string // names of bar groups, lines separated by \n
	slanted       bool     // they are written at an angle
	dropped       int
	axes          Axes
}

type legendEntry struct {
	name  string
	thumb plot.Thumbnailer
}

// palette is that of Okabe and Ito, black last.
var palette = [...]color.RGBA{{0, 114, 178, 255}, {230, 159, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255}, {86, 180, 233, 255},
	{213, 94, 0, 255}, {240, 228, 66, 255}, {110, 110, 110, 255}}

// shade returns the colour of series i; after one round of the palette, lighter and darker ones follow.
func shade(i int) color.RGBA {
	c := palette[i%len(palette)]
	switch (i / len(palette)) % 3 {
	case 1:
		c.R, c.G, c.B = c.R/2+127, c.G/2+127, c.B/2+127
	case 2:
		c.R, c.G, c.B = c.R/2, c.G/2, c.B/2
	}
	return c
}

// dashes returns the dash pattern of series i.
func dashes(i int) []vg.Length {
	pt := vg.Points
	return [][]vg.Length{nil, {pt(6), pt(3)}, {pt(2), pt(2)}, {pt(8), pt(3), pt(2), pt(3)}}[i%4]
}

func newPlot(a Axes) *Plot {
	p := plot.New()
	pl := &Plot{p: p, axes: a, width: vg.Length(a.Width) * vg.Centimeter, height: vg.Length(a.Height) * vg.Centimeter}
	if a.Width <= 0 {
		pl.width = 16 * vg.Centimeter
	}
	if a.Height <= 0 {
		pl.height = 10 * vg.Centimeter
	}
	face := func(s *text.Style, size vg.Length) {
		s.Font.Variant = "Sans"
		s.Font.Typeface = "Liberation"
		s.Font.Size = size
	}
	face(&p.Title.TextStyle, 11)
	face(&p.X.Label.TextStyle, 9)
	face(&p.Y.Label.TextStyle, 9)
	face(&p.X.Tick.Label, 8)
	face(&p.Y.Tick.Label, 8)
	face(&p.Legend.TextStyle, 8)
	p.Title.Padding = vg.Points(8)
	p.X.Label.Text, p.Y.Label.Text = a.X, a.Y
	p.X.Padding, p.Y.Padding = vg.Points(4), vg.Points(4)
	p.X.LineStyle.Width, p.Y.LineStyle.Width = vg.Points(0.6), vg.Points(0.6)
	p.X.Tick.LineStyle.Width, p.Y.Tick.LineStyle.Width = vg.Points(0.6), vg.Points(0.6)
	p.Y.Label.Padding = vg.Points(4)
	p.X.Label.Padding = vg.Points(4)
	p.Y.Tick.Marker = ticks{max: 7}
	p.X.Tick.Marker = ticks{max: 9}
	return pl
}

// grid draws faint lines behind the data; call it before adding data.
func (pl *Plot) grid(x, y bool) {
	g := plotter.NewGrid()
	line := draw.LineStyle{Color: color.Gray{220}, Width: vg.Points(0.5)}
	g.Horizontal, g.Vertical = draw.LineStyle{}, draw.LineStyle{}
	if y {
		g.Horizontal = line
	}
	if x {
		g.Vertical = line
	}
	pl.p.Add(g)
}

// drawable counts and refuses what cannot be drawn.
func (pl *Plot) drawable(v float64, log bool) bool {
	if math.IsNaN(v) || math.IsInf(v, 0) || log && v <= 0 {
		pl.dropped++
		return false
	}
	return true
}

// span sets an axis to lo..hi, made wider when it is empty.
func span(a *plot.Axis, lo, hi float64, log bool) {
	switch {
	case math.IsInf(lo, 0) || math.IsInf(hi, 0): // no data
		lo, hi = 0, 1
		if log {
			lo = 0.1
		}
	case log && hi < lo*10:
		lo, hi = math.Pow(10, math.Floor(math.Log10(lo))), math.Pow(10, math.Floor(math.Log10(hi))+1)
	case lo == hi && lo == 0:
		hi = 1
	case lo == hi:
		d := math.Abs(lo) / 2
		lo, hi = lo-d, hi+d
	}
	a.Min, a.Max = lo, hi
	if log {
		a.Scale, a.Tick.Marker = plot.LogScale{}, logTicks{}
	}
}

// Formats that Write knows.
var Formats = []string{"svg", "png"}

// pngDPI makes a PNG of 16 cm 945 pixels wide.
const pngDPI = 150

// Write writes the figure as svg or png.
func (pl *Plot) Write(w io.Writer, format string) error {
	if format != "svg" && format != "png" {
		return fmt.Errorf("there is no figure format %q: allowed are svg, png", format)
	}
	if format == "png" {
		c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(pl.width, pl.height), vgimg.UseDPI(pngDPI))}
		pl.draw(draw.New(c))
		_, err := c.WriteTo(w)
		return err
	}
	c, err := draw.NewFormattedCanvas(pl.width, pl.height, format)
	if err != nil {
		return err
	}
	pl.draw(draw.New(c))
	_, err = c.WriteTo(w)
	return err
}

// draw puts title, note, legend and plot under one another, so that the legend never covers data.
func (pl *Plot) draw(dc draw.Canvas) {
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	m := vg.Points(8)
	dc = draw.Crop(dc, m, -m, m, -m)
	note := pl.axes.Note
	if pl.dropped > 0 {
		what := "values"
		if pl.dropped == 1 {
			what = "value"
		}
		note = strings.TrimSpace(note + fmt.Sprintf("  (%d %s not drawable, left out)", pl.dropped, what))
	}
	top := dc.Max.Y
	style := pl.p.Title.TextStyle
	style.XAlign, style.YAlign = draw.XLeft, draw.YTop
	for _, l := range fold(style, pl.axes.Title, dc.Max.X-dc.Min.X) {
		dc.FillText(style, vg.Point{X: dc.Min.X, Y: top}, l)
		top -= style.Height(l) + vg.Points(3)
	}
	small := pl.p.X.Tick.Label
	small.XAlign, small.YAlign = draw.XLeft, draw.YTop
	small.Color = color.Gray{90}
	for _, l := range fold(small, note, dc.Max.X-dc.Min.X) {
		dc.FillText(small, vg.Point{X: dc.Min.X, Y: top}, l)
		top -= small.Height(l) + vg.Points(2)
	}
	top = pl.drawLegend(dc, top-vg.Points(3))
	below, left := pl.namesRoom()
	area := draw.Crop(dc, left, 0, below, top-dc.Max.Y-vg.Points(2))
	pl.p.Draw(area)
	pl.drawNames(dc, area)
}

// drawLegend writes the entries in rows from left to right and returns where the plot may begin.
func (pl *Plot) drawLegend(dc draw.Canvas, top vg.Length) vg.Length {
	if len(pl.legend) == 0 || len(pl.legend) == 1 && pl.legend[0].name == "" {
		return top
	}
	style := pl.p.Legend.TextStyle
	style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
	box, space := vg.Points(16), vg.Points(14)
	high := style.Height("Xg") + vg.Points(4)
	x := dc.Min.X
	for _, e := range pl.legend {
		need := box + vg.Points(4) + style.Width(e.name)
		if x > dc.Min.X && x+need > dc.Max.X {
			x, top = dc.Min.X, top-high
		}
		y := top - high/2
		e.thumb.Thumbnail(&draw.Canvas{Canvas: dc.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: x, Y: y - vg.Points(3.5)}, Max: vg.Point{X: x + box, Y: y + vg.Points(3.5)}}})
		dc.FillText(style, vg.Point{X: x + box + vg.Points(4), Y: y}, e.name)
		x += need + space
	}
	return top - high - vg.Points(4)
}

// fold breaks s at spaces into lines no wider than width.
func fold(style text.Style, s string, width vg.Length) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		next := strings.TrimSpace(line + " " + word)
		if line != "" && style.Width(next) > width {
			lines, line = append(lines, line), word
			continue
		}
		line = next
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// names labels the groups of a bar chart at 0, 1, 2, ...: level when they fit side by side, broken into lines where a name has
// a slash, a space or an at-sign, otherwise slanted.
func (pl *Plot) names(groups []string) {
	style := pl.p.X.Tick.Label
	room := (pl.width-3*vg.Centimeter)/vg.Length(max(len(groups), 1)) - vg.Points(4)
	labels := make([]string, len(groups))
	fits := true
	for i, g := range groups {
		labels[i] = g
		if style.Width(g) > room {
			labels[i] = strings.Join(fold(style, spaced(g), room), "\n")
			fits = fits && widest(style, labels[i]) <= room
		}
	}
	pl.p.X.Tick.Width, pl.p.X.Tick.Length = 0, 0
	pl.p.X.Tick.Marker = plot.ConstantTicks(nil)
	pl.groups = labels
	if !fits {
		pl.groups, pl.slanted = groups, true
	}
}

// slant is the angle of names that do not fit side by side.
const slant = math.Pi / 6

// drawNames writes the group names under the plot: the library would reserve room for half a name beside the axis.
func (pl *Plot) drawNames(dc, area draw.Canvas) {
	data := pl.p.DataCanvas(area)
	tx, _ := pl.p.Transforms(&data)
	style := pl.p.X.Tick.Label
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	if pl.slanted {
		style.XAlign, style.YAlign, style.Rotation = draw.XRight, draw.YCenter, slant
	}
	for i, g := range pl.groups {
		at := vg.Point{X: tx(float64(i)), Y: area.Min.Y - vg.Points(1)}
		if pl.slanted {
			dc.FillText(style, vg.Point{X: at.X, Y: at.Y - vg.Points(4)}, g)
			continue
		}
		for _, l := range strings.Split(g, "\n") {
			dc.FillText(style, at, l)
			at.Y -= style.Height(l) + vg.Points(2)
		}
	}
}

// namesRoom returns what the group names need below the plot and to the left of it.
func (pl *Plot) namesRoom() (below, left vg.Length) {
	style := pl.p.X.Tick.Label
	step := (pl.width - 3*vg.Centimeter) / vg.Length(max(len(pl.groups), 1))
	for i, g := range pl.groups {
		if !pl.slanted {
			below = max(below, vg.Length(strings.Count(g, "\n")+1)*(style.Height("Xg")+vg.Points(2)))
			continue
		}
		w := style.Width(g)
		below = max(below, w*vg.Length(math.Sin(slant))+vg.Points(12))
		left = max(left, w*vg.Length(math.Cos(slant))-step*vg.Length(float64(i)+0.5)-vg.Centimeter)
	}
	return below, left
}

// spaced lets a name break after a slash or before an at-sign.
func spaced(s string) string {
	return strings.NewReplacer("/", "/ ", "@", " @").Replace(s)
}

func widest(style text.Style, s string) vg.Length {
	var w vg.Length
	for _, l := range strings.Split(s, "\n") {
		w = max(w, style.Width(l))
	}
	return w
}
