package cache

import "dmapath/sim"

// strideSlots is the size of each core's stride table, direct mapped by pc.
const strideSlots = 256

// stride is what the stride prefetcher remembers about the instruction at pc.
type stride struct {
	last uint64 // address of the last access that trained it
	step int64
	pc   uint32
	seen uint32 // how often step repeated
}

// prefetch reacts to a miss of an L1, or the first use of a prefetched line, at pa.
func (h *Hierarchy) prefetch(id int, pa uint64, pc uint32, now sim.Time, k kind) {
	p := &h.cfg.Prefetch
	if k == fetch {
		for n := range uint64(p.Code) {
			h.bring(id, pa, pa+(n+1)*LineBytes, now, &h.cores[id].i, tagInI)
		}
		return
	}
	c := &h.cores[id]
	d := &c.d
	lines := uint64(0)
	if c.near(pa >> 12) {
		lines = uint64(p.NextLine)
	}
	for n := range lines {
		if n == 0 && p.NextLineL1 {
			h.bring(id, pa, pa+LineBytes, now, d, tagInD)
		} else {
			h.bring(id, pa, pa+(n+1)*LineBytes, now, nil, 0)
		}
	}
	if p.Stride == 0 {
		return
	}
	s := &h.cores[id].strides[(pc>>2^pc>>10)%strideSlots]
	if s.pc != pc {
		*s = stride{last: pa, pc: pc}
		return
	}
	step := int64(pa - s.last)
	s.last = pa
	if step == 0 {
		return
	}
	if step != s.step {
		s.step, s.seen = step, 0
		return
	}
	s.seen++
	switch {
	case step > 0 && step < LineBytes:
		step = LineBytes
	case step < 0 && step > -LineBytes:
		step = -LineBytes
	}
	to, hint := (*array)(nil), uint64(0)
	if p.StrideL1 {
		to, hint = d, tagInD
	}
	for n := range int64(p.Stride) {
		h.bring(id, pa, pa+uint64((n+1)*step), now, to, hint)
	}
}

// near reports whether one of the last two accesses that reached the prefetchers was to the same page of 4 KiB, and notes this one. Next
// lines are fetched for those alone: hardware wants "an ascending access to very recently loaded data" (Intel optimization manual, L1
// streaming prefetcher) or a history of accesses to the region (AMD optimization guide). A pointer chase over many pages gains nothing from
// them on Zen 4, one that finishes a page before the next gains half of its L2 hits (measured, both).
func (c *core) near(page uint64) bool {
	near := c.pages[0] == page+1 || c.pages[1] == page+1
	if c.pages[0] != page+1 {
		c.pages = [2]uint64{page + 1, c.pages[0]}
	}
	return near
}

// bring prefetches the line of pa into L2 and, if it is not nil, into the L1 array to. It gives up where hardware does: at the
// end of the 4 KiB page of the access at from, when all miss registers are busy, and when another core may have
// written the line.
func (h *Hierarchy) bring(id int, from, pa uint64, now sim.Time, to *array, hint uint64) {
	if (from^pa)>>12 != 0 {
		return
	}
	a := &h.cores[id].l2
	s2 := a.set(pa)
	h.settleL2(id, s2)
	i := a.find(s2, pa)
	if to != nil {
		to.settle(to.set(pa))
	}
	if to != nil && (i >= 0 && to.find(to.set(pa), pa) >= 0) {
		return
	}
	if i < 0 {
		// Ask before anything changes: an inclusive LLC may have to be settled first.
		if h.cfg.LLC.Inclusive {
			h.settleLLC(h.llcSet(pa))
		}
		if e := h.dir.find(pa); e >= 0 && h.dir.entries[e].owner() >= 0 || a.mshr.next(now) > now || to != nil && to.mshr.next(now) > now {
			a.stats.PrefetchDropped++
			return
		}
		h.touchAhead(pa, a.row[a.victim(s2, a.ways)]&tagAddr)
		done, lvl, st := h.shared(id, pa, now, false)
		a.mshr.hold(done)
		flags := uint64(st) | uint64(lvl)<<2 | tagFlight | hint
		if to == nil {
			a.stats.PrefetchIssued++
			flags |= tagPrefetch
		}
		h.fillL2(id, pa, flags, done, now)
		if to != nil {
			to.mshr.hold(done)
			to.stats.PrefetchIssued++
			to.fill(pa, uint64(st)|uint64(lvl)<<2|tagFlight|tagPrefetch, done)
		}
		return
	}
	if to == nil {
		return
	}
	if to.mshr.next(now) > now {
		to.stats.PrefetchDropped++
		return
	}
	done, lvl := now+a.lat, L2
	if t := a.row[i]; t&tagFlight != 0 && a.ready(i) > now {
		done, lvl = max(done, a.ready(i)), Level(t&tagLevel>>2)
	}
	a.row[i] |= hint
	to.mshr.hold(done)
	to.stats.PrefetchIssued++
	to.fill(pa, a.row[i]&tagState|uint64(lvl)<<2|tagFlight|tagPrefetch, done)
}
