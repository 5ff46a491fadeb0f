package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench/debate"
	"dmapath/bench/sensitivity"
)

func newDebate() *cobra.Command {
	var o options
	x := debate.Options{}
	cmd := &cobra.Command{
		Use:   "debate",
		Short: "the answer to the debate about dma_map_phys(): everything it needs is run and written as one page",
		Long: `debate runs what the question needs (four platforms, memory models, backends, cache states, whole drivers, the
hazards of the calls, and everything uncertain varied) and writes a page of text, tables and plots that states what
the runs say. Nothing on it is typed in: a statement that stops being true changes by itself.

It takes a few minutes. The same options give the same bytes.

Examples:
  dmapath debate
  dmapath debate --out results/debate.md`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkJobs(); err != nil {
				return err
			}
			switch {
			case o.out != stdioName && !strings.HasSuffix(o.out, ".md") || filepath.Base(o.out) == ".md":
				return fmt.Errorf("--out is %q: the page is Markdown, want a name that ends in .md", o.out)
			case x.Operations < 128:
				return fmt.Errorf("--operations is %d: want 128 or more", x.Operations)
			case x.Samples < sensitivity.FewestSamples || x.Samples > sensitivity.MostSamples:
				return fmt.Errorf("--samples is %d: allowed are %d to %d", x.Samples, sensitivity.FewestSamples, sensitivity.MostSamples)
			}
			x.Jobs, x.Seed = o.jobs, o.seed
			var d *debate.Debate
			err := interruptible(cmd.Context(), func() (err error) {
				d, err = debate.Run(cmd.Context(), x, o.progress(cmd.ErrOrStderr()))
				return err
			})
			if err != nil {
				return failure{err}
			}
			if o.out == stdioName {
				if err := writeOutput(cmd, stdioName, d.WritePage); err != nil {
					return failure{err}
				}
				return nil
			}
			if err := d.Write(filepath.Clean(o.out)); err != nil {
				return failure{err}
			}
			if !o.quiet {
				_, err = fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", filepath.Clean(o.out))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "debate.md", "the page; its plots go to the folder of the same name without .md; - is standard output, without plots")
	f.Uint64Var(&o.seed, "seed", 1, "seed of every random stream")
	f.Int64Var(&x.Operations, "operations", debate.DefaultOperations, "I/Os per run")
	f.IntVar(&x.Samples, "samples", debate.DefaultSamples, "machines drawn from the plausible values of the first platform; the others get half")
	f.IntVar(&o.jobs, "jobs", 0, "runs at a time (one per CPU); the page does not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line")
	return cmd
}
