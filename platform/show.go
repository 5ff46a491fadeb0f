package platform

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// showWidth is the widest line of Show and WriteKeys.
const showWidth = 80

// showValue is the longest value that shares its line with confidence and source in Show.
const showValue = 18

// Show writes the platform as text of at most 80 columns: every value with its confidence and source, then the sources that
// "@name" stands for, the notes, and how much of it is guessed.
func (s *Spec) Show(w io.Writer) error {
	var b bytes.Buffer
	fill(&b, "", s.Name+": "+s.Title, showWidth)
	if s.Extends != "" {
		fmt.Fprintf(&b, "extends %s\n", s.Extends)
	}
	fmt.Fprintf(&b, "hash %s\n", s.Hash()[:16])
	for _, sec := range theSchema().root.children {
		fmt.Fprintf(&b, "\n%s\n", sec.name)
		wk, wv := 0, 0
		sec.leaves(func(f *field) {
			wk = max(wk, len(f.key)-len(sec.name)-1)
			if n := len(f.text(s)); n <= showValue {
				wv = max(wv, n)
			}
		})
		sec.leaves(func(f *field) {
			pv := s.prov[f.key]
			src := pv.Source
			switch {
			case pv.File == "--set" && src != "--set":
				src += " (--set)"
			case pv.File != "--set" && src == noSource:
				src = fmt.Sprintf("%s (%s:%d)", noSource, pv.File, pv.Line)
			}
			if r, ok := s.Range(f.key); ok {
				if r.Source != "" {
					src += "; range: " + r.Source
				}
				src = "[" + r.String() + "] " + src
			}
			key := strings.TrimPrefix(f.key, sec.name+".")
			value := f.text(s)
			if len(value) > showValue {
				fill(&b, fmt.Sprintf("  %-*s  ", wk, key), value, showWidth)
				key, value = "", ""
			}
			fill(&b, fmt.Sprintf("  %-*s  %-*s  %-9s  ", wk, key, wv, value, pv.Confidence), src, showWidth)
		})
	}
	if len(s.sources) > 0 {
		b.WriteString("\nsources\n")
		for _, k := range sortedKeys(s.sources) {
			fill(&b, fmt.Sprintf("  %-14s ", "@"+k), s.sources[k], showWidth)
		}
	}
	if len(s.notes) > 0 {
		b.WriteString("\nnotes\n")
		for _, n := range s.notes {
			fill(&b, "  - ", n, showWidth)
		}
	}
	fmt.Fprintf(&b, "\n%d of %d values are guesses.\n", len(s.Guesses()), len(theSchema().fields))
	fill(&b, "", fmt.Sprintf("%d values have a plausible range, in brackets, which compare --uncertainty varies. %s", len(s.Uncertain()), UncertaintyRule), showWidth)
	_, err := w.Write(b.Bytes())
	return err
}

// WriteKeys writes every key with what it means and what it may be, at most 80 columns.
func WriteKeys(w io.Writer) error {
	var b bytes.Buffer
	for _, f := range theSchema().fields {
		fmt.Fprintf(&b, "%s\n", f.key)
		fill(&b, "    ", f.doc+"; "+f.allowed(), showWidth)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// fill writes text in lines of at most width columns, the first after head and the others indented as far. A word that is longer
// than a line is cut.
func fill(b *bytes.Buffer, head, text string, width int) {
	indent := strings.Repeat(" ", len([]rune(head)))
	room := width - len(indent)
	line := ""
	flush := func() {
		b.WriteString(strings.TrimRight(head+line, " "))
		b.WriteByte('\n')
		head, line = indent, ""
	}
	for _, word := range strings.Fields(text) {
		for {
			have := len([]rune(line))
			if have > 0 {
				have++
			}
			r := []rune(word)
			if have+len(r) <= room {
				break
			}
			if line != "" {
				flush()
				continue
			}
			line = string(r[:room])
			word = string(r[room:])
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
}
