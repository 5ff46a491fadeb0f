package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A shown command is a command line as a document or a help text shows it.
type shown struct {
	page   string // file, or the command whose help it is
	line   int    // of the command, in the file; 0 in a help text
	text   string // the command without its remark
	remark string // what stands behind it
	output bool   // in a console block: what follows is what it prints
	slow   bool   // the block says that it takes long: its output is compared in a full run only
	want   []string
	first  int // line of want[0] in the file
}

// A sequence is what runs in one directory, one command after the other: a page, or one example of a help text.
type sequence struct {
	name  string
	files map[string]string // files that the page shows, ```yaml NAME
	shown []shown
}

// block is a fenced or indented block of a page.
type block struct {
	info []string // words behind the fence; nil: indented
	line int      // of its first line
	text []string
}

// blocks finds the code blocks of a Markdown text.
func blocks(text string) (found []block) {
	open := ""
	blank := true
	for i, l := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(l)
		switch fence := strings.HasPrefix(trimmed, "```"); {
		case open != "" && trimmed == open:
			open = ""
			blank = true
			continue
		case open == "" && fence:
			open = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
			found = append(found, block{info: append([]string{}, strings.Fields(strings.TrimLeft(trimmed, "`"))...), line: i + 2})
			continue
		}
		last := len(found) - 1
		switch indented := strings.HasPrefix(l, "    "); {
		case open != "":
			found[last].text = append(found[last].text, l)
		case indented && blank:
			found = append(found, block{line: i + 1, text: []string{trimmed}})
		case indented && last >= 0 && found[last].info == nil && found[last].line+len(found[last].text) == i+1:
			found[last].text = append(found[last].text, trimmed)
		}
		blank = trimmed == ""
	}
	return found
}

// language is the first word behind the fence.
func (b block) language() string {
	if len(b.info) == 0 {
		return ""
	}
	return b.info[0]
}

// cutRemark divides a line into command and remark at the first of the separators that stands in no quotes.
func cutRemark(l string, separators ...string) (command, remark string) {
	quote := byte(0)
	for i := range len(l) {
		switch c := l[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		default:
			for _, s := range separators {
				if strings.HasPrefix(l[i:], s) {
					return strings.TrimSpace(l[:i]), strings.TrimSpace(l[i:])
				}
			}
		}
	}
	return strings.TrimSpace(l), ""
}

// commandsOf lists the command lines of a block: each line of a shell block, each "$ " of a console block, and what calls this program in
// the others.
func (b block) commandsOf(page string) (list []shown) {
	lang := b.language()
	console, shell := lang == "console", lang == "sh"
	for i := 0; i < len(b.text); i++ {
		l := strings.TrimSpace(b.text[i])
		s := shown{page: page, line: b.line + i}
		switch {
		case console && strings.HasPrefix(l, "$ "):
			l = l[len("$ "):]
			s.output, s.slow = true, len(b.info) > 1 && b.info[1] == "slow"
		case console:
			last := &list[len(list)-1] // a console block begins with a command
			last.want = append(last.want, strings.TrimRight(b.text[i], " "))
			continue
		case l == "" || strings.HasPrefix(l, "#"):
			continue
		case shell, strings.HasPrefix(l, "dmapath "), strings.HasPrefix(l, "go run ./cmd/dmapath "):
		default:
			continue
		}
		for strings.HasSuffix(l, "\\") && i+1 < len(b.text) {
			i++
			l = strings.TrimSuffix(l, "\\") + strings.TrimSpace(b.text[i])
		}
		if console || shell {
			s.text, s.remark = cutRemark(l, " #")
		} else {
			s.text, s.remark = cutRemark(l, "  ", " #")
		}
		s.first = b.line + i + 1
		list = append(list, s)
	}
	return list
}

