package sweep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"dmapath/bench"
	"dmapath/results"
)

// Shard is one of Of parts of a sweep: every Of-th point from Index on. The zero value and {0, 1} are the whole.
type Shard struct{ Index, Of int }

// Part picks the points of a shard.
func (sh Shard) Part(points []Point) []Point {
	if sh.Of <= 1 {
		return points
	}
	var mine []Point
	for i := sh.Index; i < len(points); i += sh.Of {
		mine = append(mine, points[i])
	}
	return mine
}

// Status is how far a run has come. Points that an earlier run finished are in Done and Failed, but not in Fresh.
type Status struct{ Done, Failed, Fresh, Total int }

// Run runs the points of the shard that the store does not have, on up to jobs processors (0: all), and completes the store. progress is
// called from one goroutine at a time. The files do not depend on jobs, nor on how often the run was interrupted. It returns how many
// points failed.
func Run(ctx context.Context, s *Store, shard Shard, jobs int, progress func(Status)) (Status, error) {
	points, err := s.plan.Points()
	if err != nil {
		return Status{}, err
	}
	points = shard.Part(points)
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	var mu sync.Mutex
	st := Status{Total: len(points)}
	var todo []Point
	for _, pt := range points {
		done, failed := s.has(pt.Index)
		if !done {
			todo = append(todo, pt)
			continue
		}
		st.Done++
		if failed {
			st.Failed++
		}
	}
	var g errgroup.Group
	g.SetLimit(jobs)
	for _, pt := range todo {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			failed, err := s.run(pt)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			st.Done++
			st.Fresh++
			if failed {
				st.Failed++
			}
			if progress != nil {
				progress(st)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return st, err
	}
	return st, s.finish(points, shard)
}

// run runs a point and stores what came of it; err is an error of the store.
func (s *Store) run(pt Point) (failed bool, err error) {
	rec, why := s.plan.measure(pt)
	if why != nil {
		return true, s.put(pt.Index, failedExt, func(w io.Writer) error {
			_, err := io.WriteString(w, strings.ReplaceAll(why.Error(), "\n", "; ")+"\n")
			return err
		})
	}
	return false, s.put(pt.Index, doneExt, func(w io.Writer) error { return results.WriteCSV(w, rec) })
}

// measure runs the experiment of a point. The share of each kernel function is left out: it is what `dmapath explain` shows.
func (p *Plan) measure(pt Point) ([]results.Measurement, error) {
	s, x, err := p.At(pt)
	if err != nil {
		return nil, err
	}
	c := &bench.Comparison{Platform: s, Exp: x}
	for _, run := range x.Points() {
		o, err := x.Run(s, run)
		if err != nil {
			return nil, err
		}
		c.Outcomes = append(c.Outcomes, o)
	}
	var list []results.Measurement
	dims := p.dims(pt)
	for _, m := range c.Record().Measurements {
		if m.Dim("function") != "" {
			continue
		}
		own := append([]results.Dim(nil), dims...)
		for _, d := range m.Dims {
			if !hasKey(dims, d.Key) {
				own = append(own, d)
			}
		}
		m.Dims = own
		list = append(list, m)
	}
	return list, nil
}

func hasKey(dims []results.Dim, key string) bool {
	for _, d := range dims {
		if d.Key == key {
			return true
		}
	}
	return false
}

// Estimate runs the point in the middle of the shard and says how long all would take on jobs processors. It is the one place where the
// wall clock matters, and nothing of it is kept.
func Estimate(p *Plan, points []Point, jobs int) (time.Duration, error) {
	if len(points) == 0 {
		return 0, errors.New("no points")
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	pt := points[len(points)/2]
	start := time.Now()
	if _, err := p.measure(pt); err != nil {
		return 0, fmt.Errorf("point %d, which stands for all: %w", pt.Index, err)
	}
	return time.Since(start) * time.Duration((len(points)+jobs-1)/jobs), nil
}
