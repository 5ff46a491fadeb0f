package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/bench/behaviour"
	"dmapath/bench/evidence"
	"dmapath/bench/reference"
	"dmapath/bench/sensitivity"
	"dmapath/bench/validation"
	"dmapath/kernel"
	"dmapath/results"
)

func newValidate() *cobra.Command {
	var o options
	var only []string
	var elasticities bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "the model against references: every check there is",
		Long: `validate runs every check that needs no files and no particular machine, and prints predicted, reference, error,
tolerance and verdict for each row. A miss stays in the table. It also names the parameters on which the results depend most
(elasticities), and those among them that are guesses. It takes some minutes. With --out the same goes into a directory as a page
(validation.md), rows.csv and validation.json. The subcommands run one check each, with other references too.

The exit code is 1 when a row is outside its tolerance.

Examples:
  dmapath validate
  dmapath validate --out validation
  dmapath validate --only kernel-traces,behaviours
  dmapath validate kernel-traces --dir kernel-traces   other recordings
  dmapath validate host                             this machine; never part of validate, because it differs by machine`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.validate(cmd, only, elasticities && (len(only) == 0 || cmd.Flags().Changed("elasticities")))
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&only, "only", nil, "checks to run: "+strings.Join(checkNames(), ", ")+" (all)")
	f.BoolVar(&elasticities, "elasticities", true, "say which parameters the results depend on most, and which of them are guesses; not with --only unless it is given")
	f.StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	f.StringVar(&o.out, "out", "", "directory for the page, CSV, JSON and manifest")
	f.IntVar(&o.jobs, "jobs", 0, "processors to use (0: all); the results do not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line")
	complete(cmd, "only", checkNames())
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	cmd.AddCommand(newValidateKernelTraces(), newValidateBehaviours())
	cmd.AddCommand(newValidateCachegrind(), newValidateEventTraces())
	cmd.AddCommand(newValidateHost())
	cmd.AddCommand(newValidatePublished())
	cmd.AddCommand(newValidateRelations(), newValidateClosedForms())
	return cmd
}

func checkNames() (names []string) {
	for _, c := range validation.Checks() {
		names = append(names, c.Name)
	}
	return names
}

func (o *options) validate(cmd *cobra.Command, only []string, elasticities bool) error {
	if err := o.checkOutput(); err != nil {
		return err
	}
	list := validation.Checks()
	if len(only) > 0 {
		list = nil
		for _, name := range only {
			c, ok := validation.Find(name)
			if !ok {
				return fmt.Errorf("--only: there is no check %q: allowed are %s%s", name, strings.Join(checkNames(), ", "), kernel.DidYouMean(name, checkNames()))
			}
			list = append(list, c)
		}
	}
	dir, err := o.outputDir()
	if err != nil {
		return err
	}
	defer dir.Abort()
	var reports []*evidence.Report
	err = interruptible(cmd.Context(), func() (err error) {
		reports, err = validation.Run(cmd.Context(), list, o.jobs, o.progress(cmd.ErrOrStderr()))
		return err
	})
	if err != nil {
		return failure{err}
	}
	var extra []*results.Table
	if elasticities {
		err := interruptible(cmd.Context(), func() (err error) {
			extra, err = sensitivity.Survey(cmd.Context(), o.jobs, o.progress(cmd.ErrOrStderr()))
			return err
		})
		if err != nil {
			return failure{err}
		}
	}
	if dir != nil {
		if err := validation.Write(dir, reports, extra, validation.Manifest(list)); err != nil {
			return failure{err}
		}
	}
	r := validation.Record(reports, validation.PageRows)
	r.Tables = slices.Insert(r.Tables, 1, extra...)
	r.Version, r.Command = results.Version(), "dmapath validate"
	if err := o.emit(cmd.OutOrStdout(), r); err != nil {
		return failure{err}
	}
	if miss, of := validation.Misses(reports); miss > 0 {
		return failure{fmt.Errorf("%d of %d rows are outside their tolerance", miss, of)}
	}
	return nil
}

// checkOutput refuses a --format or a --jobs that does not exist.
func (o *options) checkOutput() error {
	if _, err := results.ParseFormat(o.format); err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	return o.checkJobs()
}

// showReport prints what a check found; a row outside its tolerance is a failure.
func (o *options) showReport(cmd *cobra.Command, r *evidence.Report, command string) error {
	rec := r.Record()
	rec.Version, rec.Command = results.Version(), command
	if err := o.emit(cmd.OutOrStdout(), rec); err != nil {
		return failure{err}
	}
	if err := r.Err(); err != nil {
		return failure{err}
	}
	return nil
}

