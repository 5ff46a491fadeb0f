package behaviour

import (
	"dmapath/bench"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/workloads"
)

// preset is the platform of every behaviour unless its rows say otherwise.
const preset = "icelake-sp"

// spec loads a preset and changes keys of it: key, value, key, value.
func spec(name string, set ...string) (*platform.Spec, error) {
	s, err := platform.Load(name)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(set); i += 2 {
		if err := s.Set(set[i], set[i+1]); err != nil {
			return nil, err
		}
	}
	return s, s.Check()
}

// machine builds a machine with one device.
func machine(s *platform.Spec, v kernel.Version, b platform.Backend, cpus int) (*platform.Machine, *platform.Device, error) {
	m, err := platform.Build(s, platform.Options{Version: v, Backend: b, CPUs: cpus, Seed: 1})
	if err != nil {
		return nil, nil, err
	}
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		m.Close()
		return nil, nil, err
	}
	return m, d, nil
}

// point is one run of compare: workload, backend, cache state and variant, with changes to the experiment.
func point(s *platform.Spec, workload, backend, cache, variant string, change func(*bench.Experiment)) (*workloads.Result, error) {
	x := bench.Default()
	x.Workloads, x.Backends, x.Caches, x.Variants = []string{workload}, []string{backend}, []string{cache}, []string{variant}
	change(&x)
	if err := x.Validate(s); err != nil {
		return nil, err
	}
	o, err := x.Run(s, x.Points()[0])
	if err != nil {
		return nil, err
	}
	return o.Result, nil
}
