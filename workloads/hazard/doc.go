// Package hazard runs the matrix call x memory x backend x kernel, one cell at a time, and says of each what it costs, which error
// the kernel returns, or what goes wrong and in which step.
//
// # A cell
//
// A Call is a way in which a driver uses the DMA API: every variant of package dma as its name says, then uses with attributes, with
// dma_sync, and wrong ones (another size or direction at the unmap, the unmap of another API). A Memory is what the driver
// wants mapped, a Backend what stands behind the API. Calls, Memories and Backends are lists; a new one is a line there. What
// cannot be run says why (Missing) and is never guessed.
//
// Run builds a small machine for the cell and lets a buffer live on it 27 times: for three directions, and for every combination of
// what the caches may do of their own accord before and after the device's access (oracle.Adversaries). The CPU fills the
// buffer, the driver maps it, whoever owns the rest of its cache lines goes on writing there, the device transfers, the driver
// unmaps, the CPU reads. Another buffer of the device stays mapped throughout and must stay reachable. In the end the addresses in
// use are counted. Package oracle watches all of it; the kernel's own reports (Env.OnHazard) are collected as well. The cost is taken
// afterwards on a second machine without any of this, once for all cells whose calls emitted the same instructions while they were
// watched on the same machine (Likeness).
//
// Three things are kept apart: hazards of the call (Result.Hazards), what the backend lets the device reach beside it
// (Result.Exposed), and errors that the kernel returns (Result.Err).
//
// # Windows
//
// Measure is about lazy invalidation: for how long after the return of an unmap the device still reaches the buffer, at several
// loads. The device tries every 5 us; the time is that of its last success.
//
// # Left out
//
// Several CPUs, and devices that are told something while the driver unmaps. Buffers of several pieces. Scatterlists and the
// two-step interface are run with one piece. Memory that goes away while it is mapped (hot-unplug, revoked dma-buf). The stack
// case needs a kernel without VMAP_STACK. The device of a cell writes the whole buffer.
package hazard
