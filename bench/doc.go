// Package bench runs experiments on simulated machines and shows what they found. The command line is a thin layer over it.
//
// # An experiment
//
// An Experiment says what is run: workloads, API variants, backends, cache states, sizes, seed. With a platform.Spec beside it, it is
// complete: a run is a pure function of the two. Points lists the cells of its grid, Run makes one of them, and Compare makes all,
// several at a time, and returns a Comparison with an Outcome per point.
//
//	machine, err := platform.Load("icelake-sp")       // a preset, or a file
//	err = machine.Set("iommu.walkers", "2")            // any key of dmapath platform keys
//	x := bench.Default()                               // what dmapath compare runs
//	x.Workloads, x.Backends = []string{"nvme"}, []string{"iommu-strict"}
//	c, err := bench.Compare(ctx, machine, x, 0, nil)   // 0: a run per processor
//	for _, o := range c.Outcomes {
//		fmt.Println(o.Variant, o.Cache, o.Map.Cycles.Mean(), o.Map.Cycles.Quantile(0.99))
//	}
//
// Outcome.Map and Unmap are workloads.Op: the cycles of every call, their distribution, and an account by kernel function of
// instructions, loads by the level that served them, and stalls by cause. Comparison.Record is the same as tables and measurements,
// which package results writes in every format; Comparison.Manifest is what repeats the run, and FromManifest reads it back.
//
// # What else is run
//
//   - Explain: one point, function by function. Diff: two points (Side), and which functions account for the difference. DiffDirs:
//     two directories that were written.
//   - Profile and Timeline repeat runs (Again) to look closer: call stacks for pprof, events for Perfetto.
//   - RunHazards: the matrix of calls, memories and backends. ExplainHazard: one cell of it.
//   - RunTool and Against: the kernel's dma_map_benchmark, and a real machine's figures beside it.
//   - ReplayFile and ReplayStream: the calls of a recorded trace.
//   - ReadKernelTraces: recordings of real kernels, and how near the modelled calls come to them.
//
// Packages below this one hold runs of many machines or checks of the model: sweep, sensitivity (what is uncertain, varied), advise, debate;
// evidence is the form in which every check reports, and validation the list of them.
//
// # Figures
//
// A mean, a difference or a count has half of its 95 % interval from batch means of the second half of the calls; differences are paired,
// call by call, because both sides see the same buffers and arrivals. The intervals are about the randomness of a workload. How far
// guesses about the hardware carry is the business of sensitivity.
//
// # What is left out
//
// Replications with other seeds are not combined. A run that has begun cannot be stopped; a cancelled context ends a grid between two runs.
package bench
