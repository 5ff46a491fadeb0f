package bench

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"

	"dmapath/platform"
	"dmapath/results"
	"dmapath/workloads/hazard"
)

// ExplainHazard runs one cell of the matrix and tells its story: what the driver, the device and the caches did, what the kernel and
// the oracle reported, and every step of the calls with its cost.
func ExplainHazard(s *platform.Spec, c hazard.Cell, o HazardOptions) (*results.Record, error) {
	res, err := hazard.Run(s, c, hazard.Config{Rounds: o.Rounds, Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	h := &Hazards{Platform: s, Opt: o, Results: []*hazard.Result{res}}
	r := &results.Record{Name: "Hazard", Version: results.Version(), Seed: o.Seed}
	h.measure(r, res)
	t := &results.Table{ID: "hazard", Title: c.String(), Columns: []results.Column{{Name: "question", Text: true}, {Name: "answer", Text: true}}}
	add := func(q, a string) {
		if a != "" {
			t.Add(q, a)
		}
	}
	add("call", c.Call.What)
	add("memory", c.Memory.What)
	add("backend", c.Backend.What)
	add("status", res.Status.String())
	add("why", res.Why)
	if res.Err != nil {
		add("the kernel returns", res.Err.Error())
	}
	if res.Map != nil {
		add("cycles, map", fmt.Sprintf("%.0f", res.Map.Series.SecondHalf().Mean))
		add("cycles, unmap", fmt.Sprintf("%.0f", res.Unmap.Series.SecondHalf().Mean))
		add("reachable beside the buffer", fmt.Sprintf("%d bytes", res.Exposed.Beside))
		add("after the unmap", reach(res.Exposed.After))
		add("20 ms later", reach(res.Exposed.Later))
	}
	for _, f := range res.Hazards {
		inferred := ""
		if f.Inferred {
			inferred = "; inferred from the source"
		}
		add(f.Kind.String(), fmt.Sprintf("%s: %s (%v; caches: %v before the device's access, %v after it%s)", f.Step, f.Note, f.Dir, f.Adversary.Before, f.Adversary.After, inferred))
	}
	t.Notes = append(t.Notes, res.Story...)
	r.Tables = append(r.Tables, t)
	if res.Map != nil {
		r.Tables = append(r.Tables, stepTable(op{"map", res.Map}, "one map"), stepTable(op{"unmap", res.Unmap}, "one unmap"))
	}
	return r, nil
}

// Write puts the matrix into dir in all formats and commits it.
func (h *Hazards) Write(dir *results.OutputDir, r *results.Record, m *results.Manifest) error {
	if err := AllFormats(dir, "hazards", r); err != nil {
		return err
	}
	return dir.Commit(m)
}

// Manifest says what was run: the choice of cells and the whole platform.
func (h *Hazards) Manifest() *results.Manifest {
	o := &h.Opt
	choice := struct {
		Call    string `yaml:"call"`
		Memory  string `yaml:"memory"`
		Backend string `yaml:"backend"`
		Kernel  string `yaml:"kernel"`
		Rounds  int64  `yaml:"rounds"`
		Windows bool   `yaml:"windows"`
	}{strings.Join(o.Calls, ","), strings.Join(o.Memories, ","), strings.Join(o.Backends, ","), strings.Join(o.Kernels, ","), o.Rounds, o.Windows}
	text, err := yaml.Marshal(choice)
	if err != nil {
		panic("bench: " + err.Error())
	}
	return &results.Manifest{Version: results.Version(), Seed: o.Seed, Config: []results.Section{
		{Name: "hazards", Text: string(text)}, {Name: "platform", Text: string(h.Platform.Canonical())}}}
}
