package bench

import (
	"context"
	"slices"

	"dmapath/cache"
	"dmapath/cpu"
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

// Profile runs each run and returns where the simulated cycles of the mapping calls went, by kernel function and the stack that it was
// called on. Samples carry the workload, backend, cache state and variant of their point, the call (map, unmap), the platform, and the
// label of their run if it has one, as labels. The counts are those of the second half of the calls, as in the tables; the runs come one after
// the other, because functions on stacks are shared.
func Profile(ctx context.Context, runs []Again, progress Progress) (*results.Profile, error) {
	prof := results.NewProfile(profileValues()...)
	for i, r := range runs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		pt := r.Point
		r.Exp.stacks = true
		o, err := r.Exp.Run(r.Platform, pt)
		if err != nil {
			return nil, err
		}
		labels := []results.Dim{{Key: "workload", Value: pt.Workload}, {Key: "backend", Value: pt.Backend}, {Key: "cache", Value: pt.Cache},
			{Key: "variant", Value: pt.Variant}, {Key: "platform", Value: r.Platform.Name}}
		if r.Label != "" {
			labels = append(labels, results.Dim{Key: "run", Value: r.Label})
		}
		for _, p := range o.ops() {
			profileAccount(prof, p.name, p.Acct, append(slices.Clip(labels), results.Dim{Key: "call", Value: p.name}))
		}
		if progress != nil {
			progress(i+1, len(runs), pt)
		}
	}
	return prof, nil
}

// profileAccount adds the functions of an account to prof.
func profileAccount(prof *results.Profile, call string, acct *cpu.Account, labels []results.Dim) {
	for id := range acct.Fn {
		f := &acct.Fn[id]
		if f.Cycles == 0 && f.Instructions() == 0 {
			continue
		}
		values := []int64{f.Cycles, f.Instructions(), f.Level[cache.DRAM]}
		for c := cpu.StallFetch; c < cpu.NumStalls; c++ {
			values = append(values, f.Stall[c])
		}
		prof.Add(frames(call, cpu.FuncByID(uint16(id))), values, labels...)
	}
}

// frames is a call stack, the call of the DMA API outermost.
func frames(call string, f *cpu.Func) []results.Frame {
	stack := []results.Frame{{Function: call}}
	for _, g := range f.Stack() {
		stack = append(stack, results.Frame{Function: g.Name, File: g.File})
	}
	return slices.Clip(stack)
}
