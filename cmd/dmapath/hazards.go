package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/results"
)

func newHazards() *cobra.Command {
	o := options{noWorkload: "a cell of the matrix has a call for a workload"}
	var x bench.HazardOptions
	var explain string
	cmd := &cobra.Command{
		Use:   "hazards",
		Short: "every call on every kind of memory and backend: cost, error or hazard, each cell run",
		Long: `hazards runs the matrix call x memory x backend x kernel and prints for each cell what map and unmap cost, that the
kernel returns an error, or what goes wrong and in which step. An oracle follows who may use which bytes and which
copy of them is newest; between map and unmap the caches behave as badly as they may.

Examples:
  dmapath hazards                                        the matrix, one backend of each sort
  dmapath hazards --backend all                          the whole matrix
  dmapath hazards --memory mmio,p2pdma --kernel 7.3      two kinds of memory on one kernel
  dmapath hazards --explain map_phys@7.3/mmio/strict     the story of one cell`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			x.Seed = o.seed
			if explain != "" {
				return o.explainHazard(cmd, explain, x)
			}
			return o.hazards(cmd, x)
		},
	}
	calls, memories, backends, kernels := bench.HazardNames()
	f := cmd.Flags()
	f.StringVar(&o.platform, "platform", "icelake-sp", "preset or platform file; backends of another architecture use a preset of theirs")
	f.StringArrayVar(&o.set, "set", nil, "key=value, any key of the platform (iommu.walkers=8); repeatable")
	f.StringSliceVar(&x.Calls, "call", nil, "calls (all)")
	f.StringSliceVar(&x.Memories, "memory", nil, "kinds of memory (all)")
	f.StringSliceVar(&x.Backends, "backend", nil, "backends; all for every one (one of each sort)")
	f.StringSliceVar(&x.Kernels, "kernel", nil, "kernels (all)")
	f.Int64Var(&x.Rounds, "rounds", 32, "measured pairs of map and unmap per cell")
	f.BoolVar(&x.Windows, "windows", true, "measure how long lazy invalidation leaves unmapped buffers open")
	f.Uint64Var(&o.seed, "seed", 1, "seed of every random stream")
	f.StringVar(&explain, "explain", "", "tell the story of one cell, CALL@KERNEL/MEMORY/BACKEND, instead")
	f.StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	f.StringVar(&o.out, "out", "", "directory for the same in all formats")
	f.IntVar(&o.jobs, "jobs", 0, "cells at a time (one per CPU); the results do not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line")
	complete(cmd, "call", calls)
	complete(cmd, "memory", memories)
	complete(cmd, "backend", append(backends, "all"))
	complete(cmd, "kernel", kernels)
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
	return cmd
}

func (o *options) explainHazard(cmd *cobra.Command, name string, x bench.HazardOptions) error {
	c, err := bench.FindCell(name)
	if err != nil {
		return err
	}
	if err := x.Validate(); err != nil {
		return err
	}
	s, err := o.spec(cmd)
	if err != nil {
		return err
	}
	var r *results.Record
	err = interruptible(cmd.Context(), func() (err error) {
		r, err = bench.ExplainHazard(s, c, x)
		return err
	})
	if err != nil {
		return failure{err}
	}
	return o.emit(cmd.OutOrStdout(), r)
}

func (o *options) hazards(cmd *cobra.Command, x bench.HazardOptions) error {
	if err := o.checkJobs(); err != nil {
		return err
	}
	if _, err := results.ParseFormat(o.format); err != nil {
		return err
	}
	if err := x.Validate(); err != nil {
		return err
	}
	s, err := o.spec(cmd)
	if err != nil {
		return err
	}
	dir, err := o.outputDir()
	if err != nil {
		return err
	}
	defer dir.Abort()
	progress := o.progress(cmd.ErrOrStderr())
	var h *bench.Hazards
	err = interruptible(cmd.Context(), func() (err error) {
		h, err = bench.RunHazards(cmd.Context(), s, x, o.jobs, progress)
		return err
	})
	if err != nil {
		return failure{err}
	}
	r, m := h.Record(), h.Manifest()
	r.Command, r.ConfigHash = "dmapath hazards", m.Hash()
	if dir != nil {
		if err := h.Write(dir, r, m); err != nil {
			return failure{err}
		}
	}
	if err := o.emit(cmd.OutOrStdout(), r); err != nil {
		return failure{err}
	}
	if dir != nil && !o.quiet && o.format == "ascii" {
		_, err = io.WriteString(cmd.ErrOrStderr(), fmt.Sprintf("wrote %s/\n", filepath.Clean(o.out)))
	}
	return err
}
