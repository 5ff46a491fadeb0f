package relations

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"dmapath/bench"
	"dmapath/platform"
)

// Setting is a key of the platform, or workload. and a key of the experiment, as --set takes it.
type Setting struct{ Key, Value string }

// Case is one configuration.
type Case struct {
	Platform string
	bench.Point
	Set []Setting
}

// String is the command that runs the case as a comparison.
func (c Case) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "dmapath compare --platform %s --workload %s --backend %s --cache %s --variant %s", c.Platform, c.Workload, c.Backend, c.Cache, c.Variant)
	for _, s := range c.Set {
		key, known := strings.CutPrefix(s.Key, "workload.")
		if known = known && slices.Contains([]string{"operations", "cpus", "size", "segments", "seed"}, key); known {
			fmt.Fprintf(&b, " --%s %s", key, s.Value)
		} else {
			fmt.Fprintf(&b, " --set %s=%s", s.Key, s.Value)
		}
	}
	return b.String()
}

// With returns c with a value set: changed where it was set already, else added.
func (c Case) With(key, value string) Case {
	c.Set = slices.Clone(c.Set)
	for i := range c.Set {
		if c.Set[i].Key == key {
			c.Set[i].Value = value
			return c
		}
	}
	c.Set = append(c.Set, Setting{key, value})
	return c
}

// Without returns c without its i-th value.
func (c Case) Without(i int) Case {
	c.Set = slices.Delete(slices.Clone(c.Set), i, i+1)
	return c
}

var presets sync.Map // by name: *platform.Spec as parsed, never changed

// preset returns a copy of a preset, which is parsed once.
func preset(name string) (*platform.Spec, error) {
	if s, ok := presets.Load(name); ok {
		return s.(*platform.Spec).Clone(), nil
	}
	s, err := platform.Load(name)
	if err != nil {
		return nil, err
	}
	presets.Store(name, s)
	return s.Clone(), nil
}

// setup makes platform and experiment of c, checked.
func (c Case) setup() (*platform.Spec, *bench.Experiment, error) {
	s, err := preset(c.Platform)
	if err != nil {
		return nil, nil, err
	}
	x := bench.Default()
	x.Workloads, x.Backends, x.Caches, x.Variants = []string{c.Workload}, []string{c.Backend}, []string{c.Cache}, []string{c.Variant}
	for _, kv := range c.Set {
		if key, ok := strings.CutPrefix(kv.Key, "workload."); ok {
			err = x.Set(key, kv.Value)
		} else {
			err = s.Set(kv.Key, kv.Value)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if err := s.Check(); err != nil {
		return nil, nil, err
	}
	return s, &x, x.Validate(s)
}
