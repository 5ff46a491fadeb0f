package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/bench/advise"
	"dmapath/bench/sensitivity"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/results"
)

func newAdvise() *cobra.Command {
	var o options
	var workload, variant, backend, cache string
	var sample, limit int64
	cmd := &cobra.Command{
		Use:   "advise [TRACE]",
		Short: "which setting saves how much, and what it exposes",
		Long: `advise runs a configuration and every change of it that it knows: strict or lazy invalidation, pass-through, bounce
buffers, a pool of mapped pages, another call or a newer kernel, contiguous or larger buffers, and the best of them
together. It says what each saves, with what confidence, and what a device could then reach that it should not, measured
in the same workload by a device that tries. What must hold to make the change is said with it.

With a TRACE (as for dmapath replay; - is standard input) the workload is the recorded one, and so are backend and call unless they are
given. Buffers that recur, neighbours that could be mapped at once and scatterlists that could be links are found in it.

Examples:
  dmapath advise
  dmapath advise trace.txt.gz
  dmapath advise --workload nic --size 1514 --backend iommu-strict
  dmapath advise --workload nvme --size 128KiB --variant driver@6.12 --backend iommu-lazy
  dmapath advise --workload map-benchmark --variant map_sg@6.12 --segments scattered --size 64KiB
  dmapath advise --variant ./my.path --platform genoa
  dmapath advise --workload nic --uncertainty        in what share of plausible machines each change saves`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return o.adviseTrace(cmd, args[0], variant, backend, bench.Replay{Cache: cache, Sample: sample, Limit: limit})
			}
			s, x, err := o.adviseAbout(cmd, workload, variant, backend, cache)
			if err != nil {
				return err
			}
			return o.advise(cmd, advise.Request{Platform: s, Exp: x, Jobs: o.jobs, Progress: sensitivity.Progress(o.progress(cmd.ErrOrStderr()))})
		},
	}
	o.machineFlags(cmd)
	f := cmd.Flags()
	f.Lookup("size").Usage = "bytes per buffer; with nic of a frame (nvme and map-benchmark 4KiB, nic 1514)"
	f.StringVar(&workload, "workload", "nvme", strings.Join(advise.Workloads, ", "))
	f.StringVar(&variant, "variant", "", "what maps now: CALL@KERNEL, driver@KERNEL (a whole driver) or a file that describes a call (driver@6.12; map-benchmark map_page@6.12)")
	f.StringVar(&backend, "backend", "iommu-strict", "what stands behind it now: direct, iommu-strict, iommu-lazy, iommu-passthrough, viommu-strict, viommu-lazy, viommu-passthrough or swiotlb-force")
	f.StringVar(&cache, "cache", "warm", "hot, warm or cold")
	f.Int64Var(&o.operations, "operations", 1200, "I/Os, frames or rounds per run; ten times as many with netperf-rx")
	f.Int64Var(&sample, "sample", 4096, "calls of a longer TRACE that each machine performs, in windows over all of it")
	f.Int64Var(&limit, "limit", 0, "events of a TRACE to read, 0 for all")
	f.StringVar(&o.config, "config", "", "repeat the run of this manifest; other flags change it")
	f.StringVar(&o.out, "out", "", "directory for tables, measurements and manifest; empty for none")
	f.IntVar(&o.jobs, "jobs", 0, "runs at a time (one per CPU); the results do not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress line")
	f.StringVar(&o.samples, samplesFlag, "", fmt.Sprintf("say in what share of N plausible machines each change saves (=N; %d)", quickSamples))
	f.Lookup(samplesFlag).NoOptDefVal = strconv.Itoa(quickSamples)
	f.Lookup("cpus").Usage = "CPUs that take part; of a TRACE as many as it shows"
	var backends, variants []string
	for _, b := range platform.Backends {
		if !b.Provider() {
			backends = append(backends, string(b))
		}
	}
	for _, v := range dma.Variants() {
		variants = append(variants, v.Name())
	}
	complete(cmd, "backend", backends)
	complete(cmd, "variant", append(variants, bench.Drivers...))
	complete(cmd, "workload", advise.Workloads)
	complete(cmd, "cache", bench.Caches)
	return cmd
}

// notOfATrace are the flags that describe a workload.
var notOfATrace = []string{"workload", "size", "segments", "attrs", "operations", "config"}

