package cache

import (
	"math/bits"

	"dmapath/sim"
)

// CoherenceStats counts what cores do to each other's copies.
type CoherenceStats struct {
	Transfers     uint64 // lines read or taken from another core's cache
	Upgrades      uint64 // stores to a line held in S
	Invalidations uint64 // copies that other cores gave up for a store, a device write or a cache flush
	Downgrades    uint64 // E or M copies that became S for another core's read
}

// llcSet returns the LLC set of pa: the line number folded so that power-of-two strides spread over the slices, as the
// hashes of real slices do, reduced modulo the number of sets.
func (h *Hierarchy) llcSet(pa uint64) uint64 {
	line := pa >> 6
	line ^= line>>h.fold ^ line>>(2*h.fold)
	if s := uint64(h.llc.sets); s&(s-1) == 0 {
		return line & (s - 1)
	}
	q, _ := bits.Mul64(line, h.recip)
	r := line - q*uint64(h.llc.sets)
	for r >= uint64(h.llc.sets) {
		r -= uint64(h.llc.sets)
	}
	return r
}

// shared obtains a line that no private cache of core id holds, for writing if own, at now. It returns when the line
// arrives, from where, and its state.
func (h *Hierarchy) shared(id int, pa uint64, now sim.Time, own bool) (done sim.Time, lvl Level, st State) {
	if h.granule != pairBits {
		return h.obtain(id, pa, now, own)
	}
	return h.withPair(id, pa, now, own)
}

// obtain is shared without a look at the other half of the LLC's line.
func (h *Hierarchy) obtain(id int, pa uint64, now sim.Time, own bool) (done sim.Time, lvl Level, st State) {
	h.llc.stats.Accesses++
	if h.far != nil {
		now = h.behindAtomics(id, pa, now)
	}
	e := h.dir.find(pa)
	if e >= 0 && h.dir.entries[e].owner() >= 0 {
		o := h.dir.entries[e].owner()
		h.settleL2(o, h.cores[o].l2.set(pa))
		if e = h.dir.find(pa); e >= 0 && h.dir.entries[e].owner() >= 0 {
			h.llc.stats.Misses++
			return h.fromOwner(id, o, e, pa, now, own)
		}
	}
	set := h.llcSet(pa)
	h.settleLLC(set)
	if h.cfg.LLC.Inclusive {
		e = h.dir.find(pa)
	}
	st = Exclusive
	if e >= 0 {
		st = Shared
	}
	i := h.llc.find(set, pa)
	switch {
	case i >= 0:
		h.llc.stats.Hits++
		h.llc.touch(set, i)
		way := h.llc.lat + h.lay.fromLLC(h.llc.row[i], h.lay.part[id])
		done, lvl = now+way, LLC
		dirty := State(h.llc.row[i]&tagState) == Modified
		if !h.cfg.LLC.Inclusive && (own || e < 0) { // the line moves up
			h.llc.drop(set, i)
			if dirty {
				st = Modified
			}
		}
	case e >= 0: // only other private caches have it
		h.llc.stats.Misses++
		h.coh.Transfers++
		done, lvl = now+h.cfg.Peer+h.nearest(e, id), Peer
	default:
		h.llc.stats.Misses++
		done, lvl = h.mem.read(pa, now+h.llc.lat+h.cfg.DRAM.Overhead), DRAM
		if h.cfg.LLC.Inclusive {
			h.insertLLC(pa, false, h.llc.ways, now, id)
		}
	}
	if own {
		if e >= 0 {
			from := h.sharersReady(e, pa, id, now)
			h.dropOthers(e, pa, id)
			done, lvl = max(done, from+h.cfg.Peer), Peer
		}
		st = Modified
	}
	h.dir.add(pa, id, st != Shared)
	return done, lvl, st
}

