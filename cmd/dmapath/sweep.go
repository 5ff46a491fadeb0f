package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dmapath/bench"
	"dmapath/bench/sweep"
	"dmapath/results"
)

// someFailed is the error of a sweep in which points failed: exit code 3.
type someFailed struct{ error }

// sweepOptions are the flags of sweep besides those of compare.
type sweepOptions struct {
	options
	method    string
	samples   int
	sweepSeed uint64
	shard     string
	dryRun    bool
}

func newSweep() *cobra.Command {
	var o sweepOptions
	cmd := &cobra.Command{
		Use:   "sweep [FILE] --set KEY=VALUES...",
		Short: "an experiment at many points: grid, random, Latin hypercube; resumable, on many machines",
		Long: `sweep runs the experiment of compare at many points. Each --set with several values is an axis: a list (1,8,64), a range
with a step (0..64+16) or a factor (16..4096*2), or, for random points and Latin hypercubes, a range without steps
(10ns..1us*, evenly in the logarithm). "platform" and every key of the platform and of the experiment
(workload.size, workload.cpus, workload.nvme.queue_depth) can be an axis. FILE has the same as YAML.

Each finished point is in --out at once. A run that was interrupted or killed is continued by the same command, and its final
files are those of a run that never was. A point that fails is recorded in failures.csv and does not stop the others; the
exit code is then 3.

With --shard I/N (1/N to N/N) only every N-th point is run, into a directory of its own; "dmapath merge" puts the parts
together. In a Slurm array the default is the task's share, in a Kubernetes Indexed Job with DMAPATH_SHARDS=N the pod's.

Examples:
  dmapath sweep --set iommu.iotlb.entries=16..4096*2 --set workload.nvme.queue_depth=1,8,64 --workload nvme --backend iommu-strict --cache hot
  dmapath sweep study.yaml --dry-run
  dmapath sweep --method lhs --samples 24 --set dram.overhead=20ns..80ns --set iommu.walkers=1..8 --workload nvme --backend iommu-strict --cache hot
  dmapath sweep study.yaml --shard 2/8 --out part-2`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	o.machineFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.workloads, "workload", nil, "workloads (nvme,nic)")
	f.StringSliceVar(&o.variants, "variant", nil, "variants (map_page of both kernels, map_phys@7.3, map_phys_rederive@7.3)")
	f.StringSliceVar(&o.backends, "backend", nil, "backends (direct, iommu-strict, iommu-lazy)")
	f.StringSliceVar(&o.caches, "cache", nil, "hot, warm, cold (all)")
	f.StringVar(&o.source, "source", "modelled", "modelled or recorded")
	f.Int64Var(&o.operations, "operations", 1200, "I/Os or frames per run")
	f.StringVar(&o.method, "method", sweep.Grid, "grid, random or lhs")
	f.IntVar(&o.samples, "samples", 0, "points of random and lhs")
	f.Uint64Var(&o.sweepSeed, "sweep-seed", 1, "seed of the choice of points; --seed is that of every run")
	f.StringVar(&o.shard, "shard", "", "I/N: run the I-th of N parts")
	f.BoolVar(&o.dryRun, "dry-run", false, "show the points and about how long they would take; run none but one")
	f.StringVar(&o.out, "out", "dmapath-sweep", "directory of the sweep")
	f.IntVar(&o.jobs, "jobs", 0, "points at a time (one per CPU); the results do not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress")
	complete(cmd, "method", sweep.Methods)
	return cmd
}

