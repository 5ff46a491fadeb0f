package cache

import (
	"math/bits"

	"dmapath/sim"
)

// Level says where an access found its line.
type Level uint8

// Levels, nearest first.
const (
	L1   Level = iota // own first-level cache
	L2                // own second-level cache
	LLC               // shared cache
	Peer              // a cache of another core (or, for a device, of any core)
	DRAM
	NumLevels
)

func (l Level) String() string { return [NumLevels]string{"L1", "L2", "LLC", "peer", "DRAM"}[l] }

// State is the MESI state of a line in a private cache.
type State uint8

// MESI states.
const (
	Invalid   State = iota
	Shared          // others may have it; reads only
	Exclusive       // nobody else has it; same as memory or LLC
	Modified        // nobody else has it; newer than memory
)

func (s State) String() string { return [...]string{"I", "S", "E", "M"}[s] }

// core is one core's private caches.
type core struct {
	// lost is the line that another core took last for writing, and when its request gets here: see stillHas.
	lost struct {
		line  uint64
		until sim.Time
	}
	d, i, l2  array
	strides   [strideSlots]stride
	pages     [2]uint64 // page+1 of the last accesses that trained the prefetchers
	displaced bool      // Displace was called for it
}

// Hierarchy is the caches of all cores, the shared cache, the directory and memory. Its methods are called in roughly
// the order of simulated time; they return at once with the time at which the access is done.
type Hierarchy struct {
	cores   []core
	cfg     Config
	llc     array
	recip   uint64 // 2^64/sets, to reduce modulo a number of sets that is no power of two
	fold    uint   // shift of the LLC's index hash
	dir     directory
	mem     dram
	lay     layout
	far     []farLine // see Atomic; nil without FarAtomics
	wait    []farWait // of every core
	granule uint      // log2 of the bytes of a line of the LLC
	coh     CoherenceStats
	io      IOStats
	snoop   sim.Time // Peer beyond the LLC lookup
	users   int      // cores that displaced lines
	ahead   uint64   // see touchAhead
}

// New returns an empty hierarchy, or an error that names every problem of cfg.
func New(cfg Config) (*Hierarchy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h := &Hierarchy{cfg: cfg, cores: make([]core, cfg.Cores), mem: newDRAM(cfg.DRAM), snoop: cfg.Peer - cfg.LLC.Latency}
	private := func(p PrivateConfig, l Level) array {
		a := newArray(p.Bytes, p.Ways, p.Policy, l)
		a.lat = cfg.Clock.Edge(int64(p.Latency))
		a.mshr.free = make([]sim.Time, p.MSHRs)
		a.foot.window(cfg.Window, a.sets)
		return a
	}
	for c := range h.cores {
		h.cores[c].d, h.cores[c].i, h.cores[c].l2 = private(cfg.L1D, L1), private(cfg.L1I, L1), private(cfg.L2, L2)
	}
	h.llc = newArray(cfg.LLC.Bytes, cfg.LLC.Ways, cfg.LLC.Policy, LLC)
	h.llc.lat = cfg.LLC.Latency
	h.llc.foot.window(cfg.Window, h.llc.sets)
	h.fold = uint(bits.Len(uint(h.llc.sets) - 1))
	h.recip = ^uint64(0) / uint64(h.llc.sets)
	h.lay = newLayout(cfg.Topology, cfg.Cores)
	h.granule = uint(bits.Len(uint(max(cfg.LLC.LineBytes, LineBytes)) - 1))
	if cfg.FarAtomics {
		h.far, h.wait = make([]farLine, farLines), make([]farWait, cfg.Cores)
	}
	h.dir = newDirectory(cfg.Cores, min(cfg.Cores, 8)*cfg.L2.Bytes/LineBytes)
	return h, nil
}

// Config returns the configuration the hierarchy was built from.
func (h *Hierarchy) Config() Config { return h.cfg }

