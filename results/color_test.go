package results

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var escape = regexp.MustCompile("\x1b\\[[0-9]*m")

// uncolored removes colours.
func uncolored(s string) string { return escape.ReplaceAllString(s, "") }

// Colour adds escape sequences and changes no character: what a reader without colours sees is what a pipe gets.
func TestColorAddsNothingElse(t *testing.T) {
	var plain, color bytes.Buffer
	r := example()
	if err := r.Write(&plain, ASCII); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(Colored{&color}, ASCII); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(color.String(), "\x1b[1m") {
		t.Errorf("plain or not coloured:\n%s", color.String())
	}
	if uncolored(color.String()) != plain.String() {
		t.Errorf("characters differ:\n%s\nwant\n%s", uncolored(color.String()), plain.String())
	}
	for _, f := range []Format{Markdown, CSV, JSON, Bench} { // formats for programs have none
		var b bytes.Buffer
		if err := r.Write(Colored{&b}, f); err != nil || strings.Contains(b.String(), "\x1b") {
			t.Errorf("%s is coloured, or fails: %v", f, err)
		}
	}
}

// The cells that have a tone are painted, all of their lines and nothing else of the row.
func TestTonesPaintTheirCells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z]{1,20}( [A-Z]{1,30}){0,3}`)
		tab := &Table{ID: "x", Columns: []Column{{Name: "row", Text: true}}}
		for range rapid.IntRange(1, 7).Draw(t, "columns") {
			tab.Columns = append(tab.Columns, Column{Name: word.Draw(t, "name"), Text: rapid.Bool().Draw(t, "left")})
		}
		var want []string
		for range rapid.IntRange(1, 4).Draw(t, "rows") {
			row := []any{Toned("key", Faint)}
			for range tab.Columns[1:] {
				c := Toned(word.Draw(t, "cell"), Tone(rapid.IntRange(int(Plain), int(Doubt)).Draw(t, "tone")))
				if c.Tone == Bad {
					want = append(want, breakText(c.Text, keyWidth)...)
				}
				row = append(row, c)
			}
			tab.Add(row...)
		}
		var plain, color bytes.Buffer
		if tab.Write(&plain, ASCII) != nil || tab.Write(Colored{&color}, ASCII) != nil {
			t.Fatal("it is not written")
		}
		if uncolored(color.String()) != plain.String() {
			t.Fatalf("characters differ:\n%s\nwant\n%s", uncolored(color.String()), plain.String())
		}
		have := map[string]int{}
		for _, f := range regexp.MustCompile("\x1b\\[31m([^\x1b]*)\x1b").FindAllStringSubmatch(color.String(), -1) {
			have[f[1]]++
		}
		for _, w := range want {
			have[w]--
		}
		for text, n := range have {
			if n != 0 {
				t.Fatalf("%q is painted %+d times too often:\n%s", text, n, color.String())
			}
		}
	})
}
