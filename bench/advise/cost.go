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
}

// operation names what costs are per.
func operation(workload string) string {
	switch workload {
	case "nvme":
		return "I/O"
	case "nic", "netperf-rx":
		return "frame"
	}
	return "map+unmap"
}

// parts splits the mapping cost of an operation of o: the calls of the DMA API, and what a whole driver does around them because of how it maps.
// bytes is what an operation of the baseline moves; one of another size counts in proportion. 0: operations are the same.
func parts(o *bench.Outcome, bytes float64) (list []part) {
	scale := 1.0
	if own := float64(o.Bytes) / float64(max(o.IOs, 1)); bytes > 0 && own > 0 {
		scale = bytes / own
	}
	if len(o.Units) == 0 {
		for _, p := range []*workloads.Op{o.Map, o.Unmap, o.Sync} {
			if p != nil && p.Series.N > 0 {
				list = append(list, part{&p.Series, scale})
			}
		}
		return list
	}
	for _, u := range o.Units {
		if u.Cycles.N == 0 {
			continue
		}
		per := scale * float64(u.Cycles.N) / float64(max(o.Units[0].Cycles.N, 1))
		list = append(list, part{&u.Cycles, per}, part{&u.Around, per})
	}
	return list
}

// cost is the mean cost of an operation in cycles, with half of its 95 % interval: the sum of its parts', which is what it is at most.
func cost(list []part) (mean, half float64) {
	for _, p := range list {
		e := p.series.SecondHalf()
		mean += p.per * e.Mean
		half += p.per * e.HalfWidth
	}
	return mean, half
}

// Effect is a difference with half of its 95 % interval.
type Effect struct{ Mean, Half float64 }

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
			d := sim.SecondHalfDifference(a[i].series, b[i].series)
			e.Mean += a[i].per*a[i].series.SecondHalf().Mean - b[i].per*b[i].series.SecondHalf().Mean
			e.Half += max(a[i].per, b[i].per) * d.HalfWidth
		}
		return e
	}
	x, hx := cost(a)
	y, hy := cost(b)
	return Effect{x - y, math.Hypot(hx, hy)}
}

// faster is how much more operations b completes per second than a, in percent.
func faster(a, b *bench.Outcome, bytes float64, paired bool) Effect {
	x, y := a.Gaps.SecondHalf(), b.Gaps.SecondHalf()
	if paired {
		d := sim.SecondHalfDifference(&a.Gaps, &b.Gaps)
		return Effect{100 * (x.Mean/y.Mean - 1), 100 * d.HalfWidth / y.Mean}
	}
	scale := float64(b.Bytes) / float64(max(b.IOs, 1)) / bytes
	ratio := x.Mean / (y.Mean / scale)
	return Effect{100 * (ratio - 1), 100 * ratio * math.Hypot(x.HalfWidth/x.Mean, y.HalfWidth/y.Mean)}
}

// Causes are what cycles go into, in cycles per operation: instructions and what they wait for inside the core; code and data that have
// to be fetched or copied; and waiting for others: registers, locks, the IOMMU.
type Causes struct{ Execution, Memory, Waiting float64 }

// causes splits the cost of an operation of o.
func causes(o *bench.Outcome, bytes float64) (c Causes) {
	scale := 1.0
	if own := float64(o.Bytes) / float64(max(o.IOs, 1)); bytes > 0 && own > 0 {
		scale = bytes / own
	}
	for _, p := range []*workloads.Op{o.Map, o.Unmap, o.Sync, o.Setup, o.Teardown} {
		if p == nil || p.N == 0 || o.IOs == 0 {
			continue
		}
		t := p.Acct.Total()
		per := scale * float64(p.Series.N) / float64(o.IOs) / float64(p.N)
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
	return c
}

// less returns c - d.
func (c Causes) less(d Causes) Causes {
	return Causes{c.Execution - d.Execution, c.Memory - d.Memory, c.Waiting - d.Waiting}
}
