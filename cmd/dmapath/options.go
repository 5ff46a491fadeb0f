package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/workloads/mapbench"
)

// options are the flags that choose a machine and an experiment.
type options struct {
	platform, config         string
	workloads, variants      []string
	backends, caches         []string
	source, memoryModel, ram string
	cpus                     int
	size, segments           string
	attrs                    []string
	operations               int64
	seed                     uint64
	set                      []string
	format, out, pprof       string
	timeline                 string
	timelineEvents           eventBudget
	jobs                     int
	quiet                    bool
	samples                  string // of --uncertainty; empty: compare once
	noWorkload               string // why --set workload.KEY is not for this command; empty when it is
}

// machineFlags are the flags that every simulating command has.
func (o *options) machineFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.platform, "platform", "icelake-sp", "preset or platform file (- for standard input)")
	f.StringVar(&o.memoryModel, "memory-model", "", "flatmem, sparsemem, sparsemem-extreme or sparsemem-vmemmap (the platform's)")
	f.StringVar(&o.ram, "ram", "", "installed RAM, such as 1TiB (the platform's)")
	f.IntVar(&o.cpus, "cpus", 1, "CPUs that take part")
	f.StringVar(&o.size, "size", "4KiB", "bytes per buffer")
	f.StringVar(&o.segments, "segments", "one", "one, scattered or contiguous: the pages of a buffer as pieces of their own (map-benchmark)")
	f.StringSliceVar(&o.attrs, "attrs", nil, "DMA_ATTR_* of every call: "+strings.Join(kernel.AttrNames(), ", ")+" (map-benchmark)")
	f.Uint64Var(&o.seed, "seed", 1, "seed of every random stream")
	f.StringArrayVar(&o.set, "set", nil, "key=value, any key of the platform (iommu.walkers=8) or of the experiment\n(workload.nvme.queue_depth=8); repeatable")
	f.StringVar(&o.format, "format", "ascii", "ascii, markdown, csv, json or bench")
	complete(cmd, "memory-model", []string{"flatmem", "sparsemem", "sparsemem-extreme", "sparsemem-vmemmap"})
	complete(cmd, "segments", mapbench.Segmentations)
	complete(cmd, "attrs", kernel.AttrNames())
	complete(cmd, "format", []string{"ascii", "markdown", "csv", "json", "bench"})
}

// spec loads the platform and applies the flags that change it.
func (o *options) spec(cmd *cobra.Command) (*platform.Spec, error) {
	s, err := loadPlatform(cmd, o.platform)
	if err != nil {
		return nil, err
	}
	return s, o.adjust(cmd, s)
}

// adjust applies the flags given on the command line to s.
func (o *options) adjust(cmd *cobra.Command, s *platform.Spec) error {
	var errs []error
	for _, f := range []struct{ flag, key, value string }{{"memory-model", "memory.model", o.memoryModel}, {"ram", "memory.ram", o.ram}} {
		if cmd.Flags().Changed(f.flag) {
			if err := s.Set(f.key, f.value); err != nil {
				errs = append(errs, fmt.Errorf("--%s: %w", f.flag, err))
			}
		}
	}
	for _, kv := range o.set {
		key, value, ok := strings.Cut(kv, "=")
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("--set %s: want key=value", kv))
		case strings.HasPrefix(key, "workload."):
			if o.noWorkload != "" {
				errs = append(errs, fmt.Errorf("--set %s: %s; only keys of the platform can be set", kv, o.noWorkload))
			}
		default:
			if err := s.Set(key, value); err != nil {
				errs = append(errs, fmt.Errorf("--set %s: %w", kv, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.Check()
}

// experiment applies the flags given on the command line to x, which runs on s.
func (o *options) experiment(cmd *cobra.Command, s *platform.Spec, x *bench.Experiment) error {
	given := cmd.Flags().Changed
	list := func(flag string, v []string, to *[]string) {
		if given(flag) {
			*to = v
		}
	}
	list("workload", o.workloads, &x.Workloads)
	list("variant", o.variants, &x.Variants)
	for i, v := range x.Variants {
		name, err := described(cmd, x, v)
		if err != nil {
			return fmt.Errorf("--variant: %w", err)
		}
		x.Variants[i] = name
	}
	list("backend", o.backends, &x.Backends)
	list("cache", o.caches, &x.Caches)
	if given("source") {
		x.Source = o.source
		if o.source == "recorded" {
			if !given("variant") {
				x.Variants = slices.DeleteFunc(x.Variants, func(v string) bool { return !bench.IsRecorded(s, v) })
			}
			if !given("workload") {
				x.Workloads = []string{"map-benchmark"}
			}
		}
	}
	if given("cpus") {
		x.CPUs = o.cpus
		x.MapBench.Threads = o.cpus
	}
	if given("size") {
		x.Size = o.size
	}
	if given("segments") {
		x.Segments = o.segments
	}
	if given("attrs") {
		x.Attrs = o.attrs
	}
	if given("operations") {
		x.Operations = o.operations
	}
	if given("seed") {
		x.Seed = o.seed
	}
	for _, kv := range o.set {
		key, value, _ := strings.Cut(kv, "=")
		if rest, ok := strings.CutPrefix(key, "workload."); ok {
			if err := x.Set(rest, value); err != nil {
				return fmt.Errorf("--set %s: %w", kv, err)
			}
		}
	}
	return nil
}

// described reads a variant that is a file (./my.path) into x and returns its name; other variants are names already.
func described(cmd *cobra.Command, x *bench.Experiment, variant string) (string, error) {
	if !isDescription(variant) {
		return variant, nil
	}
	data, err := readInput(cmd, variant)
	if err != nil {
		return "", err
	}
	return x.AddPath(inputName(variant), string(data))
}

// isDescription says whether a variant is the file of a described call.
func isDescription(variant string) bool {
	return variant == stdioName || strings.HasSuffix(variant, ".path") || strings.ContainsRune(variant, filepath.Separator) && !strings.HasSuffix(variant, ".yaml")
}

// status shows the progress of a comparison, see progress.
func (o *options) status(w io.Writer) bench.Progress {
	show := o.progress(w)
	if show == nil {
		return nil
	}
	return func(done, total int, p bench.Point) { show(done, total, p.String()) }
}

// progress shows progress on standard error: one line that is rewritten on a terminal, nothing otherwise.
func (o *options) progress(w io.Writer) func(done, total int, what string) {
	f, ok := w.(*os.File)
	if o.quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(done, total int, what string) {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil || width < 20 {
			width = 80
		}
		line := fmt.Sprintf("%d/%d  %s", done, total, what)
		fmt.Fprintf(f, "\r\x1b[K%.*s", width-1, line)
		if done == total {
			fmt.Fprint(f, "\r\x1b[K")
		}
	}
}

// outputDir starts the directory of --out; nil if there is none.
func (o *options) outputDir() (*results.OutputDir, error) {
	if o.out == "" {
		return nil, nil
	}
	return results.NewOutputDir(filepath.Clean(o.out))
}

// emit writes a record to standard output in the format asked for.
func (o *options) emit(w io.Writer, r *results.Record) error {
	f, err := results.ParseFormat(o.format)
	if err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	if err := r.Write(w, f); err != nil {
		return failure{err}
	}
	return nil
}

// checkJobs refuses a negative --jobs.
func (o *options) checkJobs() error {
	if o.jobs < 0 {
		return fmt.Errorf("--jobs is %d: allowed are 0 (all processors) and up", o.jobs)
	}
	return nil
}
