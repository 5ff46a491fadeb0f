package cpu

import (
	"errors"
	"fmt"
	"math/bits"

	"dmapath/cache"
	"dmapath/sim"
	"dmapath/tlb"
)

// Positions in a pipeline stage are a cycle and the number of ops the stage has taken in it, cycle<<posShift | used, so
// that waiting for a cycle is a maximum and taking a slot is an addition.
const posShift = 8

const (
	ringLen  = 512 // ops whose completion is remembered: the largest ROB
	ringMask = ringLen - 1

	queueLen  = 256 // loads and stores whose queue entries are remembered: the largest load queue
	queueMask = queueLen - 1

	portRing = 1024 // cycles for which port use is remembered
	portMask = portRing - 1
	portBits = 10
)

// Core times a stream of ops: see the package comment for what it models. It is not safe for concurrent use.
//
// All times below are cycles of the core's clock, counted from simulated time 0.
type Core struct {
	id     int
	far    bool  // atomics are carried out in the LLC
	late   *Func // of an op whose line comes later than it seemed, nil if there is none
	cfg    Config
	clock  sim.Clock
	period uint64 // picoseconds per cycle, 2^-50
	rate   uint64 // cycles per picosecond, 2^-64
	h      *cache.Hierarchy
	sp     *Space

	class [32]classInfo

	// Stages.
	fetch    int64 // position of the last op fetched
	dispatch int64 // position of the last op dispatched
	retire   int64 // position of the last op retired
	commit   int64 // position of the last store written to L1
	seq      int64 // number of the last op
	loads    int64 // number of ops that used the load queue
	stores   int64 // number of ops that used the store queue
	end      sim.Time

	done [ringLen]int64  // by op: result available
	ret  [ringLen]int64  // by op: cycle of retirement
	disp [ringLen]int64  // by op: cycle of dispatch
	lq   [queueLen]int64 // by load: when its entry is free again
	sq   [queueLen]int64 // by store: when its entry is free again
	busy [portRing]uint32
	full [NumClasses]fullRun // by classInfo.group

	divFree   int64 // next start of a Div
	barrier   int64 // memory ops start no earlier
	flushDone int64 // last cache flush is complete
	weakLast  int64 // weak ordering: last store is in L1
	uncached  int64 // next posted write may leave

	// Front end.
	line     uint32   // PC>>6 of the line being fetched
	lineAt   [8]int64 // cycles in which the last lines were entered
	lines    int64
	redirect int64 // cycle in which the front end last learned where to go
	codeHit  int64 // latency of an L1I hit
	feCause  Stall // why fetch was last held
	codePage uint64
	fn       uint16 // of the op being timed
	lastALU  bool   // the previous op was an ALU op

	pred predictor
	lsq  storeBuffer
	mmu  mmu

	// Results of the memory functions beside their return value.
	pa      uint64 // physical address of the last translation
	storePA uint64 // the same for the store being timed
	cause   Stall  // what the last load waited for
	walk    int64  // cycles of it that translation took

	strLo, strHi uint64 // destination of the last string instruction
	strEnd       int64  // when it is in L1
	strFree      int64  // when the next one may start

	scratch Account
}

// classInfo is what the configuration says about a class, in the form the inner loop wants.
type classInfo struct {
	lat   int64
	loadM int64 // -1 when the class takes a load queue entry
	strM  int64 // -1 when the class takes a store queue entry
	slots int64
	dep2M int64 // -1 when the op starts only once its second source is there
	memM  int64 // -1 when the op starts only behind the last memory barrier
	ports uint32
	start uint32 // ports when Run itself takes one, 0 when the class does it
	group uint8  // classes with the same ports have the same group
	kind  kind
}

// fullRun says that in no cycle from lo to hi-1 a port of the group is free.
type fullRun struct{ lo, hi int64 }

// kind groups classes by how they are timed.
type kind uint8

const (
	kALU kind = iota
	kNop
	kLoad
	kStore
	kBranch
	kJmp
	kCall
	kRet
	kOther
)

