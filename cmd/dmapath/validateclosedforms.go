package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dmapath/bench/closedforms"
	"dmapath/bench/evidence"
)

func newValidateClosedForms() *cobra.Command {
	var o options
	var c closedforms.Options
	cmd := &cobra.Command{
		Use:   "closed-forms",
		Short: "queues, walks, pipelines, link and caches against formulas",
		Long: `closed-forms holds parts of the machine, and whole runs, against formulas that need no simulator: waiting times of
M/D/1 and M/M/c queues, Little's law of every queue, walks of an idle IOMMU (levels x memory latency, and
(n+1)(m+1)-1 reads with two stages), rates of pipelines (walkers / walk time, tags / round trip, ports), PCIe
goodput by the model of pcie-bench, hit rates of LRU by Che's approximation, TLB reach, the cliff of a cache.

Exact formulas are held exactly, random traffic within a 99.9 % confidence interval of the simulated mean.

The exit code is 1 when a row is outside its tolerance.

Examples:
  dmapath validate closed-forms
  dmapath validate closed-forms --seed 7 --format csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOutput(); err != nil {
				return err
			}
			var report *evidence.Report
			err := interruptible(cmd.Context(), func() (err error) {
				report, err = closedforms.Run(cmd.Context(), c, o.jobs)
				return err
			})
			if err != nil {
				return failure{err}
			}
			return o.showReport(cmd, report, fmt.Sprintf("dmapath validate closed-forms --seed %d", c.Seed))
		},
	}
	cmd.Flags().Uint64Var(&c.Seed, "seed", 1, "seed of random traffic")
	cmd.Flags().StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "processors to use (0: all)")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}
