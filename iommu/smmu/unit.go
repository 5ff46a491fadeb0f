package smmu

import (
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

// Config returns the configuration.
func (u *Unit) Config() Config { return u.cfg }

// QueueDepth returns how many commands the unit has not completed.
func (u *Unit) QueueDepth() int { return u.q.Depth() }
