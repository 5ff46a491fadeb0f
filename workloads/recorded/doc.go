// Package recorded runs instruction traces of real kernels on the simulated core and caches: the same calls that the
// modelled kernel emits, but instruction by instruction as an unmodified Debian kernel executed them.
//
// A Recording is one call, read from a file of the kernel traces (steps/*.csv: instruction class, symbol and offset,
// memory line and byte, producers of addresses and sources). Parse turns it into micro-ops:
//
//   - Code lies at the recorded offsets within its functions, so code lines and branch addresses are the real ones.
//   - Each distinct data line of the trace becomes a line of simulated memory, in the region of its sort (static variables, per-CPU
//     ones, struct pages, pages, other objects), which pages of the modelled size map. Static and per-CPU variables are
//     packed; lines of one other object share pages, lines of different objects do not. The stack is that of the modelled
//     kernel and grows down. Which lines two recordings have in common is not known, so the map and the unmap of a pair each have
//     lines of their own.
//   - What a cache flush flushes is not recorded: it is the line stored to last outside the stack.
//   - Of several producers of a source the latest in program order is kept: an op has one address and one data dependence.
//   - The emulator that recorded the calls completed invalidations at once. Run therefore stops at the write of the
//     invalidation queue's tail register, lets the simulated IOMMU perform the invalidation and waits for it.
//
// The recordings of 4 KiB and 2 MiB maps and unmaps and of pfn_valid that the program offers as --source recorded are
// embedded, those of both architectures; gen.go copies them. An arm64 machine runs the arm64 ones.
package recorded
