package results

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// gap is what stands between two columns.
const gap = 2

// keyWidth is the widest text cell of an ASCII table; longer ones are broken into lines.
const keyWidth = 34

// render lays out head and rows with the table library; it is the only user of it. markdown chooses between a Markdown table
// and plain text with a dashed rule. Every cell is a text already, lines separated by \n.
func render(head []string, rows [][]string, left []bool, markdown bool) (string, error) {
	align := make(tw.Alignment, len(head))
	for i := range align {
		align[i] = tw.AlignRight
		if left[i] {
			align[i] = tw.AlignLeft
		}
	}
	var b bytes.Buffer
	opts := []tablewriter.Option{
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithTrimLine(tw.Off),
		tablewriter.WithAutoHide(tw.Off),
		tablewriter.WithAlignment(align),
		tablewriter.WithHeaderAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithEastAsian(tw.Off),
	}
	if markdown {
		opts = append(opts, tablewriter.WithRenderer(renderer.NewMarkdown()))
	} else {
		sym := tw.NewSymbolCustom("plain").WithRow("-").WithColumn(" ").WithCenter("-").
			WithMidLeft("").WithMidRight("").WithHeaderMid("-")
		opts = append(opts, tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: sym,
			Settings: tw.Settings{
				Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off, ShowHeader: tw.On},
				Lines:      tw.Lines{ShowTop: tw.Off, ShowBottom: tw.Off, ShowHeaderLine: tw.On},
			},
		})), tablewriter.WithPadding(tw.Padding{Left: "", Right: strings.Repeat(" ", gap), Overwrite: true}))
	}
	tab := tablewriter.NewTable(&b, opts...)
	tab.Header(anys(head)...)
	for _, r := range rows {
		if err := tab.Append(anys(r)...); err != nil {
			return "", err
		}
	}
	if err := tab.Render(); err != nil {
		return "", err
	}
	return b.String(), nil
}

func anys(s []string) []any {
	out := make([]any, len(s))
	for i, v := range s {
		out[i] = v
	}
	return out
}