// plan puts flags and file together; the command line wins.
func (o *sweepOptions) plan(cmd *cobra.Command, args []string) (*sweep.Plan, error) {
	given := cmd.Flags().Changed
	var sets []string
	if len(args) == 1 {
		data, err := readInput(cmd, args[0])
		if err != nil {
			return nil, err
		}
		name := inputName(args[0])
		if m, err := results.ReadManifest(name, data); err == nil {
			return o.again(cmd, name, m)
		}
		f, fileSets, err := sweep.ParseFile(name, data)
		if err != nil {
			return nil, err
		}
		sets = fileSets
		if f.Platform != "" && !given("platform") {
			o.platform = f.Platform
		}
		if f.Method != "" && !given("method") {
			o.method = f.Method
		}
		if f.Samples != 0 && !given("samples") {
			o.samples = f.Samples
		}
		if f.Seed != 0 && !given("sweep-seed") {
			o.sweepSeed = f.Seed
		}
		for _, l := range []struct {
			flag string
			from []string
		}{{"workload", f.Workload}, {"variant", f.Variant}, {"backend", f.Backend}, {"cache", f.Cache}} {
			if len(l.from) > 0 && !given(l.flag) {
				if err := cmd.Flags().Set(l.flag, strings.Join(l.from, ",")); err != nil {
					return nil, fmt.Errorf("%s: %s: %w", name, l.flag, err)
				}
			}
		}
		if f.Operations != 0 && !given("operations") {
			if err := cmd.Flags().Set("operations", strconv.FormatInt(f.Operations, 10)); err != nil {
				return nil, err
			}
		}
	}
	p := &sweep.Plan{Method: o.method, Samples: o.samples, Seed: o.sweepSeed}
	if p.Method == sweep.Grid && given("samples") {
		return nil, errors.New("--samples is for --method random and lhs: a grid has all of its points")
	}
	var fixed []string
	for _, text := range append(sets, o.set...) {
		a, err := sweep.ParseAxis(text)
		if err != nil {
			return nil, fmt.Errorf("--set: %w", err)
		}
		if a.Fixed() && a.Key != "platform" {
			fixed = append(fixed, text)
			if !strings.HasPrefix(a.Key, "workload.") {
				p.Sets = append(p.Sets, text)
			}
			continue
		}
		p.Axes = append(p.Axes, a)
	}
	for _, f := range []struct{ flag, key, value string }{{"memory-model", "memory.model", o.memoryModel}, {"ram", "memory.ram", o.ram}} {
		if given(f.flag) {
			p.Sets = append(p.Sets, f.key+"="+f.value)
		}
	}
	o.set = fixed
	var err error
	if p.Platform, err = o.spec(cmd); err != nil {
		return nil, err
	}
	p.Experiment = bench.Default()
	if err := o.experiment(cmd, p.Platform, &p.Experiment); err != nil {
		return nil, err
	}
	return p, p.Check()
}

// again is the plan of an earlier sweep, whose sweep.yaml or manifest.yaml was given as FILE.
func (o *sweepOptions) again(cmd *cobra.Command, name string, m *results.Manifest) (*sweep.Plan, error) {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains([]string{"out", "jobs", "shard", "dry-run", "quiet"}, f.Name) {
			err = fmt.Errorf("--%s and %s contradict each other: the manifest says all about the sweep", f.Name, name)
		}
	})
	if err != nil {
		return nil, err
	}
	return sweep.FromManifest(name, m)
}

func (o *sweepOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.checkJobs(); err != nil {
		return err
	}
	switch f, err := results.ParseFormat(o.format); {
	case err != nil:
		return fmt.Errorf("--format: %w", err)
	case !o.dryRun && f != results.ASCII:
		return errors.New("--format is for --dry-run: the files of a sweep are CSV")
	case f == results.Bench:
		return errors.New("--format bench: points that have not run have no results; allowed are ascii, markdown, csv, json")
	}
	shard, err := parseShard(o.shard, os.Getenv)
	if err != nil {
		return err
	}
	p, err := o.plan(cmd, args)
	if err != nil {
		return err
	}
	points, err := p.Points()
	if err != nil {
		return err
	}
	points = shard.Part(points)
	if o.dryRun {
		return o.show(cmd, p, points)
	}
	s, err := sweep.Open(filepath.Clean(o.out), p)
	if err != nil {
		return err
	}
	var st sweep.Status
	err = interruptible(cmd.Context(), func() (err error) {
		st, err = sweep.Run(cmd.Context(), s, shard, o.jobs, o.rate(cmd.ErrOrStderr()))
		return err
	})
	if err != nil {
		return failure{err}
	}
	return o.done(cmd, st)
}

// done says what came of a sweep or a merge.
func (o *options) done(cmd *cobra.Command, st sweep.Status) error {
	out := filepath.Clean(o.out)
	if !o.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s: %d points\n", filepath.Join(out, "results.csv"), st.Done-st.Failed)
	}
	if st.Failed > 0 {
		return someFailed{fmt.Errorf("%d of %d points failed: see %s", st.Failed, st.Total, filepath.Join(out, "failures.csv"))}
	}
	return nil
}

// show prints the points of a dry run.
func (o *sweepOptions) show(cmd *cobra.Command, p *sweep.Plan, points []sweep.Point) error {
	const most = 20
	t := &results.Table{ID: "points", Title: fmt.Sprintf("%d points", len(points)), Columns: []results.Column{{Name: "point"}}}
	for _, a := range p.Axes {
		t.Columns = append(t.Columns, results.Column{Name: a.Key, Text: true})
	}
	for i, pt := range points {
		if i == most && o.format == string(results.ASCII) {
			t.Notes = append(t.Notes, fmt.Sprintf("and %d more", len(points)-most))
			break
		}
		row := []any{pt.Index}
		for _, v := range pt.Values {
			row = append(row, v)
		}
		t.Add(row...)
	}
	// For programs: the points alone, which are the same on every machine.
	if o.format == string(results.JSON) {
		return o.emit(cmd.OutOrStdout(), &results.Record{Name: "Sweep", Version: results.Version(), Command: "dmapath sweep --dry-run", Seed: p.Experiment.Seed, Tables: []*results.Table{t}})
	}
	if err := t.Write(cmd.OutOrStdout(), results.Format(o.format)); err != nil {
		return failure{err}
	}
	if o.format != string(results.ASCII) {
		return nil
	}
	var d time.Duration
	err := interruptible(cmd.Context(), func() (err error) {
		d, err = sweep.Estimate(p, points, o.jobs)
		return err
	})
	if err != nil {
		return failure{err}
	}
	return printText(cmd, fmt.Sprintf("\nabout %v on this machine, from the point in the middle\n", roundTime(d)))
}

