package published

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"dmapath/platform"
)

// Limits of a file, so that a mistake does not become a day of computing.
const (
	maxBytes   = 1 << 20
	maxTargets = 500
	maxPoints  = 200  // of an axis
	maxCells   = 2000 // of a target
)

// file reads targets. Missing and unknown keys are problems like everything else.
type file struct {
	platform.Reader
}

// Parse reads a file of targets; name is what problems call it. The error lists every problem of the file, platform.Problems with
// their positions. Whether platforms and keys exist is Check's business.
func Parse(name string, data []byte) ([]*Target, error) {
	p := &file{platform.Reader{File: name, Kind: "target file"}}
	var list []*Target
	if len(data) > maxBytes {
		p.Bad(nil, "", "the file has %d bytes: allowed are %d", len(data), maxBytes)
	} else if top := p.Top(data); top != nil {
		list = p.targets(top)
	}
	return list, p.Err()
}

// object is a mapping read strictly.
type object struct {
	p     *file
	key   string // where it is, for problems
	at    *token.Position
	nodes map[string]ast.Node
	order []string
	ats   map[string]*token.Position
}

// object reads n as a mapping with any keys, each once; nil after reporting why not.
func (p *file) object(n ast.Node, key string) *object {
	m := p.Mapping(n, key)
	if m == nil {
		return nil
	}
	o := &object{p: p, key: key, at: platform.Pos(n), nodes: map[string]ast.Node{}, ats: map[string]*token.Position{}}
	for _, v := range m.Values {
		name := p.word(v, key)
		if name == "" {
			continue
		}
		if first, dup := o.ats[name]; dup {
			p.Bad(platform.Pos(v), o.dot(name), "is given twice, first in line %d", first.Line)
			continue
		}
		o.nodes[name], o.ats[name] = v.Value, platform.Pos(v)
		o.order = append(o.order, name)
	}
	return o
}

// word returns the text of a mapping key; numbers are labels.
func (p *file) word(v *ast.MappingValueNode, key string) string {
	switch v.Key.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.Key.GetToken().Value
	}
	return p.KeyOf(v, key)
}

func (o *object) dot(name string) string {
	if o.key == "" {
		return name
	}
	return o.key + "." + name
}

// only reports keys that are not allowed.
func (o *object) only(allowed ...string) {
	for _, name := range o.order {
		if !slices.Contains(allowed, name) {
			o.p.Bad(o.ats[name], o.dot(name), "unknown key%s: allowed are %s", nearest(name, allowed), strings.Join(allowed, ", "))
		}
	}
}

// text reads a value; missing is a problem when it is needed.
func (o *object) text(name string, needed bool) string {
	n, ok := o.nodes[name]
	if !ok {
		if needed {
			o.p.Bad(o.at, o.dot(name), "is missing")
		}
		return ""
	}
	s, _ := o.p.Scalar(n, o.dot(name))
	return s
}

// oneOf reads a word of a list.
func (o *object) oneOf(name string, needed bool, allowed []string) string {
	s := o.text(name, needed)
	if s != "" && !slices.Contains(allowed, s) {
		o.bad(name, "%q is not known%s: allowed are %s", s, nearest(s, allowed), strings.Join(allowed, ", "))
		return ""
	}
	return s
}

func (o *object) number(name string, needed bool) float64 {
	s := o.text(name, needed)
	if s == "" {
		return math.NaN()
	}
	v, err := number(s)
	if err != nil {
		o.bad(name, "%v", err)
		return math.NaN()
	}
	return v
}

func (o *object) tolerance(needed bool) (t Tolerance) {
	s := o.text("tolerance", needed)
	if s == "" {
		return t
	}
	t, err := parseTolerance(s)
	if err != nil {
		o.bad("tolerance", "%v", err)
	}
	return t
}

func (o *object) bad(name, format string, args ...any) {
	at := o.ats[name]
	if n := o.nodes[name]; n != nil {
		if p := platform.Pos(n); p != nil {
			at = p
		}
	}
	o.p.Bad(at, o.dot(name), format, args...)
}

// list reads the items of a list.
func (p *file) list(n ast.Node, key string) []ast.Node {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		p.Bad(platform.Pos(n), key, "a list is wanted here")
		return nil
	}
	return s.Values
}

// words reads a list of values, or one value as a list of one.
func (p *file) words(n ast.Node, key string) (list []string) {
	items := []ast.Node{n}
	if s, ok := n.(*ast.SequenceNode); ok {
		items = s.Values
	}
	for _, i := range items {
		s, ok := p.Scalar(i, key)
		if !ok {
			return nil
		}
		list = append(list, s)
	}
	return list
}

func nearest(s string, allowed []string) string {
	if best, ok := platform.Nearest(s, allowed, len(s)/2); ok {
		return fmt.Sprintf(", did you mean %s?", best)
	}
	return ""
}

