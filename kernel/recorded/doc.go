// Package recorded compares what a modelled kernel path emits with what the real kernel executed.
//
// The data under testdata is condensed from the recordings of two Debian kernels (6.12.117 with gcc 12, 7.3.4 with gcc
// 14; kernel-traces/README.md tells how they were made), each for amd64 and for arm64: for every recorded call, and for
// every function within it, how many instructions, loads, stores, conditional branches, atomics and fences it
// executed, and how many distinct cache lines the call touched. Nothing of it is timing.
//
// A test of a modelled path is three lines:
//
//	ops := recorded.Run(func(t *cpu.Thread) { variant.Map(t, ctx, buf, kernel.FromDevice, 0) })
//	recorded.Check(tb, ops, "6.12/iommu-strict/map_page/4096", recorded.Exact)
//
// Run executes a function on a thread without a core: ops are collected, nothing is timed, locks are free. RunWarm
// executes another one first, to warm the state (rcaches, slabs) as the recordings did with 1000 calls. Check reports one line per
// function that deviates by more than the tolerance; Table prints them all, which is the working view while a path is
// being written:
//
//	call, _ := recorded.Load("6.12/iommu-strict/map_page/4096")
//	tb.Log(recorded.Table(recorded.Measure(ops), call))
//
// RunOn and RunWarmOn do the same for an architecture's code (kernel.ARM64); its kernels are 6.12-arm64 and 7.3-arm64.
//
// A key is KERNEL/BACKEND/API/SIZE, with /VARIANT for the slow variants (variant0, variant1). Keys lists them. Of amd64
// only calls with a steps file are included; of arm64 all are, without the first calls on a device. A locked add to the
// stack (smp_mb) counts as a fence, as a load and as a store, and not as an atomic. pushf counts as a store: emit it as locking.IrqSave does.
//
// Function names are compared without the suffixes of compiler clones (.isra.0, .constprop.0) and without module
// names. Instructions of the caller (module gtmod) appear under its function names and are never in a modelled path.
package recorded
