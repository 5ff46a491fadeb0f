package iommu

import (
	"dmapath/pcie"
	"dmapath/sim"
)

// recentWalks is how many walks back their end is remembered, for merging and draining; far more than can be in flight.
const recentWalks = 256

// walkRecord is a walk of late.
type walkRecord struct {
	page    uint64 // iova >> PageShift of the request
	space   uint32
	arrived sim.Time // the request did
	done    sim.Time
	// ready is when the entry of the level was read, by this walk or by one long ago in its place.
	ready [levelSlots]sim.Time
}

// Payload of the IOTLB and the paging-structure caches: address in bits 51:12, rights in bits 2:0, number of the walk that
// filled it, modulo recentWalks, in bits 10:3, level of the next table from bit 52 on.
const (
	walkShift = 3
	nextShift = 52
	addrMask  = 1<<nextShift - 1<<PageShift
)

func payload(addr uint64, rights Rights, walk uint64) uint64 {
	return addr&addrMask | uint64(rights) | walk%recentWalks<<walkShift
}

// Need returns what a request must be granted. One that asks for a translation needs no more than User.
func Need(write bool) Rights {
	if write {
		return Write | User
	}
	return Read | User
}

// Lookup looks for the translation of iova in the IOTLB at t. It returns when the translation is known: at t, or later when a walk
// under way brings it.
func (c *Core) Lookup(s *Space, iova uint64, need Rights, t sim.Time) (pa uint64, done sim.Time, ok bool) {
	for _, shift := range c.sizes {
		val, ok := c.iotlb.Lookup(s.Tag, iova>>shift, shift)
		if !ok {
			continue
		}
		if Rights(val)&need != need {
			break // the entry may be older than a grant of more rights: walk again
		}
		pa = val&addrMask | iova&(1<<shift-1)
		w := &c.recent[val>>walkShift&(recentWalks-1)]
		if w.done > t && w.space == s.Tag && w.page>>(shift-PageShift) == iova>>shift {
			c.Stats.Merges++
			return pa, w.done, true
		}
		c.Stats.Hits++
		c.Stats.HitsBySize[min((shift-PageShift)/9, 2)]++
		return pa, t, true
	}
	return 0, t, false
}

// Walk translates iova of a request that arrived some time ago through the page table, on one of the walkers. The caller has checked
// that the table covers the address. Unless the cause is Translated, Refused says more.
func (c *Core) Walk(s *Space, iova uint64, need Rights, arrived, now sim.Time) (pa uint64, t sim.Time, cause Cause) {
	server, start := c.walkers.Take(now)
	c.Stats.WalkerWait += start - now
	n := c.walks
	c.walks++
	w := &c.recent[n%recentWalks]
	w.page, w.space, w.arrived, w.done = iova>>PageShift, s.Tag, arrived, 0
	pa, t, cause = c.descend(s, iova, need, start+c.WalkStart, n, w)
	t += c.WalkEnd
	w.done = t
	c.lastWalk = max(c.lastWalk, t)
	c.walkers.Release(server, start, t)
	c.curves.Walkers.Span(start, t)
	if tl := c.Eng.Timeline; tl.On() {
		c.showWalk(tl, "walk", start, t, sim.Addr("iova", iova), sim.Num("space", int64(s.Tag)), sim.Num("waited_ps", int64(start-now)), sim.Text("result", resultOf(cause)))
	}
	c.Stats.WalkTimes.Add(int64(t - now))
	return pa, t, cause
}

// refused notes how a walk ended.
func (c *Core) refused(cause Cause, level int, rights Rights, entry uint64, t sim.Time) (uint64, sim.Time, Cause) {
	c.Refused = Refusal{Cause: cause, Level: level, Rights: rights, Entry: entry}
	return 0, t, cause
}

func (c *Core) descend(s *Space, iova uint64, need Rights, t sim.Time, n uint64, w *walkRecord) (uint64, sim.Time, Cause) {
	above, level, at, rights := c.startLevel(s, iova, t)
	for {
		if level+1 < above && s.skipped(iova, above, level+1) {
			return c.refused(Skipped, above, rights, 0, t)
		}
		entry := s.EntryAddr(at, iova, level)
		if s.Under != nil {
			var cause Cause
			if entry, t, cause = c.Second(s.Under, entry, Read|User, t); cause != Translated {
				return 0, t, cause
			}
		}
		done, lvl := c.Fabric.DeviceRead(entry, 8, t)
		done += c.PTEOverhead
		c.Stats.PTEReads[lvl]++
		c.Stats.PTEReadTime += done - t
		t = done
		pte := c.Mem.Read64(entry)
		e := s.Format.Decode(pte, level)
		switch e.Kind {
		case Absent:
			return c.refused(NotPresent, level, rights, pte, t)
		case Reserved:
			return c.refused(Malformed, level, rights, pte, t)
		case Table:
			rights &= e.Rights
			if s.Marks {
				t = c.mark(s.Format, entry, pte, false, t)
			}
			w.ready[level&levelMask] = t
			if p := c.paging[level&levelMask]; p != nil {
				shift := s.Shift[level&levelMask]
				p.Insert(s.Tag, iova>>shift, shift, payload(e.Addr, rights, n)|uint64(e.Next)<<nextShift)
			}
			at, above, level = e.Addr, level, int(e.Next)
			continue
		}
		rights &= e.Rights
		if rights&need != need {
			return c.refused(Denied, level, rights, pte, t)
		}
		if s.Marks {
			t = c.mark(s.Format, entry, pte, need&Write != 0, t)
		}
		pa, shift := e.Addr|iova&(1<<e.Shift-1), e.Shift
		if s.Under != nil {
			var cause Cause
			if pa, t, cause = c.Second(s.Under, pa, need, t); cause != Translated {
				return 0, t, cause
			}
			shift, rights = min(shift, c.leafShift), rights&c.leafRights
		}
		if pa>>20 == c.ClosedMiB && c.ClosedMiB != 0 {
			return c.refused(ClosedAddress, level, rights, pte, t)
		}
		c.sees(shift)
		c.iotlb.Insert(s.Tag, iova>>shift, shift, payload(pa&^(1<<shift-1), rights, n))
		c.holds(t)
		c.leafShift, c.leafRights = shift, rights
		return pa, t, Translated
	}
}

