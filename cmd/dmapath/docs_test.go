package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// documented lists the command lines of this program in a text: lines that begin with dmapath, or with go run and its package, outside
// of prose. A comment behind two spaces and #, and everything behind a pipe or another command, is cut off.
func documented(text string) (lines []string) {
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		l = strings.TrimPrefix(l, "go run ./cmd/")
		if !strings.HasPrefix(l, "dmapath ") {
			continue
		}
		for _, end := range []string{"  ", " #", " | ", " && ", " >", " || ", "; "} {
			l, _, _ = strings.Cut(l, end)
		}
		lines = append(lines, l)
	}
	return lines
}

// checkLine parses a command line as the program would, without running it.
func checkLine(line string) error {
	root := newRoot()
	cmd, args, err := root.Find(strings.Fields(line)[1:])
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// Every command that the documents and the help texts show exists and takes the flags shown.
func TestDocumentedCommands(t *testing.T) {
	texts := map[string]string{}
	for _, pattern := range []string{"../../README.md", "../../docs/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if filepath.Base(f) == "commands.md" {
				continue // the help texts, which are walked below
			}
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			// Fenced and indented blocks; the prose around them is not a command.
			var b strings.Builder
			fence := false
			for l := range strings.Lines(string(data)) {
				if strings.HasPrefix(strings.TrimSpace(l), "```") {
					fence = !fence
				} else if fence || strings.HasPrefix(l, "    ") {
					b.WriteString(l)
				}
			}
			texts[filepath.Base(f)] = b.String()
		}
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		texts["help of "+c.CommandPath()] = c.Long[max(strings.Index(c.Long, "Examples:"), 0):]
		if len(c.Long) > 0 && !strings.Contains(c.Long, "Examples:") {
			t.Errorf("the help of %s has no examples", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	n := 0
	for where, text := range texts {
		for _, line := range documented(text) {
			n++
			if strings.Contains(line, "...") || strings.Contains(line, "[") {
				continue // the form of a command, not one
			}
			if err := checkLine(line); err != nil {
				t.Errorf("%s: %s: %v", where, line, err)
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d commands are documented", n)
	}
}

var update = flag.Bool("update", false, "rewrite docs/commands.md")

// docs/commands.md is what the program says of itself.
func TestReference(t *testing.T) {
	var b bytes.Buffer
	if err := writeReference(&b, newRoot()); err != nil {
		t.Fatal(err)
	}
	const name = "../../docs/commands.md"
	if *update {
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Error("docs/commands.md is out of date: go test ./cmd/dmapath -run Reference -update")
	}
}
