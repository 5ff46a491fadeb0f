package published

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dmapath/bench"
	"dmapath/cpu"
	"dmapath/sim"
	"dmapath/workloads"
)

// Metric is what is read off a run.
type Metric string

// Scale is a unit and how much of the metric's own unit it is.
type scale struct {
	unit string
	per  float64
}

// Units by what is measured. The first is the metric's own.
var (
	rates      = []scale{{"/s", 1}, {"k/s", 1e3}, {"M/s", 1e6}}
	bandwidths = []scale{{"Gb/s", 1}, {"GB/s", 8}}
	times      = []scale{{"ns", 1}, {"us", 1e3}}
	spans      = []scale{{"cycles", 1}, {"ns", 0}, {"us", 0}} // by the clock
	shares     = []scale{{"%", 1}}
	counts     = []scale{{"count", 1}}
)

// metric is how one is computed, in its own unit; NaN when the run does not have it.
type metric struct {
	name  Metric
	units []scale
	doc   string
	value func(o *bench.Outcome, t *Target) float64
}

// metrics lists them in the order of documentation.
var metrics = []metric{
	{"rate", rates, "operations per second, second half of the run", func(o *bench.Outcome, _ *Target) float64 { r, _ := o.Throughput(); return r }},
	{"bandwidth", bandwidths, "payload of the operations", func(o *bench.Outcome, _ *Target) float64 {
		r, _ := o.Throughput()
		return r * float64(o.Bytes) / float64(o.IOs) * 8 / 1e9
	}},
	{"latency_mean", times, "of an operation, from issue to completion", func(o *bench.Outcome, _ *Target) float64 {
		return latency(o, func(h *sim.Histogram) float64 { return h.Mean() })
	}},
	{"latency_p50", times, "the same, median", func(o *bench.Outcome, _ *Target) float64 {
		return latency(o, func(h *sim.Histogram) float64 { return float64(h.Quantile(0.5)) })
	}},
	{"latency_p99", times, "the same, 99th percentile", func(o *bench.Outcome, _ *Target) float64 {
		return latency(o, func(h *sim.Histogram) float64 { return float64(h.Quantile(0.99)) })
	}},
	{"mapping_per_operation", spans, "map, unmap, sync and what a whole driver does around them, per operation", func(o *bench.Outcome, _ *Target) float64 {
		var c int64
		for _, p := range []*workloads.Op{o.Map, o.Unmap, o.Sync, o.Setup, o.Teardown} {
			if p != nil {
				c += p.Total
			}
		}
		return float64(c) / float64(o.IOs)
	}},
	{"submission_per_operation", spans, "the part of it before the device is told: map, and what a whole driver does around it", func(o *bench.Outcome, _ *Target) float64 {
		c := o.Map.Total
		if o.Setup != nil {
			c += o.Setup.Total
		}
		return float64(c) / float64(o.IOs)
	}},
	{"busy_per_operation", times, "time in which a CPU executed something, per operation", func(o *bench.Outcome, _ *Target) float64 {
		return float64(o.Busy) / float64(sim.Nanosecond) / float64(o.IOs)
	}},
	{"mapping_share", shares, "part of the CPUs' busy time spent in mapping calls", func(o *bench.Outcome, _ *Target) float64 { return 100 * o.MapShare(o.Clock, true) }},
	{"iotlb_hit_rate", shares, "of the translated requests", func(o *bench.Outcome, _ *Target) float64 { return o.HitRate() }},
	{"iotlb_miss_rate", shares, "of the translated requests", func(o *bench.Outcome, _ *Target) float64 { return 100 - o.HitRate() }},
	{"walk_mean", times, "a page walk of the IOMMU, mean", func(o *bench.Outcome, _ *Target) float64 { return o.WalkMean() }},
	{"iotlb_misses_per_operation", counts, "walks begun by the IOMMU, per operation", func(o *bench.Outcome, _ *Target) float64 { return o.MissesPerOperation() }},
	{"dropped", shares, "frames without a buffer, of all", func(o *bench.Outcome, _ *Target) float64 { return 100 * float64(o.Drops) / float64(o.Drops+o.IOs) }},
}

