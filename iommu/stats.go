package iommu

import (
	"dmapath/cache"
	"dmapath/sim"
)

// Stats counts what the unit did. Requests = Untranslated + PassThrough + Hits + Merges + Walks + LookupFaults.
type Stats struct {
	Requests     uint64    // calls of Translate and TranslatePage
	Untranslated uint64    // translation was off
	PageRequests uint64    // of them: a device asked for a translation (ATS)
	Translated   uint64    // besides them: requests whose address the device had translated
	PassThrough  uint64    // pass-through context or PASID entry
	Hits         uint64    // IOTLB hits whose entry was there
	HitsBySize   [3]uint64 // pages below 2 MiB, below 1 GiB, from 1 GiB on
	Merges       uint64    // IOTLB hits that waited for the walk of an earlier request
	Walks        uint64    // page-table walks, faulting ones included
	LookupFaults uint64    // requests refused before a page-table walk

	ContextLookups uint64 // lookups in the cache of device entries: context, DTE, STE
	ContextHits    uint64
	PASIDLookups   uint64 // in the cache of what a device entry points to: PASID entry, CD
	PASIDHits      uint64
	EntryReads     uint64 // words of those entries, and of tables that lead to them, read from memory

	SecondWalks uint64                  // second-stage walks within walks
	PagingHits  [MaxLevels + 1]uint64   // walks that started below the level of this paging-structure cache
	FullWalks   uint64                  // walks that no paging-structure cache shortened
	PTEReads    [cache.NumLevels]uint64 // page-table reads by the level that served them
	PTEReadTime sim.Time                // sum over page-table reads, way to the memory system included
	ADUpdates   uint64                  // accessed and dirty bits written
	WalkTimes   *sim.Histogram
	WalkerWait  sim.Time // requests waited for a free walker

	Faults         uint64 // requests refused
	FaultsRecorded uint64 // where the driver looks

	TailWrites    uint64   // writes of the command queue's tail
	Invalidations uint64   // commands carried out that invalidate something
	Waits         uint64   // commands carried out that tell the driver that those before are complete
	DescFetches   uint64   // cache lines of commands read
	QueueTime     sim.Time // tail write at the unit until the head is past the command, over all commands
	QueueMax      int      // most commands between head and tail
	QueueErrors   uint64
	DrainTime     sim.Time // invalidations waited for requests in flight
	DeviceInvs    uint64   // invalidations sent to devices' TLBs
	DeviceInvTime sim.Time // until they had said that they are done
	StatusWrites  uint64
	PageAsked     uint64 // page request messages that reached the unit (PRI)
	PageQueued    uint64 // of them: put into the page request queue
	PageDropped   uint64 // of them: the queue was full
	PageAuto      uint64 // groups that the unit answered itself
	PageAnswers   uint64 // responses sent to devices, those included
	RegisterInvs  uint64 // invalidations through CCMD and IOTLB registers
	RegisterReads uint64
	Dropped       uint64 // IOTLB entries dropped by page-selective invalidations
}

// Statistics returns the live counts.
func (c *Core) Statistics() *Stats { return &c.Stats }

// WalkerBusy returns the time walkers were busy, summed over all of them; divided by their number and the time of the run it is
// their occupancy.
func (c *Core) WalkerBusy() sim.Time { return c.walkers.Busy }

// WalkersInUse returns how many walkers are busy at t, as far as walks begun so far tell.
func (c *Core) WalkersInUse(t sim.Time) int { return c.walkers.InUse(t) }

// IOTLBEvictions returns how often a live translation made room for another.
func (c *Core) IOTLBEvictions() uint64 { return c.iotlb.Stats.Evictions }

// ResetStats forgets all counts, for the end of a warm-up.
func (c *Core) ResetStats() {
	h := c.Stats.WalkTimes
	h.Reset()
	c.Stats = Stats{WalkTimes: h}
	c.walkers.Busy, c.walkers.Waited, c.walkers.Served = 0, 0, 0
	c.iotlb.ResetStats()
	c.curves.restart(c.Eng.Now())
}
