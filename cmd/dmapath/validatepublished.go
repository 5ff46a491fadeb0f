package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench/evidence"
	"dmapath/bench/published"
	"dmapath/platform"
)

func newValidatePublished() *cobra.Command {
	var o options
	var file string
	var only []string
	cmd := &cobra.Command{
		Use:   "published",
		Short: "measurements that others have published, repeated on the same machines",
		Long: `published repeats measurements of real machines on platforms that describe them, and prints predicted value,
published value, error, tolerance and verdict of each. Targets are data: --targets takes a file of your own in the
format of docs/formats.md, "Targets of validate published"; without it those of the program are run.

Values that nobody has verified, and values that parameters were fitted on, are shown and decide nothing. The exit
code is 1 when a row is outside its tolerance, 2 when a target asks for something that does not exist.

Examples:
  dmapath validate published
  dmapath validate published --only T2
  dmapath validate published --targets targets.yaml --format csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := o.checkOutput()
			if err != nil {
				return err
			}
			opt := published.Options{Only: only}
			command := "dmapath validate published"
			if file != "" {
				data, err := readInput(cmd, file)
				if err != nil {
					return fmt.Errorf("--targets: %w", err)
				}
				if opt.Targets, err = published.Parse(inputName(file), data); err != nil {
					return err
				}
				command += " --targets " + file
			} else if opt.Targets, err = published.Embedded(); err != nil {
				return failure{err}
			}
			if only != nil {
				command += " --only " + strings.Join(only, ",")
			}
			if opt.Targets, err = published.Select(opt.Targets, only); err != nil {
				return fmt.Errorf("--only: %w", err)
			}
			opt.Only = nil
			var rep *evidence.Report
			err = interruptible(cmd.Context(), func() (err error) {
				rep, err = published.Run(cmd.Context(), opt, o.jobs)
				return err
			})
			if ps := (platform.Problems)(nil); errors.As(err, &ps) {
				return err
			}
			if err != nil {
				return failure{err}
			}
			return o.showReport(cmd, rep, command)
		},
	}
	cmd.Flags().StringVar(&file, "targets", "", "file of targets (those of the program)")
	cmd.Flags().StringSliceVar(&only, "only", nil, "ids of targets, or what they begin with: T2 for T2-read-64 and the others (all)")
	cmd.Flags().StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "processors to use (0: all)")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}
