package published

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dmapath/bench"
	"dmapath/platform"
)

// plainKeys are the keys of a set-up that are flags of compare; all others are --set's and have a dot.
var plainKeys = []string{"platform", "variant", "workload", "backend", "cache", "cpus", "size", "segments", "source", "operations", "seed", "attrs"}

// settingKey refuses what cannot be a key of a set-up.
func settingKey(key string) error {
	if !slices.Contains(plainKeys, key) && !strings.Contains(key, ".") {
		return fmt.Errorf("unknown key%s: allowed are %s, and keys of --set, which have a dot", nearest(key, plainKeys), strings.Join(plainKeys, ", "))
	}
	return nil
}

// run is one simulation that a cell asks for.
type run struct {
	spec *platform.Spec
	exp  bench.Experiment
}

// id tells runs apart: two with the same are the same.
func (r *run) id() string { return fmt.Sprintf("%s\n%+v", r.spec.Canonical(), r.exp) }

// resolve makes a run of settings. Later settings win. Problems are those of single settings; what is wrong with all of them together
// is the error.
func (t *Target) resolve(list []Setting) (r *run, problems platform.Problems, err error) {
	bad := func(s *Setting, err error) {
		p := platform.Problem{File: t.file, Key: t.ID + "." + s.Key, Text: err.Error()}
		if s.at != nil {
			p.Line, p.Col = s.at.Line, s.at.Column
		}
		problems = append(problems, p)
	}
	name := "icelake-sp"
	at := -1
	for i := range list {
		if list[i].Key == "platform" {
			name, at = list[i].Value, i
		}
	}
	if strings.ContainsAny(name, "/") || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		if !filepath.IsAbs(name) {
			name = "./" + filepath.Join(filepath.Dir(t.file), name)
		}
	}
	s, err := platform.Load(name)
	if err != nil {
		if at >= 0 {
			bad(&list[at], err)
		}
		return nil, problems, err
	}
	x := bench.Default()
	x.Workloads, x.Variants, x.Backends, x.Caches = []string{"map-benchmark"}, []string{"map_page@6.12"}, []string{"direct"}, []string{"hot"}
	for i := range list {
		if err := set(s, &x, list[i].Key, list[i].Value); err != nil {
			bad(&list[i], err)
		}
	}
	if problems != nil {
		return nil, problems, nil
	}
	if err := errors.Join(s.Check(), x.Validate(s)); err != nil {
		return nil, nil, err
	}
	if n := len(x.Points()); n != 1 {
		return nil, nil, fmt.Errorf("are %d runs, not one", n)
	}
	return &run{s, x}, nil, nil
}

// set changes one key of platform or experiment.
func set(s *platform.Spec, x *bench.Experiment, key, value string) (err error) {
	one := func(to *[]string) { *to = []string{value} }
	whole := func(to *int64) {
		if *to, err = strconv.ParseInt(value, 10, 64); err != nil {
			err = fmt.Errorf("%q is not a whole number", value)
		}
	}
	switch key {
	case "platform":
	case "variant":
		one(&x.Variants)
	case "workload":
		one(&x.Workloads)
	case "backend":
		one(&x.Backends)
	case "cache":
		one(&x.Caches)
	case "size":
		x.Size = value
	case "segments":
		x.Segments = value
	case "source":
		x.Source = value
	case "attrs":
		x.Attrs = strings.Split(value, ",")
	case "cpus":
		var n int64
		whole(&n)
		x.CPUs, x.MapBench.Threads = int(min(n, 1<<20)), int(min(n, 1<<20))
	case "operations":
		whole(&x.Operations)
	case "seed":
		var n int64
		whole(&n)
		x.Seed = uint64(n)
	default:
		if rest, ok := strings.CutPrefix(key, "workload."); ok {
			return x.Set(rest, value)
		}
		return s.Set(key, value)
	}
	return err
}

// Check finds out whether the machines and workloads that targets ask for exist. It returns platform.Problems.
func Check(list []*Target) error {
	_, err := plan(list)
	return err
}

// work is what is to be run for a list of targets: every run once.
type work struct {
	runs  []*run
	cells [][]int // by target and cell: index into runs; -1 for none
	bases [][]int // the same, what the cell is divided by; -1 for none
}

// plan resolves every cell.
func plan(list []*Target) (*work, error) {
	w := &work{}
	r := platform.Reader{}
	index := map[string]int{}
	for _, t := range list {
		resolved := map[int]bool{}
		at := func(settings []Setting, label string) int {
			if t.Skip != "" {
				return -1
			}
			run, problems, err := t.resolve(settings)
			for _, p := range problems {
				if !resolved[p.Line] {
					resolved[p.Line] = true
					r.Problems = append(r.Problems, p)
				}
			}
			if err != nil && problems == nil && !resolved[0] {
				resolved[0] = true // what is wrong with one cell is with most
				for _, e := range strings.Split(err.Error(), "\n") {
					r.File = t.file
					r.Bad(t.at, t.ID, "%s: %s", label, e)
				}
			}
			if run == nil {
				return -1
			}
			id := run.id()
			i, ok := index[id]
			if !ok {
				i = len(w.runs)
				index[id] = i
				w.runs = append(w.runs, run)
			}
			return i
		}
		var cells, bases []int
		for i := range t.Cells {
			c := &t.Cells[i]
			s := t.settings(c.At)
			cells = append(cells, at(s, t.label(c.At)))
			base := -1
			if t.Relative != nil {
				base = at(append(s, t.Relative...), t.label(c.At)+", relative_to")
			}
			bases = append(bases, base)
		}
		w.cells, w.bases = append(w.cells, cells), append(w.bases, bases)
	}
	return w, r.Err()
}
