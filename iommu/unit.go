package iommu

import (
	"errors"
	"fmt"

	"dmapath/cache"
	"dmapath/iommu/table"
	"dmapath/sim"
	"dmapath/tlb"
)

// Fabric times the unit's own reads and writes of memory: tables, descriptors, status words. *cache.Hierarchy is one.
type Fabric interface {
	DeviceRead(pa uint64, n int, now sim.Time) (done sim.Time, lvl cache.Level)
	DeviceWrite(pa uint64, n int, now sim.Time) (done sim.Time)
}

// Drainer knows when the requests that the root complex accepted at or before t are over; a *pcie.Port is one. An
// invalidation that drains waits for it.
type Drainer interface {
	Drained(t sim.Time) sim.Time
}

// VTd is one DMA remapping unit. It is not safe for concurrent use.
type VTd struct {
	Stats Stats

	cfg   Config
	clk   sim.Clock
	eng   *sim.Engine
	h     Fabric
	mem   *cache.Memory
	drain []Drainer

	capReg, ecap uint64
	haw          uint64
	levels       [table.MaxLevels + 1]bool
	second       [2]table.Rules // legacy, scalable
	first        table.Rules

	// Registers.
	gsts       uint32
	rtaddr     uint64 // as written
	root       uint64 // as latched by SRTP
	mode       uint64 // RTADDR.TTM as latched
	iva, iotlb uint64
	ccmd       uint64
	cmdEnd     sim.Time // the register-based invalidation is over
	fectl      uint32
	iectl      uint32
	ics        uint32
	faults     faultLog

	contexts contexts
	spaces   spaces

	iotlbs   *tlb.Cache
	sizes    []uint8 // page shifts ever inserted, so that others are not looked for
	paging   [table.MaxLevels + 1]*tlb.Cache
	walkers  *sim.Servers
	recent   [recentWalks]walkRecord
	walks    uint64   // started
	lastWalk sim.Time // latest end of one

	q queue

	// Times of cycle counts.
	lookupTime, walkStart, pteOverhead, walkEnd sim.Time
}

// NewVTd returns a unit after reset: translation off, caches empty.
func NewVTd(cfg Config, eng *sim.Engine, h Fabric, mem *cache.Memory) (*VTd, error) {
	errs := []error{cfg.Validate()}
	if eng == nil || h == nil || mem == nil {
		errs = append(errs, errors.New("iommu: a unit needs an engine, a cache hierarchy and memory"))
	}
	clk, _ := sim.NewClock(cfg.ClockHz)
	v := &VTd{cfg: cfg, clk: clk, eng: eng, h: h, mem: mem, haw: uint64(cfg.HostWidth)}
	if errors.Join(errs...) == nil {
		errs = append(errs, v.makeCaches())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	v.capReg, v.ecap = cfg.capabilities()
	var super uint8
	if cfg.Page2M {
		super |= table.Page2M
	}
	if cfg.Page1G {
		super |= table.Page1G
	}
	for _, l := range cfg.Levels {
		v.levels[l] = true
	}
	for i := range v.second {
		v.second[i] = table.NewRules(table.SecondStage, uint8(cfg.HostWidth), super, cfg.SnoopControl, i == 1)
	}
	v.first = table.NewRules(table.FirstStage, uint8(cfg.HostWidth), super, cfg.SnoopControl, true)
	v.faults.rec = make([][2]uint64, cfg.FaultRecords)
	v.contexts.init()
	v.spaces.init()
	v.walkers = sim.NewServers("page walkers", cfg.Walkers)
	v.lookupTime, v.walkStart = v.cycles(cfg.LookupTime), v.cycles(cfg.WalkStart)
	v.pteOverhead, v.walkEnd = v.cycles(cfg.PTEOverhead), v.cycles(cfg.WalkEnd)
	v.Stats.WalkTimes = sim.NewHistogram(int64(sim.Millisecond), 2)
	v.initQueue()
	return v, nil
}

// Drain adds a root port whose requests an invalidation waits for.
func (v *VTd) Drain(d Drainer) { v.drain = append(v.drain, d) }

// Config returns the configuration.
func (v *VTd) Config() Config { return v.cfg }

// cycles returns how long n cycles last, rounded up to a picosecond.
func (v *VTd) cycles(n Cycles) sim.Time { return v.clk.Edge(int64(n)) }

func (v *VTd) makeCaches() error {
	var errs []error
	make1 := func(name string, c tlb.Config, shifts ...uint8) *tlb.Cache {
		c.PageShifts = shifts
		t, err := tlb.New(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("iommu: %s: %w", name, err))
		}
		return t
	}
	v.iotlbs = make1("iotlb", v.cfg.IOTLB, 12, 21, 30)
	v.contexts.legacy = make1("context", v.cfg.Context, 0)
	v.contexts.pasids = make1("pasid", v.cfg.PASID, 0)
	for l := 2; l <= table.MaxLevels; l++ {
		if c := v.cfg.Paging[l]; c.Entries > 0 {
			v.paging[l] = make1(fmt.Sprintf("paging[%d]", l), c, table.Shift(l))
		}
	}
	return errors.Join(errs...)
}
