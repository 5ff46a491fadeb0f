package vtd

import (
	"errors"

	"dmapath/cache"
	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/sim"
)

// Unit is one DMA remapping unit. It is not safe for concurrent use.
type Unit struct {
	iommu.Core

	cfg Config

	capReg, ecap uint64
	haw          uint64
	levels       [table.MaxLevels + 1]bool
	second       [2]format // legacy, scalable
	first        format

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

	q     queue
	pages iommu.PageQueue
}

// New returns a unit after reset: translation off, caches empty.
func New(cfg Config, eng *sim.Engine, h iommu.Fabric, mem *cache.Memory) (*Unit, error) {
	v := &Unit{cfg: cfg, haw: uint64(cfg.HostWidth)}
	if err := v.Init(&cfg.Config, cfg.Validate(), eng, h, mem); err != nil {
		return nil, err
	}
	if err := v.makeCaches(); err != nil {
		return nil, err
	}
	v.ClosedMiB = interruptMiB
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
		v.second[i].Rules = table.NewRules(table.SecondStage, uint8(cfg.HostWidth), super, cfg.SnoopControl, i == 1)
	}
	v.first.Rules = table.NewRules(table.FirstStage, uint8(cfg.HostWidth), super, cfg.SnoopControl, true)
	v.faults.rec = make([][2]uint64, cfg.FaultRecords)
	v.spaces.init()
	v.initQueue()
	v.initPages()
	return v, nil
}

// Config returns the configuration.
func (v *Unit) Config() Config { return v.cfg }

func (v *Unit) makeCaches() error {
	var errs [3]error
	v.contexts.legacy, errs[0] = iommu.NewEntries[binding]("context", v.cfg.Context)
	v.contexts.scaled, errs[1] = iommu.NewEntries[table.SMContext]("context", v.cfg.Context)
	v.contexts.pasids, errs[2] = iommu.NewEntries[binding]("pasid", v.cfg.PASID)
	return errors.Join(errs[:]...)
}
