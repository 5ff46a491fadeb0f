package amd

import (
	"dmapath/cache"
	"dmapath/iommu"
	"dmapath/iommu/amdtable"
	"dmapath/sim"
)

// Unit is one AMD IOMMU. It is not safe for concurrent use.
type Unit struct {
	iommu.Core
	cfg     Config
	devices iommu.Entries[device]

	// Registers.
	control  uint64
	status   uint64
	devTable uint64
	cmdBase  uint64

	q    iommu.Queue
	log  events
	wait sim.Time // StoreTime
}

// New returns a unit after reset: translation off, caches empty.
func New(cfg Config, eng *sim.Engine, h iommu.Fabric, mem *cache.Memory) (*Unit, error) {
	u := &Unit{cfg: cfg}
	if err := u.Init(&cfg.Config, cfg.Validate(), eng, h, mem); err != nil {
		return nil, err
	}
	var err error
	if u.devices, err = iommu.NewEntries[device]("devices", cfg.Devices); err != nil {
		return nil, err
	}
	u.q.Init(&u.Core, u, "command buffer")
	u.q.FetchOverhead, u.q.DecodeTime, u.q.Width = u.Span(cfg.FetchOverhead), u.Span(cfg.DecodeTime), amdtable.CommandSize
	u.wait = u.Span(cfg.StoreTime)
	u.setCommands(0)
	u.log.set(0)
	return u, nil
}

// Config returns the configuration.
func (u *Unit) Config() Config { return u.cfg }

// QueueDepth returns how many commands the head has not passed.
func (u *Unit) QueueDepth() int { return u.q.Depth() }
