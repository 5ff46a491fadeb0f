package bench

import (
	"slices"
	"strconv"

	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// curve is a quantity of a run over time: its means in bins that are step wide, the first of which begins start after the run.
type curve struct {
	metric, unit string
	start, step  sim.Time
	means        []float64
}

// curvesOf reads off what a machine and a workload have followed since the run began.
func curvesOf(m *platform.Machine, dev *platform.Device, r *workloads.Result, began sim.Time) (list []curve) {
	add := func(metric, unit string, c *sim.Curve) {
		start, step, means := c.Means(m.Eng.Now())
		if slices.ContainsFunc(means, func(v float64) bool { return v != 0 }) {
			list = append(list, curve{metric, unit, start - began, step, means})
		}
	}
	if m.Unit != nil {
		c := m.Unit.Curves()
		add("iotlb_occupancy", "entries", c.IOTLB)
		add("walkers_busy", "count", c.Walkers)
		add("invalidation_queue", "commands", c.Queue)
	}
	add("pcie_reads_in_flight", "count", dev.Port.Reads())
	for _, d := range r.Depths {
		add(d.Metric, d.Unit, d.Curve)
	}
	return list
}

// plotOverTime adds the quantities that were followed over time, in nanoseconds since the run began, to r. What was zero all the time is left
// out. Values have 5 digits.
func (o *Outcome) plotOverTime(r *results.Record, dims []results.Dim) {
	for _, c := range o.curves {
		s := results.Series{Dims: dims, Metric: c.metric, Unit: c.unit, Start: float64(c.start) / float64(sim.Nanosecond), Step: float64(c.step) / float64(sim.Nanosecond)}
		for _, v := range c.means {
			short, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 5, 64), 64)
			s.Values = append(s.Values, short)
		}
		r.AddSeries(s)
	}
}
