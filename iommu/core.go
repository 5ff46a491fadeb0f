package iommu

import (
	"errors"
	"fmt"

	"dmapath/cache"
	"dmapath/sim"
	"dmapath/tlb"
)

// Core is the part of a unit that every dialect has: IOTLB, paging-structure caches, walkers, and what an invalidation asks of them. A
// dialect embeds it, finds out the Space of a request from its own tables, and asks Lookup and then Walk. It is not safe for
// concurrent use.
type Core struct {
	Stats  Stats
	Eng    *sim.Engine
	Fabric Fabric
	Mem    *cache.Memory

	// Times of the configuration's cycles.
	LookupTime, WalkStart, PTEOverhead, WalkEnd, DrainTime sim.Time
	// ClosedMiB is the MiB of physical addresses where no page may lie, 0 for none: on x86 0xfee, where interrupts go.
	ClosedMiB uint64

	clk     sim.Clock
	drain   []Drainer
	tlbs    map[uint16]DeviceTLB
	iotlb   *tlb.Cache
	sizes   []uint8 // page shifts ever inserted, so that others are not looked for
	paging  [levelSlots]*tlb.Cache
	walkers *sim.Servers
	curves  Curves
	shown   shown

	recent   [recentWalks]walkRecord
	walks    uint64   // started
	lastWalk sim.Time // latest end of one

	// Of the last walk or probe: how it failed, or the size and rights of its page.
	Refused    Refusal
	leafShift  uint8
	leafRights Rights
	inner      walkRecord // of walks of a second stage: what they find is there for others at once
}

// Init makes the caches of a unit after reset. It returns problems, which are those of the dialect's whole configuration, with what
// is wrong beyond them, and does nothing when there are any.
func (c *Core) Init(cfg *Config, problems error, eng *sim.Engine, f Fabric, mem *cache.Memory) error {
	if eng == nil || f == nil || mem == nil {
		problems = errors.Join(problems, errors.New("iommu: a unit needs an engine, a cache hierarchy and memory"))
	}
	if problems != nil {
		return problems
	}
	c.Eng, c.Fabric, c.Mem = eng, f, mem
	errs := make([]error, MaxLevels+2)
	c.clk, errs[MaxLevels+1] = sim.NewClock(cfg.ClockHz)
	c.iotlb, errs[0] = NewCache("iotlb", cfg.IOTLB, PageShift)
	for l := 2; l <= MaxLevels; l++ {
		if p := cfg.Paging[l]; p.Entries > 0 {
			c.paging[l], errs[l] = NewCache(fmt.Sprintf("paging[%d]", l), p, PageShift)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.iotlb.CountLive()
	c.curves = newCurves(eng.Now())
	c.walkers = sim.NewServers("page walkers", cfg.Walkers)
	c.LookupTime, c.WalkStart, c.PTEOverhead = c.Span(cfg.LookupTime), c.Span(cfg.WalkStart), c.Span(cfg.PTEOverhead)
	c.WalkEnd, c.DrainTime = c.Span(cfg.WalkEnd), c.Span(cfg.DrainTime)
	c.Stats.WalkTimes = sim.NewHistogram(int64(sim.Millisecond), 2)
	return nil
}

// NewCache makes one of a unit's caches. Pages of other sizes than that of shift may be inserted as well.
func NewCache(name string, cfg tlb.Config, shift uint8) (*tlb.Cache, error) {
	cfg.PageShifts = []uint8{shift}
	t, err := tlb.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("iommu: %s: %w", name, err)
	}
	return t, nil
}

// Span returns how long n cycles last, rounded up to a picosecond.
func (c *Core) Span(n Cycles) sim.Time { return c.clk.Edge(int64(n)) }

// Drain adds a root port whose requests an invalidation waits for.
func (c *Core) Drain(d Drainer) { c.drain = append(c.drain, d) }

// AttachTLB says that the device with requester id rid has a TLB of its own.
func (c *Core) AttachTLB(rid uint16, d DeviceTLB) {
	if c.tlbs == nil {
		c.tlbs = map[uint16]DeviceTLB{}
	}
	c.tlbs[rid] = d
}

// HasTLB reports whether the device has one.
func (c *Core) HasTLB(rid uint16) bool { return c.tlbs[rid] != nil }

// InvalidateTLB makes the device, if it has a TLB, forget the addresses first to last, and returns when it has said so.
func (c *Core) InvalidateTLB(rid uint16, first, last uint64, now sim.Time) sim.Time {
	d := c.tlbs[rid]
	if d == nil {
		return now
	}
	done := d.InvalidateTLB(rid, first, last, now)
	c.Stats.DeviceInvs++
	c.Stats.DeviceInvTime += done - now
	return done
}

// Walkers returns how many walks can be under way at once.
func (c *Core) Walkers() int { return c.walkers.Len() }

// TakeWalker occupies a walker from now on, or as soon as one is free, for reading device entries; ReleaseWalker frees it at t.
func (c *Core) TakeWalker(now sim.Time) (walker int, start sim.Time) { return c.walkers.Take(now) }

// ReleaseWalker says until when TakeWalker's was busy.
func (c *Core) ReleaseWalker(walker int, start, t sim.Time) {
	c.walkers.Release(walker, start, t)
	c.curves.Walkers.Span(start, t)
	if tl := c.Eng.Timeline; tl.On() {
		c.showWalk(tl, "device entry", start, t)
	}
}

// EntryRead reads one word of a device entry or of a table that leads to it, and returns when it is there. The words of one entry share
// a cache line, so only the first read of an entry takes time.
func (c *Core) EntryRead(pa uint64, now sim.Time) sim.Time {
	c.Stats.EntryReads++
	done, _ := c.Fabric.DeviceRead(pa, 8, now)
	return done + c.PTEOverhead
}

// DropAll removes all translations and paging-structure entries.
func (c *Core) DropAll() {
	c.iotlb.InvalidateAll()
	c.holds(c.Eng.Now())
	for _, p := range c.paging {
		if p != nil {
			p.InvalidateAll()
		}
	}
}

// DropSpace removes everything with the tag.
func (c *Core) DropSpace(tag uint32) {
	c.iotlb.InvalidateDomain(tag)
	c.holds(c.Eng.Now())
	for _, p := range c.paging {
		if p != nil {
			p.InvalidateDomain(tag)
		}
	}
}

// DropPages removes the translations with the tag of any byte from first to last, and unless only leaf entries changed also the
// paging-structure entries on the way to them.
func (c *Core) DropPages(tag uint32, first, last uint64, leafOnly bool) {
	c.Stats.Dropped += uint64(c.iotlb.InvalidateRange(tag, first, last))
	c.holds(c.Eng.Now())
	if leafOnly {
		return
	}
	for _, p := range c.paging {
		if p != nil {
			p.InvalidateRange(tag, first, last)
		}
	}
}

// DrainFrom returns when the walks and, with requests, the reads and writes that arrived up to now are over.
func (c *Core) DrainFrom(now sim.Time, requests bool) sim.Time {
	t := now + c.DrainTime
	if c.lastWalk > t {
		for i := range c.recent {
			if w := &c.recent[i]; w.arrived <= now {
				t = max(t, w.done)
			}
		}
	}
	if requests {
		for _, d := range c.drain {
			t = max(t, d.Drained(now))
		}
	}
	c.Stats.DrainTime += t - now
	return t
}
