package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/workloads/ftrace"
)

// malformedShown is how many malformed lines are shown; all are counted.
const malformedShown = 5

func newReplay() *cobra.Command {
	var o options
	x := bench.Replay{Backend: "iommu-strict", Cache: "warm"}
	cmd := &cobra.Command{
		Use:   "replay FILE...",
		Short: "perform the calls of a recorded event trace on the modelled kernel, and check its IOVAs",
		Long: `replay reads the text of dma:* and iommu:* events (the tracefs trace file, trace-cmd report, perf script; plain or
gzip; - is standard input), performs the recorded map and unmap calls on a simulated machine, and says how often
the modelled IOVA allocator hands out exactly the address that the real kernel did. Memory use does not depend
on the length of the trace. Each FILE is a trace of its own.

Examples:
  dmapath replay trace.txt.gz
  dmapath replay trace.txt --variant map_page@7.3,map_phys@7.3 --backend iommu-lazy
  perf script | dmapath replay - --limit 1000000 --cpus 8`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error { return o.replay(cmd, x, files) },
	}
	o.machineFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&x.Variants, "variant", nil, "variants to perform the calls with; differences are against the first\n(the newest call of the trace's kernel)")
	f.StringVar(&x.Backend, "backend", x.Backend, "direct, iommu-strict, iommu-lazy, iommu-passthrough or swiotlb-force")
	f.StringVar(&x.Cache, "cache", x.Cache, "hot, warm or cold: what is displaced before each call")
	f.Int64Var(&x.Limit, "limit", 0, "events to read, 0 for all")
	f.Lookup("cpus").Usage = "CPUs of the machine (as many as the trace shows)"
	f.Lookup("cpus").DefValue = "0"
	if err := errors.Join(f.MarkHidden("size")); err != nil {
		panic(err)
	}
	complete(cmd, "cache", bench.Caches)
	return cmd
}

func (o *options) replay(cmd *cobra.Command, x bench.Replay, files []string) error {
	for _, f := range []string{"segments", "attrs"} {
		if cmd.Flags().Changed(f) {
			return fmt.Errorf("--%s: the trace says how its calls are made; allowed with explain and compare", f)
		}
	}
	for _, kv := range o.set {
		if strings.HasPrefix(kv, "workload.") {
			return fmt.Errorf("--set %s: a replay has the trace for a workload; only keys of the platform can be set", kv)
		}
	}
	if _, err := results.ParseFormat(o.format); err != nil {
		return err
	}
	x.Seed, x.FixedRAM = o.seed, cmd.Flags().Changed("ram")
	if cmd.Flags().Changed("cpus") {
		if x.CPUs = o.cpus; x.CPUs < 1 {
			return fmt.Errorf("--cpus is %d: allowed are 1 and more", x.CPUs)
		}
	}
	if err := x.Validate(); err != nil {
		return err
	}
	for i, name := range files {
		s, err := o.spec(cmd)
		if err != nil {
			return err
		}
		var r *results.Record
		err = interruptible(cmd.Context(), func() (err error) {
			r, err = o.replayOne(cmd, s, x, name)
			return err
		})
		if err != nil {
			return err
		}
		if i > 0 && (o.format == "ascii" || o.format == "markdown") {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		if err := o.emit(cmd.OutOrStdout(), r); err != nil {
			return failure{err}
		}
	}
	return nil
}

// replayOne replays one file, or standard input.
func (o *options) replayOne(cmd *cobra.Command, s *platform.Spec, x bench.Replay, name string) (*results.Record, error) {
	x.Name = strings.TrimSuffix(filepath.Base(name), ".gz")
	shown := 0
	x.Malformed = func(e *ftrace.SyntaxError) {
		if shown++; shown <= malformedShown {
			fmt.Fprintf(cmd.ErrOrStderr(), "dmapath: %v\n", e)
		} else if shown == malformedShown+1 {
			fmt.Fprintf(cmd.ErrOrStderr(), "dmapath: %s: more malformed lines are counted, not shown\n", x.Name)
		}
	}
	if name == "-" {
		x.Name = "(stdin)"
		return bench.ReplayStream(cmd.Context(), s, x, cmd.InOrStdin())
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe is gone once it has been read
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return bench.ReplayStream(cmd.Context(), s, x, f)
	}
	return bench.ReplayFile(cmd.Context(), s, x, func() (io.ReadCloser, error) { return os.Open(name) })
}
