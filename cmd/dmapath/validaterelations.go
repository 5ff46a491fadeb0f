package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dmapath/bench/evidence"
	"dmapath/bench/relations"
)

func newValidateRelations() *cobra.Command {
	var o options
	var r relations.Options
	cmd := &cobra.Command{
		Use:   "relations",
		Short: "determinism, conservation and metamorphic relations on random configurations",
		Long: `relations draws configurations at random (preset, backend, workload, call, values changed within their allowed
ranges) and checks on each what must be true of every run: the same case has the same outcome, alone and beside
others; what is counted in two places is the same number, and nothing is left over at the end; and a second run that
differs in one respect, such as a longer link, slower DRAM, a larger IOTLB or a key that nothing uses, compares with
the first as it must. Relations that hold on average only say so, with their margin.

A case that fails is made smaller as long as it fails, and printed with the command that repeats it. Trial N of a
seed is the same alone (--first N --configs 1) and among others.

The exit code is 1 when a statement did not hold.

Examples:
  dmapath validate relations
  dmapath validate relations --configs 200 --seed 7
  dmapath validate relations --seed 7 --first 1234 --configs 1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOutput(); err != nil {
				return err
			}
			if err := r.Validate(); err != nil {
				return fmt.Errorf("--%w", err)
			}
			if p := o.progress(cmd.ErrOrStderr()); p != nil {
				r.Progress = func(done, total int) { p(done, total, "configurations") }
			}
			var report *evidence.Report
			err := interruptible(cmd.Context(), func() (err error) {
				report, _, err = relations.Run(cmd.Context(), r, o.jobs)
				return err
			})
			if err != nil {
				return failure{err}
			}
			return o.showReport(cmd, report, fmt.Sprintf("dmapath validate relations --configs %d --first %d --seed %d", r.Configs, r.First, r.Seed))
		},
	}
	cmd.Flags().IntVar(&r.Configs, "configs", 100, "how many configurations")
	cmd.Flags().IntVar(&r.First, "first", 0, "number of the first")
	cmd.Flags().Uint64Var(&r.Seed, "seed", 1, "seed of all configurations")
	cmd.Flags().StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "processors to use (0: all)")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "no progress on standard error")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}
