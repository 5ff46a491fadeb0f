// Package smmu models an Arm SMMUv3: it translates device addresses through a stream table, context descriptors and VMSAv8-64 tables in
// simulated memory, and is told by a driver, through a command queue in memory, what to forget. Package iommu/smmutable defines every
// bit that lies in memory, and package iommu has what units of all vendors share: walkers, TLB, walk caches, draining, and how a
// ring of commands is worked off.
//
// What is the SMMU's own: a request's stream (here the PCI requester id) names a stream table entry, in a linear or two-level table,
// which says abort, bypass, stage 1, stage 2 or both; stage 1 has a context descriptor. Both are cached. Tables have 4, 16 or 64 KiB
// granules, blocks, and runs of entries with the contiguous hint, which the TLB holds as one translation. Translations are tagged
// with VMID and, in stage 1, ASID. With both stages every table address of the first is translated by the second, whose
// translations are kept in the same TLB, and the TLB also holds the combined result.
//
// The driver writes 16-byte commands into the queue and moves PROD. TLB invalidations name an address or, with IDR3.RIL, a range.
// CMD_SYNC is consumed when every command before it is complete and no walk or DMA that arrived earlier is in flight; then the unit
// writes 4 bytes (MSI), or sends an event (SEV), and CONS moves past it. The write is an event of the engine, which a polling CPU sees
// by losing its copy of the line. A message is under way for Config.MessageTime, which the unit does not wait for. Commands are consumed
// one after the other, each taking its time, so under load the queue fills. With Config.Overlap those behind a CMD_SYNC are carried out while it
// waits, which the specification does not say; CONS never passes a CMD_SYNC that is not complete.
//
// A request that the tables do not allow is returned as *iommu.Fault and recorded in the event queue in memory.
//
// The cast:
//
//	Config    what the identification registers say, sizes of the caches, and times in cycles of the unit's clock
//	Unit      the unit: Translate, WriteReg, ReadReg, Drain, Stats
//
// Source: Arm System Memory Management Unit Architecture Specification, version 3 (Arm IHI 0070); sizes and times are the platform's.
//
// With SetHost the software that programs the unit is a guest, and a hypervisor's stage 2 lies under all of its streams.
//
// Left out beyond what package iommu leaves out: substreams (requests with a PASID), stall and resume, hardware update of access and dirty
// flags, global entries (every stage-1 entry belongs to its ASID), EL2 and Secure streams (their TLB commands act on VMID 0), PRI queue,
// interrupts for events, GERROR by message, TBU and TCU as separate units with their own TLBs, caching of first-level stream
// descriptors. TTL hints are not used. Terminated transactions abort, they are never read as zero. Events appear in the queue when
// the request is judged, which may be a little ahead of the time of the packet. The index registers of the event queue are read and
// written at the offsets of page 1.
package smmu
