// Package amd models an AMD IOMMU (AMD-Vi): it translates device addresses through a device table and host ("v1") page tables in
// simulated memory, and is told by a driver, through registers and a command buffer, what to forget. Package iommu/amdtable defines
// every bit that lies in memory, and package iommu has what units of all vendors share: walkers, IOTLB, page-directory caches,
// draining, and how a ring of commands is worked off.
//
// What is AMD's own: a request's table comes from one 32-byte device table entry, which is cached by device id. Page tables have 1 to 6
// levels, may skip levels, and map pages of any power of two; the IOTLB holds them at their size. A request that the tables do not
// allow is returned as *iommu.Fault and logged as an event in memory.
//
// The driver writes 16-byte commands into a ring and rings the tail register. INVALIDATE_IOMMU_PAGES drops the translations of a
// domain in a power-of-two range and, with PDE, the page-directory entries on the way to them. COMPLETION_WAIT stores 8 bytes when
// all commands before it are complete and no walk or DMA that arrived earlier is in flight; the store is an event of the engine, which
// a polling CPU sees by losing its copy of the line.
//
// The cast:
//
//	Config    sizes of the caches, and times in cycles of the unit's clock
//	Unit      the unit: Translate, WriteReg, ReadReg, Drain, Stats
//
// Source: AMD I/O Virtualization Technology (IOMMU) Specification, publication 48882, revision 3.x. Nothing is published about the sizes of
// the caches or about times.
//
// Left out beyond what package iommu leaves out: guest translation (GCR3, v2 tables), accessed and dirty bits, interrupt remapping,
// exclusion range, PPR and GA logs; invalidations of interrupt tables only take time, prefetches do nothing. Events appear in the log
// when the request is judged, which may be a little ahead of the time of the packet; the interrupts of the log and of COMPLETION_WAIT
// only set status bits. A device id beyond the device table is reported as an illegal entry.
package amd