// roundTime rounds for a reader.
func roundTime(d time.Duration) time.Duration {
	switch {
	case d > time.Hour:
		return d.Round(time.Minute)
	case d > 10*time.Second:
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}

// rate shows how far a sweep has come, how fast, and the time left: one line that is rewritten on a terminal, otherwise a line every ten
// seconds.
func (o *options) rate(w io.Writer) func(sweep.Status) {
	if o.quiet {
		return nil
	}
	f, _ := w.(*os.File)
	terminal := f != nil && term.IsTerminal(int(f.Fd()))
	start := time.Now()
	last := start
	return func(st sweep.Status) {
		now := time.Now()
		if !terminal && now.Sub(last) < 10*time.Second {
			return
		}
		last = now
		perPoint := now.Sub(start) / time.Duration(max(st.Fresh, 1))
		line := fmt.Sprintf("%d/%d points, %d failed, %.2f/s, %v left", st.Done, st.Total, st.Failed, float64(st.Fresh)/now.Sub(start).Seconds(),
			roundTime(perPoint*time.Duration(st.Total-st.Done)))
		switch {
		case !terminal:
			fmt.Fprintln(w, line)
		case st.Done == st.Total:
			fmt.Fprint(w, "\r\x1b[K")
		default:
			fmt.Fprintf(w, "\r\x1b[K%s", line)
		}
	}
}

// parseShard reads --shard I/N; without it the place of a task in a Slurm array or of a pod in an Indexed Job.
func parseShard(text string, env func(string) string) (sweep.Shard, error) {
	number := func(name, text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > sweep.MaxPoints {
			return 0, fmt.Errorf("%s is %q: want a number up to %d", name, text, sweep.MaxPoints)
		}
		return n, nil
	}
	var index, of int
	var err1, err2, err3 error
	what := "--shard"
	switch id, pod := env("SLURM_ARRAY_TASK_ID"), env("JOB_COMPLETION_INDEX"); {
	case text != "":
		i, n, ok := strings.Cut(text, "/")
		if !ok {
			return sweep.Shard{}, fmt.Errorf("--shard is %q: want I/N, such as 2/8", text)
		}
		index, err1 = number("--shard: I", i)
		of, err2 = number("--shard: N", n)
		index--
	case id != "" && env("SLURM_ARRAY_TASK_COUNT") != "":
		what = "the place in the Slurm array"
		var first, step int
		index, err1 = number("SLURM_ARRAY_TASK_ID", id)
		of, err2 = number("SLURM_ARRAY_TASK_COUNT", env("SLURM_ARRAY_TASK_COUNT"))
		first, err3 = number("SLURM_ARRAY_TASK_MIN", env("SLURM_ARRAY_TASK_MIN"))
		if step, _ = strconv.Atoi(env("SLURM_ARRAY_TASK_STEP")); step < 1 {
			step = 1
		}
		index = (index - first) / step
	case pod != "" && env("DMAPATH_SHARDS") != "":
		what = "the index of the Job's pod"
		index, err1 = number("JOB_COMPLETION_INDEX", pod)
		of, err2 = number("DMAPATH_SHARDS", env("DMAPATH_SHARDS"))
	default:
		return sweep.Shard{}, nil
	}
	if err := errors.Join(err1, err2, err3); err != nil {
		return sweep.Shard{}, err
	}
	if of < 1 || index < 0 || index >= of {
		return sweep.Shard{}, fmt.Errorf("%s says part %d of %d: allowed are 1/N to N/N", what, index+1, of)
	}
	return sweep.Shard{Index: index, Of: of}, nil
}

func newMerge() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "merge DIR... --out DIR",
		Short: "put the parts of a sharded sweep together",
		Long: `merge puts the directories of a sweep that ran in shards into one, whose files are those of a sweep that ran as one. Points
that two directories have must be the same to the byte. Missing points are an error that names them.

Examples:
  dmapath merge part-1 part-2 part-3 --out study
  dmapath merge part-* --out study`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.out == "" {
				return errors.New("--out is missing: name the directory to write")
			}
			st, err := sweep.Merge(filepath.Clean(o.out), args)
			if err != nil {
				return err
			}
			return o.done(cmd, st)
		},
	}
	cmd.Flags().StringVar(&o.out, "out", "", "directory to write")
	cmd.Flags().BoolVar(&o.quiet, "quiet", false, "say nothing")
	return cmd
}
