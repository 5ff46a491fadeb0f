package bench

import (
	"context"
	"slices"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/platform"
	"dmapath/results"
)

// profileValues are the kinds of numbers in a profile: what pprof calls sample types. Stall cycles by cause are part of cycles.
func profileValues() []results.Value {
	list := []results.Value{{Name: "cycles", Unit: "cycles"}, {Name: "instructions", Unit: "count"}, {Name: "llc_misses", Unit: "count"}}
	for c := cpu.StallFetch; c < cpu.NumStalls; c++ {
		list = append(list, results.Value{Name: "stall_" + c.String(), Unit: "cycles"})
	}
	return list
}

// Profile runs every point of x once more and returns where the simulated cycles of the mapping calls went, by kernel function and the
// stack that it was called on. Samples carry the workload, backend, cache state and variant of their point and the call (map, unmap) as labels.
// The counts are those of the second half of the calls, as in the tables; the points run one after the other, because functions on
// stacks are shared.
func (x *Experiment) Profile(ctx context.Context, s *platform.Spec, progress Progress) (*results.Profile, error) {
	if err := x.Validate(s); err != nil {
		return nil, err
	}
	prof := results.NewProfile(profileValues()...)
	own := *x
	own.stacks = true
	points := own.Points()
	for i, pt := range points {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o, err := own.Run(s, pt)
		if err != nil {
			return nil, err
		}
		for _, p := range o.ops() {
			labels := []results.Dim{{Key: "workload", Value: pt.Workload}, {Key: "backend", Value: pt.Backend}, {Key: "cache", Value: pt.Cache},
				{Key: "variant", Value: pt.Variant}, {Key: "call", Value: p.name}}
			for id := range p.Acct.Fn {
				f := &p.Acct.Fn[id]
				if f.Cycles == 0 && f.Instructions() == 0 {
					continue
				}
				values := []int64{f.Cycles, f.Instructions(), f.Level[cache.DRAM]}
				for c := cpu.StallFetch; c < cpu.NumStalls; c++ {
					values = append(values, f.Stall[c])
				}
				prof.Add(frames(p.name, cpu.FuncByID(uint16(id))), values, labels...)
			}
		}
		if progress != nil {
			progress(i+1, len(points), pt)
		}
	}
	return prof, nil
}

// frames is a call stack, the call of the DMA API outermost.
func frames(call string, f *cpu.Func) []results.Frame {
	stack := []results.Frame{{Function: call}}
	for _, g := range f.Stack() {
		stack = append(stack, results.Frame{Function: g.Name, File: g.File})
	}
	return slices.Clip(stack)
}
