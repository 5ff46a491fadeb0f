// Package amdvi is the modelled AMD-Vi driver of both kernels: drivers/iommu/amd with, on 6.12, its v1 page table behind
// io-pgtable and, on 7.3, the amdv1 format of the generic page tables, whose code is package genericpt. It implements
// iommucore.Driver and iommucore.Adapter.
//
// # Nothing here is recorded
//
// The recordings come from a machine with VT-d. What surrounds this driver (the DMA API, iommu-dma, the core, the IOVA
// allocator, locks, the page allocator) is the recorded x86-64 code; of generic_pt what formats have in common is recorded with
// VT-d's. Everything in this package was read in the source: which lines are touched in which order, which operations are
// locked, what the hardware is told and how it is waited for. Instruction counts are estimates from the structure of that
// source, and so are the offsets of fields within struct amd_iommu and struct protection_domain.
//
//	tables present               6.12 4 KiB  7.3 4 KiB  6.12 128 KiB  7.3 128 KiB   (instructions; 128 KiB aligned: one page of 32 entries)
//	map                                 459        389           868         1181
//	unmap and invalidate                917       1103           942         1246   (the hardware done at the first look)
//
// # What happens in a map and in an unmap
//
// Every power of two from 4 KiB, but 512 GiB, is a page, which takes up to 256 neighbouring entries with the same contents. A
// table starts with 3 levels (512 GiB) and grows at the top: new root, device table entries rewritten and flushed, under the
// domain's lock.
//
// 6.12 calls through two pointers. For each page it walks from the root (alloc_pte; root and depth are read under a sequence
// count), empties each entry with a locked compare-and-exchange, then stores. It does not look whether something is mapped: see
// Domain.Replaced. An unmap walks once per page and clears with rep stos; tables stay, so a hole below a present table counts
// as unmapped, and only a larger page mapped over them frees them.
//
// 7.3 maps with one walk and plain stores and unmaps with one recursion; it looks at all entries of a large page first, refuses
// to map over something, and detaches tables that an unmap covers.
//
// A strict unmap ends in amd_iommu_iotlb_sync: the domain's lock is taken with interrupts off and held to the end. One command
// for the whole gathered range goes into the ring of 512 entries, under the IOMMU's lock and with a write of the tail register
// of its own; then a completion wait does, unless nothing was queued since the last one, and the CPU looks at the word that the
// hardware stores the sequence number to. When it is not there yet it delays for a whole microsecond (package delay) before it
// looks again, so what an unmap waits is a multiple of that. 6.12 drops page directory entries with every invalidation, 7.3
// only when tables were taken away. Another CPU that unmaps in the same domain waits for all of it; one in another domain waits
// for the ring only. A device with a TLB of its own (ATS) gets a command for the same range, before the completion wait.
//
// # The cast
//
//	Unit    struct amd_iommu: registers, device table, command buffer, completion word
//	Domain  struct protection_domain: a page table, its devices, its lock; Core is the struct iommu_domain in it
//	Adapter the unit as platform boots it
//
// # Left out
//
// v2 (guest) page tables and PASIDs; memory encryption (the masks are emitted, the bit is 0); more than one IOMMU, so the loop
// over the IOMMUs of a domain is xarray look-ups of index 0; NpCache, which a virtual AMD IOMMU sets (package vmm has a guest
// on VT-d); interrupt remapping; the event log's interrupt. Invalidation errors would be this package's own mistake and panic.
package amdvi
