// Package iova is Linux's IOVA allocator, drivers/iommu/iova.c of 6.12 and 7.3: the algorithm on its real state, which
// emits the instructions it executes while it runs.
//
// # What is modelled
//
// A Domain hands out ranges of IOVA page frames from the top of the address space downwards. AllocFast and FreeFast are
// alloc_iova_fast and free_iova_fast. Ranges of up to 32 pages, rounded up to a power of two, are kept per CPU and per
// order (0 to 5) in two magazines of 127 frames, loaded and prev; full magazines go to a depot per order and
// come back from it when a CPU has run dry. Everything else, and every miss, is a struct iova in one red-black tree
// under one lock per domain: first fit from a cached node downwards with natural alignment, one retry from the
// limit, max32_alloc_size to fail early, and as a last resort all caches are emptied into the tree. While a depot
// holds more magazines than there are CPUs, its worker empties one every 100 ms.
//
// The tree is lib/rbtree.c rotation by rotation, so which nodes a search or a rebalance touches is what the kernel
// would touch. All choices that decide which IOVA comes out (which magazine is on top, which node is
// cached after an insertion or an erasure) are the kernel's; Predictor replays recorded events against them.
//
// # Emission
//
// With a thread, every operation emits instructions at simulated addresses, and takes the tree's and the depots' locks
// for real: these are where CPUs meet. The per-CPU lock is taken by its own CPU, so it ends no segment. With a nil
// thread the same code runs silently; a pair of AllocFast and FreeFast then costs about 50 ns.
//
// # Versions
//
// 6.12 allocates two magazines per CPU and order when the domain is made. 7.3 starts without any and allocates one when
// the first range is freed on a CPU; a first full magazine becomes prev and not the depot's. 7.3 also checks array
// indices and shifts (UBSAN), a few instructions per call.
//
// # Left out
//
// CPU hotplug (all possible CPUs are online, and free their caches only in a flush), size-unaligned allocation (only
// drivers with their own allocator use it), and the emission of init and teardown.
//
// # An example
//
// In an empty domain of 4 KiB granules the first one-page buffer below 4 GiB gets frame 0xfffff, the second 0xffffe.
// After 0xfffff was freed on CPU 1 the next request there gets 0xfffff again, from CPU 1's magazine, and the next one
// on CPU 0 gets 0xffffd from the tree.
package iova
