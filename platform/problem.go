package platform

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one thing wrong with a platform file or a setting. Line 0 means that it has no position.
type Problem struct {
	File      string
	Line, Col int
	Key       string // dotted; empty when it is about the file
	Text      string
	keys      []string // all values that contradict each other, Key among them; nil for other mistakes
}

func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	return b.String() + p.Text
}

// Problems is an error that lists everything that is wrong, one per line, in the order of the file.
type Problems []Problem

func (ps Problems) Error() string {
	var s []string
	for _, p := range ps {
		s = append(s, p.String())
	}
	return strings.Join(s, "\n")
}

// err returns ps sorted by position, or nil when there are none.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	sort.SliceStable(ps, func(i, j int) bool {
		a, b := ps[i], ps[j]
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
	return ps
}
