// Package sim is the ground floor: simulated time, events, processes that wait, resources they wait for, random numbers, and
// the statistics that turn operations into figures with a confidence interval. It knows nothing about hardware.
//
// # Time
//
// Time counts whole picoseconds. A Clock converts between times and its own cycles by the number of the edge, in 128 bits,
// so that a 3 GHz clock has its edge 3*10^9 at exactly one second. Edges are rounded up to a picosecond:
// at Edge(n) edge n has come, one picosecond earlier it has not. int64 lasts for 106 days.
//
// # Order
//
// An Engine runs events by time, and those of equal time in the order in which they were scheduled. That is the only order
// there is: no goroutine, map or wall clock takes part, so the same program does the same again. An engine and all that hangs on it belong to
// one goroutine at a time; parallelism is between runs.
//
// An event is a time, a registered handler and a 64-bit argument. Scheduling and running one allocates nothing, and costs
// about the same whether ten or a million are pending (see queue; BenchmarkHold compares it with a heap in one run).
//
// # Processes
//
// A Proc is straight-line code, such as a CPU executing a kernel path, that waits in simulated time: SleepUntil for a time, Park
// for somebody's Wake. It is a coroutine, resumed by an event. A process that sleeps while nothing else can happen only
// moves the clock, without an event and a switch, which is most of the time when one CPU is busy: 4 ns instead of 90.
//
// # Resources
//
//   - Lock: first come, first served, with the hand-off delay of a queued spinlock.
//   - Server, Servers: one or n servers that remember when they are free next; they need neither process nor event.
//   - BoundedQueue: items in order, producers wait for room, consumers for items.
//   - Credits: equal units such as tags; a large request is not overtaken by small ones.
//   - Signal: wait until somebody says that something has happened.
//
// Whoever waits stands in line, so nobody starves. When processes wait and no event is left, Run returns a DeadlockError
// that says who waits for what and who holds it, and names the circle if there is one.
//
// # Figures
//
//   - Sample: count, extremes, and exact sums, so that the order of adding does not show in the mean or variance.
//   - Histogram: quantiles within a relative error (HdrHistogram), with exact extremes and what lay outside counted.
//   - Level: the time average of something that changes at events, such as requests in flight.
//   - Curve: the same in bins over time, in constant memory, with changes in any order of time.
//   - Series: one value per operation, in constant memory. Steady cuts the warm-up (MSER-5) and gives the mean with its 95 %
//     interval (batch means); Difference compares two series driven by the same operations, so that what they have in
//     common cancels. Doubts come as warnings in the Estimate.
//
// A Timeline records who does what when, for a picture of a run; see there. Plain counters are exported uint64 fields of the thing that counts, documented with what increments them.
//
// # What is left out
//
//   - Time cannot go back and an event cannot be cancelled; a handler that finds itself outdated returns.
//   - Server serves in the order of the calls. A caller that has run ahead of the engine within its segment is served before one
//     that calls later with an earlier time. Segments bound the error to their length.
//   - Lock has no priority, no reader side and no spinning cost; what waiting costs a CPU is for the caller to model.
//   - Batch means with 8 to 32 groups cannot see correlation longer than the run; such a run needs to be longer, and only
//     sometimes gets a warning.
//
// # Example
//
// Two CPUs contend for a lock whose hand-off takes 70 ns; each holds it for 100 ns. See ExampleLock, whose output is checked:
// the second has the lock at 170 ns, having waited 160 ns since it came at 10 ns.
package sim
