package published

import (
	"math"

	"github.com/goccy/go-yaml/ast"

	"dmapath/platform"
)

// values reads the table: one value without axes, label: value with one, label: [values] with two.
func (p *file) values(o *object, t *Target) {
	one, many := o.nodes["value"], o.nodes["values"]
	switch {
	case one != nil && many != nil:
		o.bad("values", "and value contradict each other")
		return
	case one != nil && len(t.Axes) > 0:
		o.bad("value", "is for targets without sweep: values has a line per value of %s", t.Axes[0].Name)
		return
	case one != nil:
		t.Cells = append(t.Cells, Cell{Value: o.number("value", true), at: platform.Pos(one)})
		return
	case many == nil:
		if o.nodes["claims"] == nil {
			p.Bad(o.at, o.dot("values"), "is missing, and so are claims: a target needs one of them")
		}
		p.grid(t)
		return
	case len(t.Axes) == 0:
		o.bad("values", "needs a sweep; a single one is called value")
		return
	}
	v := p.object(many, o.dot("values"))
	if v == nil {
		return
	}
	for i, pt := range t.Axes[0].Points {
		n, ok := v.nodes[pt.Label]
		if !ok {
			p.Bad(v.at, v.dot(pt.Label), "is missing: values has a line for every value of %s; ~ says that none was published", t.Axes[0].Name)
			continue
		}
		if len(t.Axes) == 1 {
			t.Cells = append(t.Cells, Cell{At: []int{i}, Value: p.cell(n, v.dot(pt.Label)), at: platform.Pos(n)})
			continue
		}
		items := p.list(n, v.dot(pt.Label))
		if items != nil && len(items) != len(t.Axes[1].Points) {
			p.Bad(platform.Pos(n), v.dot(pt.Label), "has %d values: %s has %d", len(items), t.Axes[1].Name, len(t.Axes[1].Points))
			continue
		}
		for j, c := range items {
			t.Cells = append(t.Cells, Cell{At: []int{i, j}, Value: p.cell(c, v.dot(pt.Label)), at: platform.Pos(c)})
		}
	}
	labels := make([]string, 0, len(t.Axes[0].Points))
	for _, pt := range t.Axes[0].Points {
		labels = append(labels, pt.Label)
	}
	v.only(labels...)
	if len(t.Cells) > maxCells {
		p.Bad(v.at, v.key, "has %d cells: allowed are %d", len(t.Cells), maxCells)
	}
}

// grid makes a cell without a value of every place, for targets of claims alone.
func (p *file) grid(t *Target) {
	switch len(t.Axes) {
	case 0:
		t.Cells = []Cell{{Value: math.NaN()}}
	case 1:
		for i := range t.Axes[0].Points {
			t.Cells = append(t.Cells, Cell{At: []int{i}, Value: math.NaN()})
		}
	case 2:
		for i := range t.Axes[0].Points {
			for j := range t.Axes[1].Points {
				t.Cells = append(t.Cells, Cell{At: []int{i, j}, Value: math.NaN()})
			}
		}
	}
}

// cell reads a value; ~ is none.
func (p *file) cell(n ast.Node, key string) float64 {
	if _, ok := n.(*ast.NullNode); ok {
		return math.NaN()
	}
	s, ok := p.Scalar(n, key)
	if !ok {
		return math.NaN()
	}
	v, err := number(s)
	if err != nil {
		p.Bad(platform.Pos(n), key, "%v; ~ says that none was published", err)
		return math.NaN()
	}
	return v
}

// marks reads which cells parameters were fitted on, and what is known about misses.
func (p *file) marks(o *object, t *Target) {
	if n := o.nodes["fitted"]; n != nil {
		items := []ast.Node{n}
		if s, ok := n.(*ast.SequenceNode); ok {
			items = s.Values
		}
		for _, i := range items {
			for _, c := range p.cellsOf(t, i, o.dot("fitted")) {
				c.Fitted = true
			}
		}
	}
	n := o.nodes["why"]
	if n == nil {
		return
	}
	items := []ast.Node{n}
	if s, ok := n.(*ast.SequenceNode); ok {
		items = s.Values
	}
	for _, i := range items {
		switch i.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
			w := p.object(i, o.dot("why"))
			w.only("at", "text")
			text := w.text("text", true)
			at := w.nodes["at"]
			if at == nil {
				p.Bad(w.at, w.dot("at"), "is missing")
				continue
			}
			for _, c := range p.cellsOf(t, at, w.dot("at")) {
				c.Why = text
			}
		default:
			text, _ := p.Scalar(i, o.dot("why"))
			for c := range t.Cells {
				t.Cells[c].Why = text
			}
		}
	}
}

// cellsOf finds the cells that n names: all, a label (all cells with it), or a list of one label per axis.
func (p *file) cellsOf(t *Target, n ast.Node, key string) (list []*Cell) {
	words := p.words(n, key)
	if len(words) == 0 {
		return nil
	}
	if len(words) == 1 && words[0] == "all" {
		for i := range t.Cells {
			list = append(list, &t.Cells[i])
		}
		return list
	}
	for i := range t.Cells {
		c := &t.Cells[i]
		ok := len(words) <= max(1, len(c.At))
		for _, w := range words {
			found := false
			for axis, at := range c.At {
				found = found || t.Axes[axis].Points[at].Label == w
			}
			ok = ok && found
		}
		if ok {
			list = append(list, c)
		}
	}
	if list == nil && t.Cells != nil {
		p.Bad(platform.Pos(n), key, "%v is no cell of the table: allowed are all, a label of the sweep, or a list with a label of each of its keys", words)
	}
	return list
}

// cellAt finds the one cell that n names: a list with a label per axis, in order, or a label when there is one axis. nil after
// reporting that there is none.
func (p *file) cellAt(t *Target, n ast.Node, key string) []int {
	words := p.words(n, key)
	if words == nil {
		return nil
	}
	if len(words) != len(t.Axes) {
		p.Bad(platform.Pos(n), key, "names a cell by %d labels: the sweep has %d keys", len(words), len(t.Axes))
		return nil
	}
	at := make([]int, len(words))
	for i, w := range words {
		if at[i] = t.Axes[i].find(w); at[i] < 0 {
			p.Bad(platform.Pos(n), key, "%q is no value of %s: %s", w, t.Axes[i].Name, t.Axes[i].labels())
			return nil
		}
	}
	return at
}
