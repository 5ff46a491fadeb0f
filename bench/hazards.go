package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/workloads/hazard"
)

// HazardOptions choose what of the matrix is run. An empty list is everything; of the backends it is one of each sort, and "all" is all.
type HazardOptions struct {
	Calls, Memories, Backends, Kernels []string
	Rounds                             int64 // measured pairs of calls per cell
	Seed                               uint64
	Windows                            bool // measure how long lazy invalidation leaves buffers open
}

// Hazards is the matrix call x memory x backend x kernel.
type Hazards struct {
	Platform *platform.Spec
	Opt      HazardOptions
	Results  []*hazard.Result // in the order of tables: kernel, memory, call, backend
	Windows  []*hazard.Window
}

// HazardNames are the names that the lists of HazardOptions may contain.
func HazardNames() (calls, memories, backends, kernels []string) {
	for _, c := range hazard.Calls() {
		if !slices.Contains(calls, c.Name) {
			calls = append(calls, c.Name)
		}
	}
	for _, m := range hazard.Memories() {
		memories = append(memories, m.Name)
	}
	for _, b := range hazard.Backends() {
		backends = append(backends, b.Name)
	}
	return calls, memories, backends, []string{kernel.V6_12.String(), kernel.V7_3.String()}
}

// Validate reports every name that does not exist.
func (o *HazardOptions) Validate() error {
	calls, memories, backends, kernels := HazardNames()
	for _, l := range []struct {
		what        string
		given, have []string
	}{{"call", o.Calls, calls}, {"memory", o.Memories, memories}, {"backend", o.Backends, append(backends, "all")}, {"kernel", o.Kernels, kernels}} {
		for _, g := range l.given {
			if !slices.Contains(l.have, g) {
				return fmt.Errorf("there is no %s %q: allowed are %s%s", l.what, g, strings.Join(l.have, ", "), didYouMean(g, l.have))
			}
		}
	}
	if o.Rounds < 16 || o.Rounds > 1_000_000 {
		return fmt.Errorf("rounds is %d: allowed are 16 to 1000000", o.Rounds)
	}
	return nil
}

func chosen(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }

func (o *HazardOptions) wants(b hazard.Backend) bool {
	if len(o.Backends) == 0 {
		return b.Main
	}
	return slices.Contains(o.Backends, "all") || slices.Contains(o.Backends, b.Name)
}

// Cells lists the chosen cells in the order of tables.
func (o *HazardOptions) Cells() []hazard.Cell {
	memories := slices.DeleteFunc(hazard.Memories(), func(m hazard.Memory) bool { return !chosen(o.Memories, m.Name) })
	calls := slices.DeleteFunc(hazard.Calls(), func(c hazard.Call) bool { return !chosen(o.Calls, c.Name) })
	backends := slices.DeleteFunc(hazard.Backends(), func(b hazard.Backend) bool { return !o.wants(b) })
	var cells []hazard.Cell
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		if !chosen(o.Kernels, v.String()) {
			continue
		}
		for _, m := range memories {
			for _, c := range calls {
				if c.Version != v {
					continue
				}
				for _, b := range backends {
					cells = append(cells, hazard.Cell{Call: c, Memory: m, Backend: b})
				}
			}
		}
	}
	return cells
}

// fitting lists the chosen cells for platform s. A backend that s cannot have is an error when it was asked for by name, and
// otherwise stays in the matrix as one that cannot be run.
func (o *HazardOptions) fitting(s *platform.Spec) ([]hazard.Cell, error) {
	missing := map[string]string{}
	for _, b := range hazard.Backends() {
		if !o.wants(b) || b.Missing != "" {
			continue
		}
		err := b.Fit(s)
		if err != nil && (slices.Contains(o.Backends, b.Name) || !errors.As(err, new(platform.Unfit))) {
			return nil, fmt.Errorf("backend %s: %w", b.Name, err)
		}
		if err != nil {
			missing[b.Name] = err.Error()
		}
	}
	cells := o.Cells()
	for i := range cells {
		if why := missing[cells[i].Backend.Name]; why != "" {
			cells[i].Backend.Missing = why
		}
	}
	return cells, nil
}

