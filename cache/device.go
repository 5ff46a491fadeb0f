package cache

import "dmapath/sim"

// IOStats counts the lines that devices moved.
type IOStats struct {
	Reads      [NumLevels]uint64 // lines read, by the level that had them; L1 and L2 stay 0: a core's cache is Peer
	Writes     uint64            // lines written
	Partial    uint64            // of them, lines not written as a whole
	Snooped    uint64            // of them, lines that a core had to give up
	Updated    uint64            // of them, lines that the LLC held already
	Allocated  uint64            // of them, lines for which the LLC evicted something (DDIO)
	ToMemory   uint64            // of them, lines written to DRAM (no DDIO)
	MergeReads uint64            // lines read from DRAM because a device wrote a part of them
}

// span checks a device access of n bytes at pa.
func span(pa uint64, n int) {
	if n < 1 || n > 4096 || pa>>12 != (pa+uint64(n)-1)>>12 || pa>>PABits != 0 {
		panic("cache: a device access must be 1 to 4096 bytes within a page below 2^52")
	}
}

// DeviceRead does a read of n bytes, 1 to 4096 within a page, that reaches the fabric at now. It returns when the last byte is
// back there and the furthest level that a line came from. Reads allocate nowhere and change no core's copy (the
// "snoop current" kind of read).
func (h *Hierarchy) DeviceRead(pa uint64, n int, now sim.Time) (done sim.Time, lvl Level) {
	span(pa, n)
	for a := pa &^ 63; a < pa+uint64(n); a += LineBytes {
		d, l := h.readLine(a, now)
		h.io.Reads[l]++
		done, lvl = max(done, d), max(lvl, l)
		now += h.cfg.IO.Interval
	}
	return done, lvl
}

func (h *Hierarchy) readLine(pa uint64, now sim.Time) (sim.Time, Level) {
	h.settleLLC(h.llcSet(pa))
	h.llc.stats.Accesses++
	if ready, hop, ok := h.ownerReady(pa, now); ok {
		h.llc.stats.Misses++
		return max(now, ready) + h.cfg.IO.Latency + h.snoop + hop, Peer
	}
	set := h.llcSet(pa)
	if i := h.llc.find(set, pa); i >= 0 {
		h.llc.stats.Hits++
		h.llc.touch(set, i)
		return now + h.cfg.IO.Latency + h.lay.fromLLC(h.llc.row[i], ioCluster), LLC
	}
	h.llc.stats.Misses++
	if h.dir.find(pa) >= 0 {
		return now + h.cfg.IO.Latency + h.snoop, Peer
	}
	return h.mem.read(pa, now+h.cfg.IO.Latency+h.cfg.DRAM.Overhead), DRAM
}

// ownerReady reports whether a core may have written the line, when its copy is there, and the hop from it to where devices enter.
func (h *Hierarchy) ownerReady(pa uint64, now sim.Time) (ready, hop sim.Time, ok bool) {
	e := h.dir.find(pa)
	if e < 0 || h.dir.entries[e].owner() < 0 {
		return 0, 0, false
	}
	o := h.dir.entries[e].owner()
	a := &h.cores[o].l2
	set := a.set(pa)
	h.settleL2(o, set)
	i := a.find(set, pa)
	if i < 0 {
		return 0, 0, false
	}
	if a.row[i]&tagFlight != 0 && a.asked(i) <= now {
		ready = a.ready(i)
	}
	return ready, h.lay.hop[h.lay.part[o]&(MaxClusters-1)][ioCluster], true
}

// DeviceWrite does a write of n bytes, 1 to 4096 within a page, that reaches the fabric at now. It returns when all of it is
// visible to every core. Cores lose their copies; the LLC takes the lines, in the ways that devices may allocate if it
// does not hold them yet, or, without DDIO, memory does.
func (h *Hierarchy) DeviceWrite(pa uint64, n int, now sim.Time) (done sim.Time) {
	span(pa, n)
	end := pa + uint64(n)
	for a := pa &^ 63; a < end; a += LineBytes {
		done = max(done, h.writeLine(a, a >= pa && a+LineBytes <= end, now))
		now += h.cfg.IO.Interval
	}
	if h.cfg.IO.OwnFirst {
		done += h.cfg.IO.Latency
	}
	return done
}

func (h *Hierarchy) writeLine(pa uint64, whole bool, now sim.Time) (done sim.Time) {
	set := h.llcSet(pa)
	h.settleLLC(set)
	h.io.Writes++
	if !whole {
		h.io.Partial++
	}
	done = now + h.cfg.IO.Latency
	ready, hop, _ := h.ownerReady(pa, now)
	dirty, held := false, false
	if e := h.dir.find(pa); e >= 0 {
		h.io.Snooped++
		dirty, held = h.dropOthers(e, pa, -1), true
		done = max(now, ready) + h.cfg.IO.Latency + h.snoop + hop
	}
	if snoop := h.dropPair(pa, -1, now); snoop > 0 {
		done = max(done, now+h.cfg.IO.Latency+snoop)
	}
	i := h.llc.find(set, pa)
	if h.cfg.IO.DDIOWays == 0 {
		if i >= 0 {
			dirty = dirty || State(h.llc.row[i]&tagState) == Modified
			h.llc.drop(set, i)
		}
		if dirty && !whole {
			h.mem.write(pa, now) // the rest of the line
		}
		h.io.ToMemory++
		h.mem.write(pa, done)
		return done + h.cfg.DRAM.Overhead
	}
	if i >= 0 {
		h.io.Updated++
		h.llc.row[i] |= uint64(Modified)
		h.llc.touch(set, i)
		return done
	}
	if !whole && !held {
		h.io.MergeReads++
		done = h.mem.read(pa, now+h.cfg.IO.Latency+h.cfg.DRAM.Overhead)
	}
	h.io.Allocated++
	h.insertLLC(pa, true, uint64(h.cfg.IO.DDIOWays), now, -1)
	return done
}
