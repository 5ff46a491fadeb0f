package bench

import (
	"fmt"
	"math"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// PfnValid is what one implementation of pfn_valid() costs on one sort of memory.
type PfnValid struct {
	Kernel  kernel.Version
	Name    string // memory model, or the lookup that replaces the generic one
	Section string // boot or hot-plugged
	Hot     *workloads.Op
	Cold    *workloads.Op
}

// pfnCases are the implementations that are measured. The memblock lookups are those of other architectures, emitted as
// x86 instructions; they stand here because the debate is about them as well.
var pfnCases = []struct {
	name   string
	model  mm.Model
	lookup mm.Lookup
}{
	{"SPARSEMEM_VMEMMAP", mm.SparseVmemmap, mm.Generic},
	{"SPARSEMEM_EXTREME", mm.SparseExtreme, mm.Generic},
	{"SPARSEMEM", mm.Sparse, mm.Generic},
	{"FLATMEM", mm.Flat, mm.Generic},
	{"memblock, arm64 <5.16", mm.SparseVmemmap, mm.MemblockBinary},
}

// pfnRounds is how many lookups are measured per case: enough for an interval, few enough to be quick.
const pfnRounds = 640

// hotplugBytes is how much memory is added while running for the hot-plugged rows.
const hotplugBytes = 64 << 30

// pfnValid measures every case on the platform's core and caches: hot (the same frame again) and cold (another frame each time,
// after the caches were displaced).
func (x *Experiment) pfnValid(s *platform.Spec) ([]PfnValid, error) {
	var list []PfnValid
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, c := range pfnCases {
			for _, hotplug := range []bool{false, true} {
				if hotplug && c.model == mm.Flat || v == kernel.V6_12 && c.lookup != mm.Generic {
					continue // FLATMEM cannot grow; the memblock lookup is older than both and is shown once
				}
				p := PfnValid{Kernel: v, Name: c.name, Section: "boot"}
				if hotplug {
					p.Section = "hot-plugged"
				}
				var err error
				if p.Hot, err = x.lookUp(s, v, c.model, c.lookup, hotplug, false); err == nil {
					p.Cold, err = x.lookUp(s, v, c.model, c.lookup, hotplug, true)
				}
				if err != nil {
					return nil, fmt.Errorf("pfn_valid on %s: %w", c.name, err)
				}
				list = append(list, p)
			}
		}
	}
	return list, nil
}

// fnInlined is the caller around the inlined lookup.
var fnInlined = cpu.NewFunc("pfn_valid (inlined)", "include/linux/mmzone.h", 256)

func (x *Experiment) lookUp(s *platform.Spec, v kernel.Version, model mm.Model, lookup mm.Lookup, hotplug, cold bool) (*workloads.Op, error) {
	m, err := platform.Build(s, platform.Options{Version: v, Backend: platform.Direct, CPUs: 1, Seed: x.Seed})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	cfg := s.MemoryConfig()
	cfg.Model, cfg.Lookup = model, lookup
	var top uint64
	for _, r := range cfg.Map {
		if r.Kind == mm.RAM {
			top = max(top, r.End())
		}
	}
	plug := mm.Range{Start: (top + mm.SectionSize - 1) &^ (mm.SectionSize - 1), Size: hotplugBytes, Kind: mm.HotRAM}
	if hotplug {
		cfg.Map = append(cfg.Map, plug)
	}
	mem, err := mm.NewConfigured(m.Env, cfg)
	if err != nil {
		return nil, err
	}
	state := "hot"
	if cold {
		state = "cold"
	}
	around, err := x.ambience(m, state, 0)
	if err != nil {
		return nil, err
	}
	op := workloads.NewOp(pfnRounds)
	r := sim.NewRand(x.Seed, "pfn_valid frames")
	m.Spawn(0, "cpu 0 pfn_valid", func(t *cpu.Thread) {
		frame := func() uint64 {
			if hotplug {
				return plug.Start>>12 + r.Uint64N(plug.Size>>12)
			}
			return m.RandomRAM(r, 4096).Phys >> 12
		}
		pfn := frame()
		for range pfnRounds {
			if cold {
				pfn = frame()
			}
			around.Pass(t)
			t.Serialize() // a lookup stands alone: its whole latency shows
			err = op.Measure(t, func() error {
				t.Enter(fnInlined)
				if !mem.PfnValid(t, pfn, 0) {
					return fmt.Errorf("frame %#x of RAM is not valid", pfn)
				}
				t.Leave()
				return nil
			})
			if err != nil {
				break
			}
		}
		m.Eng.Stop()
	})
	if e := m.Run(); e != nil {
		return nil, e
	}
	return op, err
}

// measure adds the long form of p.
func (p *PfnValid) measure(r *results.Record, c *Comparison) {
	for _, o := range []struct {
		state string
		*workloads.Op
	}{{"hot", p.Hot}, {"cold", p.Cold}} {
		dims := []results.Dim{{Key: "platform", Value: c.Platform.Name}, {Key: "cache", Value: o.state}, {Key: "kernel", Value: p.Kernel.String()},
			{Key: "pfn_valid", Value: p.Name}, {Key: "section", Value: p.Section}}
		t, n := o.Acct.Total(), float64(o.N)
		e := o.Series.SecondHalf()
		r.Add(results.Measurement{Dims: dims, Metric: "pfn_valid_mean", Unit: "cycles", Value: e.Mean, CI95: finite(e.HalfWidth), N: int64(e.N)})
		r.Add(results.Measurement{Dims: dims, Metric: "pfn_valid_p99", Unit: "cycles", Value: float64(o.Cycles.Quantile(0.99)), CI95: math.NaN(), N: o.N})
		r.Add(results.Measurement{Dims: dims, Metric: "pfn_valid_instructions", Unit: "count", Value: float64(t.Instructions()) / n, CI95: math.NaN(), N: o.N})
		r.Add(results.Measurement{Dims: dims, Metric: "pfn_valid_lines_dram", Unit: "count", Value: float64(t.Level[cache.DRAM]) / n, CI95: math.NaN(), N: o.N})
		r.Add(results.Measurement{Dims: dims, Metric: "pfn_valid_loads", Unit: "count", Value: float64(t.Loads()) / n, CI95: math.NaN(), N: o.N})
	}
}

// pfnTable shows what pfn_valid itself costs.
func (c *Comparison) pfnTable() *results.Table {
	t := &results.Table{ID: "pfn_valid", Title: fmt.Sprintf("pfn_valid() itself on %s", c.Platform.Name), Keys: 3,
		Columns: []results.Column{{Name: "memory model", Text: true}, {Name: "section", Text: true}, {Name: "kernel", Text: true}, {Name: "instr", Decimals: 0},
			{Name: "loads", Decimals: 0}, {Name: "hot", Unit: "cyc", Decimals: 1}, {Name: "cold mean", Unit: "cyc", Decimals: 0}, {Name: "cold p99", Unit: "cyc", Decimals: 0}}}
	for _, p := range c.PfnValid {
		tot, n := p.Hot.Acct.Total(), float64(p.Hot.N)
		t.Add(p.Name, p.Section, p.Kernel.String(), float64(tot.Instructions())/n, float64(tot.Loads())/n, p.Hot.Series.SecondHalf().Mean,
			p.Cold.Series.SecondHalf().Mean, p.Cold.Cycles.Quantile(0.99))
	}
	t.Notes = []string{"Latency of one lookup from start to end. hot: the same frame again and again; cold: another frame of RAM each time, after the caches were displaced. " +
		"No merged kernel calls pfn_valid on the streaming path: only map_phys_rederive pays it."}
	return t
}
