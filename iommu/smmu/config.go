package smmu

import (
	"errors"

	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/sim"
	"dmapath/tlb"
)

// Config describes one SMMU: what its identification registers say, and what only this dialect has. HostWidth is the output width.
type Config struct {
	iommu.Config

	Coherent   bool // IDR0.COHACC: tables and queues are read through the CPU caches
	Stage1     bool // IDR0.S1P
	Stage2     bool // IDR0.S2P
	MSI        bool // IDR0.MSI: CMD_SYNC can complete by a write to memory
	SEV        bool // IDR0.SEV: ... by an event for CPUs in wfe
	Range      bool // IDR3.RIL: TLB invalidation of ranges
	ATS        bool // IDR0.ATS: devices may translate themselves
	StreamBits int  // IDR1.SIDSIZE, 16 to 32: PCI requester ids need 16
	QueueLog2  int  // IDR1.CMDQS and EVENTQS: log2 of the largest queues, 3 to 19
	Granules   []uint8

	// Caches of decoded configuration, by stream.
	Streams  tlb.Config // stream table entries
	Contexts tlb.Config // context descriptors

	// Commands: what the unit does one after the other.
	FetchOverhead iommu.Cycles // added to the read of a cache line of commands
	DecodeTime    iommu.Cycles // per command
	ConfigInvTime iommu.Cycles // CFGI_*
	PageInvTime   iommu.Cycles // TLBI_* by address or range
	SweepTime     iommu.Cycles // TLBI_* of an ASID, a VMID or all: a sweep of all sets
	ATCTime       sim.Time     // ATC_INV, where no model of the device answers
	Overlap       bool         // commands behind a CMD_SYNC are carried out while it waits
	SyncTime      iommu.Cycles // CMD_SYNC: everything complete to its signal
	MessageTime   sim.Time     // a signal that is a message: on its way until the CPUs can see it; the unit goes on meanwhile
}

// DefaultConfig returns an SMMU of the MMU-600 class: 256 entries in the configuration cache and in the walk cache of each level (as
// configured in one product, row MMU600-WC of the published numbers); all else is a guess. The times together make a TLB
// invalidation with its CMD_SYNC of about 250 ns from PROD to the signal on an idle queue (rows SMMU-sync-idle-msi and -sev: 280
// and 190 ns on Hi1620).
func DefaultConfig() Config {
	return Config{
		Config: iommu.Config{
			ClockHz: 1_000_000_000, HostWidth: 48,
			IOTLB:   tlb.Config{Entries: 512, Ways: 4},
			Paging:  [iommu.MaxLevels + 1]tlb.Config{2: {Entries: 256, Ways: 4}, 3: {Entries: 256, Ways: 4}, 4: {Entries: 256, Ways: 4}},
			Walkers: 16, LookupTime: 2, WalkStart: 20, PTEOverhead: 30, WalkEnd: 8,
			RegWrite: 40 * sim.Nanosecond, RegRead: 120 * sim.Nanosecond, DrainTime: 40,
		},
		Coherent: true, Stage1: true, Stage2: true, MSI: true, SEV: true, Range: true, StreamBits: 16, QueueLog2: 16,
		Granules: []uint8{smmutable.Granule4K, smmutable.Granule16K, smmutable.Granule64K},
		Streams:  tlb.Config{Entries: 256, Ways: 4}, Contexts: tlb.Config{Entries: 256, Ways: 4},
		FetchOverhead: 20, DecodeTime: 4, ConfigInvTime: 10, PageInvTime: 8, SweepTime: 40, ATCTime: 800 * sim.Nanosecond, SyncTime: 10,
	}
}

// Validate returns every problem of c at once, nil if there is none.
func (c *Config) Validate() error {
	errs := []error{c.Config.Validate(), iommu.Within("stream_bits", c.StreamBits, 16, 32), iommu.Within("queue_log2", c.QueueLog2, 3, 19),
		iommu.ValidCycles("fetch_overhead", c.FetchOverhead), iommu.ValidCycles("decode_time", c.DecodeTime),
		iommu.ValidCycles("config_inv_time", c.ConfigInvTime), iommu.ValidCycles("page_inv_time", c.PageInvTime),
		iommu.ValidCycles("sweep_time", c.SweepTime), iommu.ValidCycles("sync_time", c.SyncTime), iommu.ValidTime("atc_time", c.ATCTime), iommu.ValidTime("message_time", c.MessageTime)}
	if !c.Stage1 && !c.Stage2 {
		errs = append(errs, iommu.Bad("stage1 and stage2", "off", "one of them or both"))
	}
	if len(c.Granules) == 0 {
		errs = append(errs, iommu.Bad("granules", c.Granules, "at least one of 12, 14, 16"))
	}
	for _, g := range c.Granules {
		if g != smmutable.Granule4K && g != smmutable.Granule16K && g != smmutable.Granule64K {
			errs = append(errs, iommu.Bad("granules", g, "12, 14, 16"))
		}
	}
	return errors.Join(errs...)
}

// granule returns the bit of IDR5 for a granule.
func granule(g uint8) uint32 {
	switch g {
	case smmutable.Granule16K:
		return smmutable.IDR5G16K
	case smmutable.Granule64K:
		return smmutable.IDR5G64K
	}
	return smmutable.IDR5G4K
}

// identification returns IDR0, IDR1, IDR3 and IDR5.
func (c *Config) identification() (idr0, idr1, idr3, idr5 uint32) {
	on := func(b bool, v uint32) uint32 {
		if b {
			return v
		}
		return 0
	}
	idr0 = smmutable.IDR0TTFAArch64 | smmutable.IDR0ASID16 | smmutable.IDR0VMID16 | smmutable.IDR0CD2L | smmutable.IDR0STLevel2 |
		on(c.Stage1, smmutable.IDR0S1P) | on(c.Stage2, smmutable.IDR0S2P) | on(c.Coherent, smmutable.IDR0Coherent) |
		on(c.MSI, smmutable.IDR0MSI) | on(c.SEV, smmutable.IDR0SEV) | on(c.ATS, smmutable.IDR0ATS)
	idr1 = uint32(c.StreamBits)<<smmutable.IDR1SIDBits | uint32(c.QueueLog2)<<smmutable.IDR1EventLog2 | uint32(c.QueueLog2)<<smmutable.IDR1CmdqLog2
	idr5 = uint32(smmutable.OutputCode(uint8(c.HostWidth)))
	for _, g := range c.Granules {
		idr5 |= granule(g)
	}
	return idr0, idr1, on(c.Range, smmutable.IDR3RIL), idr5
}
