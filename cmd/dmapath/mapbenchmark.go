package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/results"
	"dmapath/workloads/mapbench"
)

// defaultRounds per thread: the mean of a loop that does the same every time is steady long before.
const defaultRounds = 2000

func newMapBenchmark() *cobra.Command {
	o := options{noWorkload: "the flags of the tool say what it does"}
	var backend, version, against string
	var rounds int64
	var full, exact bool
	x := bench.Default()
	b := &x.MapBench
	cmd := &cobra.Command{
		Use:   "map-benchmark",
		Short: "the kernel's dma_map_benchmark: its flags, its three lines, its truncation",
		Long: `map-benchmark runs the kernel's own benchmark of mapping calls on the simulated machine and prints what
dma_map_benchmark prints there, so that a number from a real machine can be laid beside it: each latency is truncated to
100 ns before it is averaged, mean, variance and root are integers. As there, -b is 32 unless said otherwise: without an
IOMMU every buffer above 4 GiB bounces.

A real run takes -s seconds. Here it ends after --rounds per thread, which gives the same figures sooner; --full takes the
whole simulated time. With --against, the parameters come from the output of a real tool, and the figures are laid beside it
(-b and -x are not in that output: give them as they were).

Examples:
  dmapath map-benchmark -t 8 -s 1 -g 1
  dmapath map-benchmark -g 16 -m 1 --backend iommu-lazy --exact
  dmapath map-benchmark --kernel 6.12 --platform neoverse-n1 -t 16 -b 64
  dmapath map-benchmark -t 4 --timeline waits.json       who waits for whom: open it in ui.perfetto.dev
  dmapath map-benchmark --against real.txt --platform genoa --backend iommu-strict`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := results.ParseFormat(o.format); err != nil {
				return fmt.Errorf("--format: %w", err)
			}
			given := cmd.Flags().Changed
			if full && given("rounds") {
				return fmt.Errorf("--rounds and --full contradict each other")
			}
			if !full && (rounds < 1 || rounds > 1<<32) {
				return fmt.Errorf("--rounds is %d: allowed are 1 to %d", rounds, int64(1<<32))
			}
			if full {
				rounds = 0
			}
			v, err := kernelOf(version)
			if err != nil {
				return fmt.Errorf("--kernel: %w", err)
			}
			s, err := o.spec(cmd)
			if err != nil {
				return err
			}
			x.Seed = o.seed
			run := func(x bench.Experiment) (r *bench.ToolRun, err error) {
				err = interruptible(cmd.Context(), func() (err error) {
					r, err = bench.RunTool(s, x, rounds)
					return err
				})
				if err != nil {
					return nil, failure{err}
				}
				return r, nil
			}
			if against == "" {
				x, err := bench.ToolExperiment(s, x, v, backend)
				if err != nil {
					return err
				}
				r, err := run(x)
				if err != nil {
					return err
				}
				x.Operations = rounds
				if err := o.writeAgain(cmd, s, x); err != nil {
					return err
				}
				if given("format") {
					rec := r.Record()
					rec.Seed = o.seed
					return o.emit(cmd.OutOrStdout(), rec)
				}
				return o.printTool(cmd.OutOrStdout(), r, exact)
			}
			for _, f := range []string{"threads", "seconds", "node", "dir", "granule", "mode", "kernel"} {
				if given(f) {
					return fmt.Errorf("--%s and --against contradict each other: the parameters are in %s", f, against)
				}
			}
			list, err := readTool(cmd, against)
			if err != nil {
				return err
			}
			// All are looked at before the first is run.
			var xs []bench.Experiment
			for _, real := range list {
				b.Threads, b.Seconds, b.Dir, b.Granule, b.Mode = real.Threads, real.Seconds, int(real.Dir), real.Granule, real.Mode
				x, err := bench.ToolExperiment(s, x, real.Version, backend)
				if err != nil {
					return fmt.Errorf("%s:%d: %w", inputName(against), real.Line, err)
				}
				xs = append(xs, x)
			}
			var runs []*bench.ToolRun
			var again []bench.Again
			for i, x := range xs {
				r, err := run(x)
				if err != nil {
					return err
				}
				r.Real = &list[i]
				runs = append(runs, r)
				x.Operations = rounds
				again = append(again, bench.Again{Label: fmt.Sprintf("line %d", r.Real.Line), Platform: s, Exp: x, Point: r.Point})
			}
			if err := o.writeRuns(cmd, again); err != nil {
				return err
			}
			return o.emit(cmd.OutOrStdout(), bench.Against(runs))
		},
	}
	f := cmd.Flags()
	f.IntVarP(&b.Threads, "threads", "t", 1, "threads, each on a CPU of its own, 1 to 1024")
	f.IntVarP(&b.Seconds, "seconds", "s", 20, "seconds of a real run, 1 to 300")
	f.IntVarP(&b.Node, "node", "n", -1, "NUMA node, -1 for any")
	f.IntVarP(&b.Bits, "bits", "b", 32, "width of the DMA mask, 20 to 64")
	f.IntVarP(&b.Dir, "dir", "d", 0, "0 bidirectional, 1 to device, 2 from device")
	f.IntVarP(&b.TransNS, "delay", "x", 0, "nanoseconds between map and unmap, up to 10 ms")
	f.IntVarP(&b.Granule, "granule", "g", 1, "pages per operation, 1 to 1024")
	f.IntVarP(&b.Mode, "mode", "m", 0, "0 single, 1 scatterlist (7.3)")
	f.StringVar(&version, "kernel", "7.3", "6.12 or 7.3")
	f.StringVar(&backend, "backend", "iommu-strict", "direct, iommu-strict, iommu-lazy, iommu-passthrough, viommu-strict, viommu-lazy, viommu-passthrough, swiotlb-force, ops-gart or ops-grant")
	f.Int64Var(&rounds, "rounds", defaultRounds, "rounds per thread")
	f.BoolVar(&full, "full", false, "run for the whole of -s in simulated time")
	f.BoolVar(&exact, "exact", false, "print the figures without truncation, too")
	f.StringVar(&against, "against", "", "file with the output of a real dma_map_benchmark (- for standard input)")
	f.StringVar(&o.platform, "platform", "icelake-sp", "preset or platform file")
	f.Uint64Var(&o.seed, "seed", 1, "seed of every random stream")
	f.StringArrayVar(&o.set, "set", nil, "key=value, any key of the platform (iommu.walkers=8); repeatable")
	f.StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench; without it, and without --against, the three lines")
	o.againFlags(cmd)
	complete(cmd, "kernel", []string{"6.12", "7.3"})
	return cmd
}

// kernelOf is the version of a name.
func kernelOf(name string) (kernel.Version, error) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		if v.String() == name {
			return v, nil
		}
	}
	return 0, fmt.Errorf("there is no kernel %q: allowed are 6.12, 7.3", name)
}

// readTool reads the output of a real tool from a file, - being standard input.
func readTool(cmd *cobra.Command, name string) ([]mapbench.Output, error) {
	data, err := readInput(cmd, name)
	if err != nil {
		return nil, err
	}
	return mapbench.ReadOutputs(inputName(name), bytes.NewReader(data))
}

// printTool prints the three lines, and with exact what is behind them.
func (o *options) printTool(w io.Writer, r *bench.ToolRun, exact bool) error {
	if _, err := io.WriteString(w, r.Printed.String()); err != nil || !exact {
		return err
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return r.Exact().Write(w, results.ASCII)
}