var kinds = [NumClasses]kind{
	ALU: kALU, Mul: kALU, BitScan: kALU, IrqFlag: kALU, Nop: kNop, Load: kLoad, LoadOp: kLoad, Store: kStore,
	Branch: kBranch, Jmp: kJmp, Call: kCall, Ret: kRet, Div: kOther, RMW: kOther, Atomic: kOther, Fence: kOther,
	Flush: kOther, String: kOther, JmpInd: kOther, CallInd: kOther, Pause: kOther, MMIORead: kOther, MMIOWrite: kOther,
	Sysreg: kOther, Link: kJmp, LinkInd: kOther, LinkRet: kOther,
}

// NewCore returns core id of a machine with memory system h and address space sp.
func NewCore(id int, cfg Config, h *cache.Hierarchy, sp *Space) (*Core, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errors.New("cpu: core without a cache hierarchy")
	}
	if hc := h.Config(); id < 0 || id >= hc.Cores || hc.Clock.Hz() != cfg.Hz || hc.L1D.Latency != cfg.Latency[Load] {
		return nil, fmt.Errorf("cpu: core %d at %d Hz with L1D hits of %d cycles does not fit caches of %d cores at %d Hz with hits of %d cycles",
			id, cfg.Hz, cfg.Latency[Load], hc.Cores, hc.Clock.Hz(), hc.L1D.Latency)
	}
	clock, err := sim.NewClock(cfg.Hz)
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	c := &Core{id: id, cfg: cfg, clock: clock, h: h, sp: sp, pred: newPredictor(cfg.Predictor), far: h.Config().FarAtomics}
	for k := Class(0); k < NumClasses; k++ {
		ci := classInfo{lat: int64(cfg.Latency[k]), slots: int64(max(cfg.Slots[k], 1)), ports: uint32(cfg.Ports[k]), kind: kinds[k]}
		if k.Reads() {
			ci.loadM = -1
		}
		if k.Writes() && k != String || k == MMIOWrite || k == Flush {
			ci.strM = -1
		}
		switch ci.kind {
		case kALU, kBranch:
			ci.start, ci.dep2M = ci.ports, -1
		case kLoad:
			ci.start, ci.memM = ci.ports, -1
			if k == Load { // the second source is the index of the address; of a LoadOp it is the other operand
				ci.dep2M = -1
			}
		case kStore, kJmp, kCall:
			ci.start = ci.ports
		}
		for ci.group = 0; c.class[ci.group].ports != ci.ports && ci.group < uint8(k); {
			ci.group++
		}
		c.class[k] = ci
	}
	c.seq, c.loads, c.stores = ringLen, ringLen, ringLen
	c.feCause = StallFetch
	c.period, _ = bits.Div64(1e12>>(64-periodShift), 1e12<<periodShift&(1<<64-1), uint64(cfg.Hz))
	c.rate, _ = bits.Div64(uint64(cfg.Hz), 0, 1e12)
	c.codeHit = int64(h.Config().L1I.Latency)
	c.line = ^uint32(0)
	c.codePage = ^uint64(0)
	c.lsq.init()
	if err := c.mmu.init(&c.cfg, sp); err != nil {
		return nil, err
	}
	return c, nil
}

// ID returns the core's number in the cache hierarchy.
func (c *Core) ID() int { return c.id }

// Config returns the configuration.
func (c *Core) Config() Config { return c.cfg }

// Clock returns the core's clock.
func (c *Core) Clock() sim.Clock { return c.clock }

// Cycles returns the core cycles in a span of time, rounded to the nearest.
func (c *Core) Cycles(d sim.Time) int64 {
	n := c.clock.FloorCycle(d)
	if d-c.clock.Edge(n) > c.clock.Edge(n+1)-d {
		n++
	}
	return n
}

// Between returns the core cycles from the first edge at or after from to the first at or after to: what instructions that could begin
// at from and follow at to are apart. Spans that adjoin add up, which rounded spans do not.
func (c *Core) Between(from, to sim.Time) int64 {
	return c.clock.CeilCycle(to) - c.clock.CeilCycle(from)
}

