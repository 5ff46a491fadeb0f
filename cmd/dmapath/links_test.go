package main

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	link       = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading    = regexp.MustCompile(`^#{1,6} +(.*)$`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// prose is a Markdown text without its fenced blocks; the lines of blocks are empty.
func prose(text string) []string {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), "```") {
			fenced = !fenced
			lines[i] = ""
		} else if fenced {
			lines[i] = ""
		}
	}
	return lines
}

// anchors are the names of a text's headings, as GitHub makes them: lower case, without punctuation, blanks to hyphens, and numbered where one
// comes again.
func anchors(text string) map[string]bool {
	list := map[string]bool{}
	for _, l := range prose(text) {
		m := heading.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		title := strings.ReplaceAll(linkText.ReplaceAllString(m[1], "$1"), "`", "")
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		again := name
		for i := 1; list[again]; i++ {
			again = name + "-" + strconv.Itoa(i)
		}
		list[again] = true
	}
	return list
}

// markdown lists the Markdown files of the source tree.
func markdown(t *testing.T) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && name != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(name, ".md") {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Every relative link of every Markdown file leads to a file or folder that exists, and to a heading that it has; from docs/README.md every
// page of docs/ can be reached.
func TestLinks(t *testing.T) {
	to := map[string][]string{}
	n := 0
	for _, file := range markdown(t) {
		text := readPage(t, file)
		for i, l := range prose(text) {
			for _, m := range link.FindAllStringSubmatch(inlineCode.ReplaceAllString(l, ""), -1) {
				u, err := url.Parse(m[1])
				if err != nil {
					t.Errorf("%s:%d: %s: %v", file, i+1, m[1], err)
					continue
				}
				if u.IsAbs() {
					continue
				}
				n++
				target := file
				if u.Path != "" {
					target = path.Join(path.Dir(file), u.Path)
				}
				info, err := os.Stat(filepath.Join("../..", target))
				if err != nil {
					t.Errorf("%s:%d: %s does not exist", file, i+1, m[1])
					continue
				}
				to[file] = append(to[file], target)
				if u.Fragment != "" && (info.IsDir() || !anchors(readPage(t, target))[u.Fragment]) {
					t.Errorf("%s:%d: %s has no heading %q", file, i+1, target, u.Fragment)
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d links", n)
	}
	reached := map[string]bool{}
	for next := []string{"docs/README.md"}; len(next) > 0; next = next[1:] {
		if page := next[0]; !reached[page] {
			reached[page] = true
			next = append(next, to[page]...)
		}
	}
	for _, page := range append(written(t), "docs/commands.md") {
		if !reached[page] && page != "README.md" {
			t.Errorf("%s cannot be reached from docs/README.md", page)
		}
	}
}

func TestAnchors(t *testing.T) {
	list := anchors("# A map, file by file\n```\n# no heading\n```\n## `x` and [y](z)\n## What `a_b` is: 1.5\n## x\n## x\n")
	for _, name := range []string{"a-map-file-by-file", "x-and-y", "what-a_b-is-15", "x", "x-1"} {
		if !list[name] {
			t.Errorf("no %q in %v", name, list)
		}
	}
	if len(list) != 5 {
		t.Errorf("%v", list)
	}
}

// What a page shows of an output fits a terminal of 80 columns, but for errors and for the lines of the kernel's own tool.
func TestBlocksAreNarrow(t *testing.T) {
	for _, page := range written(t) {
		for _, b := range blocks(readPage(t, page)) {
			for i, l := range b.text {
				own := strings.HasPrefix(l, "$ ") || strings.HasPrefix(l, "dmapath: ") || strings.HasPrefix(l, "dma mapping benchmark")
				if b.language() == "console" && !own && len([]rune(l)) > 80 {
					t.Errorf("%s:%d: %d columns", page, b.line+i, len([]rune(l)))
				}
			}
		}
	}
}