// writeASCII writes t in plain ASCII, no line wider than Width. A table that is too wide is printed in parts, each with the key
// columns.
func (t *Table) writeASCII(w io.Writer) error {
	var b strings.Builder
	_, color := w.(Colored)
	if t.Title != "" {
		var title strings.Builder
		wrap(&title, "", plainASCII(t.Title), Width)
		if color {
			b.WriteString(paint(title.String(), sgrBold))
		} else {
			b.WriteString(title.String())
		}
		b.WriteByte('\n')
	}
	head, cells, widths := t.layout()
	keys := max(t.Keys, 1)
	for i, part := range parts(widths, keys) {
		if i > 0 {
			b.WriteByte('\n')
		}
		text, err := t.part(head, cells, widths, part, color)
		if err != nil {
			return err
		}
		b.WriteString(text)
	}
	if len(t.Notes) > 0 {
		b.WriteByte('\n')
	}
	for _, n := range t.Notes {
		wrap(&b, "  ", plainASCII(n), Width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// layout returns the heading lines and cell lines of every column, and the width each column needs.
func (t *Table) layout() (head [][]string, cells [][][]string, widths []int) {
	for c, col := range t.Columns {
		need := 0
		column := make([][]string, len(t.Rows))
		for r := range t.Rows {
			column[r] = []string{plainASCII(t.cell(r, c))}
			if t.Rows[r][c].Kind == Text {
				column[r] = breakText(column[r][0], keyWidth)
			}
			for _, l := range column[r] {
				need = max(need, len(l))
			}
		}
		unit := ""
		if col.Unit != "" {
			unit = "[" + plainASCII(col.Unit) + "]"
		}
		need = max(need, len(unit))
		lines := breakText(plainASCII(col.Name), max(need, 8))
		for _, l := range lines {
			need = max(need, len(l))
		}
		if unit != "" {
			lines = append(lines, unit)
		}
		head, cells, widths = append(head, lines), append(cells, column), append(widths, need)
	}
	return head, cells, widths
}

// parts distributes the columns over tables of at most Width, repeating the key columns.
func parts(widths []int, keys int) [][]int {
	var base []int
	used := 0
	for c := range keys {
		base = append(base, c)
		used += widths[c] + gap
	}
	var out [][]int
	cur, at := append([]int(nil), base...), used
	for c := keys; c < len(widths); c++ {
		if at+widths[c] > Width && len(cur) > keys {
			out = append(out, cur)
			cur, at = append([]int(nil), base...), used
		}
		cur = append(cur, c)
		at += widths[c] + gap
	}
	return append(out, cur)
}

// part renders some columns. Headings stand on the rule: shorter ones are filled up with empty lines above.
func (t *Table) part(head [][]string, cells [][][]string, widths, cols []int, color bool) (string, error) {
	high := 0
	for _, c := range cols {
		high = max(high, len(head[c]))
	}
	var h []string
	var left []bool
	for _, c := range cols {
		h = append(h, strings.Repeat("\n", high-len(head[c]))+strings.Join(head[c], "\n"))
		left = append(left, t.leftAligned(c))
	}
	var rows [][]string
	for r := range t.Rows {
		var row []string
		for _, c := range cols {
			row = append(row, strings.Join(cells[c][r], "\n"))
		}
		rows = append(rows, row)
	}
	text, err := render(h, rows, left, false)
	if err != nil {
		return "", err
	}
	total := -gap
	for _, c := range cols {
		total += widths[c] + gap
	}
	lines := strings.Split(trimLines(text), "\n")
	for i, l := range lines {
		if len(l) > total && strings.Trim(l, "-") == "" {
			lines[i] = l[:total] // the library's rule runs on under the last column's padding
		}
	}
	if color {
		t.paintPart(lines, high, cells, widths, cols)
	}
	return strings.Join(lines, "\n"), nil
}

func (t *Table) leftAligned(c int) bool { return t.Columns[c].Text || c == 0 }

// writeMarkdown writes t as a GitHub table; the heading has the unit in brackets.
func (t *Table) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "**%s**\n\n", escapeMarkdown(t.Title))
	}
	var head []string
	var left []bool
	for c, col := range t.Columns {
		h := col.Name
		if col.Unit != "" {
			h += " [" + col.Unit + "]"
		}
		head, left = append(head, escapeMarkdown(h)), append(left, t.leftAligned(c))
	}
	var rows [][]string
	for r := range t.Rows {
		var row []string
		for c := range t.Columns {
			row = append(row, escapeMarkdown(t.cell(r, c)))
		}
		rows = append(rows, row)
	}
	text, err := render(head, rows, left, true)
	if err != nil {
		return err
	}
	b.WriteString(trimLines(text))
	for _, n := range t.Notes {
		b.WriteString("\n" + escapeMarkdown(n) + "\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// plainASCII replaces what is not printable ASCII: controls by their escapes, see Visible; the few signs that reports use get their usual
// spelling.
func plainASCII(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	for _, r := range Visible(strings.NewReplacer("\r\n", " ", "\n", " ").Replace(s)) {
		switch {
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r == '\u00a0':
			b.WriteByte(' ')
		case r == '±':
			b.WriteString("+-")
		case r == 'µ' || r == 'μ':
			b.WriteByte('u')
		case r == '×':
			b.WriteByte('x')
		case r == '–' || r == '—' || r == '−':
			b.WriteByte('-')
		case r == '→':
			b.WriteString("->")
		case r == '…':
			b.WriteString("...")
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// breakText breaks s at spaces into lines of at most width, and inside a word that is longer.
func breakText(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && len(line)+1+len(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for len(word) > width && width >= keyWidth {
			lines, word = append(lines, word[:width]), word[width:]
		}
		line = word
	}
	return append(lines, line)
}

// wrap writes s in lines of at most width, the first after head, the rest indented as far.
// Wrap breaks a paragraph into lines of at most Width columns.
func Wrap(s string) string {
	var b strings.Builder
	wrap(&b, "", s, Width)
	return b.String()
}

func wrap(b *strings.Builder, head, s string, width int) {
	for i, l := range breakText(s, width-len(head)) {
		if i > 0 {
			head = strings.Repeat(" ", len(head))
		}
		b.WriteString(strings.TrimRight(head+l, " ") + "\n")
	}
}

func trimLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n") + "\n"
}
