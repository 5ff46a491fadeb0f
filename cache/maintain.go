package cache

import "dmapath/sim"

// CleanInvalidate writes the line of pa back if any cache has it dirty and removes it from every cache (clflush,
// clflushopt, dc civac). It returns when memory has accepted the line.
func (h *Hierarchy) CleanInvalidate(core int, pa uint64, now sim.Time) (done sim.Time) {
	return h.maintain(core, pa, now, true, true)
}

// Invalidate removes the line of pa from every cache without writing it back (dc ivac): what a core had stored there is lost.
func (h *Hierarchy) Invalidate(core int, pa uint64, now sim.Time) (done sim.Time) {
	return h.maintain(core, pa, now, true, false)
}

// Clean writes the line of pa back if any cache has it dirty and leaves clean copies (clwb, dc cvac).
func (h *Hierarchy) Clean(core int, pa uint64, now sim.Time) (done sim.Time) {
	return h.maintain(core, pa, now, false, true)
}

// maintain takes one of the core's miss registers until it is done, as a load that misses does: that many lines are under way at once.
func (h *Hierarchy) maintain(core int, pa uint64, now sim.Time, drop, write bool) (done sim.Time) {
	regs := &h.cores[core].d.mshr
	done = h.maintainLine(core, pa, regs.next(now), drop, write)
	regs.hold(done)
	return done
}

func (h *Hierarchy) maintainLine(core int, pa uint64, now sim.Time, drop, write bool) (done sim.Time) {
	set := h.llcSet(pa)
	h.settleLLC(set)
	ready, _, owned := h.ownerReady(pa, now)
	now = max(now, ready)
	done = now + h.llc.lat
	dirty := false
	if e := h.dir.find(pa); e >= 0 {
		if h.dir.others(e, core) && (drop || owned) {
			done = now + h.cfg.Peer
		}
		switch {
		case drop:
			dirty = h.dropOthers(e, pa, -1)
		case owned:
			oc := &h.cores[h.dir.entries[e].owner()]
			i := oc.l2.mustFind(oc.l2.set(pa), pa)
			if State(oc.l2.row[i]&tagState) == Modified {
				dirty = true
				oc.demote(pa, i, Exclusive)
			}
		}
	}
	if i := h.llc.find(set, pa); i >= 0 {
		dirty = dirty || State(h.llc.row[i]&tagState) == Modified
		if drop {
			h.llc.drop(set, i)
		} else {
			h.llc.row[i] = h.llc.row[i]&^tagState | uint64(Shared)
		}
	}
	if dirty && write {
		h.mem.write(pa, done)
		done += h.cfg.DRAM.Overhead
	}
	return done
}
