package cache

// footprint is the part of the driver and application that is not modelled: lines that pass through an array, one set
// after the other. How many passed is a number; an array catches up set by set, when a set is next looked at.
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
	if n != 0 {
		f.applied[set] = r
	}
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
	n := codeLines + dataLines
	if n == 0 {
		return
	}
	c := &h.cores[core]
	if !c.displaced {
		c.displaced = true
		h.users++
		h.llc.foot.window(h.cfg.Window*h.users, h.llc.sets)
	}
	c.i.pass(codeLines)
	c.d.pass(dataLines)
	c.l2.pass(n)
	h.llc.pass(n)
}

func (a *array) pass(n int) {
	if n == 0 {
		return
	}
	a.stats.Displaced += uint64(n)
	a.foot.pass(n, a.sets)
	if a.level1 {
		a.pred = *a.blank
	}
}

// settle lets the displaced lines that are due pass through a set of a first-level cache. L2 has what they push out.
func (a *array) settle(set uint64) {
	n := a.foot.due(set)
	if n == 0 {
		return
	}
	if n >= int(a.ways) && a.foot.perSet >= int(a.ways) {
		for i := int(a.base(set)); i < int(a.base(set)+a.ways); i++ {
			a.drop(set, i)
		}
		return
	}
	for range min(n, 2*int(a.ways)) { // by then all that can be displaced is
		i, fresh := a.yield(set)
		if fresh {
			a.junk(set, i)
		}
		a.admit(set, i)
	}
}

// yield returns the way of set that the next displaced line takes. fresh is false if the line is there already: the
// set holds the whole window, of which this is the line used least recently.
func (a *array) yield(set uint64) (i int, fresh bool) {
	if a.foot.perSet >= int(a.ways) {
		return a.victim(set, a.ways), true
	}
	base := int(a.base(set))
	junk, oldest := 0, -1
	for w, t := range a.tagsOf(set) {
		if t == tagJunk {
			junk++
			if oldest < 0 || a.before(set, base+w, oldest) {
				oldest = base + w
			}
		}
	}
	if junk >= a.foot.perSet {
		return oldest, false
	}
	return a.victim(set, a.ways), true
}

// settleL2 lets the displaced lines that are due pass through set of core id's L2. A line that they push out enters the
// LLC below the displaced lines that came after it, as if it had been pushed out in time.
func (h *Hierarchy) settleL2(id int, set uint64) {
	a := &h.cores[id].l2
	n := a.foot.due(set)
	if n == 0 {
		return
	}
	for r := range min(n, 2*int(a.ways)) {
		i, fresh := a.yield(set)
		if fresh {
			after := 0 // displaced lines that each set of the LLC saw since
			if h.llc.foot.perSet >= int(h.llc.ways) {
				after = min((n-1-r)*a.sets/h.llc.sets, int(h.llc.ways))
			}
			h.evictL2(id, set, i, functional, after)
			a.junk(set, i)
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
		for i := int(a.base(set)); i < int(a.base(set)+a.ways); i++ {
			h.evictLLC(set, i, functional)
			a.junk(set, i)
		}
		return
	}
	for range min(n, 2*int(a.ways)) {
		i, fresh := a.yield(set)
		if fresh {
			h.evictLLC(set, i, functional)
			a.junk(set, i)
		}
		a.admit(set, i)
	}
}

// functional is the time of a write-back that takes no simulated time.
const functional = -1
