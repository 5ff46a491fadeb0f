// Package cache is the memory system of the simulated machine: per core L1I, L1D and L2, a shared last-level cache, a
// coherence directory, DRAM, and the way devices reach them. Who asks, and why, it does not know.
//
// # Time
//
// Every call gets the time at which it starts and returns at once with the time at which it is done: the whole path of an access is
// computed ahead in one pass, with no events. Lines carry the time of their arrival, so a second access to a line in flight
// merges with the first. Shared resources (miss registers, DRAM banks, channel buses) are servers with a next free time.
// Cores run ahead of each other by up to a segment (about half a microsecond). A request that is earlier than what was served
// before is not delayed by it: buses keep what is left of each 65 ns, banks remember where their last busy time began, and a line
// is not waited for if its owner asked for it later.
//
// # What is modelled
//
//   - Arrays of any size with up to 32 ways; LRU, tree-PLRU, SRRIP. L2 includes both L1. The LLC is inclusive (it takes a line
//     from the private caches when it evicts it) or filled by what L2 evicts, clean or dirty, and emptied by what L2 takes
//     alone. Its index is a hash, so that pages do not collide.
//   - Miss registers per L1 and L2: a miss that finds all busy waits for the first. Merges need none.
//   - MESI through an exact directory for up to 1024 cores. A line that another core may have written comes from there (level
//     Peer) and waits for that core to have it; a store invalidates every other copy; upgrades cost an LLC or a Peer
//     round trip. False sharing and contended lock words cost what their transfers cost.
//   - Distance (Topology): clusters of cores, nodes, sockets. A line from another core, a copy to be given up and a hit of the LLC take a hop
//     longer the farther they are; a line of the LLC lies in the part of the cluster that put it there; devices enter at cluster 0.
//   - Far atomics (FarAtomics): carried out in the LLC of the core's node, one at a time per line, which moves from node to node (Atomic, Settle), or in
//     L1 if the core has the line for itself. Without them an atomic owns its line.
//   - Lines of the LLC twice as long as those of L1 and L2 (LLCConfig.LineBytes): the two halves are taken for writing together.
//   - Prefetch: next line (of a page in use) and stride by pc into L2 and L1D, next lines of code into L1I; never across 4 KiB, never from
//     another core's E or M copy, only with a free register.
//   - Devices: reads take the line from a core, the LLC or DRAM and change nothing; writes invalidate every copy and allocate in the
//     first DDIOWays ways of the LLC, or go to DRAM. A part of a line that nobody holds is merged after a DRAM read.
//   - DRAM: channels interleaved by line, banks permuted by row, open rows with hit, miss and conflict, bursts on the bus,
//     optional idle close and refresh. Write-backs take bus time.
//   - Cache maintenance by line: CleanInvalidate, Clean.
//   - Displace: what the rest of driver and application push out between two calls, exact per set and free of cost per line.
//
// # An example with numbers
//
// With Default at 3 GHz, a load that misses everything and finds no row open takes 24 ns (LLC lookup) + 36 ns (controller
// and fabric) + 13.75 ns (tRCD) + 13.75 ns (tCL) + 2.5 ns (burst) = 90 ns. A second load of the line 10 ns later merges and is
// done at the same time. A store by another core 1 us later takes 50 ns (Peer) and leaves the first core without a copy; a device write
// then takes 24 + (50-24) = 50 ns, and the next load of either core finds the line in the LLC in 24 ns.
//
// # What is left out
//
//   - Distance is one of four steps; no mesh positions, no contention of the interconnect, no slice bandwidth. Memory is equally far from all
//     cores, and clean-and-invalidate knows no distance. The parts of the LLC of several sockets are one array: a line never has copies in
//     two of them.
//   - In which order a node serves what waits for a line, and when it gives the line up, is known of no part: first come, first served.
//   - The halves of a long line of the LLC are not fetched, kept or evicted together.
//   - A line is placed when it is asked for, not when it arrives, so its victim leaves up to a miss latency early. A line evicted
//     while it flies can be read again from the LLC before it would be there.
//   - The directory has no capacity of its own: no back-invalidation by a full snoop filter.
//   - L1 write-backs cost nothing: L2 learns of the first store to a line at once.
//   - An LLC hit does not refresh what only L1 uses, as in real inclusive caches without hints.
//   - DRAM writes never close rows (controllers drain them in batches) and wait in no queue; tRAS, tFAW, tWTR and ranks are not
//     modelled. Bank groups: Burst is the only column spacing.
//   - Displaced lines take no time and no DRAM bandwidth. A line that L1 holds and L2 is due to lose stays usable until
//     its L2 set is next looked at. With several users of a Window, the LLC holds all windows as one.
//   - Requests of one core that are not in order of time share miss registers first come, first served by call.
//
// # Types
//
// Hierarchy answers accesses; Config describes it; Level says where a line was; State is its MESI state; Stats counts, and its
// Check method verifies accesses = hits + misses + merges. Split is the same arrays as Valgrind's cachegrind puts them together
// (bench/cachegrind). Memory holds the contents of the few words that
// somebody reads: it has no timing.
package cache