// LoadHit is the fast path of a load: it reports whether core's L1D holds the line of pa, arrived and used before, and
// records the use. After false, Load does the access (it may still find the line in L1D: in flight, or prefetched). ready is
// when the line arrives; it is 0, since a line in flight is left to Load, which knows the time.
func (h *Hierarchy) LoadHit(core int, pa uint64) (ready sim.Time, ok bool) {
	a := &h.cores[core].d
	line := pa >> 6
	i := (line&a.mask)*a.stride + a.first + uint64(a.pred[line%predSlots])
	if t := a.row[i]; t^(pa|tagValid) >= 64 {
		if i, ok = a.scan(pa); !ok {
			return 0, false
		}
	}
	a.fast++
	if a.policy == LRU {
		a.clock++
		a.row[i+a.ways] = a.clock
		return 0, true
	}
	a.touch(line&a.mask, int(i))
	return 0, true
}

// StoreHit is the fast path of a store: L1D holds the line in M. (A line in E becomes M on the slow path, once.)
func (h *Hierarchy) StoreHit(core int, pa uint64) (ready sim.Time, ok bool) {
	a := &h.cores[core].d
	line := pa >> 6
	i := (line&a.mask)*a.stride + a.first + uint64(a.pred[line%predSlots])
	t := a.row[i]
	if t^(pa|tagValid) >= 64 {
		if i, ok = a.scan(pa); !ok {
			return 0, false
		}
		t = a.row[i]
	}
	if t&tagState != uint64(Modified) {
		return 0, false
	}
	a.fast++
	if a.policy == LRU {
		a.clock++
		a.row[i+a.ways] = a.clock
		return 0, true
	}
	a.touch(line&a.mask, int(i))
	return 0, true
}

// FetchHit is the fast path of an instruction fetch from L1I.
func (h *Hierarchy) FetchHit(core int, pa uint64) (ready sim.Time, ok bool) {
	a := &h.cores[core].i
	line := pa >> 6
	i := (line&a.mask)*a.stride + a.first + uint64(a.pred[line%predSlots])
	if t := a.row[i]; t^(pa|tagValid) >= 64 {
		if i, ok = a.scan(pa); !ok {
			return 0, false
		}
	}
	a.fast++
	if a.policy == LRU {
		a.clock++
		a.row[i+a.ways] = a.clock
		return 0, true
	}
	a.touch(line&a.mask, int(i))
	return 0, true
}

// scan looks for an arrived line of pa in all ways and corrects the way prediction. Displace takes all predictions back, so
// that the displaced lines that are due reach a set here before the set is used again.
func (a *array) scan(pa uint64) (uint64, bool) {
	set := a.set(pa)
	a.settle(set)
	i := a.find(set, pa)
	if i < 0 || a.row[i]^(pa|tagValid) >= 64 {
		return 0, false
	}
	a.pred[pa>>6%predSlots] = uint8(uint64(i) - a.base(set))
	return uint64(i), true
}

// Probe tells where core would find the line of pa, and its MESI state in core's private caches, without
// changing anything but the displaced lines still due (see Displace).
func (h *Hierarchy) Probe(core int, pa uint64) (Level, State) {
	h.settleLLC(h.llcSet(pa))
	h.settleL2(core, h.cores[core].l2.set(pa))
	c := &h.cores[core]
	if i := c.l2.find(c.l2.set(pa), pa); i >= 0 {
		st := State(c.l2.row[i] & tagState)
		c.d.settle(c.d.set(pa))
		c.i.settle(c.i.set(pa))
		if c.d.find(c.d.set(pa), pa) >= 0 || c.i.find(c.i.set(pa), pa) >= 0 {
			return L1, st
		}
		return L2, st
	}
	if e := h.dir.find(pa); e >= 0 {
		if o := h.dir.entries[e].owner(); o >= 0 {
			h.settleL2(o, h.cores[o].l2.set(pa))
		}
	}
	e := h.dir.find(pa)
	switch {
	case e >= 0 && h.dir.entries[e].owner() >= 0:
		return Peer, Invalid
	case h.llc.find(h.llcSet(pa), pa) >= 0:
		return LLC, Invalid
	case e >= 0:
		return Peer, Invalid
	}
	return DRAM, Invalid
}
