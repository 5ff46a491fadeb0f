package advise

import (
	"math"

	"dmapath/bench"
	"dmapath/cpu"
	"dmapath/sim"
	"dmapath/workloads"
)

// part is one kind of calls that make up the cost of an operation.
type part struct {
	series *sim.Series
	per    float64 // of its values there are so many per operation of the baseline
	all    bool    // what is after the warm-up counts, and not the second half: a trace is not stationary
	total  int64   // of all values, for a series that is too short for an estimate; 0: it is not
}

func (p *part) mean() (e sim.Estimate) {
	if e = p.series.SecondHalf(); p.all {
		e = p.series.Steady()
	}
	if math.IsNaN(e.Mean) && p.total > 0 {
		e.Mean = float64(p.total) / float64(p.series.N)
	}
	return e
}

func (p *part) less(q *part) sim.Estimate {
	if p.all {
		return sim.Difference(q.series, p.series)
	}
	return sim.SecondHalfDifference(q.series, p.series)
}

// ran is what a setup's run found.
type ran interface {
	// parts splits the mapping cost of an operation; bytes is what an operation of the baseline moves, and one of another size counts in
	// proportion. 0: operations are the same.
	parts(bytes float64) []part
	causes(bytes float64) Causes
	payload() float64                 // bytes of an operation
	gaps() *sim.Series                // between completions; nil where operations come when they were recorded
	rate() (perSecond, half float64)  // of operations
	hz() int64                        // of the cores
	count() int64                     // operations
	cpus() int                        // that took part
	trouble() (drops, refusals int64) // frames lost, transactions that the IOMMU refused
}

// point is the run of an experiment.
type point struct{ *bench.Outcome }

func (o point) payload() float64         { return float64(o.Bytes) / float64(max(o.IOs, 1)) }
func (o point) gaps() *sim.Series        { return &o.Gaps }
func (o point) rate() (float64, float64) { return o.Throughput() }
func (o point) hz() int64                { return o.Clock.Hz() }
func (o point) count() int64             { return o.IOs }
func (o point) cpus() int                { return o.CPUs }
func (o point) trouble() (int64, int64)  { return o.Drops, o.Faults }
func (o point) scale(bytes float64) float64 {
	if own := o.payload(); bytes > 0 && own > 0 {
		return bytes / own
	}
	return 1
}

// operation names what costs are per.
func operation(workload string) string {
	switch workload {
	case "nvme":
		return "I/O"
	case tracedWorkload:
		return "mapping"
	case "nic", "netperf-rx":
		return "frame"
	}
	return "map+unmap"
}

// parts are the calls of the DMA API, and what a whole driver does around them because of how it maps.
func (o point) parts(bytes float64) (list []part) {
	scale := o.scale(bytes)
	if len(o.Units) == 0 {
		for _, p := range []*workloads.Op{o.Map, o.Unmap, o.Sync} {
			if p != nil && p.Series.N > 0 {
				list = append(list, part{series: &p.Series, per: scale})
			}
		}
		return list
	}
	for _, u := range o.Units {
		if u.Cycles.N == 0 {
			continue
		}
		per := scale * float64(u.Cycles.N) / float64(max(o.Units[0].Cycles.N, 1))
		list = append(list, part{series: &u.Cycles, per: per}, part{series: &u.Around, per: per})
	}
	return list
}

// cost is the mean cost of an operation in cycles, with half of its 95 % interval: the sum of its parts', which is what it is at most.
func cost(list []part) (mean, half float64) {
	for _, p := range list {
		e := p.mean()
		mean += p.per * e.Mean
		half += p.per * e.HalfWidth
	}
	return mean, half
}

// Effect is a difference with half of its 95 % interval.
type Effect struct{ Mean, Half float64 }

// Told reports whether there were enough operations for an interval.
func (e Effect) Told() bool {
	return !math.IsInf(e.Half, 0) && !math.IsNaN(e.Half) && !math.IsNaN(e.Mean)
}

// Sign is 1 or -1 when the interval leaves out zero, and 0 otherwise.
func (e Effect) Sign() int {
	switch {
	case e.Mean-e.Half > 0:
		return 1
	case e.Mean+e.Half < 0:
		return -1
	}
	return 0 // also when there is no interval
}

// saving is what an operation of b costs less than one of a, in cycles: paired, operation by operation, when the parts are of the same sort and
// the operations the same; otherwise as two independent means.
func saving(a, b []part, paired bool) (e Effect) {
	if paired && len(a) == len(b) {
		for i := range a {
			d := b[i].less(&a[i])
			if d.Mean = -d.Mean; a[i].per != b[i].per {
				d.Mean = a[i].mean().Mean*a[i].per/b[i].per - b[i].mean().Mean
			}
			e.Mean += b[i].per * d.Mean
			e.Half += max(a[i].per, b[i].per) * d.HalfWidth
		}
		return e
	}
	x, hx := cost(a)
	y, hy := cost(b)
	return Effect{x - y, math.Hypot(hx, hy)}
}

// faster is how much more operations b completes per second than a, in percent; nothing when they come when they were recorded.
func faster(a, b ran, bytes float64, paired bool) Effect {
	if a.gaps() == nil {
		return Effect{}
	}
	x, y := a.gaps().SecondHalf(), b.gaps().SecondHalf()
	if paired {
		d := sim.SecondHalfDifference(a.gaps(), b.gaps())
		return Effect{100 * (x.Mean/y.Mean - 1), 100 * d.HalfWidth / y.Mean}
	}
	ratio := x.Mean / y.Mean * b.payload() / bytes
	return Effect{100 * (ratio - 1), 100 * ratio * math.Hypot(x.HalfWidth/x.Mean, y.HalfWidth/y.Mean)}
}

// Causes are what cycles go into, in cycles per operation: instructions and what they wait for inside the core; code and data that have
// to be fetched or copied; and waiting for others: registers, locks, the IOMMU.
type Causes struct{ Execution, Memory, Waiting float64 }

func (o point) causes(bytes float64) (c Causes) {
	for _, p := range []*workloads.Op{o.Map, o.Unmap, o.Sync, o.Setup, o.Teardown} {
		if p != nil && p.N > 0 && o.IOs > 0 {
			c.add(p.Acct.Total(), o.scale(bytes)*float64(p.Series.N)/float64(o.IOs)/float64(p.N))
		}
	}
	return c
}

// add counts t, of which there are per times as much in an operation.
func (c *Causes) add(t cpu.FnCount, per float64) {
	var memory, waiting int64
	for s := cpu.StallFetch; s < cpu.NumStalls; s++ {
		switch s {
		case cpu.StallFetch, cpu.StallITLB, cpu.StallL2, cpu.StallLLC, cpu.StallPeer, cpu.StallDRAM, cpu.StallTLB, cpu.StallStore, cpu.StallString:
			memory += t.Stall[s]
		case cpu.StallMMIO, cpu.StallLock, cpu.StallInv, cpu.StallIdle:
			waiting += t.Stall[s]
		}
	}
	c.Memory += per * float64(memory)
	c.Waiting += per * float64(waiting)
	c.Execution += per * float64(t.Cycles-memory-waiting)
}

// less returns c - d.
func (c Causes) less(d Causes) Causes {
	return Causes{c.Execution - d.Execution, c.Memory - d.Memory, c.Waiting - d.Waiting}
}
