// Package validation is the list of checks that `dmapath validate` runs, and the page that shows what came of them. A check is a
// package of its own under bench/ which returns an evidence.Report; adding one is a line in Checks.
package validation

import (
	"context"
	"fmt"
	"io"

	"dmapath/bench"
	"dmapath/bench/behaviour"
	"dmapath/bench/cachegrind"
	"dmapath/bench/closedforms"
	"dmapath/bench/eventtraces"
	"dmapath/bench/evidence"
	"dmapath/bench/published"
	"dmapath/bench/reference"
	"dmapath/bench/relations"
)

// Check is one way to hold the model against something else.
type Check struct {
	Name  string // as the subcommand: kernel-traces
	Short string // one line
	Run   func(ctx context.Context, jobs int) (*evidence.Report, error)
}

// Checks lists all, in the order of the page: from single mechanisms to whole machines.
func Checks() []Check {
	return []Check{
		{"kernel-traces", "instructions, loads, stores and lines of each call against recorded kernels", kernelTraces},
		{"behaviours", "the shape of published measurements: cliffs, collapses, ratios", behaviours},
		{"closed-forms", "queues, walks, pipelines, link and caches against formulas", closedForms},
		{"relations", "determinism, conservation and metamorphic relations on random configurations", randomRelations},
		{"published", "measurements that others have published, repeated on the same machines", publishedTables},
		{"event-traces", "IOVAs, ranges and calls against recorded events of real kernels", eventTraces},
		{"cachegrind", "the caches against Valgrind's cachegrind, on recorded programs", cachegrinds},
	}
}

// Find returns the check of a name.
func Find(name string) (Check, bool) {
	for _, c := range Checks() {
		if c.Name == name {
			return c, true
		}
	}
	return Check{}, false
}

// Run runs checks one after the other, each on up to jobs processors (0: all); progress is called before each. The reports do not
// depend on jobs.
func Run(ctx context.Context, list []Check, jobs int, progress func(done, total int, what string)) ([]*evidence.Report, error) {
	var out []*evidence.Report
	for i, c := range list {
		if progress != nil {
			progress(i, len(list), c.Name)
		}
		r, err := c.Run(ctx, jobs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		out = append(out, r)
	}
	if progress != nil {
		progress(len(list), len(list), "")
	}
	return out, nil
}

func closedForms(ctx context.Context, jobs int) (*evidence.Report, error) {
	return closedforms.Run(ctx, closedforms.Options{}, jobs)
}

// randomRelations runs as many random configurations as take about a minute.
func randomRelations(ctx context.Context, jobs int) (*evidence.Report, error) {
	r, _, err := relations.Run(ctx, relations.Options{Configs: 120, Seed: 1}, jobs)
	return r, err
}

// publishedTables runs the targets of the program.
func publishedTables(ctx context.Context, jobs int) (*evidence.Report, error) {
	return published.Run(ctx, published.Options{}, jobs)
}

// kernelTraces holds the model against the recordings that travel with the program, x86-64 and arm64.
func kernelTraces(ctx context.Context, jobs int) (*evidence.Report, error) {
	var all *evidence.Report
	for _, d := range reference.KernelTraces() {
		k, err := bench.ReadKernelTracesFS(d.FS, d.Name)
		if err != nil {
			return nil, err
		}
		v, err := k.Validate(ctx, d.Name, jobs)
		if err != nil {
			return nil, err
		}
		r := v.Evidence()
		if all == nil {
			all = r
			continue
		}
		all.Rows = append(all.Rows, r.Rows...)
		all.Notes = append(all.Notes, r.Notes...)
	}
	return all, nil
}

func behaviours(ctx context.Context, jobs int) (*evidence.Report, error) {
	list, err := behaviour.Run(ctx, behaviour.All(), jobs)
	if err != nil {
		return nil, err
	}
	return behaviour.Evidence(list), nil
}

// eventTraces replays the traces that travel with the program.
func eventTraces(ctx context.Context, jobs int) (*evidence.Report, error) {
	open := func(name string) (io.ReadCloser, error) { return reference.Open(name) }
	return eventtraces.Run(ctx, eventtraces.Options{Files: eventtraces.Kept(reference.EventTraces(), open)}, jobs)
}

// cachegrinds runs the programs that travel with the program.
func cachegrinds(ctx context.Context, jobs int) (*evidence.Report, error) {
	traces, err := cachegrind.Read(reference.Cachegrind())
	if err != nil {
		return nil, err
	}
	return cachegrind.Run(ctx, cachegrind.Options{Traces: traces}, jobs)
}