// written are the pages that people write: the README and docs/, without what is generated.
func written(t *testing.T) (pages []string) {
	t.Helper()
	pages = append(pages, "README.md")
	err := filepath.WalkDir("../../docs", func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") && filepath.Base(path) != "commands.md" {
			pages = append(pages, filepath.ToSlash(path[len("../../"):]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../..", page))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// documents lists every command that is shown: page by page, and each example of a help text for itself.
func documents(t *testing.T) (all []sequence) {
	t.Helper()
	for _, page := range written(t) {
		s := sequence{name: page, files: map[string]string{}}
		for _, b := range blocks(readPage(t, page)) {
			if len(b.info) > 1 && strings.Contains(b.info[1], ".") && b.language() == "go" {
				if name := b.info[1]; strings.TrimSpace(readPage(t, name)) != strings.Join(b.text, "\n") {
					t.Errorf("%s:%d: this is not %s", page, b.line, name)
				}
			} else if len(b.info) > 1 && strings.Contains(b.info[1], ".") {
				s.files[b.info[1]] = strings.Join(b.text, "\n") + "\n"
			}
			if b.language() == "console" && (len(b.text) == 0 || !strings.HasPrefix(strings.TrimSpace(b.text[0]), "$ ")) {
				t.Errorf("%s:%d: a console block begins with $ and a command", page, b.line)
				continue
			}
			s.shown = append(s.shown, b.commandsOf(page)...)
		}
		all = append(all, s)
	}
	for _, c := range everyCommand(newRoot()) {
		for _, l := range examples(c.Long) {
			s := shown{page: c.CommandPath() + " --help"}
			s.text, s.remark = cutRemark(l, "  ", " #")
			all = append(all, sequence{name: s.page + ": " + s.text, shown: []shown{s}})
		}
	}
	return all
}

// examples are the lines below "Examples:" up to an empty one.
func examples(help string) (lines []string) {
	_, text, _ := strings.Cut(help, "Examples:\n")
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) == "" {
			break
		}
		lines = append(lines, strings.TrimSpace(l))
	}
	return lines
}

func everyCommand(c *cobra.Command) (list []*cobra.Command) {
	list = append(list, c)
	for _, sub := range c.Commands() {
		list = append(list, everyCommand(sub)...)
	}
	return list
}

// form says that a line is the form of a command, not one: it has optional parts.
func form(text string) bool { return strings.Contains(text, "...") || strings.Contains(text, "[") }

// placeholder matches a word that stands for something else, where it is an argument.
var placeholder = regexp.MustCompile(`[ =](FILE|DIR|NAME|OUT|N|VARIANT|A|B)\b`)

// invocation matches a call of this program at the beginning of a simple command.
var invocation = regexp.MustCompile(`(?:^|[|;&(] *)((?:[A-Z_]+=\S+ +)*)(?:go run \./cmd/)?dmapath( [^|;&<>]*|$)`)

// checkLine parses a command line as the program would, without running it.
func checkLine(words []string) error {
	cmd, args, err := newRoot().Find(words)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// words divides a simple command into words as a shell would, without expanding anything.
func words(line string) (list []string) {
	for line = strings.TrimSpace(line); line != ""; {
		var word string
		word, line = cutRemark(line, " ")
		list = append(list, strings.NewReplacer(`"`, "", `'`, "").Replace(word))
	}
	return list
}

// Every command that the documents and the help texts show exists and takes the flags shown, also where TestDocumentedCommands does not run it.
func TestDocumentedCommandsParse(t *testing.T) {
	n := 0
	for _, s := range documents(t) {
		for _, c := range s.shown {
			for _, m := range invocation.FindAllStringSubmatch(strings.ReplaceAll(c.text, "2>", ">"), -1) {
				n++
				if form(c.text) {
					continue
				}
				if placeholder.MatchString(m[2]) {
					t.Errorf("%s:%d: %s: a placeholder; name a file that exists or is made on the page", c.page, c.line, c.text)
				}
				if err := checkLine(words(m[2])); err != nil {
					t.Errorf("%s:%d: %s: %v", c.page, c.line, c.text, err)
				}
			}
		}
	}
	for _, s := range documents(t) {
		for _, c := range s.shown {
			if slices.Contains(c.want, "_") {
				t.Errorf("%s:%d: _ stands for a line that -update has not written yet; a slow block needs .ci/docs -update", c.page, c.line)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d commands are documented", n)
	}
	for _, c := range everyCommand(newRoot()) {
		if len(c.Long) > 0 && len(examples(c.Long)) == 0 {
			t.Errorf("the help of %s has no examples", c.CommandPath())
		}
	}
}
