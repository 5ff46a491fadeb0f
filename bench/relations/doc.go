// Package relations checks what must be true of every run, whatever the machine, by drawing machines and workloads at random.
//
// A Case is a preset, a backend, a workload, a call and a number of values changed within their allowed ranges, all drawn from a seed and
// a number. Three kinds of statements are checked on each:
//
//   - Determinism: the same case gives the same outcome, field by field, alone, beside other runs, and with any number of jobs.
//   - Conservation: what a run counts in two places is the same number. Packets sent are packets received, cycles of functions sum to the
//     cycles of calls, instructions that streams emit are those that cores retire, what was mapped is unmapped, credits come back, and
//     when the run is over nothing is left that could still happen.
//   - Metamorphic relations: a second run that differs in one respect compares with the first as it must. A longer link does not shorten
//     a read, a key that is not used changes nothing, clocks and latencies scaled by two scale all times by two.
//
// A relation that follows from how the simulator is built is exact. One that holds on average only (a second walker can make a
// particular run slower by changing who comes first) says so and has a margin; it is judged on each case, not on their mean, so its
// margin covers the scatter of short runs.
//
// When a relation fails, the case is made smaller, value by value, as long as it still fails, and is reported with the command that
// repeats it. Everything about a trial follows from the seed and its number: trial 17 of seed 5 is the same alone and among thousands.
//
// Left out: recorded streams, trace replay, guests with emulated units (iommu.trapped only as drawn), more than four CPUs. Cases that a
// machine refuses (platform.Unfit, Experiment.Validate) are drawn again; those that a kernel refuses with an error of its own, a full
// bounce pool or a mapping too large, are counted and judged as refused.
package relations
