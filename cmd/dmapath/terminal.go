package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dmapath/results"
)

// colorWords are what --color takes.
var colorWords = []string{"auto", "always", "never"}

// wantsColor says whether standard output gets colour: always, never, or with auto on a terminal that has it, unless NO_COLOR is set and
// not empty (no-color.org).
func wantsColor(word string, out io.Writer, env func(string) string) (bool, error) {
	switch word {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		f, ok := out.(*os.File)
		return ok && term.IsTerminal(int(f.Fd())) && env("NO_COLOR") == "" && env("TERM") != "dumb", nil
	}
	return false, fmt.Errorf("--color is %q: allowed are %s", word, strings.Join(colorWords, ", "))
}

// everywhere adds the flags that belong to many commands: --color to all, --json to those that have --format.
func everywhere(root *cobra.Command) {
	color := root.PersistentFlags().String("color", "auto", "auto (on a terminal, unless NO_COLOR is set), always or never: colour in tables for reading")
	complete(root, "color", colorWords)
	var asJSON bool
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Flags().Lookup("format") != nil {
			c.Flags().BoolVar(&asJSON, "json", false, "the same as --format json")
		}
		completeEverywhere(c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		f := cmd.Flags()
		if format := f.Lookup("format"); format != nil && asJSON {
			if format.Changed && format.Value.String() != string(results.JSON) {
				return fmt.Errorf("--json and --format %s contradict each other", format.Value)
			}
			if err := f.Set("format", string(results.JSON)); err != nil {
				return err
			}
		}
		on, err := wantsColor(*color, cmd.OutOrStdout(), os.Getenv)
		if err != nil {
			return err
		}
		if on {
			cmd.Root().SetOut(results.Colored{Writer: cmd.OutOrStdout()})
		}
		return checkStdio(cmd, args)
	}
}

// jsonFlag adds --json to a command that has no --format.
func jsonFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "json", false, "print JSON")
}

// writeJSON prints what a command without --format found.
func writeJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		return failure{err}
	}
	return nil
}
