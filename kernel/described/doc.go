// Package described reads a description of a DMA mapping call that no kernel has and runs it on the modelled machine, beside the calls
// that kernels do have. A description is text; docs/paths.md is its manual. It says what the call executes (instructions, loads with the object
// that they touch and what they depend on, branches, atomics, calls, loops over pages), and where in it an existing call, its base, does the
// mapping itself. So a Path maps correctly on every backend, and what it costs beyond its base is what its author wrote down.
//
// A Path is a dma.Variant. Define makes it known under its name; it is called before machines are built, because it adds functions to the
// text of the simulated kernel.
//
// Left out: a path cannot decide on contents of memory. Branches go the way the description says; conversions of the memory model
// (pfn_valid and the like) are those of the kernel and do look.
package described
