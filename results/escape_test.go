package results

import (
	"bytes"
	"encoding/csv"
	"math"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// hostile are names as a trace might have them.
var hostile = []string{
	"\x1b[31mred\x1b[0m", "\x1b]0;title\a", "a\r\nb", "a|b|c", "=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", " =1", "'=1", "\u202egpj.exe", "zero\u200bwidth", "\ufeffbom", "\x00nul",
	"[x](javascript:alert(1))", "![x](http://h/p.png)", "<script>alert(1)</script>", "`code` *bold* _it_ __b__ ~~s~~", "&lt;&#60;", "# title", "> quote", "\xff\xfe", "back\\slash", "tab\there", "\u2028line", "\U000e0041tag",
}

// harmful says what of a text a terminal or viewer would act upon.
func harmful(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return true
			}
		}
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)) {
			return true
		}
	}
	return false
}

// One hostile text in every place of a table: every format stays one line a row, shows no control character, and no formula.
func TestHostileNamesInEveryFormat(t *testing.T) {
	for _, name := range hostile {
		r := &Record{Name: "Replay", Warnings: []string{name + ": refused"}}
		tab := &Table{ID: "t", Title: name, Columns: []Column{{Name: "device", Text: true}, {Name: "n"}}, Notes: []string{name}}
		tab.Add(name, 7)
		r.Tables = []*Table{tab}
		r.Add(Measurement{Dims: []Dim{{"device", name}}, Metric: "m", Value: 1, CI95: math.NaN(), N: 1})
		for _, f := range []Format{ASCII, Markdown, CSV, JSON, Bench} {
			got := render1(t, r, f)
			if f == JSON { // readers decode it; the file itself must not drive a terminal
				got = strings.Map(func(r rune) rune {
					if unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
						return 'x'
					}
					return r
				}, got)
			}
			if harmful(got) {
				t.Errorf("%q as %s: %q", name, f, got)
			}
		}
		var b bytes.Buffer
		if err := tab.Write(&b, CSV); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[1]) != 2 {
			t.Fatalf("%q: %v, %v", name, rows, err)
		}
		if c := strings.TrimLeft(rows[1][0], " ")[0]; strings.IndexByte("=+-@\t\r", c) >= 0 {
			t.Errorf("%q is calculated by a spreadsheet: %q", name, rows[1][0])
		}
		md := render1(t, &Record{Tables: []*Table{tab}}, Markdown)
		rowLine := strings.Split(md, "\n")[4]
		if n := strings.Count(rowLine, "|") - strings.Count(rowLine, `\|`); n != 3 {
			t.Errorf("%q: %d column borders in %q", name, n, rowLine)
		}
	}
}

// Markdown that does nothing is left alone, and what would do something is escaped.
func TestMarkdownEscapesOnlyWhatActs(t *testing.T) {
	for in, want := range map[string]string{
		"iommu_dma_map_phys": "iommu_dma_map_phys", "__iommu_map": "__iommu_map", "map [cyc]": "map [cyc]", "~+1.2": "~+1.2", "a - b": "a - b", "-": "-", "+-": "+-", "R&D": `R\&D`, "a & b": "a & b",
		"__b__": `\_\_b\_\_`, "_it_": `\_it\_`, "[x](y)": `[x\](y)`, "~~s~~": `\~\~s\~\~`, "# t": `\# t`, "- item": `\- item`, "a|b": `a\|b`, "<b>": `\<b>`, "&lt;": `\&lt;`, "\x1b[0m": `\\x1b[0m`,
	} {
		if got := escapeMarkdown(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// A field of a CSV file has no control character and no formula, and reading gives the text back.
func TestCSVTextRoundTrip(t *testing.T) {
	check := func(t interface{ Fatalf(string, ...any) }, s string) {
		f := csvText(s)
		if harmful(f) || formula(f) {
			t.Fatalf("%q became %q", s, f)
		}
		if got := csvValue(f); got != s {
			t.Fatalf("%q became %q and %q", s, f, got)
		}
	}
	for _, s := range append(hostile, "", "'", "''", "-", "-1.5", "+1e9", "1", `\x41`, `\q`, `\`) {
		check(t, s)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, rapid.String().Draw(t, "s")) })
}