// adviseTrace is advise for a recorded trace.
func (o *options) adviseTrace(cmd *cobra.Command, name, variant, backend string, x bench.Replay) error {
	given := cmd.Flags().Changed
	for _, f := range notOfATrace {
		if given(f) {
			return fmt.Errorf("--%s: the trace is the workload", f)
		}
	}
	for _, kv := range o.set {
		if strings.HasPrefix(kv, "workload.") {
			return fmt.Errorf("--set %s: the trace is the workload; only keys of the platform can be set", kv)
		}
	}
	if err := o.checkJobs(); err != nil {
		return err
	}
	if _, err := results.ParseFormat(o.format); err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	s, err := o.spec(cmd)
	if err != nil {
		return err
	}
	if x.Sample == 0 {
		return errors.New("--sample is 0: the calls of a trace are kept to be changed; want a number of them")
	}
	x.Seed, x.FixedRAM, x.Jobs = o.seed, given("ram"), o.jobs
	if given("cpus") {
		if x.CPUs = o.cpus; x.CPUs < 1 {
			return fmt.Errorf("--cpus is %d: allowed are 1 and more", x.CPUs)
		}
	}
	exp := bench.Default()
	exp.Seed, exp.Caches = o.seed, []string{x.Cache}
	if given("variant") {
		if variant, err = described(cmd, &exp, variant); err != nil {
			return fmt.Errorf("--variant: %w", err)
		}
		if err := exp.Define(); err != nil {
			return fmt.Errorf("--variant: %w", err)
		}
	}
	var r *bench.Replayed
	err = interruptible(cmd.Context(), func() (err error) {
		r, err = o.replayOne(cmd, s, x.ReadOnly(), name, newReplayProgress(cmd.ErrOrStderr(), o.quiet))
		return err
	})
	if err != nil {
		return err
	}
	t := advise.NewTrace(r.Calls())
	b, v := t.Baseline(s)
	if !given("backend") {
		backend = b
	}
	if !given("variant") {
		variant = v
	}
	exp.Backends, exp.Variants = []string{backend}, []string{variant}
	return o.advise(cmd, advise.Request{Platform: s, Exp: exp, Trace: t, Jobs: o.jobs, Progress: sensitivity.Progress(o.progress(cmd.ErrOrStderr()))})
}

// quickSamples is how many machines --uncertainty draws unless told otherwise.
const quickSamples = 24

// adviseAbout returns platform and experiment as flags and manifest say.
func (o *options) adviseAbout(cmd *cobra.Command, workload, variant, backend, cache string) (*platform.Spec, bench.Experiment, error) {
	given := cmd.Flags().Changed
	var x bench.Experiment
	if err := o.checkJobs(); err != nil {
		return nil, x, err
	}
	if _, err := results.ParseFormat(o.format); err != nil {
		return nil, x, fmt.Errorf("--format: %w", err)
	}
	s, x, err := o.manifestOrDefault(cmd)
	if err != nil {
		return nil, x, err
	}
	if err := o.experiment(cmd, s, &x); err != nil {
		return nil, x, err
	}
	for _, l := range []struct {
		flag, value string
		to          *[]string
	}{{"workload", workload, &x.Workloads}, {"backend", backend, &x.Backends}, {"cache", cache, &x.Caches}} {
		if o.config == "" || given(l.flag) {
			*l.to = []string{l.value}
		}
	}
	if o.config == "" && !given("variant") {
		variant = "driver@6.12"
		if x.Workloads[0] == "map-benchmark" {
			variant = "map_page@6.12"
		}
	}
	if o.config == "" || given("variant") {
		if variant, err = described(cmd, &x, variant); err != nil {
			return nil, x, fmt.Errorf("--variant: %w", err)
		}
		x.Variants = []string{variant}
	}
	if x.Workloads[0] == "netperf-rx" && o.config == "" && !given("operations") {
		x.Operations *= 10 // acknowledgements are few
	}
	if given("size") && x.Workloads[0] == "nic" { // --size is of a frame, and buffers follow from frames
		n, err := platform.ParseBytes(o.size)
		if v, e := strconv.Atoi(o.size); e == nil {
			n, err = platform.Bytes(v), nil
		}
		if err != nil {
			return nil, x, fmt.Errorf("--size: %w", err)
		}
		x.Size, x.NIC.Sizes = bench.Default().Size, strconv.Itoa(int(n))
	}
	return s, x, nil
}

func (o *options) advise(cmd *cobra.Command, r advise.Request) (err error) {
	if cmd.Flags().Changed(samplesFlag) {
		if r.Samples, err = o.sampleCount(); err != nil {
			return err
		}
	}
	dir, err := o.outputDir()
	if err != nil {
		return err
	}
	defer dir.Abort()
	if err := advise.Check(r); err != nil {
		return err
	}
	var a *advise.Advice
	err = interruptible(cmd.Context(), func() (err error) {
		a, err = advise.For(cmd.Context(), r)
		return err
	})
	if err != nil {
		return failure{err}
	}
	rec, m := a.Record(), a.Manifest()
	rec.Version, rec.ConfigHash, rec.Command = m.Version, m.Hash(), "dmapath advise"
	if dir != nil {
		if err := bench.AllFormats(dir, "advise", rec); err != nil {
			return failure{err}
		}
		if err := dir.Commit(m); err != nil {
			return failure{err}
		}
	}
	if err := o.emit(cmd.OutOrStdout(), rec); err != nil {
		return err
	}
	if dir != nil && !o.quiet && o.format == "ascii" {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s/\n", filepath.Clean(o.out))
	}
	return err
}
