package vtd

import (
	"errors"

	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/sim"
	"dmapath/tlb"
)

// Config describes one VT-d unit: what its capability registers say, and what only this dialect has.
type Config struct {
	iommu.Config

	// Capabilities.
	GuestWidth    int   // MGAW: widest address translated, 39 to 57
	Levels        []int // second-stage depths supported (SAGAW): of 3, 4, 5
	FirstLevel5   bool  // first stage with 5 levels
	Page2M        bool  // superpages, both stages
	Page1G        bool
	Scalable      bool // ECAP.SMTS with first and second stage
	Nested        bool // ECAP.NEST: both stages for one request
	DeviceTLBs    bool // ECAP.DT: devices may translate themselves (ATS)
	Coherent      bool // ECAP.C: table reads snoop the CPU caches
	SnoopControl  bool // ECAP.SC
	PageSelective bool // CAP.PSI
	MaxMask       int  // CAP.MAMV: a page-selective invalidation covers up to 2^MaxMask pages, 0 to 63
	CachingMode   bool // CAP.CM, reported only: entries that are not present are never cached
	WriteBuffer   bool // CAP.RWBF, reported only
	FaultRecords  int  // CAP.NFR, 1 to 256

	// Caches. Page shifts are filled in by the unit.
	Context tlb.Config
	PASID   tlb.Config

	// Queued invalidation: what the unit does one after the other.
	FetchOverhead    iommu.Cycles // added to the read of a cache line of descriptors
	DecodeTime       iommu.Cycles // per descriptor
	ContextInvTime   iommu.Cycles // context and PASID cache
	IOTLBGlobalTime  iommu.Cycles // IOTLB by domain or all: sweep of all sets
	IOTLBPageTime    iommu.Cycles // IOTLB by page and mask
	InterruptInvTime iommu.Cycles // interrupt-entry cache
	DeviceTLBTime    sim.Time     // a device's TLB, where no model of the device answers
	StatusTime       iommu.Cycles // wait descriptor decoded to its status write visible to the CPUs
}

// DefaultConfig returns a unit of the Ice Lake-SP class. Its cache sizes are guesses, and so is how its times are split into stages; their sums
// are in the range of published measurements: 64 to 120 IOTLB entries, 213 ns per miss with one table read from the LLC, 4.5 to 5 walks at
// once (pcie-bench on Haswell, rows PB-hsw-walk and PB-hsw-rate of the published numbers), about 0.7 microseconds for an invalidation
// as the CPU sees it (rIOMMU, recalled).
func DefaultConfig() Config {
	return Config{
		Config: iommu.Config{
			ClockHz: 800_000_000, HostWidth: 46,
			IOTLB:   tlb.Config{Entries: 128, Ways: 4},
			Paging:  [iommu.MaxLevels + 1]tlb.Config{2: {Entries: 32, Ways: 4}, 3: {Entries: 16, Ways: 4}, 4: {Entries: 8}, 5: {Entries: 4}},
			Walkers: 5, LookupTime: 2, WalkStart: 60, PTEOverhead: 36, WalkEnd: 16,
			RegWrite: 60 * sim.Nanosecond, RegRead: 200 * sim.Nanosecond, DrainTime: 128,
		},
		GuestWidth: 57, Levels: []int{4, 5}, FirstLevel5: true, Page2M: true, Page1G: true,
		Scalable: true, Coherent: true, SnoopControl: true, PageSelective: true, MaxMask: 18, FaultRecords: 8,
		Context:       tlb.Config{Entries: 64, Ways: 4},
		PASID:         tlb.Config{Entries: 64, Ways: 4},
		FetchOverhead: 24, DecodeTime: 8, ContextInvTime: 16, IOTLBGlobalTime: 128, IOTLBPageTime: 24, InterruptInvTime: 16,
		DeviceTLBTime: 800 * sim.Nanosecond, StatusTime: 32,
	}
}

// Validate returns every problem of c at once, nil if there is none.
func (c *Config) Validate() error {
	errs := []error{c.Config.Validate(), iommu.Within("guest_width", c.GuestWidth, 39, 57)}
	if len(c.Levels) == 0 {
		errs = append(errs, iommu.Bad("levels", c.Levels, "at least one of 3, 4, 5"))
	}
	for _, l := range c.Levels {
		errs = append(errs, iommu.Within("levels", l, 3, 5))
	}
	if c.Nested && !c.Scalable {
		errs = append(errs, iommu.Bad("nested", c.Nested, "false without scalable"))
	}
	if c.Page1G && !c.Page2M {
		errs = append(errs, iommu.Bad("page_1g", c.Page1G, "false without page_2m"))
	}
	return errors.Join(append(errs, iommu.Within("max_mask", c.MaxMask, 0, 63), iommu.Within("fault_records", c.FaultRecords, 1, 256),
		iommu.ValidCycles("fetch_overhead", c.FetchOverhead), iommu.ValidCycles("decode_time", c.DecodeTime),
		iommu.ValidCycles("context_inv_time", c.ContextInvTime), iommu.ValidCycles("iotlb_global_time", c.IOTLBGlobalTime),
		iommu.ValidCycles("iotlb_page_time", c.IOTLBPageTime), iommu.ValidCycles("interrupt_inv_time", c.InterruptInvTime),
		iommu.ValidCycles("status_time", c.StatusTime), iommu.ValidTime("device_tlb_time", c.DeviceTLBTime))...)
}

// capabilities returns the CAP and ECAP registers.
func (c *Config) capabilities() (capReg, ecap uint64) {
	bit := func(on bool, v uint64) uint64 {
		if on {
			return v
		}
		return 0
	}
	capReg = uint64(c.GuestWidth-1)<<capMGAW | table.RegFRCD/16<<capFRO | uint64(c.FaultRecords-1)<<capNFR | uint64(c.MaxMask)<<capMAMV |
		capDWD | capDRD | bit(c.CachingMode, capCM) | bit(c.WriteBuffer, capRWBF) | bit(c.PageSelective, capPSI) |
		bit(c.Page2M, 1<<capSLLPS) | bit(c.Page1G, 2<<capSLLPS) | bit(c.Page1G, capFS1GP) | bit(c.FirstLevel5, capFS5LP)
	for _, l := range c.Levels {
		capReg |= 1 << (capSAGAW + l - 2)
	}
	ecap = ecapQI | ecapPT | table.RegIVA/16<<ecapIRO | bit(c.Coherent, ecapC) | bit(c.SnoopControl, ecapSC) |
		bit(c.Scalable, ecapSMTS|ecapSSTS|ecapFSTS|ecapPASD|19<<ecapPSS)
	ecap |= bit(c.Nested, ecapNEST) | bit(c.DeviceTLBs, ecapDT|ecapPRS)
	return capReg, ecap
}