// Drained returns when everything that Run has timed so far has left the core: stores and flushes retire before they
// reach the caches.
func (c *Core) Drained() sim.Time {
	return max(c.end, c.clock.Edge(c.drained()))
}

// Conversions on the miss path multiply by fixed-point factors instead of dividing 128 bits: edge is within a picosecond of
// the exact edge for 2^45 cycles (three hours at 3 GHz), and cyc forgives four picoseconds, because the times that the
// memory system returns are sums of spans each of which was rounded up, which must not cost a cycle.

// edge returns about when cycle n begins.
func (c *Core) edge(n int64) sim.Time {
	hi, lo := bits.Mul64(uint64(n), c.period)
	return sim.Time(hi<<(64-periodShift)|lo>>periodShift) + 1
}

// cyc converts a time that the memory system returned to the first cycle at or after it.
func (c *Core) cyc(t sim.Time) int64 {
	hi, _ := bits.Mul64(uint64(max(t-4, 0)), c.rate)
	return int64(hi) + 1
}

const periodShift = 50

// issue finds the first cycle at or after t in which one of the ports of ci is free and takes it.
func (c *Core) issue(ci *classInfo, t int64) int64 {
	e := &c.busy[t&portMask]
	used := *e
	if tag := uint32(t>>portBits) << 16; used&0xffff0000 != tag {
		used = tag
	}
	free := ci.ports &^ used
	if free == 0 {
		return c.issueLater(ci, t)
	}
	*e = used | free&-free
	return t
}

// issueLater is issue when nothing is free at t. Where ops queue up for the same ports, the cycles in which all of them are
// taken form a run that is remembered and skipped; ports are only ever taken, so it stays true.
func (c *Core) issueLater(ci *classInfo, t int64) int64 {
	full := &c.full[ci.group]
	from := t
	for {
		if t >= full.lo && t < full.hi {
			t = full.hi
		}
		e := &c.busy[t&portMask]
		used := *e
		if tag := uint32(t>>portBits) << 16; used&0xffff0000 != tag {
			used = tag
		}
		if free := ci.ports &^ used; free != 0 {
			*e = used | free&-free
			break
		}
		t++
	}
	if from >= full.lo && from <= full.hi {
		full.hi = max(full.hi, t)
	} else {
		full.lo, full.hi = from, t
	}
	return t
}

// restart begins timing at start after the core was idle: everything in flight has finished.
func (c *Core) restart(start sim.Time) {
	t := c.clock.CeilCycle(start)
	c.fetch = max(c.fetch, t<<posShift)
	c.dispatch = max(c.dispatch, t<<posShift)
	c.retire = max(c.retire, t<<posShift)
	c.redirect = max(c.redirect, t)
	c.feCause = StallFetch
}

// Forget puts the core into the state after reset: nothing is predicted, nothing translated. Caches are not touched.
func (c *Core) Forget() {
	c.pred.forget()
	c.mmu.forget()
	c.codePage, c.line = ^uint64(0), ^uint32(0)
}

// Disturb does to the core's own state what other code did that ran in between: a fraction, 0 to 1, of what the branch
// predictor and the TLBs hold is replaced by foreign entries. 1 is Forget. Caches have cache.Hierarchy.Displace.
func (c *Core) Disturb(fraction float64) {
	switch {
	case fraction < 0 || fraction > 1 || fraction != fraction:
		panic("cpu: Disturb of a fraction outside 0 to 1")
	case fraction == 1:
		c.Forget()
	case fraction > 0:
		c.pred.overwrite(fraction, fraction, fraction, fraction)
		c.mmu.displace(fraction)
		c.codePage = ^uint64(0)
	}
}

// DisturbBy is Disturb in counts: other code executed that many different branches and touched that many
// different 4 KiB pages of code and of data.
func (c *Core) DisturbBy(branches, codePages, dataPages int) {
	c.pred.disturb(branches)
	c.mmu.foreign(codePages, dataPages)
	c.codePage = ^uint64(0)
}

// TLBStats returns the counters of the first-level data TLBs, the first-level instruction TLBs and the second level.
func (c *Core) TLBStats() (data, code, second tlb.Stats) { return c.mmu.stats() }
