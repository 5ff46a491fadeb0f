package cache

import "dmapath/sim"

// farLines is how many lines are followed at once that far atomics work on; a power of two. A line that takes another's place starts with
// nobody waiting.
const farLines = 1 << 10

// farLine is a line of the LLC that far atomics work on.
type farLine struct {
	key  uint64   // line number + 1, 0: none
	free sim.Time // what was asked of it so far is done then
}

// farAt returns what is known of the line of pa.
func (h *Hierarchy) farAt(pa uint64) *farLine {
	key := pa>>6 + 1
	f := &h.far[key*0x9e3779b97f4a7c15>>40&(farLines-1)]
	if f.key != key {
		*f = farLine{key: key}
	}
	return f
}

// Atomic does an atomic read-modify-write of the line of pa by core in the LLC, a far atomic: the request goes to the part of the LLC where
// the line lies, the operation is done there, and only its result comes back; the core keeps no copy. It starts at now and returns when the
// result is back, and the level that the line came from: LLC, the cache of another core (Peer), or DRAM.
//
// Operations on one line are served one at a time, in the order in which they reach it, Config.FarBusy each. A core that is near the line
// has its result earlier and can ask again earlier: of many that repeat a compare-and-exchange, near ones win more often.
func (h *Hierarchy) Atomic(core int, pa uint64, now sim.Time) (done sim.Time, lvl Level) {
	set := h.llcSet(pa)
	h.settleL2(core, h.cores[core].l2.set(pa))
	h.settleLLC(set)
	h.llc.stats.Accesses++
	from, lvl := now, LLC
	var snoop sim.Time
	if e := h.dir.find(pa); e >= 0 { // copies come back to the LLC
		by := core
		for c := h.dir.next(e, 0); c >= 0; c = h.dir.next(e, c+1) {
			a := &h.cores[c].l2
			from = max(from, h.leaves(a, a.mustFind(a.set(pa), pa), now))
			if c != core {
				snoop, by, lvl = max(snoop, h.snoop+h.lay.between(c, core)), c, Peer
			}
		}
		h.insertLLC(pa, h.dropOthers(e, pa, -1), h.llc.ways, now, by)
	}
	i := h.llc.find(set, pa)
	if i < 0 {
		h.llc.stats.Misses++
		from, lvl = h.mem.read(pa, now+h.llc.lat+h.cfg.DRAM.Overhead)-h.llc.lat, DRAM
		h.insertLLC(pa, true, h.llc.ways, now, core)
		i = h.llc.mustFind(set, pa)
	} else {
		h.llc.stats.Hits++
		h.llc.touch(set, i)
	}
	h.llc.row[i] |= uint64(Modified)
	way := h.llc.lat + h.lay.fromLLC(h.llc.row[i], h.lay.part[core])
	f := h.farAt(pa)
	start := max(from+way/2, f.free) + snoop
	f.free = start + h.cfg.FarBusy
	return f.free + way - way/2, lvl
}

// behindAtomics returns from when on a request that starts at now and finds the line of pa in the LLC, way one-way times two from the core,
// can be treated as if nothing were asked of the line: the far atomics that came first are served first.
func (h *Hierarchy) behindAtomics(pa uint64, now, way sim.Time) sim.Time {
	return max(now, h.farAt(pa).free-way/2)
}
