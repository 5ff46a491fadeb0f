package bench

import (
	"fmt"
	"math"
	"strings"

	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads/mapbench"
)

// ToolRun is one run of the kernel's dma_map_benchmark on the simulated machine, and what a real machine printed for the same
// parameters if that is known.
type ToolRun struct {
	*Outcome
	Printed mapbench.Output  // by the simulated tool
	Real    *mapbench.Output // by the real one; nil when it is not known
}

// ToolExperiment is x as the tool runs it: with the parameters of x.MapBench on backend and with the call that the tool of kernel v
// makes, dma_map_single, or dma_map_sg in mode 1. Its errors are those of the parameters.
func ToolExperiment(s *platform.Spec, x Experiment, v kernel.Version, backend string) (Experiment, error) {
	call := "map_single"
	if x.MapBench.Mode == 1 {
		call = "map_sg"
	}
	if n := x.MapBench.Threads; n < 1 || n > int(s.CPU.Cores) {
		return x, fmt.Errorf("threads is %d: allowed are 1 to %d, the cores of %s", n, s.CPU.Cores, s.Name)
	}
	x.Workloads, x.Variants, x.Backends, x.Caches = []string{"map-benchmark"}, []string{call + "@" + v.String()}, []string{backend}, []string{"hot"}
	x.CPUs = x.MapBench.Threads
	return x, x.Validate(s)
}

// RunTool runs the experiment of ToolExperiment for a number of rounds per thread, 0 for the whole of x.MapBench.Seconds of simulated time.
func RunTool(s *platform.Spec, x Experiment, rounds int64) (*ToolRun, error) {
	x.Operations = rounds
	o, err := x.Run(s, x.Points()[0])
	if err != nil {
		return nil, err
	}
	printed, err := mapbench.ReadOutputs(o.Point.String(), strings.NewReader(o.Text))
	if err != nil {
		return nil, err
	}
	return &ToolRun{Outcome: o, Printed: printed[0]}, nil
}

// Exact is what the tool's figures are without its truncation to 100 ns and to one decimal: mean, its interval, standard deviation and
// quantiles of the calls alone, the reading of the clock not included.
func (r *ToolRun) Exact() *results.Table {
	t := &results.Table{ID: "exact", Title: "Without truncation, " + r.Variant + " on " + r.Backend, Columns: []results.Column{{Name: "call", Text: true}, {Name: "mean", Unit: "us", Decimals: 4},
		{Name: "+-", Unit: "us", Decimals: 4}, {Name: "p50", Unit: "us", Decimals: 4}, {Name: "p99", Unit: "us", Decimals: 4}, {Name: "p99.9", Unit: "us", Decimals: 4},
		{Name: "pairs"}}}
	us := 1e6 / float64(r.Clock.Hz())
	for _, p := range r.ops() {
		st := p.Series.SecondHalf()
		q := func(v float64) float64 { return float64(p.Cycles.Quantile(v)) * us }
		t.Add(p.name, st.Mean*us, st.HalfWidth*us, q(0.5), q(0.99), q(0.999), r.IOs)
	}
	t.Notes = []string{fmt.Sprintf("%d pairs of map and unmap in %.3f ms of simulated time; the calls alone, without the reading of the clock that the tool's figures include; the second half of the run.",
		r.IOs, float64(r.Elapsed)/float64(sim.Millisecond))}
	return t
}

// Record is the run for programs: what the tool prints and what is behind it.
func (r *ToolRun) Record() *results.Record {
	rec := &results.Record{Name: "MapBenchmark", Version: results.Version(), Command: "dmapath map-benchmark", Tables: []*results.Table{r.Exact()}}
	us := 1e6 / float64(r.Clock.Hz())
	for _, p := range r.ops() {
		printed, deviation := r.Printed.Map, r.Printed.MapSD
		if p.name == "unmap" {
			printed, deviation = r.Printed.Unmap, r.Printed.UnmapSD
		}
		st := p.Series.SecondHalf()
		for _, m := range []struct {
			name      string
			value, ci float64
		}{{"printed", printed, math.NaN()}, {"printed_deviation", deviation, math.NaN()}, {"mean", st.Mean * us, finite(st.HalfWidth * us)},
			{"p50", float64(p.Cycles.Quantile(0.5)) * us, math.NaN()}, {"p99", float64(p.Cycles.Quantile(0.99)) * us, math.NaN()}, {"p99_9", float64(p.Cycles.Quantile(0.999)) * us, math.NaN()}} {
			rec.Add(results.Measurement{Dims: []results.Dim{{Key: "backend", Value: r.Backend}, {Key: "variant", Value: r.Variant},
				{Key: "threads", Value: fmt.Sprint(r.Printed.Threads)}, {Key: "granule", Value: fmt.Sprint(r.Printed.Granule)}, {Key: "call", Value: p.name}},
				Metric: m.name, Unit: "us", Value: m.value, CI95: m.ci, N: r.IOs})
		}
	}
	return rec
}

// Against lays the figures of real machines beside the simulated ones.
func Against(runs []*ToolRun) *results.Record {
	rec := &results.Record{Name: "MapBenchmark", Version: results.Version(), Command: "dmapath map-benchmark"}
	t := &results.Table{ID: "against", Title: "A real machine's dma_map_benchmark and ours", Keys: 4, Columns: []results.Column{{Name: "threads"}, {Name: "granule"}, {Name: "dir", Text: true}, {Name: "call", Text: true},
		{Name: "real", Unit: "us", Decimals: 1}, {Name: "simulated", Unit: "us", Decimals: 1}, {Name: "exact", Unit: "us", Decimals: 3}, {Name: "difference", Unit: "%", Decimals: 1, Signed: true}}}
	for _, r := range runs {
		ours := r.Printed
		for _, c := range []struct {
			name       string
			real, ours float64
		}{{"map", r.Real.Map, ours.Map}, {"unmap", r.Real.Unmap, ours.Unmap}} {
			exact := r.find(c.name).Series.SecondHalf().Mean * 1e6 / float64(r.Clock.Hz())
			diff := math.NaN()
			if c.real > 0 {
				diff = 100 * (c.ours - c.real) / c.real
			}
			t.Add(ours.Threads, ours.Granule, ours.Dir.String(), c.name, c.real, c.ours, exact, diff)
			dims := []results.Dim{{Key: "line", Value: fmt.Sprint(r.Real.Line)}, {Key: "call", Value: c.name}}
			rec.Add(results.Measurement{Dims: dims, Metric: "real", Unit: "us", Value: c.real, CI95: math.NaN(), N: 1})
			rec.Add(results.Measurement{Dims: dims, Metric: "simulated", Unit: "us", Value: c.ours, CI95: math.NaN(), N: r.IOs})
		}
	}
	t.Notes = []string{"Real and simulated are truncated as the tool does it: each latency to 100 ns before it is averaged. A difference below 0.1 us is one of rounding."}
	rec.Tables = []*results.Table{t}
	return rec
}
