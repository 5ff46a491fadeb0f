package published

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dmapath/bench/evidence"
)

// Kind is a sort of claim.
type Kind string

// Kinds of claims.
const (
	Knee       Kind = "knee"       // where along an axis the metric first falls, or rises
	Ascending  Kind = "ascending"  // cells in this order have rising values
	Descending Kind = "descending" // falling values
	Ratio      Kind = "ratio"      // one cell divided by another
	Difference Kind = "difference" // one cell less another
	Exponent   Kind = "exponent"   // growth: log of the ratio of two cells by the log of the ratio of their places on the axis
	Slope      Kind = "slope"      // difference of two cells by the difference of their places
)

var kinds = []string{string(Knee), string(Ascending), string(Descending), string(Ratio), string(Difference), string(Exponent), string(Slope)}

// Claim is a statement about several cells.
type Claim struct {
	Kind      Kind
	Name      string
	Cells     [][]int // by kind: the axis in order; the order; of and to; from and to
	Value     float64 // of ratio, difference, exponent, slope
	Tolerance Tolerance
	After, By int     // of a knee: index into Cells of the last without and the first with a loss
	Loss      float64 // of a knee: what is one, relative to the first cell; negative when the metric rises there
	Per       float64 // of a slope: the step along the axis that Value is for, in the label's number
	Unit      string
	Unsure    bool // unverified
	Fitted    bool
	Why       string
	axis      int // along which a knee, an exponent or a slope goes
}

func (a *Axis) find(label string) int {
	return slices.IndexFunc(a.Points, func(p Point) bool { return p.Label == label })
}

func (a *Axis) labels() string {
	var s []string
	for _, p := range a.Points {
		s = append(s, p.Label)
	}
	return strings.Join(s, ", ")
}

// claims reads the list of claims.
func (p *file) claims(o *object, t *Target) {
	n, ok := o.nodes["claims"]
	if !ok {
		return
	}
	for i, item := range p.list(n, o.dot("claims")) {
		c := p.object(item, fmt.Sprintf("%s[%d]", o.dot("claims"), i))
		if c == nil {
			continue
		}
		cl := Claim{Kind: Kind(c.oneOf("claim", true, kinds)), Name: c.text("name", false), Why: c.text("why", false), Value: math.NaN(), Unit: t.Unit,
			Unsure: t.Confidence == Unverified, Fitted: c.oneOf("fitted", false, []string{"true", "false"}) == "true"}
		if s := c.oneOf("confidence", false, confidences); s != "" {
			cl.Unsure = Confidence(s) == Unverified
		}
		common := []string{"claim", "name", "why", "confidence", "fitted"}
		before := len(p.Problems)
		switch cl.Kind {
		case Knee:
			c.only(append(common, "along", "with", "after", "by", "loss", "rise")...)
			p.knee(c, t, &cl)
		case Ascending, Descending:
			c.only(append(common, "cells")...)
			cl.Unit = "pairs"
			if n := c.nodes["cells"]; n == nil {
				p.Bad(c.at, c.dot("cells"), "is missing")
			} else {
				for _, i := range p.list(n, c.dot("cells")) {
					cl.Cells = append(cl.Cells, p.cellAt(t, i, c.dot("cells")))
				}
				if len(cl.Cells) < 2 {
					c.bad("cells", "has %d: an order has two and more", len(cl.Cells))
				}
			}
		case Ratio, Difference:
			c.only(append(common, "of", "to", "value", "tolerance")...)
			p.pair(c, t, &cl, "of", "to")
		case Exponent, Slope:
			allowed := append(common, "from", "to", "value", "tolerance")
			if cl.Kind == Slope {
				allowed = append(allowed, "per")
			}
			c.only(allowed...)
			p.pair(c, t, &cl, "to", "from")
			p.places(c, t, &cl)
		}
		if cl.Kind != "" && len(p.Problems) == before {
			t.Claims = append(t.Claims, cl)
		}
	}
}

func (p *file) knee(c *object, t *Target, cl *Claim) {
	if len(t.Axes) == 0 {
		p.Bad(c.at, c.key, "a knee needs a sweep")
		return
	}
	var names []string
	for i := range t.Axes {
		names = append(names, t.Axes[i].Name)
	}
	name := c.oneOf("along", true, names)
	if name == "" {
		return
	}
	cl.axis = slices.Index(names, name)
	a := &t.Axes[cl.axis]
	cl.Unit = "label"
	with := 0
	if len(t.Axes) == 2 {
		other := &t.Axes[1-cl.axis]
		if s := c.text("with", true); s != "" {
			if with = other.find(s); with < 0 {
				c.bad("with", "%q is no value of %s: %s", s, other.Name, other.labels())
				with = 0
			}
		}
	}
	for i := range a.Points {
		at := make([]int, len(t.Axes))
		at[cl.axis] = i
		if len(t.Axes) == 2 {
			at[1-cl.axis] = with
		}
		cl.Cells = append(cl.Cells, at)
	}
	index := func(key string) int {
		s := c.text(key, true)
		i := a.find(s)
		if s != "" && i < 0 {
			c.bad(key, "%q is no value of %s: %s", s, a.Name, a.labels())
		}
		return i
	}
	cl.After, cl.By = index("after"), index("by")
	if cl.After >= 0 && cl.By >= 0 && cl.After >= cl.By {
		c.bad("by", "lies at or before after")
	}
	key := "loss"
	if c.nodes["rise"] != nil && c.nodes["loss"] == nil {
		key = "rise"
	}
	if s := c.text(key, true); s != "" {
		tol, err := parseTolerance(s)
		if err != nil || tol.Relative <= 0 || tol.Relative >= 1 || tol.Absolute != 0 {
			c.bad(key, "%q: want a share such as 10%%", s)
		}
		if cl.Loss = tol.Relative; key == "rise" {
			cl.Loss = -cl.Loss
		}
	}
}

