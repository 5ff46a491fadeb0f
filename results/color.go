package results

import (
	"io"
	"strings"
)

// Colored is a writer to which tables in ASCII format are written with colour: titles and headings bold, rules faint, notes yellow, and
// cells by their Tone. Nothing is said by colour alone: without it the same characters are written.
type Colored struct{ io.Writer }

// Tone is what a cell's text amounts to.
type Tone uint8

// Tones.
const (
	Plain Tone = iota
	Good       // as it should be
	Bad        // a miss, a hazard
	Doubt      // an error, or something that decides nothing
	Faint      // nothing to see
)

// Escape sequences (ECMA-48 SGR), with the 8 colours that every terminal has.
const (
	sgrBold   = "\x1b[1m"
	sgrFaint  = "\x1b[2m"
	sgrRed    = "\x1b[31m"
	sgrGreen  = "\x1b[32m"
	sgrYellow = "\x1b[33m"
	sgrReset  = "\x1b[0m"
)

var toneCodes = [...]string{Plain: "", Good: sgrGreen, Bad: sgrRed, Doubt: sgrYellow, Faint: sgrFaint}

// Toned is a cell of text with a tone.
func Toned(text string, tone Tone) Cell { return Cell{Text: text, Kind: Text, Tone: tone} }

// paint puts code around what is not white space of every line of s.
func paint(s, code string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = paintSpan(l, 0, len(l), code)
	}
	return strings.Join(lines, "\n")
}

// paintSpan puts code around what is not white space in columns [from, to) of a line.
func paintSpan(l string, from, to int, code string) string {
	from, to = min(from, len(l)), min(to, len(l))
	for from < to && l[from] == ' ' {
		from++
	}
	for from < to && l[to-1] == ' ' {
		to--
	}
	if from == to || code == "" {
		return l
	}
	return l[:from] + code + l[from:to] + sgrReset + l[to:]
}

// paintPart paints a part of a table: heading lines, the rule, and the cells that have a tone. cols are its columns.
func (t *Table) paintPart(lines []string, high int, cells [][][]string, widths, cols []int) {
	for i := range min(high, len(lines)) {
		lines[i] = paint(lines[i], sgrBold)
	}
	if high < len(lines) {
		lines[high] = paint(lines[high], sgrFaint)
	}
	at := high + 1
	for r := range t.Rows {
		tall := 1
		for _, c := range cols {
			tall = max(tall, len(cells[c][r]))
		}
		for i := at; i < at+tall && i < len(lines); i++ {
			end := -gap
			for _, c := range cols {
				end += widths[c] + gap
			}
			for k := len(cols) - 1; k >= 0; k-- { // from the right, so that columns further left stay where they are
				c := cols[k]
				lines[i] = paintSpan(lines[i], end-widths[c], end, toneCodes[t.Rows[r][c].Tone])
				end -= widths[c] + gap
			}
		}
		at += tall
	}
}
