package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/results"
)

// labelsShown is of how many runs standard error says what a timeline shows of each; the file has all.
const labelsShown = 4

// profileFlag is --pprof, of the commands that simulate.
func (o *options) profileFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.pprof, "pprof", "", "run once more and write a profile of the simulated cycles for go tool pprof (- is standard output, instead of tables); its samples are tagged with\nworkload, backend, cache, variant, platform and call (-tagfocus variant=map_phys@7.3)")
}

// timelineFlag is --timeline with its budget, of the commands that simulate.
func (o *options) timelineFlag(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.timeline, "timeline", "", "run once more and write what happened after the warm-up as a Chrome trace, for ui.perfetto.dev (- is standard output): calls and kernel\nfunctions per CPU, locks, invalidations, page walks, packets, queues")
	o.timelineEvents = bench.TimelineEvents
	f.Var(&o.timelineEvents, "timeline-events", fmt.Sprintf("events in the file of --timeline, over all runs, %d and more; each is shown until its part is used up", bench.TimelineLeast))
}

// eventBudget is the value of --timeline-events.
type eventBudget int

func (b *eventBudget) String() string { return strconv.Itoa(int(*b)) }
func (b *eventBudget) Type() string   { return "int" }

// Set refuses at once what would be refused after the simulation.
func (b *eventBudget) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < bench.TimelineLeast || n > mostEvents {
		return fmt.Errorf("allowed are %d to %d", bench.TimelineLeast, mostEvents)
	}
	*b = eventBudget(n)
	return nil
}

// mostEvents is a file of a few gigabytes, which no viewer opens.
const mostEvents = 50_000_000

// againFlags are the flags of commands that run an experiment once more to look at it closely.
func (o *options) againFlags(cmd *cobra.Command) {
	o.profileFlag(cmd)
	o.timelineFlag(cmd)
}

// writeAgain runs x once more for what --pprof and --timeline ask for.
func (o *options) writeAgain(cmd *cobra.Command, s *platform.Spec, x bench.Experiment) error {
	if o.pprof == "" && o.timeline == "" {
		return nil
	}
	runs, err := x.Again(s, "")
	if err != nil {
		return err
	}
	return o.writeRuns(cmd, runs)
}

// writeRuns runs each of runs once more for what --pprof and --timeline ask for.
func (o *options) writeRuns(cmd *cobra.Command, runs []bench.Again) error {
	status := o.status(cmd.ErrOrStderr())
	if err := o.writeProfile(cmd, func() (*results.Profile, error) { return bench.Profile(cmd.Context(), runs, status) }); err != nil {
		return err
	}
	return o.writeTimeline(cmd, func() (*results.Timeline, error) {
		return bench.Timeline(cmd.Context(), runs, int(o.timelineEvents), status)
	})
}

// writeProfile writes the profile that run makes, if --pprof asks for one.
func (o *options) writeProfile(cmd *cobra.Command, run func() (*results.Profile, error)) error {
	if o.pprof == "" {
		return nil
	}
	var p *results.Profile
	err := interruptible(cmd.Context(), func() (err error) {
		p, err = run()
		return err
	})
	if err == nil {
		err = writeOutput(cmd, o.pprof, func(w io.Writer) error { return p.Write(w, "dmapath", "cycles are simulated") })
	}
	if err != nil {
		return failure{err}
	}
	return nil
}

// writeTimeline writes the timeline that run makes, if --timeline asks for one, and says on standard error what is not in it.
func (o *options) writeTimeline(cmd *cobra.Command, run func() (*results.Timeline, error)) error {
	if o.timeline == "" {
		return nil
	}
	var t *results.Timeline
	err := interruptible(cmd.Context(), func() (err error) {
		t, err = run()
		return err
	})
	if err == nil {
		err = writeOutput(cmd, o.timeline, t.Write)
	}
	if err != nil {
		return failure{err}
	}
	if o.quiet {
		return nil
	}
	if len(t.Processes) <= labelsShown {
		for _, p := range t.Processes {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s: %s\n", o.timeline, results.Visible(p.Name), p.Label)
		}
	}
	note := map[string]string{}
	for _, n := range t.Notes {
		note[n.Key] = n.Value
	}
	if note["events_left_out"] != "0" || note["runs_left_out"] != "0" {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d runs, %s events; left out: %s runs and %s events of those shown; --timeline-events makes room\n",
			o.timeline, len(t.Processes), note["events"], note["runs_left_out"], note["events_left_out"])
	}
	return nil
}
