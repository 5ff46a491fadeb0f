package cache

import "dmapath/sim"

// farLines is how many lines are followed at once that far atomics work on; a power of two. A line that takes another's place starts with
// nobody waiting.
const farLines = 1 << 10

// farLine is a line of the LLC that far atomics work on: in which node it is, or where it is going, and which cores wait for it.
type farLine struct {
	key        uint64   // line number of the LLC + 1, 0: none
	here       sim.Time // when it came to the node
	free       sim.Time // what was asked of it there so far is done then
	held       sim.Time // cores have acknowledged the copies that they read: a copy cannot be taken back before
	head, tail int16    // cores whose requests wait, in the order in which they were made; core + 1, 0: none
	node       uint8
}

// farWait is the request of a core for a line that is in another node, or that another node has asked for first. When it will be served depends
// on requests that may still come before it.
type farWait struct {
	arrive sim.Time // at the LLC of its own node
	busy   sim.Time // how long the line serves it
	back   sim.Time // from there to the core
	done   sim.Time // when the core has its answer, if served
	line   *farLine
	next   int16
	node   uint8
	waits  bool
	served bool // and not yet settled
}

// farKey is the number of the LLC's line of pa, plus 1.
func (h *Hierarchy) farKey(pa uint64) uint64 { return pa>>h.granule + 1 }

// farAt returns what is known of the line of pa; fresh if nothing.
func (h *Hierarchy) farAt(pa uint64) (f *farLine, fresh bool) {
	key := h.farKey(pa)
	for i := key * 0x9e3779b97f4a7c15 >> 40; ; i++ {
		f = &h.far[i&(farLines-1)]
		switch {
		case f.key == key:
			return f, false
		case f.head == 0:
			*f = farLine{key: key}
			return f, true
		}
	}
}

// Atomic does an atomic read-modify-write of the line of pa by core in the LLC, a far atomic: the request goes to the LLC of the core's node,
// the operation is done there, and only its result comes back; the core keeps no copy. It starts at now and returns when the result is back, and
// the level that the line came from: LLC, the cache of another core (Peer), or DRAM.
//
// A node serves operations on one line one at a time, in the order in which they arrive, Config.FarBusy each. The line lies in one node at a
// time. Another node asks for it: half a hop after the line has come and served once, or after the request if that was made later, the node
// learns of it; it still serves what arrived before, and the line takes another half hop to where it was asked for. Nodes have their turns in the
// order of their first requests.
//
// While a request waits for another node, the time returned is the earliest possible: see Settle.
func (h *Hierarchy) Atomic(core int, pa uint64, now sim.Time) (done sim.Time, lvl Level) {
	set := h.llcSet(pa)
	h.settleL2(core, h.cores[core].l2.set(pa))
	if done, ok := h.near(core, pa, now); ok {
		return done, L1
	}
	h.settleLLC(set)
	h.llc.stats.Accesses++
	f, fresh := h.farAt(pa)
	part := h.lay.part[core]
	node := h.lay.node(part)
	if fresh {
		f.node = node
	}
	from, lvl := now, LLC
	var snoop sim.Time
	if e := h.dir.find(pa); e >= 0 { // copies come back to the LLC
		by := core
		for c := h.dir.next(e, 0); c >= 0; c = h.dir.next(e, c+1) {
			a := &h.cores[c].l2
			i := a.mustFind(a.set(pa), pa)
			from = max(from, h.leaves(a, i, now))
			if c != core {
				if State(a.row[i]&tagState) >= Exclusive {
					h.cores[c].lost.line, h.cores[c].lost.until = pa>>6, h.leaves(a, i, now)+h.llc.lat
				}
				snoop, by, lvl = max(snoop, h.snoop+h.lay.between(c, core)), c, Peer
			}
		}
		if fresh {
			f.node = h.lay.node(h.lay.part[by])
		}
		h.insertLLC(pa, h.dropOthers(e, pa, -1), h.llc.ways, now, by)
	}
	if far := h.dropPair(pa, core, now); far > 0 {
		snoop, lvl = max(snoop, far), Peer
	}
	way, extra := h.llc.lat, sim.Time(0)
	i := h.llc.find(set, pa)
	if i < 0 {
		h.llc.stats.Misses++
		extra, lvl = h.mem.read(pa, now+way+h.cfg.DRAM.Overhead)-way-now, DRAM
		h.insertLLC(pa, true, h.llc.ways, now, core)
		i = h.llc.mustFind(set, pa)
	} else {
		h.llc.stats.Hits++
		h.llc.touch(set, i)
		was := partOf(h.llc.row[i])
		if fresh && snoop == 0 {
			f.node = h.lay.node(was)
		}
		if h.lay.node(was) == node {
			way += h.lay.hop[was&(MaxClusters-1)][part&(MaxClusters-1)]
		} else { // it moves here
			h.llc.row[i] = h.llc.row[i]&^partMask | partFlags(part)
		}
	}
	h.llc.row[i] |= uint64(Modified)
	if snoop > 0 { // the way that the line itself comes from another node is not counted twice
		snoop = max(h.snoop, snoop-h.lay.nodes(f.node, node))
	}
	return h.take(core, f, max(from, now)+extra+way/2, h.cfg.FarBusy+snoop, way-way/2, now), lvl
}

