package published

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"math"
	"path"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"dmapath/bench"
	"dmapath/bench/evidence"
)

//go:embed targets/*.yaml
var embedded embed.FS

// Files are the files of Embedded.
func Files() fs.FS { return embedded }

// Options choose the targets. The zero value takes those of this project.
type Options struct {
	Targets []*Target
	Only    []string // ids; none: all
}

// Embedded returns the targets of this project, in the order of their files' names.
func Embedded() ([]*Target, error) {
	files, err := embedded.ReadDir("targets")
	if err != nil {
		return nil, err
	}
	var list []*Target
	for _, f := range files {
		name := path.Join("targets", f.Name())
		data, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		l, err := Parse(name, data)
		if err != nil {
			return nil, err
		}
		list = append(list, l...)
	}
	return list, nil
}

// Select returns the targets with the ids given, or whose id begins with one and a hyphen: T2 selects T2-read-64.
func Select(list []*Target, ids []string) ([]*Target, error) {
	if len(ids) == 0 {
		return list, nil
	}
	var all []string
	for _, t := range list {
		all = append(all, t.ID)
	}
	var out []*Target
	used := make([]bool, len(ids))
	for _, t := range list {
		for i, id := range ids {
			if t.ID == id || len(t.ID) > len(id) && t.ID[:len(id)+1] == id+"-" {
				used[i] = true
				if !slices.Contains(out, t) {
					out = append(out, t)
				}
			}
		}
	}
	for i, ok := range used {
		if !ok {
			return nil, fmt.Errorf("there is no target %q%s: there are %v", ids[i], nearest(ids[i], all), all)
		}
	}
	return out, nil
}

// Run runs the targets with up to jobs runs at a time (0: one per CPU of the host) and returns a row per published value and per claim. The
// result does not depend on jobs. A run that fails is a miss with the reason. The error is platform.Problems when a
// target asks for something that does not exist.
func Run(ctx context.Context, o Options, jobs int) (*evidence.Report, error) {
	list := o.Targets
	if list == nil {
		var err error
		if list, err = Embedded(); err != nil {
			return nil, err
		}
	}
	list, err := Select(list, o.Only)
	if err != nil {
		return nil, err
	}
	w, err := plan(list)
	if err != nil {
		return nil, err
	}
	outs, errs, err := w.run(ctx, jobs)
	if err != nil {
		return nil, err
	}
	rep := &evidence.Report{Name: "published", Title: "Published measurements"}
	for i, t := range list {
		values := make([]float64, len(t.Cells))
		why := make([]string, len(t.Cells))
		for c := range t.Cells {
			values[c], why[c] = t.value(w.cells[i][c], w.bases[i][c], outs, errs)
		}
		rep.Rows = append(rep.Rows, t.rows(values, why)...)
	}
	rep.Notes = append(rep.Notes, fmt.Sprintf("%d targets, %d runs.", len(list), len(w.runs)))
	return rep, nil
}

// run performs every run once.
func (w *work) run(ctx context.Context, jobs int) ([]*bench.Outcome, []error, error) {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	var g errgroup.Group
	g.SetLimit(jobs)
	outs, errs := make([]*bench.Outcome, len(w.runs)), make([]error, len(w.runs))
	for i, r := range w.runs {
		g.Go(func() error {
			if ctx.Err() == nil {
				outs[i], errs[i] = r.exp.Run(r.spec, r.exp.Points()[0])
			}
			return nil
		})
	}
	g.Wait()
	return outs, errs, ctx.Err()
}

// value is a cell's metric, NaN with the reason when there is none.
func (t *Target) value(cell, base int, outs []*bench.Outcome, errs []error) (float64, string) {
	of := func(i int) (float64, string) {
		if errs[i] != nil {
			return math.NaN(), "the run failed: " + errs[i].Error()
		}
		v, err := t.measure(outs[i])
		if err != nil {
			return math.NaN(), err.Error()
		}
		return v, ""
	}
	if cell < 0 {
		return math.NaN(), t.Skip
	}
	v, why := of(cell)
	if base < 0 || why != "" {
		return v, why
	}
	b, why := of(base)
	return v / b, why
}

// rows judges a target whose cells have these values.
func (t *Target) rows(values []float64, why []string) (rows []evidence.Row) {
	set := t.ID + ": " + t.Title
	source := t.Source
	if t.Confidence != Verified {
		source += " (" + string(t.Confidence) + ")"
	}
	for i := range t.Cells {
		c := &t.Cells[i]
		if math.IsNaN(c.Value) {
			continue
		}
		r := evidence.Row{Set: set, What: t.label(c.At), Unit: t.Unit, Predicted: values[i], Reference: c.Value, Tolerance: t.Tolerance.Relative, Slack: t.Tolerance.Absolute,
			Source: source, Unverified: t.Confidence == Unverified, Fitted: c.Fitted, Skip: t.Skip, Why: c.Why}
		if why[i] != "" {
			r.Why = why[i]
		}
		rows = append(rows, r)
	}
	for i := range t.Claims {
		c := &t.Claims[i]
		r := c.row(t, func(at []int) float64 {
			for i := range t.Cells {
				if slices.Equal(t.Cells[i].At, at) {
					return values[i]
				}
			}
			panic("published: a claim about a cell that is not there") // the parser has refused it
		})
		r.Set, r.Source, r.Skip = set, source, t.Skip
		rows = append(rows, r)
	}
	return rows
}
