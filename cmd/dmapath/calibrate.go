package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"dmapath/bench/host"
	"dmapath/platform"
	"dmapath/results"
)

func newCalibrate() *cobra.Command {
	var o options
	var out, base string
	var force bool
	cmd := &cobra.Command{
		Use:   "calibrate --out FILE",
		Short: "measure this machine and write it as a platform file",
		Long: `calibrate times pointer chases from 16 KiB to 256 MiB within and across pages, independent loads, store and load streams,
chains of additions (the core clock), multiplications and bit scans, mispredicted branches, store forwarding, locked
additions, fences, the cycle counter, pauses, string copies and line flushes on this machine, and moves the parameters
of the nearest preset until the simulated core takes as long for the same instructions. FILE extends that preset:
measured values say how they were measured, the others keep the preset's confidence. Any command takes it as
--platform FILE.

It takes about half a minute, on Linux on amd64 or arm64 only. A busy machine gives worse figures; what could not be
measured is a note in the file.

Examples:
  dmapath platform calibrate --out host.yaml
  dmapath compare --platform host.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := results.ParseFormat(o.format)
			if err != nil {
				return fmt.Errorf("--format: %w", err)
			}
			if out == "" {
				return errors.New("--out is missing: name the file to write, such as host.yaml")
			}
			if !force && out != stdioName {
				if _, err := os.Lstat(out); err == nil {
					return fmt.Errorf("%s exists already: --force replaces it", out)
				} else if !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("--out: %w", err)
				}
			}
			if base != "" {
				if _, err := host.LoadBase(base); err != nil {
					return fmt.Errorf("--base: %w", err)
				}
			}
			var d *host.Derived
			var ms *host.Measurements
			err = interruptible(cmd.Context(), func() (err error) {
				d, ms, err = calibrate(cmd.Context(), base, o.progress(cmd.ErrOrStderr()))
				return err
			})
			if err != nil {
				return failure{err}
			}
			text, err := d.YAML(&ms.System)
			if err != nil {
				return failure{err}
			}
			if err := writeOutput(cmd, out, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
				return failure{err}
			}
			rec := d.Record(ms)
			rec.Version, rec.Command = results.Version(), "dmapath platform calibrate --out "+out
			if err := rec.Write(cmd.OutOrStdout(), f); err != nil {
				return failure{err}
			}
			if out == stdioName {
				return nil
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", out)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the file to write; - is standard output, instead of the table")
	cmd.Flags().StringVar(&base, "base", "", "preset to extend (the nearest)")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file if it exists")
	cmd.Flags().StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "no progress on standard error")
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	complete(cmd, "base", platform.Names())
	return cmd
}

// calibrate measures this machine and derives its parameters.
func calibrate(ctx context.Context, base string, progress func(done, total int, what string)) (*host.Derived, *host.Measurements, error) {
	m, err := host.NewMeter()
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	ms, err := host.Calibrate(ctx, m, progress)
	if err != nil {
		return nil, nil, err
	}
	if base == "" {
		base = ms.System.Nearest()
	}
	d, err := host.Derive(ms, base)
	return d, ms, err
}
