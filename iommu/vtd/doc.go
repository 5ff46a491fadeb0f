// Package vtd models a VT-d unit: it translates device addresses through tables in simulated memory and is told by a driver,
// through registers and an invalidation queue, what to forget. Package iommu/table defines every bit that lies in memory, and
// package iommu has what units of all vendors share: walkers, IOTLB, paging-structure caches, draining.
//
// What is VT-d's own: a request's table comes from the context cache (in scalable mode also the PASID cache), or from root, context
// and PASID entries. A request that the tables do not allow is returned as *iommu.Fault with the specification's reason code and
// recorded in the fault registers.
//
// The driver writes descriptors into a ring and rings the tail register (WriteReg). The unit fetches descriptors by cache line,
// carries them out one by one, and for a wait descriptor writes a status word when all invalidations before it are complete.
// Complete means that the entries are gone and that no walk or DMA that arrived earlier is in flight. The status write is an event
// of the engine: before it, a CPU that polls reads the old word from its cache; after it, its copy is invalid and it reads the new
// word. So the wait of a strict unmap is never typed in.
//
// The cast:
//
//	Config    capabilities, cache sizes, and times in cycles of the unit's clock
//	Unit      the unit: Translate, WriteReg, ReadReg, Drain, Stats
//	...Desc   builders of invalidation descriptors
//
// A worked example, times of DefaultConfig (800 MHz, 1.25 ns per cycle), memory at 100 ns: a strict unmap's invalidation takes tail
// write 60 + fetch 130 + decode 10 + page 30 + drain 160 + status 40 = 430 ns from the tail write to the status word (the wait
// descriptor comes with the same cache line and is decoded during the drain).
//
// Left out beyond what package iommu leaves out: interrupt-entry and device-TLB invalidations only take time; advanced fault logging and
// fault interrupts; page requests. With both stages of a PASID entry, a page-selective invalidation of the second drops all combined translations of
// the domain, because nothing says which of them go through the page.
package vtd
