package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"dmapath/results/page"
)

func newReport() *cobra.Command {
	var out string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "one self-contained HTML page from a directory of results",
		Long: `report reads the results documents of a directory and writes one HTML page: which call is cheaper and by how much,
where its cycles go, how its cost is distributed, where it breaks, every table, and how to repeat the run. The page
works from disk and offline; it loads nothing.

Read are the .json files that --out and --format json write (of any command), and the results.csv of a sweep. Files
that a manifest.yaml names must have the size and digest that it says.

Examples:
  dmapath report dmapath-out                        writes dmapath-out/report.html
  dmapath report dmapath-out --out page.html
  dmapath compare --out study && dmapath hazards --format json > study/hazards.json && dmapath report study`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := page.Read(args[0])
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := d.Write(&b); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if out == "" {
				out = filepath.Join(args[0], "report.html")
			}
			if err := writeOutput(cmd, out, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err }); err != nil {
				return failure{err}
			}
			if !quiet && out != stdioName {
				fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", out)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the page, - for standard output (report.html in DIR)")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "do not say what was written")
	return cmd
}
