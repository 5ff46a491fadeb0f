// Package cpu is the core of the simulated machine: the op, the stream into which modelled code emits ops, and an
// out-of-order window that times them.
//
// # How an op is timed
//
// Core.Run takes ops in program order and works out, for each, five cycles: fetch, dispatch, start, completion and
// retirement. It goes over the stream once; nothing is revisited. That is exact for what it models because younger ops never
// delay older ones: execution ports are given out oldest first, in the first cycle that is free from the op's readiness
// on (a slow twin in the tests advances cycle by cycle and agrees).
//
//   - Fetch: FetchWidth instructions a cycle; a taken branch ends the group; code lines come from the L1I, are asked for
//     FetchAhead lines early and translated by the instruction TLB; a queue of FetchQueue instructions decouples
//     fetch from dispatch.
//   - Branches: a TAGE predictor with real tables and history, a branch target buffer, history-indexed indirect targets, a
//     return stack. A misprediction restarts fetch so that the next op is dispatched Mispredict cycles after the branch
//     resolved. A retpoline's ret mispredicts because the stream says where it really goes.
//   - Dispatch: DispatchWidth slots a cycle; microcoded classes take several; waits for the reorder buffer, the load queue and
//     the store queue.
//   - Loads: data TLB, second-level TLB and page walks that read table entries through the caches; forwarding from a store that
//     covers them; a wait for L1 when one covers them in part; L1 latency; package cache for the rest.
//   - Stores retire into the store buffer, ask for their line then, and reach L1 in order (x86) or as lines come (Arm).
//   - Atomics and full fences wait until the store buffer is empty and hold younger memory ops (atomics of some cores do
//     neither, see Config.AtomicHolds); lfence waits for everything older
//     to retire and holds dispatch; a read of a device register waits for both and is not overlapped.
//
// State persists: a Run that starts where the last one ended continues it with the window full, so a path takes the same time
// in one segment as in many. A later start finds the core drained, its predictor, TLBs and store buffer as they were.
//
// Cycles are counted, not picoseconds; only segment edges and cache misses convert. Times from the memory system are rounded
// up to a cycle.
//
// # Where the cycles go
//
// An Account receives, per kernel function, the cycles between the retirement of each op and of its predecessor, so functions
// sum to the total exactly. Cycles in which nothing retired carry a cause: first what passed before the op
// was dispatched (code fetch, misprediction, a full queue, a serialising op), then what the op itself waited for
// (memory by the level that served it, translation, execution). Waits outside the core (device registers, locks,
// invalidations) are added by Account.Wait.
//
// # What is left out, and what that costs
//
//   - Wrong paths are not executed: no wrong-path cache pollution or prefetching, and no port use by them.
//   - The scheduler has no size of its own: a window full of ops that wait for one miss dispatches up to the reorder buffer, where a
//     real one (97 to 200 entries) may stop earlier. It flatters long misses followed by dependent code.
//   - Memory disambiguation is perfect: a load waits for exactly the older stores that overlap it.
//   - Instructions are one op with one memory operand; micro-op counts enter as dispatch slots only. Decoders and micro-op caches
//     are one width; all instructions are 4 bytes long.
//   - Two hardware threads are not modelled.
//   - Below a hypervisor only the CPU's walks have two stages; devices reach memory by one.
//   - The hardware runs ahead of other agents within a segment; a younger segment's loads may be timed up to one
//     window before the segment starts, as speculation does.
//   - Stores of a string instruction bypass the store buffer; a younger load of its destination waits for its end.
//   - A store that misses asks for its line at retirement, not at address generation.
//   - Recency in the data TLBs is kept between misses, not between hits (see mmu); kernel translations are global.
//   - The frequency is constant.
//
// # Cast
//
// Op is one instruction; Stream emits them; Func is where they belong; Core times them; Config is the core's
// parameters; Account is what it cost; Thread joins a Stream, a Core and a process of package sim, waits for locks and device
// registers; Space says what is mapped where.
//
// # Worked example
//
// On a core with 5-cycle L1 loads, ROB 352 and a 17-cycle refill: a chain of three dependent L1 loads and a
// branch on the result resolves 3*5+1 cycles after the first load starts. Predicted, the ops behind it have long executed and the
// path takes about 18 cycles. Mispredicted, the next op is dispatched in cycle 16+17 and retires two later: 35. That is
// why a retpoline (a certain misprediction) costs 20 to 40 cycles and a predicted indirect call 1 or 2.
package cpu