// near does the atomic in the core's L1D, if that has the line for itself, or had until just now: see lost.
func (h *Hierarchy) near(core int, pa uint64, now sim.Time) (done sim.Time, ok bool) {
	c := &h.cores[core]
	a := &c.d
	set := a.set(pa)
	a.settle(set)
	i := a.find(set, pa)
	switch {
	case i >= 0 && State(a.row[i]&tagState) >= Exclusive:
		a.row[i] |= uint64(Modified)
		c.l2.row[c.l2.mustFind(c.l2.set(pa), pa)] |= uint64(Modified)
		a.touch(set, i)
		if done = now; a.row[i]&tagFlight != 0 {
			done = max(now, a.ready(i))
		}
	case c.lost.line == pa>>6 && now < c.lost.until:
		done = now
	default:
		return 0, false
	}
	a.stats.Accesses++
	a.stats.Hits++
	return done + a.lat, true
}

// take asks for line f at now by core, whose request comes to its node at arrive, needs the line for busy, and is answered back later. It returns
// when the core has its answer, or, if that depends on what still comes, the earliest time.
func (h *Hierarchy) take(core int, f *farLine, arrive, busy, back, now sim.Time) sim.Time {
	h.advance(f, now)
	node := h.lay.node(h.lay.part[core])
	switch {
	case f.node == node && arrive <= h.asked(f):
		return h.served(f, arrive, busy) + back
	case f.head == 0 && max(f.free, f.held) <= arrive: // nobody has an interest in the line where it is
		f.here = arrive + h.lay.nodes(f.node, node)
		f.node, f.free, f.held = node, f.here, 0
		return h.served(f, f.here, busy) + back
	}
	w := &h.wait[core]
	if w.waits {
		h.advance(w.line, now)
	}
	if w.waits { // for another line: this one is not waited for in turn
		return max(arrive, f.free) + h.lay.nodes(f.node, node) + busy + back
	}
	*w = farWait{arrive: arrive, busy: busy, back: back, line: f, node: node, waits: true}
	if f.head == 0 {
		f.head = int16(core) + 1
	} else {
		h.wait[f.tail-1].next = int16(core) + 1
	}
	f.tail = int16(core) + 1
	return h.earliest(f, core, now)
}

// served returns when the node that has line f has served a request that arrives at the time given: an atomic, which keeps it busy and takes back
// the copies that were read before, or, if busy is nothing, a read, whose copy cannot be taken back before it has come and been acknowledged.
func (h *Hierarchy) served(f *farLine, arrive, busy sim.Time) sim.Time {
	start := max(arrive, f.here, f.free)
	if busy == 0 {
		f.held = max(f.held, start+h.llc.lat)
		return start
	}
	f.free = max(start, f.held) + busy
	return f.free
}

// turn returns the first waiting request of a node other than the one given, nil if there is none.
func (h *Hierarchy) turn(f *farLine, node uint8) *farWait {
	for c := f.head; c != 0; {
		w := &h.wait[c-1]
		if w.node != node {
			return w
		}
		c = w.next
	}
	return nil
}

// asked returns when the node that has line f learns that another one wants it: what arrives later is served in a later turn.
func (h *Hierarchy) asked(f *farLine) sim.Time {
	w := h.turn(f, f.node)
	if w == nil {
		return sim.Never
	}
	return h.learns(f.node, f.here, w)
}