// pair reads two cells and what their relation is.
func (p *file) pair(c *object, t *Target, cl *Claim, first, second string) {
	for _, key := range []string{first, second} {
		n, ok := c.nodes[key]
		if !ok {
			p.Bad(c.at, c.dot(key), "is missing")
			return
		}
		cl.Cells = append(cl.Cells, p.cellAt(t, n, c.dot(key)))
	}
	cl.Value, cl.Tolerance = c.number("value", true), c.tolerance(true)
	if cl.Kind == Ratio || cl.Kind == Exponent {
		cl.Unit = "1"
	}
}

// places checks that two cells differ along one axis whose labels are numbers.
func (p *file) places(c *object, t *Target, cl *Claim) {
	if len(cl.Cells) != 2 || cl.Cells[0] == nil || cl.Cells[1] == nil {
		return
	}
	cl.axis = -1
	for i := range t.Axes {
		if cl.Cells[0][i] != cl.Cells[1][i] {
			if cl.axis >= 0 {
				p.Bad(c.at, c.key, "the cells differ in both keys of the sweep: %s goes along one", cl.Kind)
				return
			}
			cl.axis = i
		}
	}
	if cl.axis < 0 {
		p.Bad(c.at, c.key, "the cells are one and the same")
		return
	}
	for _, at := range cl.Cells {
		label := t.Axes[cl.axis].Points[at[cl.axis]].Label
		if v, ok := quantity(label); !ok || cl.Kind == Exponent && v <= 0 {
			p.Bad(c.at, c.key, "%q is no number, size or time that %s could use", label, cl.Kind)
		}
	}
	if cl.Kind != Slope {
		return
	}
	if s := c.text("per", true); s != "" {
		v, ok := quantity(s)
		if !ok || v <= 0 {
			c.bad("per", "%q: want a number, size or time above 0, as the labels of %s", s, t.Axes[cl.axis].Name)
		}
		cl.Per = v
		cl.Unit = t.Unit + " per " + s
	}
}

// row judges the claim by the values of the cells.
func (c *Claim) row(t *Target, value func(at []int) float64) evidence.Row {
	r := evidence.Row{What: c.Name, Unit: c.Unit, Reference: c.Value, Tolerance: c.Tolerance.Relative, Slack: c.Tolerance.Absolute, Unverified: c.Unsure, Fitted: c.Fitted, Why: c.Why}
	var v []float64
	for _, at := range c.Cells {
		v = append(v, value(at))
	}
	name := func(format string, args ...any) {
		if r.What == "" {
			r.What = fmt.Sprintf(format, args...)
		}
	}
	place := func(at []int) float64 {
		x, _ := quantity(t.Axes[c.axis].Points[at[c.axis]].Label)
		return x
	}
	switch c.Kind {
	case Knee:
		points := t.Axes[c.axis].Points
		found := len(v)
		for i := range v {
			if c.Loss > 0 && !(v[i] >= v[0]*(1-c.Loss)) || c.Loss < 0 && !(v[i] <= v[0]*(1-c.Loss)) {
				found = i
				break
			}
		}
		if c.Loss > 0 {
			name("knee (loss > %.0f %%)", 100*c.Loss)
		} else {
			name("knee (rise > %.0f %%)", -100*c.Loss)
		}
		// Every place from behind After up to By is right.
		r.Reference, r.Predicted = float64(c.By+1), float64(found+1)
		if found > c.After && found <= c.By {
			r.Reference = r.Predicted
		}
		r.Unit = "no. of " + points[min(found, len(points)-1)].Label
		if found == len(points) {
			r.Unit = "no., none"
		}
	case Ascending, Descending:
		name("%s: %s", c.Kind, c.list(t))
		r.Reference = float64(len(v) - 1)
		for i := 1; i < len(v); i++ {
			if c.Kind == Ascending && v[i] > v[i-1] || c.Kind == Descending && v[i] < v[i-1] {
				r.Predicted++
			}
		}
	case Ratio:
		name("%s : %s", t.label(c.Cells[0]), t.label(c.Cells[1]))
		r.Predicted = v[0] / v[1]
	case Difference:
		name("%s less %s", t.label(c.Cells[0]), t.label(c.Cells[1]))
		r.Predicted = v[0] - v[1]
	case Exponent:
		name("exponent %s to %s", t.label(c.Cells[1]), t.label(c.Cells[0]))
		r.Predicted = math.Log(v[0]/v[1]) / math.Log(place(c.Cells[0])/place(c.Cells[1]))
	case Slope:
		name("slope %s to %s", t.label(c.Cells[1]), t.label(c.Cells[0]))
		r.Predicted = (v[0] - v[1]) / (place(c.Cells[0]) - place(c.Cells[1])) * c.Per
	}
	return r
}

func (c *Claim) list(t *Target) string {
	var s []string
	for _, at := range c.Cells {
		s = append(s, t.label(at))
	}
	return strings.Join(s, "; ")
}
