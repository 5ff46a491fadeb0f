package cache

import "dmapath/sim"

// kind is what a core wants from a line.
type kind uint8

const (
	load kind = iota
	store
	fetch
)

// Load does a load of the line of pa by the instruction at pc that starts at now, after LoadHit said no. It returns when the
// data can be used and the level that served it; for a line already in flight, the level it comes from.
func (h *Hierarchy) Load(core int, pa uint64, pc uint32, now sim.Time) (done sim.Time, lvl Level) {
	return h.access(core, pa, pc, now, load)
}

// Store obtains the line of pa in M for a store that leaves the store buffer at now, after StoreHit said no. done is when
// it may be written. An upgrade from S counts as served by the level that had to be asked: LLC, or Peer
// when other cores had to give up their copies.
func (h *Hierarchy) Store(core int, pa uint64, pc uint32, now sim.Time) (done sim.Time, lvl Level) {
	return h.access(core, pa, pc, now, store)
}

// Fetch does an instruction fetch of the line of pa, after FetchHit said no.
func (h *Hierarchy) Fetch(core int, pa uint64, now sim.Time) (done sim.Time, lvl Level) {
	return h.access(core, pa, 0, now, fetch)
}

func (h *Hierarchy) access(id int, pa uint64, pc uint32, now sim.Time, k kind) (done sim.Time, lvl Level) {
	if pa>>PABits != 0 {
		panic("cache: physical address beyond 52 bits")
	}
	c := &h.cores[id]
	a, hint := &c.d, uint64(tagInD)
	if k == fetch {
		a, hint = &c.i, tagInI
	}
	if h.cfg.LLC.Inclusive {
		h.settleLLC(h.llcSet(pa))
	}
	s2 := c.l2.set(pa)
	h.settleL2(id, s2)

	a.stats.Accesses++
	s1 := a.set(pa)
	a.settle(s1)
	if i := a.find(s1, pa); i >= 0 {
		done, lvl = now+a.lat, L1
		t := a.row[i]
		a.touch(s1, i)
		used := t&tagPrefetch != 0
		if used {
			a.used(t, a.ready(i), now)
		}
		if t&tagFlight != 0 && a.ready(i) > now {
			a.stats.Merges++
			done, lvl = max(done, a.ready(i)), Level(t&tagLevel>>2)
			t &^= tagPrefetch
		} else {
			a.stats.Hits++
			t &^= tagPrefetch | tagFlight
		}
		a.row[i] = t
		a.pred[pa>>6%predSlots] = uint8(uint64(i) - a.base(s1))
		if st := State(t & tagState); k == store && st != Modified {
			j := c.l2.mustFind(s2, pa)
			if st == Shared {
				var up sim.Time
				up, lvl = h.upgrade(id, pa, now)
				done = max(done, up)
				a.depart(i, lvl, done)
				c.l2.depart(j, lvl, done)
				c.l2.setAsked(j, now)
			}
			a.row[i] |= uint64(Modified)
			c.l2.row[j] |= uint64(Modified)
		}
		if used {
			h.prefetch(id, pa, pc, now, k)
		}
		return done, lvl
	}

	if c.lost.line == pa>>6 && k != fetch && h.stillHas(id, pa, now) {
		a.stats.Hits++
		return now + a.lat, L1
	}
	a.stats.Misses++
	start := a.mshr.next(now)
	a.stats.MSHRWait += start - now
	var st State
	done, lvl, st = h.second(id, pa, start, k, hint)
	a.mshr.hold(done)
	if k == fetch {
		st = Shared // L1I writes nothing
	}
	a.fill(pa, uint64(st)|uint64(lvl)<<2|tagFlight, done)
	h.prefetch(id, pa, pc, now, k)
	return done, lvl
}

// second asks L2 for a line that L1 misses, and what lies behind L2 if it must.
func (h *Hierarchy) second(id int, pa uint64, now sim.Time, k kind, hint uint64) (done sim.Time, lvl Level, st State) {
	a := &h.cores[id].l2
	set := a.set(pa)
	a.stats.Accesses++
	i := a.find(set, pa)
	if i < 0 {
		a.stats.Misses++
		h.touchAhead(pa, a.row[a.victim(set, a.ways)]&tagAddr)
		start := a.mshr.next(now)
		a.stats.MSHRWait += start - now
		done, lvl, st = h.shared(id, pa, start, k == store)
		a.mshr.hold(done)
		h.fillL2(id, pa, uint64(st)|uint64(lvl)<<2|tagFlight|hint, done, now)
		return done, lvl, st
	}
	done, lvl = now+a.lat, L2
	t := a.row[i]
	a.touch(set, i)
	if t&tagPrefetch != 0 {
		a.used(t, a.ready(i), now)
	}
	if t&tagFlight != 0 && a.ready(i) > now {
		a.stats.Merges++
		done, lvl = max(done, a.ready(i)), Level(t&tagLevel>>2)
		t &^= tagPrefetch
	} else {
		a.stats.Hits++
		t &^= tagPrefetch | tagFlight
	}
	a.row[i] = t | hint
	st = State(t & tagState)
	if k == store && st != Modified {
		if st == Shared {
			var up sim.Time
			up, lvl = h.upgrade(id, pa, now)
			done = max(done, up)
			a.depart(i, lvl, done)
			a.setAsked(i, now)
		}
		a.row[i] |= uint64(Modified)
		st = Modified
	}
	return done, lvl, st
}

