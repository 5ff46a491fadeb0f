package debate

import (
	"bytes"
	"fmt"
	"strings"

	"dmapath/results"
	"dmapath/results/figure"
)

// width is the widest line of the page.
const width = 80

// page is the text under construction and its plots.
type page struct {
	b     bytes.Buffer
	plots []plot
	err   error // the first
}

type plot struct {
	name string
	*figure.Plot
}

// head begins a section.
func (p *page) head(level int, format string, a ...any) {
	fmt.Fprintf(&p.b, "%s %s\n\n", strings.Repeat("#", level), fmt.Sprintf(format, a...))
}

// para writes a paragraph.
func (p *page) para(format string, a ...any) {
	p.b.WriteString(wrap(fmt.Sprintf(format, a...), "", ""))
	p.b.WriteString("\n")
}

// item writes an item of a list.
func (p *page) item(format string, a ...any) {
	p.b.WriteString(wrap(fmt.Sprintf(format, a...), "- ", "  "))
}

// end ends a list.
func (p *page) end() { p.b.WriteString("\n") }

// table writes a table as plain text, which keeps to 80 columns.
func (p *page) table(t *results.Table) {
	if len(t.Rows) == 0 {
		return
	}
	p.b.WriteString("```text\n")
	if err := t.Write(&p.b, results.ASCII); err != nil && p.err == nil {
		p.err = err
	}
	p.b.WriteString("```\n\n")
}

// figure puts a plot into the page.
func (p *page) figure(name, alt string, f *figure.Plot, err error) {
	if err != nil {
		if p.err == nil {
			p.err = err
		}
		return
	}
	p.plots = append(p.plots, plot{name, f})
	fmt.Fprintf(&p.b, "![%s](debate/%s.png)\n\n", alt, name)
}

// wrap breaks text into lines of at most width columns; the first begins with first, the others with rest.
func wrap(text, first, rest string) string {
	var b strings.Builder
	line := first
	empty := true
	for _, w := range strings.Fields(text) {
		if !empty && len([]rune(line))+1+len([]rune(w)) > width {
			b.WriteString(line + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += w
		empty = false
	}
	b.WriteString(line + "\n")
	return b.String()
}
