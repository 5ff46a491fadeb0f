package cache

import "dmapath/sim"

// Where a line of the LLC is twice as long as those of the private caches (LLCConfig.LineBytes), who takes one half for writing takes the other
// half from everybody else: what two cores write in the two halves is shared falsely.

// pairHalf is the distance between the halves.
const pairHalf = LineBytes

// pairBits is the granule of an LLC whose lines are pairs.
const pairBits = 7

// withPair is shared where the other half of the LLC's line matters.
func (h *Hierarchy) withPair(id int, pa uint64, now sim.Time, own bool) (done sim.Time, lvl Level, st State) {
	held, snoop := false, sim.Time(0)
	if own {
		snoop = h.dropPair(pa, id, now)
	} else {
		held, snoop = h.sharePair(pa, id, now)
	}
	done, lvl, st = h.obtain(id, pa, now, own)
	if snoop > 0 {
		done, lvl = max(done, now+h.llc.lat+snoop), Peer
	}
	if held && st != Shared {
		h.dir.entries[h.dir.find(pa)].setOwner(noOwner)
		h.insertLLC(pa, st == Modified, h.llc.ways, now, id)
		st = Shared
	}
	return done, lvl, st
}

// dropPair takes the other half of the LLC's line of pa from all cores but id, which may keep its own. It returns how long the last copy
// takes to be given up to core id, to a device if id is negative; 0 if there was none.
func (h *Hierarchy) dropPair(pa uint64, id int, now sim.Time) (snoop sim.Time) {
	if h.granule != pairBits {
		return 0
	}
	to := uint8(ioCluster)
	if id >= 0 {
		to = h.lay.part[id]
	}
	pa ^= pairHalf
	e := h.dir.find(pa)
	if e < 0 {
		return 0
	}
	by := -1
	for c := h.dir.next(e, 0); c >= 0; c = h.dir.next(e, c+1) {
		if c == id {
			continue
		}
		h.settleL2(c, h.cores[c].l2.set(pa))
		by = c
		snoop = max(snoop, h.snoop+h.lay.hop[h.lay.part[c]&(MaxClusters-1)][to&(MaxClusters-1)])
	}
	if by < 0 {
		return 0
	}
	if e = h.dir.find(pa); e < 0 { // gone with what was due to be displaced
		return 0
	}
	h.insertLLC(pa, h.dropOthers(e, pa, id), h.llc.ways, now, by)
	return snoop
}

// sharePair makes the other half of the LLC's line of pa shared, which core id is about to read. It reports whether another core holds it, and how
// long an owner of it takes to agree.
func (h *Hierarchy) sharePair(pa uint64, id int, now sim.Time) (held bool, snoop sim.Time) {
	if h.granule != pairBits {
		return false, 0
	}
	pa ^= pairHalf
	e := h.dir.find(pa)
	if e < 0 || !h.dir.others(e, id) {
		return false, 0
	}
	o := h.dir.entries[e].owner()
	if o < 0 || o == id {
		return true, 0
	}
	oc := &h.cores[o]
	set := oc.l2.set(pa)
	h.settleL2(o, set)
	if e = h.dir.find(pa); e < 0 {
		return false, 0
	}
	if h.dir.entries[e].owner() != o {
		return true, 0
	}
	h.coh.Downgrades++
	i := oc.l2.mustFind(set, pa)
	dirty := State(oc.l2.row[i]&tagState) == Modified
	oc.demote(pa, i, Shared)
	h.dir.entries[e].setOwner(noOwner)
	h.insertLLC(pa, dirty, h.llc.ways, now, o)
	return true, h.snoop + h.lay.between(o, id)
}
