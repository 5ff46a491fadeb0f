// Package iommu is what DMA remapping hardware of every vendor has in common: the part of a unit that translates, and the interface that
// a machine needs of it. The dialects are packages of their own: iommu/vtd, iommu/amd, iommu/smmu, each with a package that
// defines every bit that lies in memory (iommu/table, iommu/amdtable, iommu/smmutable).
//
// A request (Unit.Translate) names a requester and an address. The dialect finds out how to translate it, from its cache of device
// entries or by reading them: a Space, which is a table, its format and a tag. Core.Lookup then looks into the IOTLB, which holds
// translations of any power-of-two size. A miss takes one of N walkers (Core.Walk), which starts as deep in the page table as the
// paging-structure caches allow and reads one entry per level through the cache hierarchy: an entry that a CPU wrote a moment ago
// is found in its cache, one that nobody touched for long in DRAM. A second miss on the same page waits for the first. What a
// driver tells a unit to forget goes (Core.DropPages, DropSpace, DropAll), and Core.DrainFrom says when no walk or DMA that
// arrived earlier is in flight, which it asks of root ports through Drainer.
//
// The cast:
//
//	Unit      what a machine needs of a unit
//	Core      what every dialect embeds
//	Config    sizes of the shared caches, and times in cycles of the unit's clock
//	Space     how a request is translated: table, Geometry, Format, tag
//	Format    what one page-table entry means
//	Fabric    the cache hierarchy as a unit sees it
//	Queue     a ring of commands, as every unit works it off
//	Entries   a cache of decoded device entries
//	Fault     a refused request
//	Stats     what a unit did
//
// A worked example, times of vtd.DefaultConfig (800 MHz, 1.25 ns per cycle), memory at 100 ns: a miss with the device entry and the
// three upper levels cached takes lookup 2.5 + start 75 + read 100 + way 45 + end 20 = 242.5 ns, with nothing but the device entry
// cached 145 ns more per level.
//
// Where both stages translate (Space.Under), every table address of the first goes through the second, whose translations the IOTLB
// keeps beside the combined ones; what a second-stage walk finds is there for other walks at once.
//
// A device may have a TLB of its own (ATS): it asks for the page of an address (TranslatePage, Core.Page), sends physical addresses
// (Translated), and is sent what to forget (DeviceTLB), which a wait command behind that waits for.
//
// Left out, and what that costs: page requests (PRI), interrupt remapping (interrupts are not looked up), requests that carry a PASID, caching of entries that are not present, memory types. Units whose table walks are not coherent are
// timed as coherent ones; what software pays for flushing is modelled in the driver. Lookups are pipelined, one per cycle, without
// contention. A translation sees the tables at the engine time of the call, although its now may lie ahead of it by what a port
// computes ahead; an invalidation that becomes due in between drains it, but does not make it walk again.
package iommu