// calls whose cost can be asked for: CALL_mean and so on.
var calls = []string{"map", "unmap", "sync", "setup", "teardown"}

// perCall lists the metrics of one call.
func perCall(call string) []metric {
	op := func(f func(p *workloads.Op, t *Target) float64) func(o *bench.Outcome, t *Target) float64 {
		return func(o *bench.Outcome, t *Target) float64 {
			p := map[string]*workloads.Op{"map": o.Map, "unmap": o.Unmap, "sync": o.Sync, "setup": o.Setup, "teardown": o.Teardown}[call]
			if p == nil || p.N == 0 {
				return math.NaN()
			}
			return f(p, t)
		}
	}
	quantile := func(q float64) func(p *workloads.Op, _ *Target) float64 {
		return func(p *workloads.Op, _ *Target) float64 { return float64(p.Cycles.Quantile(q)) }
	}
	name := func(s string) Metric { return Metric(call + "_" + s) }
	return []metric{
		{name("mean"), spans, "one call, second half of the calls", op(func(p *workloads.Op, _ *Target) float64 { return p.Series.SecondHalf().Mean })},
		{name("p50"), spans, "the same, median", op(quantile(0.5))},
		{name("p99"), spans, "the same, 99th percentile", op(quantile(0.99))},
		{name("instructions"), counts, "executed by one call", op(func(p *workloads.Op, _ *Target) float64 {
			t := p.Acct.Total()
			return float64(t.Instructions()) / float64(p.N)
		})},
		{name("step"), spans, "own cycles of the functions named, per call", op(func(p *workloads.Op, t *Target) float64 { return step(p, t.Functions) / float64(p.N) })},
		{name("step_share"), shares, "the same, of the call", op(func(p *workloads.Op, t *Target) float64 {
			all := p.Acct.Total()
			return 100 * step(p, t.Functions) / float64(all.Cycles)
		})},
	}
}

// allMetrics lists every metric.
func allMetrics() []metric {
	list := slices.Clone(metrics)
	for _, c := range calls {
		list = append(list, perCall(c)...)
	}
	return list
}

// MetricNames lists the metrics that a target can ask for.
func MetricNames() (names []string) {
	for _, m := range allMetrics() {
		names = append(names, string(m.name))
	}
	return names
}

func metricByName(name string) (metric, bool) {
	for _, m := range allMetrics() {
		if string(m.name) == name {
			return m, true
		}
	}
	return metric{}, false
}

func (m *metric) unitNames() (names []string) {
	for _, s := range m.units {
		names = append(names, s.unit)
	}
	return names
}

// needsFunctions reports whether the target must name functions.
func (m *metric) needsFunctions() bool {
	return strings.HasSuffix(string(m.name), "_step") || strings.HasSuffix(string(m.name), "_step_share")
}

// Of returns the metric of a run in the target's unit.
func (t *Target) measure(o *bench.Outcome) (float64, error) {
	m, _ := metricByName(string(t.Metric))
	v := m.value(o, t)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return math.NaN(), fmt.Errorf("the run has no %s", m.name)
	}
	for _, s := range m.units {
		if s.unit != t.Unit && t.Relative == nil {
			continue
		}
		if s.per == 0 { // cycles to ns or us
			ns := v / float64(o.Clock.Hz()) * 1e9
			return ns / map[string]float64{"ns": 1, "us": 1e3}[s.unit], nil
		}
		return v / s.per, nil
	}
	return v, nil
}

func latency(o *bench.Outcome, f func(*sim.Histogram) float64) float64 {
	if o.Latency == nil || o.Latency.N == 0 {
		return math.NaN()
	}
	return f(o.Latency)
}

// step sums the own cycles of the named functions.
func step(p *workloads.Op, names []string) (cycles float64) {
	for id := range p.Acct.Fn {
		if f := &p.Acct.Fn[id]; f.Cycles > 0 && slices.Contains(names, cpu.FuncByID(uint16(id)).Name) {
			cycles += float64(f.Cycles)
		}
	}
	return cycles
}