// FindCell returns the cell that name (map_phys@7.3/ram/strict) means.
func FindCell(name string) (hazard.Cell, error) {
	f := strings.Split(name, "/")
	if len(f) < 3 {
		return hazard.Cell{}, fmt.Errorf("a cell is CALL@KERNEL/MEMORY/BACKEND, as in map_phys@7.3/ram/strict, and not %q", name)
	}
	n := len(f)
	call, version, _ := strings.Cut(strings.Join(f[:n-2], "/"), "@")
	o := HazardOptions{Calls: []string{call}, Memories: f[n-2 : n-1], Backends: f[n-1:], Kernels: []string{version}, Rounds: 16}
	if err := o.Validate(); err != nil {
		return hazard.Cell{}, fmt.Errorf("cell %s: %w", name, err)
	}
	cells := o.Cells()
	if len(cells) == 0 {
		return hazard.Cell{}, fmt.Errorf("cell %s: kernel %s has no call %s", name, version, call)
	}
	return cells[0], nil
}

// RunHazards runs the chosen cells on platform s with up to jobs at a time (0: one per CPU of the host). The result does not depend
// on jobs.
func RunHazards(ctx context.Context, s *platform.Spec, o HazardOptions, jobs int, progress func(done, total int, what string)) (*Hazards, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	cells, err := o.fitting(s)
	if err != nil {
		return nil, err
	}
	h := &Hazards{Platform: s, Opt: o, Results: make([]*hazard.Result, len(cells))}
	type window struct {
		hazard.Backend
		variant string
		load    int64
	}
	var windows []window
	if o.Windows {
		for _, b := range hazard.Backends() {
			if slices.ContainsFunc(cells, func(c hazard.Cell) bool { return c.Backend.Name == b.Name && c.Backend.Missing != "" }) {
				continue
			}
			for _, v := range hazard.WindowsOf(b) {
				for _, l := range hazard.LoadsOf(b) {
					if o.wants(b) && chosen(o.Kernels, kernelOf(v)) {
						windows = append(windows, window{b, v, l})
					}
				}
			}
		}
	}
	h.Windows = make([]*hazard.Window, len(windows))
	total := len(cells) + len(windows)
	errs := make([]error, total)
	finished := make(chan string, total)
	var g errgroup.Group
	g.SetLimit(jobs)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		for done := 1; done <= total; done++ {
			what := <-finished
			if progress != nil {
				progress(done, total, what)
			}
		}
	}()
	for i, c := range cells {
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				h.Results[i], errs[i] = hazard.Observe(s, c, o.Seed)
			}
			finished <- c.String()
			return nil
		})
	}
	for i, w := range windows {
		g.Go(func() error {
			k := len(cells) + i
			if errs[k] = ctx.Err(); errs[k] == nil {
				h.Windows[i], errs[k] = hazard.Measure(s, w.Backend, w.variant, w.load, o.Seed)
			}
			finished <- "window " + w.Name
			return nil
		})
	}
	g.Wait()
	<-reported
	// What costs the same is measured once, by the first in the order of tables.
	groups := map[hazard.Likeness][]*hazard.Result{}
	for i, r := range h.Results {
		if errs[i] != nil {
			continue
		}
		like, ok := r.Likeness()
		if !ok {
			continue
		}
		groups[like] = append(groups[like], r)
		if len(groups[like]) > 1 {
			continue
		}
		g.Go(func() error {
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = r.Measure(hazard.Config{Rounds: o.Rounds, Seed: o.Seed})
			}
			return nil
		})
	}
	g.Wait()
	for _, same := range groups {
		for _, r := range same[1:] {
			r.Map, r.Unmap = same[0].Map, same[0].Unmap
		}
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return h, nil
}
