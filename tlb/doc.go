// Package tlb is the translation cache of the simulated machine: one generic structure that serves as the TLBs and
// walk caches of a CPU and as the IOTLB, context cache and paging-structure caches of an IOMMU.
//
// # What is modelled
//
// A Cache maps a key (domain, page number, page shift) to a payload of 64 bits. The domain is whatever keeps
// translations apart: an address-space number, an IOMMU domain id, a PASID. The page number is the address shifted
// right by the page shift. The payload is opaque: a frame, the address of the next table, an index. A context cache is
// a Cache whose pages are requester ids.
//
// Entries are organised in sets; one way is direct-mapped, Ways equal to Entries is fully associative. All page
// sizes of a Cache share its entries (as the 4 KiB and 2 MiB translations of an Intel STLB do); parts that keep sizes
// apart are several Caches. The set index is the page number of the respective size, mixed with the domain;
// domain 0 leaves it plain. Replacement is LRU, tree-PLRU or a seeded random stream, and prefers a way that
// holds nothing.
//
// Whole invalidations (InvalidateAll, InvalidateDomain) take constant time whatever the size: entries carry the number of
// the insertion that made them, and an entry older than the last invalidation that concerns it is dead.
//
// # What is left out
//
// Time: a Cache says hit or miss, its user says what either costs. Page-table formats: a user walks its own tables.
// Permissions: a user that caches them puts them into the payload. In a set of more than 16 ways a dead entry is
// reused in its turn of the replacement order unless it was invalidated by page or range, which frees it at once;
// in smaller sets dead ways are always filled first. Real parts differ in this and do not document it.
//
// # Cast
//
// Config is the geometry, Cache the thing, Stats its counters, Policy how it replaces.
//
// # Worked example
//
// A 64-entry 4-way dTLB for 4 KiB pages has 16 sets. Pages 0, 16, 32, 48 share set 0 and all fit; page 64 then
// replaces page 0 under LRU, so a loop over those five pages misses every time.
package tlb
