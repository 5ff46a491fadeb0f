package smmu

import (
	"fmt"
	"slices"

	"dmapath/cache"
	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/sim"
)

// Unit is one SMMU. It is not safe for concurrent use.
type Unit struct {
	iommu.Core
	// Event, if set, is called when a CMD_SYNC with SEV completes: CPUs in wfe wake up.
	Event func()

	cfg      Config
	host     *smmutable.STE // what a hypervisor puts under the guest's streams, nil on the metal
	streams  iommu.Entries[stream]
	contexts iommu.Entries[context]
	formats  map[shape]*format
	spaces   spaces

	idr0, idr1, idr3, idr5 uint32

	// Registers.
	cr0, cr1, cr2   uint32
	gbpa            uint32
	irqCtrl         uint32
	gerror, gerrorN uint32
	strtab          uint64
	strtabCfg       uint32
	cmdqBase        uint64
	cmdqErr         uint32 // CMDQ_CONS.ERR

	q      iommu.Queue
	q2     uint8 // log2 of the command queue's entries
	events events
	sync   sim.Time // SyncTime
}

// New returns a unit after reset: bypass, caches empty.
func New(cfg Config, eng *sim.Engine, h iommu.Fabric, mem *cache.Memory) (*Unit, error) {
	u := &Unit{cfg: cfg, formats: map[shape]*format{}}
	u.cfg.Granules = slices.Clone(cfg.Granules)
	if err := u.Init(&cfg.Config, cfg.Validate(), eng, h, mem); err != nil {
		return nil, err
	}
	var err error
	if u.streams, err = iommu.NewEntries[stream]("streams", cfg.Streams); err != nil {
		return nil, err
	}
	if u.contexts, err = iommu.NewEntries[context]("contexts", cfg.Contexts); err != nil {
		return nil, err
	}
	u.idr0, u.idr1, u.idr3, u.idr5 = cfg.identification()
	u.spaces.init()
	u.q.Init(&u.Core, u, "command queue")
	u.q.FetchOverhead, u.q.DecodeTime, u.q.Width = u.Span(cfg.FetchOverhead), u.Span(cfg.DecodeTime), smmutable.CommandSize
	u.sync = u.Span(cfg.SyncTime)
	u.setCommands(0)
	u.events.set(0)
	return u, nil
}

// SetHost makes the software that programs the unit a guest: below every stream lies the second stage of s (VMID, table, geometry), as the
// hypervisor's copy of the stream table has it. What the guest configures as stage 1 is nested, what it lets bypass goes through stage 2, and
// its TLB commands act on the VMID. Registers, queues and structures in memory are the guest's, at guest-physical addresses that are
// physical ones; that an exit copies or checks them is left out, as with a virtual command queue in hardware.
func (u *Unit) SetHost(s smmutable.STE) error {
	if g, ok := s.Stage2(); !ok || !u.cfg.Stage1 || !u.cfg.Stage2 || !slices.Contains(u.cfg.Granules, g.Granule) {
		return fmt.Errorf("iommu: a host's second stage of %d bits with granule 2^%d is none that the unit can put under a guest's first", 64-s.T0SZ, s.TG)
	}
	u.host = &s
	return nil
}

// underHost returns what the hypervisor's copy of a guest's stream table entry says.
func (u *Unit) underHost(s smmutable.STE) smmutable.STE {
	switch h := u.host; s.Config {
	case smmutable.ConfigS1:
		s.Config = smmutable.ConfigNested
		s.VMID, s.TTB, s.T0SZ, s.SL0, s.TG, s.PS, s.Record = h.VMID, h.TTB, h.T0SZ, h.SL0, h.TG, h.PS, h.Record
	case smmutable.ConfigBypass:
		s = *h
		s.Valid, s.Config = true, smmutable.ConfigS2
	}
	return s
}

// Config returns the configuration.
func (u *Unit) Config() Config { return u.cfg }

// QueueDepth returns how many commands the head has not passed.
func (u *Unit) QueueDepth() int { return u.q.Depth() }
