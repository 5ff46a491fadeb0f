package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"dmapath/results"
)

func newMan() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "man --out DIR",
		Short: "manual pages of all commands",
		Long: `man writes a manual page for every command into a directory.

Examples:
  dmapath man --out man1
  MANPATH=$PWD man dmapath-compare          when the directory is called man1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return fmt.Errorf("--out is missing: name the directory to write")
			}
			if err := os.MkdirAll(out, 0o755); err != nil {
				return err
			}
			return eachCommand(cmd.Root(), func(c *cobra.Command) error {
				var b bytes.Buffer
				// The generator reads Markdown, and sets what it calls an example as it is.
				text, examples, _ := strings.Cut(c.Long, "Examples:\n")
				c.Long, c.Example = strings.NewReplacer("*", "\\*", "_", "\\_").Replace(text), examples
				// No date: the same program writes the same pages.
				head := &doc.GenManHeader{Title: strings.ToUpper(strings.ReplaceAll(c.CommandPath(), " ", "-")), Section: "1", Source: "dmapath"}
				if err := doc.GenMan(c, head, &b); err != nil {
					return failure{err}
				}
				name := filepath.Join(out, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
				err := results.WriteFile(name, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err })
				if err != nil {
					return failure{err}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory to write")
	return cmd
}

// eachCommand visits a command and those below it, hidden ones left out, in the order of their names.
func eachCommand(c *cobra.Command, visit func(*cobra.Command) error) error {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return nil
	}
	c.DisableAutoGenTag = true
	if err := visit(c); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if err := eachCommand(sub, visit); err != nil {
			return err
		}
	}
	return nil
}

// writeReference writes docs/commands.md: every command with its help and its flags.
func writeReference(w io.Writer, root *cobra.Command) error {
	var b bytes.Buffer
	b.WriteString("# Commands\n\nWritten from the program itself (`go test ./cmd/dmapath -run Reference -update`). Exit codes: 0 success; 1 the run failed or a check did\n" +
		"not hold; 2 usage or configuration error; 3 some points of a sweep failed; 130 interrupted (SIGINT), 143 terminated (SIGTERM).\n")
	err := eachCommand(root, func(c *cobra.Command) error {
		if !c.Runnable() {
			return nil
		}
		fmt.Fprintf(&b, "\n## %s\n\n```\n%s\n\n%s", c.CommandPath(), strings.TrimSpace(c.Long+"\n\nUsage:\n  "+c.UseLine()), "")
		if flags := strings.TrimRight(c.LocalFlags().FlagUsagesWrapped(110), "\n"); flags != "" {
			fmt.Fprintf(&b, "Flags:\n%s\n", flags)
		}
		b.WriteString("```\n")
		return nil
	})
	if err != nil {
		return err
	}
	_, err = w.Write(b.Bytes())
	return err
}