// Second translates an address that a first stage gave through the second stage s, on the walker that is at it: from the IOTLB, which
// keeps such translations beside those of requests, or by a walk. It is there at t.
func (c *Core) Second(s *Space, ipa uint64, need Rights, t sim.Time) (pa uint64, done sim.Time, cause Cause) {
	for _, shift := range c.sizes {
		if val, ok := c.iotlb.Lookup(s.Tag, ipa>>shift, shift); ok {
			if Rights(val)&need != need {
				break
			}
			c.leafShift, c.leafRights = shift, Rights(val)&AllRights
			return val&addrMask | ipa&(1<<shift-1), t, Translated
		}
	}
	if ipa>>s.Width != 0 {
		_, done, cause = c.refused(NotPresent, s.Levels, AllRights, 0, t)
	} else {
		c.Stats.SecondWalks++
		pa, done, cause = c.descend(s, ipa, need, t, c.walks, &c.inner)
	}
	if cause != Translated {
		c.Refused.Second, c.Refused.IPA = true, ipa
	}
	return pa, done, cause
}

// startLevel returns the lowest table that the paging-structure caches know, the level of the entry that led there, and the rights granted on
// the way.
func (c *Core) startLevel(s *Space, iova uint64, t sim.Time) (above, level int, at uint64, rights Rights) {
	for l := 2; l <= s.Levels; l++ {
		p := c.paging[l&levelMask]
		if p == nil {
			continue
		}
		shift := s.Shift[l&levelMask]
		val, ok := p.Lookup(s.Tag, iova>>shift, shift)
		if !ok {
			continue
		}
		w := &c.recent[val>>walkShift&(recentWalks-1)]
		if w.ready[l&levelMask] > t && w.space == s.Tag && w.page>>(shift-PageShift) == iova>>shift {
			continue // the walk that fills it has not come so far
		}
		c.Stats.PagingHits[l]++
		return l, int(val >> nextShift), val & addrMask, Rights(val) & AllRights
	}
	c.Stats.FullWalks++
	return s.Levels + 1, s.Levels, s.Root, AllRights
}

// sees notes that translations of the size exist.
func (c *Core) sees(shift uint8) {
	for _, s := range c.sizes {
		if s == shift {
			return
		}
	}
	c.sizes = append(c.sizes, shift)
}

// mark sets the accessed bit of an entry, and the dirty bit for a write, if they are clear: a locked update of the line.
func (c *Core) mark(f Format, at, pte uint64, dirty bool, t sim.Time) sim.Time {
	bits := f.Marks(dirty)
	if pte&bits == bits {
		return t
	}
	c.Stats.ADUpdates++
	c.Mem.Write64(at, pte|bits)
	return c.Fabric.DeviceWrite(at, 8, t) + c.PTEOverhead
}

// Page answers a device that asks for a translation instead of accessing memory: the page of iova and what it grants, nothing when there is
// none. It is otherwise a request like others.
func (c *Core) Page(s *Space, iova uint64, arrived, t sim.Time) (pcie.Page, sim.Time) {
	pa, done, ok := c.Lookup(s, iova, User, t)
	if ok {
		c.ProbeSpace(s, iova)
	} else {
		c.Stats.Walks++
		var cause Cause
		if pa, done, cause = c.Walk(s, iova, User, arrived, t); cause != Translated {
			return pcie.Page{}, done
		}
	}
	return pcie.Page{Addr: pa &^ (1<<c.leafShift - 1), Shift: c.leafShift, Read: c.leafRights&Read != 0, Write: c.leafRights&Write != 0}, done
}

// ProbeSpace returns the translation that the IOTLB holds, whether the tables still say so or not.
func (c *Core) ProbeSpace(s *Space, iova uint64) (pa uint64, ok bool) {
	for _, shift := range c.sizes {
		if val, ok := c.iotlb.Probe(s.Tag, iova>>shift, shift); ok {
			c.leafShift, c.leafRights = shift, Rights(val)&AllRights
			return val&addrMask | iova&(1<<shift-1), true
		}
	}
	return 0, false
}

// skipped reports whether bits of iova are set that entries of the levels from low up to, but not including, high would translate.
func (g *Geometry) skipped(iova uint64, high, low int) bool {
	return iova>>g.Shift[low]&(1<<(g.Shift[high]-g.Shift[low])-1) != 0
}
