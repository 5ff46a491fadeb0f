package closedforms

import (
	"math/bits"

	"dmapath/bench/evidence"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
)

// coreRates is what simple loops reach on the cores of several platforms: independent operations as many a cycle as the narrowest of
// fetch, dispatch, retirement and ports, dependent ones one per latency.
func coreRates(uint64) (rows []evidence.Row, err error) {
	for _, name := range []string{"icelake-sp", "genoa", "neoverse-n1", "cortex-a15"} {
		s, err := platform.Load(name)
		if err != nil {
			return nil, err
		}
		c := &s.CPU
		width := min(int(c.FetchWidth), int(c.DispatchWidth), int(c.RetireWidth))
		ports := func(p platform.PortSet, slots platform.Count) float64 {
			return min(float64(width)/float64(slots), float64(bits.OnesCount16(uint16(p))))
		}
		const source = "the narrowest of fetch, dispatch, retirement and the ports; latency for chains"
		line := func(st *cpu.Stream, i int) uint64 { return kernel.Virt(1<<30) + uint64(i%16)*64 }
		for _, k := range []struct {
			what string
			unit string
			want float64
			emit func(st *cpu.Stream, i int)
		}{
			{"independent ALU", "per cycle", ports(c.Ports.ALU, 1), func(st *cpu.Stream, _ int) { st.Op(cpu.ALU, 0) }},
			{"nop", "per cycle", float64(width), func(st *cpu.Stream, _ int) { st.Nop(1) }},
			{"independent multiplications", "per cycle", ports(c.Ports.Mul, 1), func(st *cpu.Stream, _ int) { st.Op(cpu.Mul, 0) }},
			{"independent loads, L1D", "per cycle", ports(c.Ports.Load, 1), func(st *cpu.Stream, i int) { st.Load(line(st, i), 0) }},
			{"stores, L1D", "per cycle", min(ports(c.Ports.Store, 1), float64(c.CommitWidth)), func(st *cpu.Stream, i int) { st.Store(line(st, i), 0, 0) }},
			{"chain of ALU", "cycles", float64(c.Latency.ALU), func(st *cpu.Stream, _ int) { st.Op(cpu.ALU, st.Last()) }},
			{"chain of multiplications", "cycles", float64(c.Latency.Mul), func(st *cpu.Stream, _ int) { st.Op(cpu.Mul, st.Last()) }},
			{"chain of divisions", "cycles", float64(c.Latency.Div), func(st *cpu.Stream, _ int) { st.Op(cpu.Div, st.Last()) }},
			{"chain of loads, L1D", "cycles", float64(s.Cache.L1D.Latency), func(st *cpu.Stream, i int) { st.Load(line(st, i), st.Last()) }},
		} {
			got, err := perOp(s, k.emit)
			if err != nil {
				return nil, err
			}
			if k.unit == "per cycle" {
				got = 1 / got
			}
			// Neither the start nor the end of the loop is in it; what remains is the cycle at each end.
			rows = append(rows, evidence.Row{What: name + ": " + k.what, Unit: k.unit, Predicted: got, Reference: k.want, Tolerance: 0.002, Source: source})
		}
	}
	return rows, nil
}

// loopOps is how many operations a pass has, and passes how often it runs: on one piece of code, whose lines the first pass brings in.
const loopOps, passes = 512, 16

// perOp returns the cycles per operation of a long loop on an idle core of s.
func perOp(s *platform.Spec, emit func(st *cpu.Stream, i int)) (float64, error) {
	m, err := platform.Build(s, platform.Options{Version: kernel.V7_3, Backend: platform.Direct, CPUs: 1, Seed: 1})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	st := cpu.NewStream(kernel.Virt(2<<30), cpu.MitNone)
	st.ISA = m.Env.Arch.ISA()
	st.Enter(loopFn)
	core := m.Cores[0]
	var marks [passes + 1]sim.Time
	at := core.Drained()
	for p := range marks {
		st.Ops = st.Ops[:0]
		st.Back(loopFn.PC)
		for i := range loopOps {
			emit(st, i)
		}
		at = core.Run(st.Ops, at, nil)
		marks[p] = at
	}
	cycles := core.Between(marks[passes/2], marks[passes])
	return float64(cycles) / (loopOps * passes / 2), nil
}

var loopFn = cpu.NewFunc("(closed form)", "a loop", 4096)