// fromOwner obtains a line that core o may have written. Requests for one line follow each other, see leaves.
func (h *Hierarchy) fromOwner(id, o, e int, pa uint64, now sim.Time, own bool) (sim.Time, Level, State) {
	h.coh.Transfers++
	oc := &h.cores[o]
	i := oc.l2.mustFind(oc.l2.set(pa), pa)
	t := oc.l2.row[i]
	start := h.leaves(&oc.l2, i, now)
	done := start + h.cfg.Peer + h.lay.between(o, id)
	if own {
		oc.lost.line, oc.lost.until = pa>>6, start+h.llc.lat
		h.coh.Invalidations++
		oc.dropL1(t)
		oc.l2.drop(oc.l2.set(pa), i)
		h.dir.remove(pa, o)
		h.dir.add(pa, id, true)
		return done, Peer, Modified
	}
	h.coh.Downgrades++
	oc.demote(pa, i, Shared)
	h.dir.entries[e].setOwner(noOwner)
	h.dir.add(pa, id, false)
	h.insertLLC(pa, State(t&tagState) == Modified, h.llc.ways, now, o)
	return done, Peer, Shared
}

// leaves returns from when on the line in way i of an L2 can be taken away for a request at now. Requests for one line follow each other:
// it leaves no earlier than it arrived. Cores run ahead of each other by up to a segment, so the core that has it may have asked for it later
// than now; then it is not waited for. But if it had to wait for others, so must who asks just before it: the line is busy until it came to
// that core.
func (h *Hierarchy) leaves(a *array, i int, now sim.Time) sim.Time {
	t := a.row[i]
	switch asked, ready := a.asked(i), a.ready(i); {
	case t&tagFlight == 0:
	case asked <= now:
		return max(now, ready)
	case Level(t&tagLevel>>2) == Peer && ready-h.cfg.Peer > asked:
		return max(now, ready-h.cfg.Peer)
	}
	return now
}

// stillHas reports whether core id can use at now the line that was taken from it last. When many cores want one line, each has it for the
// time that its answer takes to the directory and the next core's request from there, which is the latency of the LLC; a compare-and-exchange
// that failed succeeds when it is repeated within that time.
func (h *Hierarchy) stillHas(id int, pa uint64, now sim.Time) bool {
	if now >= h.cores[id].lost.until {
		return false
	}
	e := h.dir.find(pa)
	if e < 0 {
		return false
	}
	o := h.dir.entries[e].owner()
	if o < 0 || o == id {
		return false
	}
	a := &h.cores[o].l2
	i := a.find(a.set(pa), pa)
	return i >= 0 && State(a.row[i]&tagState) == Modified
}

// demote changes the state of a line that is in way i of L2, and in L1D if there.
func (c *core) demote(pa uint64, i int, st State) {
	t := c.l2.row[i]
	c.l2.row[i] = t&^tagState | uint64(st)
	if t&tagInD != 0 {
		if i := c.d.find(c.d.set(pa), pa); i >= 0 {
			c.d.row[i] = c.d.row[i]&^tagState | uint64(st)
		}
	}
	if t&tagInI != 0 {
		if i := c.i.find(c.i.set(pa), pa); i >= 0 {
			c.i.row[i] = c.i.row[i]&^tagState | uint64(st)
		}
	}
}

// upgrade gives core id, which holds the line of pa in S, the right to write it. The caller marks the copies M.
func (h *Hierarchy) upgrade(id int, pa uint64, now sim.Time) (done sim.Time, lvl Level) {
	h.coh.Upgrades++
	e := h.dir.find(pa)
	if e < 0 {
		panic("cache: a core holds a line that the directory does not know")
	}
	if h.dir.others(e, id) {
		from := h.sharersReady(e, pa, id, now)
		h.dropOthers(e, pa, id)
		done, lvl = from+h.cfg.Peer, Peer
	} else {
		done, lvl = now+h.llc.lat, LLC
	}
	if snoop := h.dropPair(pa, id, now); snoop > 0 {
		done, lvl = max(done, now+h.llc.lat+snoop), Peer
	}
	if !h.cfg.LLC.Inclusive {
		set := h.llcSet(pa)
		if i := h.llc.find(set, pa); i >= 0 {
			h.llc.drop(set, i)
		}
	}
	h.dir.add(pa, id, true)
	return done, lvl
}

