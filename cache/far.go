package cache

import "dmapath/sim"

// farLines is how many lines are followed at once that far atomics contend for; a power of two. A line that takes another's place starts
// with nobody waiting.
const farLines = 1 << 10

// farVisits bounds the visits of a line that are planned or just over.
const farVisits = 2 * MaxNodes

// farLine is a line of the LLC that far atomics work on: the nodes that it visits, one after the other.
type farLine struct {
	key    uint64 // line number + 1, 0: none
	n      int
	visits [farVisits]visit
}

// visit is the time that a line spends in a node's part of the LLC. The last visit has no end until another node asks.
type visit struct {
	from, until sim.Time
	free        sim.Time // what the node's cores wanted of it so far is done then
	hop         sim.Time // that brought it
	node        uint8
}

// Atomic does an atomic read-modify-write of the line of pa by core in the LLC, a far atomic: the request goes there, the operation is
// done where the line is, and only its result comes back; the core keeps no copy. It starts at now and returns when the result is back, and
// the level that the line came from: LLC, another core's cache or another node's part of the LLC (Peer), or DRAM.
//
// Operations on one line follow each other, Config.FarBusy apart. A line that several nodes want visits one after the other, in the order of
// their first requests. Requests of a node that come while it waits for the line, or while the line is there, are carried out during
// one visit, so cores near the line get at it more often. A visit lasts at least as long as the hop that brought the line: its arrival is
// reported to the directory before that asks for it again.
func (h *Hierarchy) Atomic(core int, pa uint64, now sim.Time) (done sim.Time, lvl Level) {
	set := h.llcSet(pa)
	h.settleL2(core, h.cores[core].l2.set(pa))
	h.settleLLC(set)
	h.llc.stats.Accesses++
	there := h.llc.lat / 2
	at, lvl := now+there, LLC
	var snoop sim.Time
	if e := h.dir.find(pa); e >= 0 {
		by := core
		for c := h.dir.next(e, 0); c >= 0; c = h.dir.next(e, c+1) {
			a := &h.cores[c].l2
			at = max(at, h.leaves(a, a.mustFind(a.set(pa), pa), now))
			if c != core {
				snoop, by, lvl = max(snoop, h.snoop+h.lay.between(c, core)), c, Peer
			}
		}
		h.insertLLC(pa, h.dropOthers(e, pa, -1), h.llc.ways, now, by)
	}
	i := h.llc.find(set, pa)
	if i < 0 {
		h.llc.stats.Misses++
		at, lvl = h.mem.read(pa, now+h.llc.lat+h.cfg.DRAM.Overhead)-(h.llc.lat-there), DRAM
		h.insertLLC(pa, true, h.llc.ways, now, core)
		i = h.llc.mustFind(set, pa)
	} else {
		h.llc.stats.Hits++
		h.llc.touch(set, i)
	}
	f, v := h.visitFor(pa, h.lay.node[core], i, at)
	if v.hop > 0 && lvl == LLC && v.from > now {
		lvl = Peer
		h.coh.Transfers++
	}
	start := max(at, v.from, v.free) + snoop
	v.free = start + h.cfg.FarBusy
	h.llc.row[i] = h.llc.row[i]&^tagLevel | uint64(Modified) | uint64(f.visits[f.n-1].node)<<nodeShift
	return start + h.cfg.FarBusy + h.llc.lat - there, lvl
}

// visitFor returns the visit of the line of pa, way i of the LLC, during which a request of node that is at the LLC at the time at is carried
// out, and plans it if there is none.
func (h *Hierarchy) visitFor(pa uint64, node uint8, i int, at sim.Time) (*farLine, *visit) {
	key := pa>>6 + 1
	f := &h.far[key*0x9e3779b97f4a7c15>>40&(farLines-1)]
	if last := &f.visits[max(f.n-1, 0)]; f.key != key || last.free < at && last.from < at && last.node != uint8(h.llc.row[i]>>nodeShift&7) {
		f.key, f.n = key, 1
		f.visits[0] = visit{until: sim.Never, node: uint8(h.llc.row[i] >> nodeShift & 7)}
	}
	for k := range f.n {
		if v := &f.visits[k]; v.node == node && max(at, v.from, v.free)+h.cfg.FarBusy <= v.until {
			return f, v
		}
	}
	if f.n == farVisits {
		copy(f.visits[:], f.visits[1:])
		f.n--
	}
	last := &f.visits[f.n-1]
	hop := h.lay.hop[last.node][node]
	last.until = max(at+hop/2, last.from+last.hop, last.free)
	f.visits[f.n] = visit{from: last.until + hop - hop/2, until: sim.Never, hop: hop, node: node}
	f.n++
	return f, &f.visits[f.n-1]
}

// behindAtomics returns when a request of core for the line of pa, way i of the LLC, which starts at now, can be served as if it started then: not
// before the far atomics that came first. away is how long the line is then not in the LLC.
func (h *Hierarchy) behindAtomics(core int, pa uint64, i int, now, away sim.Time) sim.Time {
	key := pa>>6 + 1
	f := &h.far[key*0x9e3779b97f4a7c15>>40&(farLines-1)]
	if f.key != key {
		return now
	}
	at := now + h.llc.lat/2
	f, v := h.visitFor(pa, h.lay.node[core], i, at)
	start := max(at, v.from, v.free)
	v.free = start + away
	h.llc.row[i] = h.llc.row[i]&^tagLevel | uint64(f.visits[f.n-1].node)<<nodeShift
	return start - h.llc.lat/2
}