func (p *file) targets(top ast.Node) (list []*Target) {
	o := p.object(top, "")
	o.only("targets")
	n, ok := o.nodes["targets"]
	if !ok {
		p.Bad(o.at, "targets", "is missing")
		return nil
	}
	items := p.list(n, "targets")
	if len(items) > maxTargets {
		p.Bad(platform.Pos(n), "targets", "has %d: allowed are %d", len(items), maxTargets)
		return nil
	}
	seen := map[string]int{}
	for i, item := range items {
		t := p.target(item, fmt.Sprintf("targets[%d]", i))
		if t == nil {
			continue
		}
		if line, dup := seen[t.ID]; dup && t.ID != "" {
			p.Bad(t.at, t.ID, "is given twice, first in line %d", line)
		}
		if t.at != nil {
			seen[t.ID] = t.at.Line
		}
		list = append(list, t)
	}
	return list
}

// target reads one; nil when it is not even a mapping.
func (p *file) target(n ast.Node, key string) *Target {
	o := p.object(n, key)
	if o == nil {
		return nil
	}
	t := &Target{ID: o.text("id", true), file: p.File, at: o.at}
	if t.ID != "" {
		o.key = t.ID
		if strings.ContainsFunc(t.ID, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
		}) {
			o.bad("id", "%q: letters, digits, '-', '_' and '.' are allowed", t.ID)
		}
	}
	o.only("id", "title", "source", "confidence", "skip", "setup", "metric", "functions", "relative_to", "unit", "tolerance", "sweep", "value", "values", "fitted", "why", "claims")
	t.Title, t.Source, t.Skip = o.text("title", true), o.text("source", true), o.text("skip", false)
	t.Confidence = Confidence(o.oneOf("confidence", true, confidences))
	t.Tolerance = o.tolerance(o.nodes["value"] != nil || o.nodes["values"] != nil)
	t.Setup = o.settings("setup", t.Skip == "")
	if o.nodes["relative_to"] != nil {
		t.Relative = o.settings("relative_to", true)
	}
	p.metric(o, t)
	p.sweep(o, t)
	p.values(o, t)
	p.marks(o, t)
	p.claims(o, t)
	return t
}

// metric reads what is measured, in which unit.
func (p *file) metric(o *object, t *Target) {
	t.Metric = Metric(o.oneOf("metric", true, MetricNames()))
	m, ok := metricByName(string(t.Metric))
	if t.Relative != nil {
		if t.Unit = o.text("unit", false); t.Unit != "" && t.Unit != "1" {
			o.bad("unit", "%q: a ratio, which relative_to makes it, has no unit but 1", t.Unit)
		}
		t.Unit = "1"
	} else if ok {
		t.Unit = o.oneOf("unit", true, m.unitNames())
	}
	if n := o.nodes["functions"]; n != nil {
		t.Functions = p.words(n, o.dot("functions"))
	}
	switch {
	case !ok:
	case m.needsFunctions() && t.Functions == nil:
		p.Bad(o.at, o.dot("functions"), "is missing: %s sums the functions named", m.name)
	case !m.needsFunctions() && t.Functions != nil:
		o.bad("functions", "is for metrics of steps, not for %s", m.name)
	}
}

// settings reads a mapping of keys to values.
func (o *object) settings(name string, needed bool) (list []Setting) {
	n, ok := o.nodes[name]
	if !ok {
		if needed {
			o.p.Bad(o.at, o.dot(name), "is missing")
		}
		return nil
	}
	s := o.p.object(n, o.dot(name))
	if s == nil {
		return nil
	}
	for _, k := range s.order {
		if err := settingKey(k); err != nil {
			o.p.Bad(s.ats[k], s.dot(k), "%v", err)
			continue
		}
		if v := s.text(k, true); v != "" {
			list = append(list, Setting{k, v, s.ats[k]})
		}
	}
	return list
}

// sweep reads the axes.
func (p *file) sweep(o *object, t *Target) {
	n, ok := o.nodes["sweep"]
	if !ok {
		return
	}
	s := p.object(n, o.dot("sweep"))
	if s == nil {
		return
	}
	if len(s.order) > 2 {
		p.Bad(s.at, s.key, "has %d keys: allowed are one or two", len(s.order))
		return
	}
	for _, name := range s.order {
		a := Axis{Name: name}
		switch n := s.nodes[name].(type) {
		case *ast.SequenceNode:
			if err := settingKey(name); err != nil {
				p.Bad(s.ats[name], s.dot(name), "%v; a name with a mapping of labels to settings can be chosen freely", err)
				continue
			}
			for _, v := range p.words(n, s.dot(name)) {
				a.Points = append(a.Points, Point{v, []Setting{{name, v, platform.Pos(n)}}})
			}
		default:
			if m := p.object(n, s.dot(name)); m != nil {
				for _, label := range m.order {
					a.Points = append(a.Points, Point{label, m.settings(label, true)})
				}
			}
		}
		if len(a.Points) == 0 || len(a.Points) > maxPoints {
			p.Bad(s.ats[name], s.dot(name), "has %d values: allowed are 1 to %d", len(a.Points), maxPoints)
			continue
		}
		for i, x := range a.Points {
			if slices.ContainsFunc(a.Points[:i], func(y Point) bool { return y.Label == x.Label }) {
				p.Bad(s.ats[name], s.dot(name), "has %s twice", x.Label)
			}
		}
		t.Axes = append(t.Axes, a)
	}
	if len(t.Axes) != len(s.order) {
		t.Axes = nil
	}
}
