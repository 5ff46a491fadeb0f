package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dmapath/bench/evidence"
	"dmapath/bench/host"
	"dmapath/platform"
)

func newValidateHost() *cobra.Command {
	var o options
	var h host.Options
	cmd := &cobra.Command{
		Use:   "host",
		Short: "this very machine: lookups run natively and on its model",
		Long: `host measures this machine (see dmapath platform calibrate), or takes --platform FILE from an earlier calibration,
and runs twins of kernel lookups natively and on the simulated core: pfn_valid over section tables of 16 GiB to 4 TiB,
page_to_phys, memblock_search, a four-level table insert, a pop and a push of an IOVA magazine; hot, warm and cold. Both
sides execute the same instructions on the same data. Calibration and twins share no measurement. Each twin is to be
within 20 %.

Where the machine is too noisy to judge, because neighbours use the caches or the memory, the clock drifts or the
processor is taken away, rows are skipped with the reason. Systems other than Linux on amd64 or arm64 skip everything.
Results differ by machine and hour and are no part of dmapath validate.

The exit code is 1 when a row is outside its tolerance.

Examples:
  dmapath validate host
  dmapath platform calibrate --out host.yaml && dmapath validate host --platform host.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := o.checkOutput()
			if err != nil {
				return err
			}
			command := "dmapath validate host"
			if h.Platform != "" {
				if _, err := platform.Load(h.Platform); err != nil {
					return fmt.Errorf("--platform: %w", err)
				}
				command += " --platform " + h.Platform
			}
			if h.Base != "" {
				if _, err := host.LoadBase(h.Base); err != nil {
					return fmt.Errorf("--base: %w", err)
				}
				command += " --base " + h.Base
			}
			h.Progress = o.progress(cmd.ErrOrStderr())
			var report *evidence.Report
			err = interruptible(cmd.Context(), func() (err error) {
				report, err = host.Run(cmd.Context(), h, o.jobs)
				return err
			})
			if err != nil {
				return failure{err}
			}
			return o.showReport(cmd, report, command)
		},
	}
	cmd.Flags().StringVar(&h.Platform, "platform", "", "platform file of this machine; without it the machine is calibrated first")
	cmd.Flags().StringVar(&h.Base, "base", "", "preset that the calibration extends (the nearest)")
	cmd.Flags().StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "processors to use for simulations (0: all); native runs are alone")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "no progress on standard error")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	complete(cmd, "base", platform.Names())
	return cmd
}
