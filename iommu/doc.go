// Package iommu models DMA remapping hardware: a VT-d unit that translates device addresses through tables in simulated memory and is
// told by a driver, through registers and an invalidation queue, what to forget. Package iommu/table defines every bit
// that lies in memory.
//
// A request (Translate) names a requester and an address. The unit finds out how to translate it: from its context cache (in scalable mode
// also the PASID cache), or by reading root, context and PASID entries. Then it looks into the IOTLB, which holds 4 KiB, 2 MiB and
// 1 GiB translations. A miss takes one of N walkers, which starts as deep in the page table as the paging-structure caches allow and
// reads one entry per level through the cache hierarchy: an entry that a CPU wrote a moment ago is found in its cache, one
// that nobody touched for long in DRAM. A second miss on the same page waits for the first. A request that the tables do not
// allow is returned as *Fault with the specification's reason code and recorded in the fault registers.
//
// The driver writes descriptors into a ring and rings the tail register (WriteReg). The unit fetches descriptors by cache line,
// carries them out one by one, and for a wait descriptor writes a status word when all invalidations before it are complete.
// Complete means that the entries are gone and that no walk or DMA that arrived earlier is in flight, which it asks of root ports
// through Drainer. The status write is an event of the engine: before it, a CPU that polls reads the old word from its
// cache; after it, its copy is invalid and it reads the new word. So the wait of a strict unmap is never typed in.
//
// The cast:
//
//	Config    capabilities, cache sizes, and times in cycles of the unit's clock
//	VTd       the unit: Translate, WriteReg, ReadReg, Drain, Stats
//	Fabric    the cache hierarchy as the unit sees it
//	Fault     a refused request
//	...Desc   builders of invalidation descriptors
//
// A worked example, times of DefaultConfig (800 MHz, 1.25 ns per cycle), memory at 100 ns: a miss with the context and the three upper
// levels cached takes lookup 2.5 + start 75 + read 100 + way 45 + end 20 = 242.5 ns, with nothing but the context cached 145 ns more per
// level. A strict unmap's invalidation takes tail write 60 + fetch 130 + decode 10 + page 30 + drain 160 + status 40 = 430 ns from the
// tail write to the status word (the wait descriptor comes with the same cache line and is decoded during the drain).
//
// Left out, and what that costs: nested translation, ATS and page requests (device-TLB invalidations only take time), interrupt
// remapping (its invalidations only take time; interrupts are not looked up), advanced fault logging and fault interrupts, requests that carry
// a PASID (RID_PASID is used), caching of entries that are not present, memory types. A unit without coherent walks (ECAP.C = 0) is timed as a
// coherent one; what software pays for flushing is modelled in the driver. Lookups are pipelined, one per cycle, without contention. A
// translation sees the tables at the engine time of the call, although its now may lie ahead of it by what a port computes ahead; an
// invalidation that becomes due in between drains it, but does not make it walk again.
package iommu