// learns returns when node, where the line came at here, learns of request w.
func (h *Hierarchy) learns(node uint8, here sim.Time, w *farWait) sim.Time {
	return max(here+h.cfg.FarBusy, w.arrive) + h.lay.nodes(node, w.node)/2
}

// advance lets line f go where it is wanted, as far as that is certain at now.
func (h *Hierarchy) advance(f *farLine, now sim.Time) {
	for f.head != 0 {
		if w := h.turn(f, f.node); w != nil {
			at := h.learns(f.node, f.here, w)
			if at > now {
				return
			}
			hop := h.lay.nodes(f.node, w.node)
			f.here = max(f.free, f.held, at) + hop - hop/2
			f.node, f.free, f.held = w.node, f.here, 0
		}
		h.serve(f)
	}
}

// serve lets the node that has line f serve the requests that wait there, if they arrive before another node's turn.
func (h *Hierarchy) serve(f *farLine) {
	until := max(f.here, h.asked(f))
	last := int16(0)
	for c := f.head; c != 0; {
		w := &h.wait[c-1]
		next := w.next
		if w.node != f.node || w.arrive > until {
			last = c
		} else {
			w.done, w.waits, w.served = h.served(f, w.arrive, w.busy)+w.back, false, true
			if l := &h.cores[c-1].lost; w.busy == 0 && l.line>>(h.granule-6)+1 == f.key && l.until > w.arrive { // taken before it came
				l.until = w.done + h.llc.lat
			}
			if last == 0 {
				f.head = next
			} else {
				h.wait[last-1].next = next
			}
		}
		c = next
	}
	f.tail = last
}

// earliest returns a time before which core, which waits for line f, cannot have its answer: every node that has its turn before serves one request.
func (h *Hierarchy) earliest(f *farLine, core int, now sim.Time) sim.Time {
	mine := &h.wait[core]
	node, here, free := f.node, f.here, max(f.free, f.held)
	for had := uint32(0); node != mine.node || had == 0; {
		var w *farWait
		for c := f.head; c != 0 && w == nil; {
			x := &h.wait[c-1]
			if x.node != node && had>>x.node&1 == 0 {
				w = x
			}
			c = x.next
		}
		if w == nil { // nobody else waits: it comes behind what was asked of the line where it is
			break
		}
		hop := h.lay.nodes(node, w.node)
		here = max(free, h.learns(node, here, w)) + hop - hop/2
		node, free = w.node, here
		had |= 1 << node
	}
	for c := f.head; c != 0; {
		x := &h.wait[c-1]
		if x.node == mine.node {
			free = max(free, x.arrive) + x.busy
			if x == mine {
				break
			}
		}
		c = x.next
	}
	return max(free+mine.back, now+1)
}

// Settle returns when core has the answer to the request for which it waits, as far as that is known at now: a time that is not later than now
// says that it has. After a later time it has to be asked again.
func (h *Hierarchy) Settle(core int, now sim.Time) sim.Time {
	w := &h.wait[core]
	if w.waits {
		h.advance(w.line, now)
		if w.waits {
			return h.earliest(w.line, core, now)
		}
	}
	if w.served {
		w.served = false
		return w.done
	}
	return 0
}

// Waits reports whether core waits for a line, or has not been told yet when it came: see Settle.
func (h *Hierarchy) Waits(core int) bool { return h.wait[core].waits || h.wait[core].served }

// behindAtomics returns from when on a request of core that starts at now can be treated as if no atomic had been asked of the line of pa: those
// that came first are served first.
func (h *Hierarchy) behindAtomics(core int, pa uint64, now sim.Time) sim.Time {
	f := &h.far[h.farKey(pa)*0x9e3779b97f4a7c15>>40&(farLines-1)]
	if f.key != h.farKey(pa) {
		return now
	}
	way := h.llc.lat
	node := h.lay.node(h.lay.part[core])
	if arrive := now + way/2; f.head == 0 && f.free <= arrive { // the access itself takes the way between nodes
		if f.node != node {
			f.here = arrive + h.lay.nodes(f.node, node)
			f.node, f.free = node, f.here
		}
		return now
	}
	done := h.take(core, f, now+way/2, 0, way-way/2, now)
	if set := h.llcSet(pa); true { // it has come to this node
		if i := h.llc.find(set, pa); i >= 0 {
			h.llc.row[i] = h.llc.row[i]&^partMask | partFlags(h.lay.part[core])
		}
	}
	return max(now, done-way)
}