// nearest returns what a line takes longer to core id from the nearest core that holds the line of entry e than within a node.
func (h *Hierarchy) nearest(e, id int) sim.Time {
	hop := sim.Never
	for c := h.dir.next(e, 0); c >= 0 && hop > 0; c = h.dir.next(e, c+1) {
		hop = min(hop, h.lay.between(c, id))
	}
	return hop
}

// sharersReady returns from when on the copies of entry e in cores other than id can be taken away, the last of them, with the hop to it.
func (h *Hierarchy) sharersReady(e int, pa uint64, id int, now sim.Time) sim.Time {
	from := now
	for c := h.dir.next(e, 0); c >= 0; c = h.dir.next(e, c+1) {
		if c == id {
			continue
		}
		a := &h.cores[c].l2
		from = max(from, h.leaves(a, a.mustFind(a.set(pa), pa), now)+h.lay.between(c, id))
	}
	return from
}

// dropOthers invalidates the copies of the line of entry e in all cores but id, and removes those cores from the
// entry. It reports whether one of the copies was dirty. Entry e is gone if no sharer remains.
func (h *Hierarchy) dropOthers(e int, pa uint64, id int) (dirty bool) {
	for c := h.dir.next(e, 0); c >= 0; {
		following := h.dir.next(e, c+1)
		if c != id {
			oc := &h.cores[c]
			i := oc.l2.mustFind(oc.l2.set(pa), pa)
			t := oc.l2.row[i]
			dirty = dirty || State(t&tagState) == Modified
			oc.dropL1(t)
			oc.l2.drop(oc.l2.set(pa), i)
			h.coh.Invalidations++
			h.dir.remove(pa, c)
		}
		c = following
	}
	return dirty
}

// insertLLC puts a line of core by, of a device if by is negative, into the LLC, allocating among its first n ways if it is not there.
func (h *Hierarchy) insertLLC(pa uint64, dirty bool, n uint64, now sim.Time, by int) {
	a := &h.llc
	set := h.llcSet(pa)
	h.settleLLC(set)
	if i := a.find(set, pa); i >= 0 {
		if dirty {
			a.row[i] |= uint64(Modified)
		}
		a.touch(set, i)
		return
	}
	h.allocLLC(set, pa, dirty, n, now, by)
}

// allocLLC puts a line of by that the LLC does not hold into one of the first n ways of its set, and returns which.
func (h *Hierarchy) allocLLC(set, pa uint64, dirty bool, n uint64, now sim.Time, by int) int {
	flags := uint64(Shared)
	if dirty {
		flags = uint64(Modified)
	}
	i := h.llc.victim(set, n)
	h.evictLLC(set, i, now)
	h.llc.place(set, i, pa, flags|h.lay.partBy(by))
	return i
}

// evictLLC empties way i of a set of the LLC. An inclusive LLC takes the line from the private caches; a dirty line goes to memory.
func (h *Hierarchy) evictLLC(set uint64, i int, now sim.Time) {
	a := &h.llc
	t := a.row[i]
	a.drop(set, i)
	if t&tagValid == 0 {
		return
	}
	a.stats.Evictions++
	dirty := State(t&tagState) == Modified
	if h.cfg.LLC.Inclusive {
		pa := t & tagAddr
		if e := h.dir.find(pa); e >= 0 {
			before := h.coh.Invalidations
			dirty = h.dropOthers(e, pa, -1) || dirty
			a.stats.BackInvalidations += h.coh.Invalidations - before
			h.coh.Invalidations = before
		}
	}
	if dirty {
		a.stats.Writebacks++
		h.mem.write(t&tagAddr, now)
	}
}
