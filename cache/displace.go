package cache

// footprint is the part of the driver and application that is not modelled: lines that pass through an array, one set
// after the other. How many passed is a number; a large array catches up set by set, when a set is next looked at.
// Since nothing else happened in the set meanwhile, that is exact, and Displace costs the same for any number of lines.
type footprint struct {
	applied []uint32 // per set: rounds that it has seen
	rounds  uint32   // every set received a line this often,
	rem     uint32   // and the first rem sets once more
	perSet  int      // distinct lines of the window in a set
}

const unbounded = 1 << 30

func (f *footprint) window(lines, sets int) {
	f.perSet = unbounded
	if lines > 0 {
		f.perSet = (lines + sets - 1) / sets
	}
}

// pass lets n lines pass through sets sets.
func (f *footprint) pass(n, sets int) {
	t := int(f.rem) + n
	f.rounds += uint32(t / sets)
	f.rem = uint32(t % sets)
}

// due returns how many lines set has yet to receive, and that it has received them.
func (f *footprint) due(set uint64) int {
	r := f.rounds
	if uint32(set) < f.rem {
		r++
	}
	n := r - f.applied[set]
	f.applied[set] = r
	return int(n)
}

// Displace does to core's caches what the rest of the driver and the application do between two calls: codeLines lines of
// code pass through L1I and dataLines lines of data through L1D, both through L2 and the LLC, pushing out what was
// used least recently. It takes no simulated time; dirty lines that are pushed out are counted as written back.
// The lines belong to no address of the model: with Config.Window they recur, so a level that holds the whole window
// refreshes it instead of losing other lines; without, they never do.
func (h *Hierarchy) Displace(core int, codeLines, dataLines int) {
	if codeLines < 0 || dataLines < 0 {
		panic("cache: negative number of lines to displace")
	}
	c := &h.cores[core]
	c.i.displace(codeLines)
	c.d.displace(dataLines)
	n := codeLines + dataLines
	if n == 0 {
		return
	}
	if !c.displaced {
		c.displaced = true
		h.users++
		h.llc.foot.window(h.cfg.Window*h.users, h.llc.sets)
	}
	c.l2.stats.Displaced += uint64(n)
	h.llc.stats.Displaced += uint64(n)
	c.l2.foot.pass(n, c.l2.sets)
	h.llc.foot.pass(n, h.llc.sets)
}

// displace lets n lines pass through a first-level cache now: the sets are few, and its fast paths stay free of checks. L2
// holds what they push out.
func (a *array) displace(n int) {
	a.stats.Displaced += uint64(n)
	if n >= a.sets*int(a.ways) && a.foot.perSet >= int(a.ways) {
		clear(a.tags)
		clear(a.stamp)
		return
	}
	n = min(n, 2*len(a.tags)) // by then every set is full of them
	each, extra := n/a.sets, n%a.sets
	first := uint64(a.foot.rem)
	for j := range uint64(min(n, a.sets)) {
		set := (first + j) & a.mask
		per := each
		if int(j) < extra {
			per++
		}
		for range per {
			i, fresh := a.yield(set)
			if fresh {
				a.tags[i] = tagJunk
			}
			a.admit(set, i)
		}
	}
	a.foot.rem = uint32((first + uint64(n)) & a.mask)
}

// yield returns the way of set that the next displaced line takes. fresh is false if the line is there already: the
// set holds the whole window, of which this is the line used least recently.
func (a *array) yield(set uint64) (i int, fresh bool) {
	if a.foot.perSet >= int(a.ways) {
		return a.victim(set, a.ways), true
	}
	base := int(set * a.ways)
	junk, oldest := 0, -1
	for w, t := range a.tags[base : base+int(a.ways)] {
		if t == tagJunk {
			junk++
			if oldest < 0 || a.policy == LRU && a.stamp[base+w] < a.stamp[oldest] {
				oldest = base + w
			}
		}
	}
	if junk >= a.foot.perSet {
		return oldest, false
	}
	return a.victim(set, a.ways), true
}

// settleL2 lets the displaced lines that are due pass through set of core id's L2.
func (h *Hierarchy) settleL2(id int, set uint64) {
	a := &h.cores[id].l2
	n := a.foot.due(set)
	if n == 0 {
		return
	}
	if n >= int(a.ways) && a.foot.perSet >= int(a.ways) {
		for i := int(set * a.ways); i < int((set+1)*a.ways); i++ {
			h.evictL2(id, i, functional)
		}
		return
	}
	for range min(n, 2*int(a.ways)) {
		i, fresh := a.yield(set)
		if fresh {
			h.evictL2(id, i, functional)
			a.tags[i] = tagJunk
		}
		a.admit(set, i)
	}
}

// settleLLC does the same for a set of the LLC.
func (h *Hierarchy) settleLLC(set uint64) {
	a := &h.llc
	n := a.foot.due(set)
	if n == 0 {
		return
	}
	if n >= int(a.ways) && a.foot.perSet >= int(a.ways) {
		for i := int(set * a.ways); i < int((set+1)*a.ways); i++ {
			h.evictLLC(i, functional)
		}
		return
	}
	for range min(n, 2*int(a.ways)) {
		i, fresh := a.yield(set)
		if fresh {
			h.evictLLC(i, functional)
			a.tags[i] = tagJunk
		}
		a.admit(set, i)
	}
}

// functional is the time of a write-back that takes no simulated time.
const functional = -1