// touchAhead reads what a miss of L2 on pa, and the eviction of victim that it causes, will look at. The host then
// fetches these words from its own memory at the same time; one after the other they are half of what a miss costs.
func (h *Hierarchy) touchAhead(pa, victim uint64) {
	miss, evict := h.llcSet(pa)*h.llc.stride, h.llcSet(victim)*h.llc.stride
	h.ahead = h.llc.row[miss] + h.llc.row[evict] + h.llc.row[evict+h.llc.stride-1] +
		h.dir.entries[h.dir.home(pa>>6+1)].key + h.dir.entries[h.dir.home(victim>>6+1)].key
}

// depart records that way i waits until done for the right to write its line, which lvl gives.
func (a *array) depart(i int, lvl Level, done sim.Time) {
	a.row[i] = a.row[i]&^tagLevel | tagFlight | uint64(lvl)<<2
	a.setReady(i, done)
}

// used counts the first use of a prefetched line.
func (a *array) used(t uint64, ready, now sim.Time) {
	a.stats.PrefetchUseful++
	if t&tagFlight != 0 && ready > now {
		a.stats.PrefetchLate++
	}
}

// fill puts a line into a first-level cache. What it replaces needs no care: L2 has it, and knows whether it is dirty.
func (a *array) fill(pa, flags uint64, ready sim.Time) {
	set := a.set(pa)
	i := a.victim(set, a.ways)
	a.count(a.row[i])
	a.place(set, i, pa, flags)
	a.setReady(i, ready)
	a.pred[pa>>6%predSlots] = uint8(uint64(i) - a.base(set))
}

// count counts the eviction of tag t.
func (a *array) count(t uint64) {
	if t&tagValid == 0 {
		return
	}
	a.stats.Evictions++
	if State(t&tagState) == Modified {
		a.stats.Writebacks++
	}
	if t&tagPrefetch != 0 {
		a.stats.PrefetchUnused++
	}
}

// fillL2 puts a line into an L2; its victim goes to the LLC at now.
func (h *Hierarchy) fillL2(id int, pa, flags uint64, ready, now sim.Time) {
	a := &h.cores[id].l2
	set := a.set(pa)
	i := a.victim(set, a.ways)
	h.evictL2(id, set, i, now, 0)
	a.place(set, i, pa, flags)
	a.setReady(i, ready)
	a.setAsked(i, now)
}

// evictL2 empties way i of a set of an L2: the L1 copies go, a dirty line is written to the LLC, and a non-inclusive LLC takes clean
// lines as well. after is how many displaced lines passed each set of the LLC since the eviction (see settleL2).
func (h *Hierarchy) evictL2(id int, set uint64, i int, now sim.Time, after int) {
	c := &h.cores[id]
	t := c.l2.row[i]
	if t&tagValid == 0 {
		c.l2.drop(set, i)
		return
	}
	pa := t & tagAddr
	if h.cfg.LLC.Inclusive {
		h.settleLLC(h.llcSet(pa))
		if c.l2.row[i] != t { // the LLC gave the line up, and with it this copy
			return
		}
	}
	c.l2.count(t)
	c.dropL1(t)
	c.l2.drop(set, i)
	h.dir.remove(pa, id)
	st := State(t & tagState)
	switch {
	case h.cfg.LLC.Inclusive && st != Modified:
	case h.cfg.LLC.Inclusive || st == Shared:
		h.insertLLC(pa, st == Modified, h.llc.ways, now, id)
	default: // an owned line is not in a non-inclusive LLC
		lset := h.llcSet(pa)
		h.settleLLC(lset)
		if after < int(h.llc.ways) {
			h.llc.sink(lset, h.allocLLC(lset, pa, st == Modified, h.llc.ways, now, id), after)
		} else if st == Modified { // it has left the LLC again
			h.llc.stats.Evictions++
			h.llc.stats.Writebacks++
			h.mem.write(pa, now)
		}
	}
}

// dropL1 removes the L1 copies of the line with L2 tag t.
func (c *core) dropL1(t uint64) {
	pa := t & tagAddr
	if t&tagInD != 0 {
		c.d.remove(pa)
	}
	if t&tagInI != 0 {
		c.i.remove(pa)
	}
}

// remove empties the way of a private array that holds pa, if one does.
func (a *array) remove(pa uint64) {
	set := a.set(pa)
	if i := a.find(set, pa); i >= 0 {
		a.drop(set, i)
	}
}

func (a *array) mustFind(set, pa uint64) int {
	i := a.find(set, pa)
	if i < 0 {
		panic("cache: L1 holds a line that L2 does not")
	}
	return i
}
