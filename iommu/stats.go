package iommu

import (
	"dmapath/cache"
	"dmapath/sim"
)

// Stats counts what the unit did. Requests = Untranslated + PassThrough + Hits + Merges + Walks + LookupFaults.
type Stats struct {
	Requests     uint64 // calls of Translate
	Untranslated uint64 // translation was off
	PassThrough  uint64 // pass-through context or PASID entry
	Hits         uint64 // IOTLB hits whose entry was there
	HitsBySize   [3]uint64
	Merges       uint64 // IOTLB hits that waited for the walk of an earlier request
	Walks        uint64 // page-table walks, faulting ones included
	LookupFaults uint64 // requests refused before a page-table walk

	ContextLookups uint64 // context-cache lookups
	ContextHits    uint64
	PASIDLookups   uint64
	PASIDHits      uint64
	EntryReads     uint64 // root, context, PASID directory and PASID entries read from memory

	PagingHits  [6]uint64               // walks that started below the level of this paging-structure cache
	FullWalks   uint64                  // walks that no paging-structure cache shortened
	PTEReads    [cache.NumLevels]uint64 // page-table reads by the level that served them
	PTEReadTime sim.Time                // sum over page-table reads, way to the memory system included
	ADUpdates   uint64                  // accessed and dirty bits written
	WalkTimes   *sim.Histogram
	WalkerWait  sim.Time // requests waited for a free walker

	Faults         uint64 // requests refused
	FaultsRecorded uint64 // in a fault recording register

	TailWrites    uint64 // writes of the invalidation queue tail
	Descriptors   [16]uint64
	DescFetches   uint64   // cache lines of descriptors read
	QueueTime     sim.Time // tail write at the unit to the descriptor's completion, over all descriptors
	QueueMax      int      // most descriptors between head and tail
	QueueErrors   uint64
	DrainTime     sim.Time // invalidations waited for requests in flight
	StatusWrites  uint64
	RegisterInvs  uint64 // invalidations through CCMD and IOTLB registers
	RegisterReads uint64
	Dropped       uint64 // IOTLB entries dropped by page-selective invalidations
}

// WalkerBusy returns the time walkers were busy, summed over all of them; divided by their number and the time of the run it is
// their occupancy.
func (v *VTd) WalkerBusy() sim.Time { return v.walkers.Busy }

// IOTLBEvictions returns how often a live translation made room for another.
func (v *VTd) IOTLBEvictions() uint64 { return v.iotlbs.Stats.Evictions }

// ResetStats forgets all counts, for the end of a warm-up.
func (v *VTd) ResetStats() {
	h := v.Stats.WalkTimes
	h.Reset()
	v.Stats = Stats{WalkTimes: h}
	v.walkers.Busy, v.walkers.Waited, v.walkers.Served = 0, 0, 0
	v.iotlbs.ResetStats()
}
