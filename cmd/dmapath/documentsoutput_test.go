package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// elided stands in a document for any number of lines.
const elided = "..."

// outputLines divides an output into lines without trailing blanks, and without empty lines at the end.
func outputLines(s string) []string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// passages divides what a document shows at the lines that stand for others.
func passages(want []string) (list [][]string) {
	list = [][]string{{}}
	for _, l := range want {
		if strings.TrimSpace(l) == elided {
			list = append(list, []string{})
		} else {
			list[len(list)-1] = append(list[len(list)-1], l)
		}
	}
	return list
}

// matches says whether an output is the one shown: the first passage begins it, the last ends it, the others follow in order.
func matches(want, got []string) error {
	list := passages(want)
	at := 0
	for i, p := range list {
		last := i == len(list)-1
		switch {
		case i == 0:
			if len(got) < len(p) || !slices.Equal(got[:len(p)], p) {
				return difference(p, got[:min(len(p), len(got))])
			}
			at = len(p)
			if last && at != len(got) {
				return fmt.Errorf("prints more than is shown: %q", got[at])
			}
		case last:
			from := len(got) - len(p)
			if from < at || !slices.Equal(got[from:], p) {
				return difference(p, got[max(from, at):])
			}
		default:
			from := at
			for from+len(p) <= len(got) && !slices.Equal(got[from:from+len(p)], p) {
				from++
			}
			if from+len(p) > len(got) {
				return fmt.Errorf("does not print the passage that begins with %q", p[0])
			}
			at = from + len(p)
		}
	}
	return nil
}

func difference(want, got []string) error {
	for i, l := range want {
		if i >= len(got) {
			return fmt.Errorf("does not print %q", l)
		}
		if got[i] != l {
			return fmt.Errorf("shown is  %q\nprinted is %q", l, got[i])
		}
	}
	return fmt.Errorf("prints something else")
}

var numbers = regexp.MustCompile(`[-+~]?\d[\d.,]*|-+| +`)

// shape is a line without its numbers, by which a passage is found again after they changed.
func shape(l string) string { return numbers.ReplaceAllString(strings.TrimSpace(l), "#") }

// rewrite makes of an output what a document shows of it: passages of the same lengths, each found by its first line, numbers aside. A
// document that shows "?" gets all of it.
func rewrite(want, got []string) ([]string, error) {
	if len(want) == 1 && strings.TrimSpace(want[0]) == "?" {
		return got, nil
	}
	var out []string
	at := 0
	list := passages(want)
	for i, p := range list {
		if i > 0 {
			out = append(out, elided)
		}
		anchor := slices.IndexFunc(p, func(l string) bool { return l != "" })
		switch {
		case len(p) == 0:
			continue
		case len(list) == 1:
			return got, nil
		case anchor < 0:
			return nil, fmt.Errorf("a passage of empty lines")
		case i == 0:
			at = 0
		case i == len(list)-1:
			at = max(at, len(got)-len(p))
		default:
			from := at
			for from < len(got) && shape(got[from]) != shape(p[anchor]) {
				from++
			}
			at = max(at, from-anchor)
		}
		if at+len(p) > len(got) || i > 0 && shape(got[at+anchor]) != shape(p[anchor]) {
			return nil, fmt.Errorf("finds no line like %q; edit the page by hand", p[anchor])
		}
		out = append(out, got[at:at+len(p)]...)
		at += len(p)
	}
	return out, nil
}

// applyEdits replaces lines of a page, from its end to its beginning.
func applyEdits(page string, edits []edit) string {
	lines := strings.Split(page, "\n")
	slices.SortFunc(edits, func(a, b edit) int { return b.first - a.first })
	for _, e := range edits {
		lines = slices.Replace(lines, e.first-1, e.first-1+e.n, e.with...)
	}
	return strings.Join(lines, "\n")
}

func TestShownOutput(t *testing.T) {
	got := []string{"title", "", "name  n", "-------", "a     1", "b     2", "sum   3", "", "note"}
	for name, c := range map[string]struct {
		want []string
		ok   bool
	}{
		"all of it":              {got, true},
		"a beginning":            {[]string{"title", "..."}, true},
		"a beginning as a whole": {[]string{"title"}, false},
		"an end":                 {[]string{"...", "note"}, true},
		"not the end":            {[]string{"...", "sum   3"}, false},
		"the middle":             {[]string{"...", "a     1", "...", "sum   3", "..."}, true},
		"another order":          {[]string{"...", "sum   3", "...", "a     1", "..."}, false},
		"another number":         {[]string{"...", "a     7", "..."}, false},
		"a line twice":           {[]string{"title", "...", "title", "..."}, false},
		"begins elsewhere":       {[]string{"name  n", "..."}, false},
		"nothing":                {nil, false},
	} {
		if err := matches(c.want, got); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Rewritten, a page shows the same passages with other numbers.
	was := []string{"title", "...", "a     7", "...", "sum   9", "", "note"}
	want := []string{"title", "...", "a     1", "...", "sum   3", "", "note"}
	now, err := rewrite(was, got)
	if err != nil || !slices.Equal(now, want) {
		t.Errorf("%q, %v", now, err)
	}
	if _, err := rewrite([]string{"...", "c     7", "..."}, got); err == nil {
		t.Error("a passage that is gone was found")
	}
	if page := applyEdits("x\ny\nz\n", []edit{{1, 1, []string{"a", "b"}}, {3, 1, nil}}); page != "a\nb\ny\n" {
		t.Errorf("%q", page)
	}
}
