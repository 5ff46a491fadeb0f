package sweep

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distmv"
	"gonum.org/v1/gonum/stat/samplemv"

	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
)

// Methods of choosing points.
const (
	Grid   = "grid"   // every combination
	Random = "random" // independent points
	LHS    = "lhs"    // Latin hypercube: each axis is covered evenly
)

// Methods lists them.
var Methods = []string{Grid, Random, LHS}

// platformKey is the axis of presets and platform files.
const platformKey = "platform"

// Plan is a sweep.
type Plan struct {
	Platform   *platform.Spec // of every point, unless an axis chooses it
	Experiment bench.Experiment
	Axes       []Axis
	Method     string
	Samples    int      // of random and lhs
	Seed       uint64   // of random and lhs
	Sets       []string // KEY=VALUE for every platform that an axis "platform" chooses
}

// load returns a platform that an axis chooses.
func (p *Plan) load(name string) (*platform.Spec, error) {
	s, err := platform.Load(name)
	if err != nil {
		return nil, err
	}
	for _, kv := range p.Sets {
		key, value, _ := strings.Cut(kv, "=")
		if err := s.Set(key, value); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Point is one value for each axis.
type Point struct {
	Index  int
	Values []string // by axis
}

// Points lists the points. Those of a grid vary the last axis first.
func (p *Plan) Points() ([]Point, error) {
	if p.Method == Grid {
		return p.grid()
	}
	if p.Samples < 1 || p.Samples > MaxPoints {
		return nil, fmt.Errorf("%d samples: allowed are 1 to %d", p.Samples, MaxPoints)
	}
	n := len(p.Axes)
	if n > 0 && p.Samples > MaxValues/n {
		return nil, fmt.Errorf("%d samples of %d axes: allowed are %d values together, %d samples", p.Samples, n, MaxValues, MaxValues/n)
	}
	u := mat.NewDense(p.Samples, max(n, 1), nil)
	src := rand.NewPCG(p.Seed, sim.NewRand(p.Seed, "sweep").Uint64())
	q := distmv.NewUnitUniform(max(n, 1), src)
	if p.Method == LHS {
		samplemv.LatinHypercube{Q: q, Src: src}.Sample(u)
	} else {
		samplemv.IID{Dist: q}.Sample(u)
	}
	points := make([]Point, p.Samples)
	for i := range points {
		points[i] = Point{i, make([]string, n)}
		for k := range p.Axes {
			points[i].Values[k] = p.Axes[k].At(u.At(i, k))
		}
	}
	return points, nil
}

func (p *Plan) grid() ([]Point, error) {
	total := 1
	var errs []error
	lists := make([][]string, len(p.Axes))
	for k := range p.Axes {
		v, err := p.Axes[k].Values()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		lists[k] = v
		if total *= len(v); total > MaxPoints {
			return nil, fmt.Errorf("the grid has more than %d points", MaxPoints)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	points := make([]Point, total)
	for i := range points {
		values := make([]string, len(lists))
		for k, rest := len(lists)-1, i; k >= 0; k-- {
			values[k], rest = lists[k][rest%len(lists[k])], rest/len(lists[k])
		}
		points[i] = Point{i, values}
	}
	return points, nil
}

// At is the platform and the experiment of a point.
func (p *Plan) At(pt Point) (*platform.Spec, bench.Experiment, error) {
	s, x := p.Platform, p.Experiment
	if k := slices.IndexFunc(p.Axes, func(a Axis) bool { return a.Key == platformKey }); k >= 0 {
		var err error
		if s, err = p.load(pt.Values[k]); err != nil {
			return nil, x, err
		}
	}
	s = s.Clone()
	for k, a := range p.Axes {
		if a.Key == platformKey {
			continue
		}
		var err error
		if key, ok := strings.CutPrefix(a.Key, "workload."); ok {
			err = x.Set(key, pt.Values[k])
		} else {
			err = s.Set(a.Key, pt.Values[k])
		}
		if err != nil {
			return nil, x, err
		}
	}
	// As the flag --cpus does: the benchmark runs a thread on each.
	if slices.ContainsFunc(p.Axes, func(a Axis) bool { return a.Key == "workload.cpus" }) {
		x.MapBench.Threads = x.CPUs
	}
	return s, x, errors.Join(s.Check(), x.Validate(s))
}

// Check finds what is wrong with every point alike: axes that do not exist or are given twice, a method that does not. Values that
// make one point impossible are found when it is run.
func (p *Plan) Check() error {
	if !slices.Contains(Methods, p.Method) {
		return fmt.Errorf("there is no method %q: allowed are %s%s", p.Method, strings.Join(Methods, ", "), kernel.DidYouMean(p.Method, Methods))
	}
	if len(p.Axes) == 0 {
		return errors.New("nothing is varied: give at least one --set KEY=VALUES with several values, such as iommu.iotlb.entries=16..4096*2")
	}
	var errs []error
	for i, a := range p.Axes {
		for _, b := range p.Axes[:i] {
			if a.Key == b.Key {
				errs = append(errs, fmt.Errorf("%s is given twice", a.Key))
			}
		}
		if a.Key == platformKey {
			continue
		}
		if key, ok := strings.CutPrefix(a.Key, "workload."); ok {
			x := p.Experiment
			errs = append(errs, x.Set(key, a.At(0)))
		} else if _, err := p.Platform.Get(a.Key); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	base := p.Experiment
	if err := base.Validate(p.Platform); err != nil {
		return err
	}
	return p.Manifest().Write(io.Discard) // text that cannot be written down cannot be resumed either
}

// document is the section of the plan's own file that says what is varied.
type document struct {
	Method    string   `yaml:"method"`
	Samples   int      `yaml:"samples,omitempty"`
	Seed      string   `yaml:"seed,omitempty"`
	Axes      []string `yaml:"axes"`
	Sets      []string `yaml:"set,omitempty"`
	Platforms []string `yaml:"platforms,omitempty"` // hashes of those that an axis chooses
}

// Manifest describes the plan completely; equal ones give equal results.
func (p *Plan) Manifest() *results.Manifest {
	d := document{Method: p.Method}
	if p.Method != Grid {
		d.Samples, d.Seed = p.Samples, strconv.FormatUint(p.Seed, 10)
	}
	for _, a := range p.Axes {
		d.Axes = append(d.Axes, a.Key+"="+a.Text)
		if a.Key != platformKey {
			continue
		}
		d.Sets = p.Sets
		for _, v := range a.values {
			hash := "cannot be loaded"
			if s, err := p.load(v); err == nil {
				hash = s.Hash()
			}
			d.Platforms = append(d.Platforms, hash)
		}
	}
	text, err := yaml.MarshalWithOptions(d, yaml.Indent(2))
	if err != nil {
		panic("sweep: " + err.Error()) // strings and numbers
	}
	m := (&bench.Comparison{Platform: p.Platform, Exp: p.Experiment}).Manifest()
	m.Config = append([]results.Section{{Name: "sweep", Text: string(text)}}, m.Config...)
	return m
}

// FromManifest reads a plan back; name is the file for messages.
func FromManifest(name string, m *results.Manifest) (*Plan, error) {
	text, ok := m.Section("sweep")
	if !ok {
		return nil, fmt.Errorf("%s: config has no section sweep", name)
	}
	var d document
	if err := results.DecodeYAML([]byte(text), &d); err != nil {
		return nil, fmt.Errorf("%s: config.sweep: %w", name, err)
	}
	p := &Plan{Method: d.Method, Samples: d.Samples, Sets: d.Sets}
	if d.Seed != "" {
		var err error
		if p.Seed, err = strconv.ParseUint(d.Seed, 10, 64); err != nil {
			return nil, fmt.Errorf("%s: config.sweep: seed is %q: want a number from 0 to 2^64-1", name, d.Seed)
		}
	}
	for _, text := range d.Axes {
		a, err := ParseAxis(text)
		if err != nil {
			return nil, fmt.Errorf("%s: config.sweep: %w", name, err)
		}
		p.Axes = append(p.Axes, a)
	}
	var err error
	if p.Platform, p.Experiment, err = bench.FromManifest(name, m); err != nil {
		return nil, err
	}
	return p, p.Check()
}

// dims are the coordinates of a point, as measurements carry them.
func (p *Plan) dims(pt Point) []results.Dim {
	dims := []results.Dim{{Key: "point", Value: fmt.Sprint(pt.Index)}}
	for k, a := range p.Axes {
		if a.Key != platformKey { // the comparison has that itself
			dims = append(dims, results.Dim{Key: strings.ReplaceAll(a.Key, ".", "_"), Value: pt.Values[k]})
		}
	}
	return dims
}
