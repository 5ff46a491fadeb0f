package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/workloads/ftrace"
)

// malformedShown is how many malformed lines are shown; all are counted.
const malformedShown = 5

func newReplay() *cobra.Command {
	var o options
	x := bench.Replay{Cache: "warm", Sample: bench.ReplaySample}
	cmd := &cobra.Command{
		Use:   "replay FILE...",
		Short: "what a recorded workload's mapping calls would cost: every backend and variant side by side",
		Long: `replay reads the text of dma:* and iommu:* events of a real machine (the tracefs trace file, trace-cmd report, perf script;
plain, gzip or zstd; - is standard input), performs the recorded map and unmap calls on a simulated machine for every backend and
variant, and says what they cost and how much of a core that is at the trace's own rate. It also says how often the modelled IOVA
allocator hands out exactly the address that the real kernel did. Each FILE is a trace of its own.

Memory does not depend on the length of the trace. A long trace is read as a whole and simulated in parts: windows of calls, evenly
spread, --sample calls in all.

To ` + bench.HowToRecord + `

Examples:
  dmapath replay trace.txt.gz
  dmapath replay trace.txt --variant map_page@7.3,map_phys@7.3 --backend iommu-strict,iommu-lazy
  dmapath replay trace.txt --variant map_phys@7.3,docs/paths/page-cookie.path --backend direct
  dmapath replay trace.txt.gz --sample 0 --backend direct --jobs 8 --format csv
  perf script | dmapath replay - --limit 1000000 --cpus 8`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error { return o.replay(cmd, x, files) },
	}
	o.machineFlags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&x.Variants, "variant", nil, "variants or described calls (./my.path) to perform the calls with; differences are against the first\n(map_page of both kernels, map_phys@7.3, map_phys_rederive@7.3)")
	f.StringSliceVar(&x.Backends, "backend", nil, "backends ("+strings.Join(bench.ReplayBackends, ", ")+";\nthose of them that the platform can have)")
	f.StringVar(&x.Cache, "cache", x.Cache, "hot, warm or cold: what is displaced between two calls")
	f.Int64Var(&x.Limit, "limit", 0, "events to read, 0 for all")
	f.Int64Var(&x.Sample, "sample", x.Sample, "calls that each machine performs of a longer trace, in windows over all of it; 0 for all")
	f.IntVar(&x.Jobs, "jobs", 0, "machines at a time (one per CPU); the results do not depend on it")
	f.BoolVar(&o.quiet, "quiet", false, "no progress")
	f.Lookup("cpus").Usage = "CPUs of the machine (as many as the trace shows)"
	f.Lookup("cpus").DefValue = "0"
	o.againFlags(cmd)
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
	if (o.pprof != "" || o.timeline != "") && (len(files) > 1 || x.Sample == 0) {
		return errors.New("--pprof and --timeline: want one trace and a --sample, whose calls are performed once more")
	}
	x.Seed, x.FixedRAM = o.seed, cmd.Flags().Changed("ram")
	if cmd.Flags().Changed("cpus") {
		if x.CPUs = o.cpus; x.CPUs < 1 {
			return fmt.Errorf("--cpus is %d: allowed are 1 and more", x.CPUs)
		}
	}
	for i, v := range x.Variants {
		if !isDescription(v) {
			continue
		}
		data, err := readInput(cmd, v)
		if err == nil {
			x.Variants[i], err = x.AddPath(inputName(v), string(data))
		}
		if err != nil {
			return fmt.Errorf("--variant: %w", err)
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
		var r *bench.Replayed
		var show *replayProgress
		err = interruptible(cmd.Context(), func() (err error) {
			show = newReplayProgress(cmd.ErrOrStderr(), o.quiet)
			r, err = o.replayOne(cmd, s, x, name, show)
			return err
		})
		if err != nil {
			return err
		}
		if i > 0 && (o.format == "ascii" || o.format == "markdown") {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		if err := o.emit(cmd.OutOrStdout(), r.Record()); err != nil {
			return failure{err}
		}
		err = o.writeProfile(cmd, func() (*results.Profile, error) {
			defer show.clear()
			return r.Profile(cmd.Context())
		})
		if err != nil {
			return err
		}
		err = o.writeTimeline(cmd, func() (*results.Timeline, error) {
			defer show.clear()
			return r.Timeline(cmd.Context(), int(o.timelineEvents))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// replayOne replays one file, or standard input.
func (o *options) replayOne(cmd *cobra.Command, s *platform.Spec, x bench.Replay, name string, show *replayProgress) (*bench.Replayed, error) {
	defer show.clear()
	x.Progress = show.tell()
	x.Name = results.Visible(strings.TrimSuffix(strings.TrimSuffix(filepath.Base(name), ".gz"), ".zst"))
	shown := 0
	x.Malformed = func(e *ftrace.SyntaxError) {
		switch shown++; {
		case shown <= malformedShown:
			show.clear()
			fmt.Fprintf(cmd.ErrOrStderr(), "dmapath: %v\n", e)
		case shown == malformedShown+1:
			show.clear()
			fmt.Fprintf(cmd.ErrOrStderr(), "dmapath: %s: more malformed lines are counted, not shown\n", x.Name)
		}
	}
	if name == stdioName {
		x.Name = "(stdin)"
		return x.Stream(cmd.Context(), s, cmd.InOrStdin())
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
		return x.Stream(cmd.Context(), s, f)
	}
	return x.File(cmd.Context(), s, func() (io.ReadCloser, error) { return os.Open(name) })
}

// replayProgress shows how far a replay is, how fast, and the time left: one line that is rewritten on a terminal, otherwise a line every ten
// seconds.
type replayProgress struct {
	w        io.Writer
	terminal bool
	quiet    bool
	began    time.Time // of what is being done
	last     time.Time // line
	doing    string
	shown    bool
}

func newReplayProgress(w io.Writer, quiet bool) *replayProgress {
	f, ok := w.(*os.File)
	return &replayProgress{w: w, quiet: quiet, terminal: ok && term.IsTerminal(int(f.Fd())), last: time.Now()}
}

func (p *replayProgress) tell() func(bench.ReplayStatus) {
	if p.quiet {
		return nil
	}
	return p.show
}

func (p *replayProgress) show(st bench.ReplayStatus) {
	now := time.Now()
	if st.Doing != p.doing {
		p.doing, p.began = st.Doing, now
	}
	every := 10 * time.Second
	if p.terminal {
		every = 100 * time.Millisecond
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	line := progressLine(st, now.Sub(p.began))
	if p.terminal {
		p.shown = true
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// progressLine is what is shown after a while: "reading 12 of 512 MB, 6.1 MB/s, 1m22s left".
func progressLine(st bench.ReplayStatus, took time.Duration) string {
	n, total, unit := float64(st.Done), float64(st.Total), st.Unit
	if unit == "bytes" {
		n, total, unit = n/1e6, total/1e6, "MB"
	}
	perSecond := n / max(took.Seconds(), 1e-3)
	if st.Total == 0 {
		return fmt.Sprintf("%s: %.0f %s, %.4g %s/s", st.Doing, n, unit, perSecond, unit)
	}
	left := time.Duration(float64(took) * max(total-n, 0) / max(n, 1e-9))
	return fmt.Sprintf("%s: %.0f of %.0f %s, %.4g %s/s, %v left", st.Doing, n, total, unit, perSecond, unit, roundTime(left))
}

// clear takes the line away.
func (p *replayProgress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
