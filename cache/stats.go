package cache

import (
	"fmt"

	"dmapath/sim"
)

// LevelStats counts what happened in one level of cache since the last ResetStats. Counts are events, not
// bytes. For every level Accesses = Hits + Misses + Merges.
type LevelStats struct {
	Accesses uint64 // demand accesses; for the LLC, requests of L2, of prefetchers and device reads
	Hits     uint64 // the line was there
	Misses   uint64 // the line was not there (LLC: or a core had it in E or M)
	Merges   uint64 // the line was on its way

	Evictions         uint64 // lines replaced by others
	Writebacks        uint64 // of the evicted lines (LLC: also back-invalidated), those that were dirty
	BackInvalidations uint64 // copies in private caches lost because an inclusive LLC evicted the line

	PrefetchIssued  uint64 // lines that a prefetcher brought into this level
	PrefetchUseful  uint64 // of them, those used
	PrefetchLate    uint64 // of those used, those still in flight then
	PrefetchUnused  uint64 // lines evicted before any use
	PrefetchDropped uint64 // prefetches given up: no miss register free, or the line owned by another core

	Displaced uint64   // lines that passed through on behalf of Displace
	MSHRWait  sim.Time // time that misses waited for a free miss register
}

func (s *LevelStats) add(a *array) {
	t := a.stats
	s.Accesses += t.Accesses + a.fast
	s.Hits += t.Hits + a.fast
	s.Misses += t.Misses
	s.Merges += t.Merges
	s.Evictions += t.Evictions
	s.Writebacks += t.Writebacks
	s.BackInvalidations += t.BackInvalidations
	s.PrefetchIssued += t.PrefetchIssued
	s.PrefetchUseful += t.PrefetchUseful
	s.PrefetchLate += t.PrefetchLate
	s.PrefetchUnused += t.PrefetchUnused
	s.PrefetchDropped += t.PrefetchDropped
	s.Displaced += t.Displaced
	s.MSHRWait += t.MSHRWait
}

// Stats is a snapshot of all counters, private levels summed over cores.
type Stats struct {
	L1I, L1D, L2, LLC LevelStats
	Coherence         CoherenceStats
	IO                IOStats
	DRAM              DRAMStats
}

// Stats returns the counters since the last ResetStats.
func (h *Hierarchy) Stats() Stats {
	s := Stats{Coherence: h.coh, IO: h.io, DRAM: h.mem.stats}
	for c := range h.cores {
		s.L1I.add(&h.cores[c].i)
		s.L1D.add(&h.cores[c].d)
		s.L2.add(&h.cores[c].l2)
	}
	s.LLC.add(&h.llc)
	return s
}

// MissesInFlight returns how many miss registers of a core's L1D are occupied at t, as far as accesses made so far tell.
func (h *Hierarchy) MissesInFlight(core int, t sim.Time) int { return h.cores[core].d.mshr.inUse(t) }

// ResetStats sets all counters to zero and leaves the caches as they are.
func (h *Hierarchy) ResetStats() {
	zero := func(a *array) { a.stats, a.fast = LevelStats{}, 0 }
	for c := range h.cores {
		zero(&h.cores[c].i)
		zero(&h.cores[c].d)
		zero(&h.cores[c].l2)
	}
	zero(&h.llc)
	h.coh, h.io, h.mem.stats = CoherenceStats{}, IOStats{}, DRAMStats{}
}

// Check returns an error if a counter identity does not hold.
func (s Stats) Check() error {
	for _, l := range []struct {
		name string
		LevelStats
	}{{"L1I", s.L1I}, {"L1D", s.L1D}, {"L2", s.L2}, {"LLC", s.LLC}} {
		if l.Accesses != l.Hits+l.Misses+l.Merges {
			return fmt.Errorf("%s: %d accesses are not %d hits + %d misses + %d merges", l.name, l.Accesses, l.Hits, l.Misses, l.Merges)
		}
		if l.Writebacks > l.Evictions {
			return fmt.Errorf("%s: %d write-backs of %d evictions", l.name, l.Writebacks, l.Evictions)
		}
	}
	if d := s.DRAM; d.Reads != d.RowHits+d.RowMisses+d.RowConflict {
		return fmt.Errorf("DRAM: %d reads are not %d row hits + %d misses + %d conflicts", d.Reads, d.RowHits, d.RowMisses, d.RowConflict)
	}
	return nil
}
