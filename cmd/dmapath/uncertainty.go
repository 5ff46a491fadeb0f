package main

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/bench/sensitivity"
	"dmapath/platform"
)

// samplesFlag is the value of --uncertainty, which may be given without one.
const samplesFlag = "uncertainty"

// uncertaintyFlag adds --uncertainty[=N].
func (o *options) uncertaintyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.samples, samplesFlag, "", fmt.Sprintf("instead of comparing once, vary everything that is uncertain about the platform over N samples (=N; %d) "+
		"and print in how many of them each conclusion holds; warm runs have a quarter, cold runs an eighth of --operations then", sensitivity.DefaultSamples))
	cmd.Flags().Lookup(samplesFlag).NoOptDefVal = strconv.Itoa(sensitivity.DefaultSamples)
}

// sampleCount is the value of --uncertainty.
func (o *options) sampleCount() (int, error) {
	n, err := strconv.Atoi(o.samples)
	if err != nil || n < sensitivity.FewestSamples || n > sensitivity.MostSamples {
		return 0, fmt.Errorf("--uncertainty=%s: want a number of samples, %d to %d", o.samples, sensitivity.FewestSamples, sensitivity.MostSamples)
	}
	return n, nil
}

// vary runs compare --uncertainty.
func (o *options) vary(cmd *cobra.Command, s *platform.Spec, x bench.Experiment) error {
	n, err := o.sampleCount()
	if err != nil {
		return err
	}
	if x.Operations < sensitivity.FewestOperations {
		return fmt.Errorf("--operations is %d: with --uncertainty %d or more are needed", x.Operations, sensitivity.FewestOperations)
	}
	dir, err := o.outputDir()
	if err != nil {
		return err
	}
	defer dir.Abort()
	var u *sensitivity.Uncertainty
	err = interruptible(cmd.Context(), func() (err error) {
		u, err = sensitivity.Vary(cmd.Context(), s, x, n, o.jobs, sensitivity.Progress(o.progress(cmd.ErrOrStderr())))
		return err
	})
	if err != nil {
		return failure{err}
	}
	r, m := u.Record(), u.Manifest()
	r.Version, r.ConfigHash, r.Command = m.Version, m.Hash(), "dmapath compare --uncertainty="+o.samples
	if dir != nil {
		if err := u.Write(dir, r, m); err != nil {
			return failure{err}
		}
	}
	if err := o.emit(cmd.OutOrStdout(), r); err != nil {
		return failure{err}
	}
	if dir != nil && !o.quiet && o.format == "ascii" {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s/\n", filepath.Clean(o.out))
	}
	return err
}