func newValidateKernelTraces() *cobra.Command {
	var o options
	var dir string
	cmd := &cobra.Command{
		Use:   "kernel-traces [--dir DIR]",
		Short: "the modelled kernel against recorded instructions of real kernels",
		Long: `kernel-traces runs every call of a directory of recordings on the modelled kernel, by the protocol of the
recordings (1000 calls before the recorded ones; first calls for cold_, 400 maps and then 400 unmaps for
burst_, 300 pairs for run_), and compares instructions, loads, stores and distinct cache lines. DIR holds summary.csv,
functions.csv, variants.csv and steps/ if there are any. Without --dir the recordings that travel with the program are taken:
6.12.117 and 7.3.4, x86-64 and arm64.

Where DIR has the steps of a call (steps/KERNEL__BACKEND__API__SIZE.csv), the modelled and the recorded instructions also
run on the same core with hot, warm and cold caches, and their cycles are compared.

What cannot be modelled is listed with the reason. The exit code is 1 when a row is outside its tolerance (10 % in
instructions, loads and stores, 2 or 10 % in lines, 15 % or 5 cycles in cycles), 2 when the directory cannot be read.

Examples:
  dmapath validate kernel-traces
  dmapath validate kernel-traces --dir kernel-traces
  dmapath validate kernel-traces --dir kernel-traces --format csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOutput(); err != nil {
				return err
			}
			traces := map[string]*bench.KernelTraces{}
			var names []string
			if dir != "" {
				k, err := bench.ReadKernelTraces(dir)
				if err != nil {
					return err
				}
				names, traces[dir] = []string{dir}, k
			} else {
				for _, d := range reference.KernelTraces() {
					k, err := bench.ReadKernelTracesFS(d.FS, d.Name)
					if err != nil {
						return failure{err}
					}
					names, traces[d.Name] = append(names, d.Name), k
				}
			}
			all := &results.Record{Name: "KernelTraces", Version: results.Version(), Command: "dmapath validate kernel-traces"}
			var counts, cycles bench.Tally
			for _, name := range names {
				var v *bench.Validation
				err := interruptible(cmd.Context(), func() (err error) {
					v, err = traces[name].Validate(cmd.Context(), name, o.jobs)
					return err
				})
				if err != nil {
					return failure{err}
				}
				r := v.Record()
				all.Tables, all.Warnings, all.Measurements = append(all.Tables, r.Tables...), append(all.Warnings, r.Warnings...), append(all.Measurements, r.Measurements...)
				n, c := v.Tally(""), v.CycleTally("", -1)
				counts.Rows, counts.Miss, cycles.Rows, cycles.Miss = counts.Rows+n.Rows, counts.Miss+n.Miss, cycles.Rows+c.Rows, cycles.Miss+c.Miss
			}
			if err := o.emit(cmd.OutOrStdout(), all); err != nil {
				return failure{err}
			}
			switch {
			case cycles.Miss > 0:
				return failure{fmt.Errorf("%d of %d rows of counts and %d of %d of cycles are outside their tolerance", counts.Miss, counts.Rows, cycles.Miss, cycles.Rows)}
			case counts.Miss > 0:
				return failure{fmt.Errorf("%d of %d rows are outside their tolerance", counts.Miss, counts.Rows)}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory of recordings (those that travel with the program)")
	cmd.Flags().StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "processors to use (0: all)")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}

func newValidateBehaviours() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "behaviours",
		Short: "the shape of published measurements: cliffs, collapses, ratios",
		Long: `behaviours repeats set-ups that others have measured on real machines and lays the simulated figures beside the
published ones. The machines differ, so it judges shapes: ratios within one run, each a claim that holds or does
not. Nothing is fitted.

The exit code is 1 when a claim does not hold.

Examples:
  dmapath validate behaviours
  dmapath validate behaviours --format csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOutput(); err != nil {
				return err
			}
			var list []*behaviour.Outcome
			err := interruptible(cmd.Context(), func() (err error) {
				list, err = behaviour.Run(cmd.Context(), behaviour.All(), o.jobs)
				return err
			})
			if err != nil {
				return failure{err}
			}
			r := behaviour.Record(list)
			r.Version, r.Command = results.Version(), "dmapath validate behaviours"
			if err := o.emit(cmd.OutOrStdout(), r); err != nil {
				return failure{err}
			}
			if n := behaviour.Failed(list); n > 0 {
				return failure{fmt.Errorf("%d claims do not hold", n)}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "processors to use (0: all)")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}
