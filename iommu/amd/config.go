package amd

import (
	"errors"

	"dmapath/iommu"
	"dmapath/sim"
	"dmapath/tlb"
)

// Config describes one unit: what all dialects have, and what only this one has. None of it is in a datasheet.
type Config struct {
	iommu.Config

	Levels   int        // deepest page table (HATS), 4 to 6
	Coherent bool       // for the record: what software does about flushing is the driver's
	Devices  tlb.Config // cached device table entries

	// Commands: what the unit does one after the other.
	FetchOverhead iommu.Cycles // added to the read of a cache line of commands
	DecodeTime    iommu.Cycles // per command
	DeviceInvTime iommu.Cycles // INVALIDATE_DEVTAB_ENTRY
	PageInvTime   iommu.Cycles // INVALIDATE_IOMMU_PAGES of a range that is probed page by page
	SweepTime     iommu.Cycles // ... of every address, and INVALIDATE_IOMMU_ALL: a sweep of all sets
	InterruptTime iommu.Cycles // INVALIDATE_INTERRUPT_TABLE
	DeviceTLBTime sim.Time     // INVALIDATE_IOTLB_PAGES, where no model of the device answers
	StoreTime     iommu.Cycles // everything complete to the store of COMPLETION_WAIT visible to the CPUs
}

// DefaultConfig returns a unit with caches and times like those of vtd.DefaultConfig, for want of any published figure.
func DefaultConfig() Config {
	return Config{
		Config: iommu.Config{
			ClockHz: 800_000_000, HostWidth: 52,
			IOTLB:   tlb.Config{Entries: 128, Ways: 4},
			Paging:  [iommu.MaxLevels + 1]tlb.Config{2: {Entries: 32, Ways: 4}, 3: {Entries: 16, Ways: 4}, 4: {Entries: 8}, 5: {Entries: 4}, 6: {Entries: 4}},
			Walkers: 5, LookupTime: 2, WalkStart: 60, PTEOverhead: 36, WalkEnd: 16,
			RegWrite: 60 * sim.Nanosecond, RegRead: 200 * sim.Nanosecond, DrainTime: 128,
		},
		Levels: 6, Coherent: true, Devices: tlb.Config{Entries: 64, Ways: 4},
		FetchOverhead: 24, DecodeTime: 8, DeviceInvTime: 16, PageInvTime: 24, SweepTime: 128, InterruptTime: 16,
		DeviceTLBTime: 800 * sim.Nanosecond, StoreTime: 32,
	}
}

// Validate returns every problem of c at once, nil if there is none.
func (c *Config) Validate() error {
	return errors.Join(c.Config.Validate(), iommu.Within("levels", c.Levels, 4, 6),
		iommu.ValidCycles("fetch_overhead", c.FetchOverhead), iommu.ValidCycles("decode_time", c.DecodeTime),
		iommu.ValidCycles("device_inv_time", c.DeviceInvTime), iommu.ValidCycles("page_inv_time", c.PageInvTime),
		iommu.ValidCycles("sweep_time", c.SweepTime), iommu.ValidCycles("interrupt_time", c.InterruptTime),
		iommu.ValidCycles("store_time", c.StoreTime), iommu.ValidTime("device_tlb_time", c.DeviceTLBTime))
}
