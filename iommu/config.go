package iommu

import (
	"errors"
	"fmt"

	"dmapath/sim"
	"dmapath/tlb"
)

// Cycles are cycles of the IOMMU's clock.
type Cycles int64

// Config describes one VT-d unit: what its capability registers say, the sizes of its caches, and how long it takes. None of the
// times is in a datasheet; platform presets say where each value is from.
type Config struct {
	RegBase uint64 // address of the register window as ReadReg and WriteReg are given it
	ClockHz int64  // clock of the unit

	// Capabilities.
	HostWidth     int   // bits of physical address, 36 to 52
	GuestWidth    int   // MGAW: widest address translated, 39 to 57
	Levels        []int // second-stage depths supported (SAGAW): of 3, 4, 5
	FirstLevel5   bool  // first stage with 5 levels
	Page2M        bool  // superpages, both stages
	Page1G        bool
	Scalable      bool // ECAP.SMTS with first and second stage
	Coherent      bool // ECAP.C: table reads snoop the CPU caches
	SnoopControl  bool // ECAP.SC
	PageSelective bool // CAP.PSI
	MaxMask       int  // CAP.MAMV: a page-selective invalidation covers up to 2^MaxMask pages, 0 to 63
	CachingMode   bool // CAP.CM, reported only: entries that are not present are never cached
	WriteBuffer   bool // CAP.RWBF, reported only
	FaultRecords  int  // CAP.NFR, 1 to 256

	// Caches. Page shifts are filled in by the unit.
	IOTLB   tlb.Config
	Context tlb.Config
	PASID   tlb.Config
	// Paging holds the paging-structure caches: Paging[l] keeps entries of level l, which say where the level l-1 table is, for l =
	// 2 to 5. Entries 0 means none.
	Paging [6]tlb.Config

	// Translation.
	Walkers     int    // walks under way at once, 1 to 64
	LookupTime  Cycles // context cache and IOTLB, pipelined: one request per cycle, this long
	WalkStart   Cycles // miss to the first table read, paging-structure caches included
	PTEOverhead Cycles // added to every table read for the way to the memory system and back
	WalkEnd     Cycles // last table read to the answer, filling the IOTLB included

	// Registers.
	RegWrite sim.Time // a register write that left a core until the unit has it
	RegRead  sim.Time // a register read, there and back

	// Queued invalidation: what the unit does one after the other.
	FetchOverhead    Cycles // added to the read of a cache line of descriptors
	DecodeTime       Cycles // per descriptor
	ContextInvTime   Cycles // context and PASID cache
	IOTLBGlobalTime  Cycles // IOTLB by domain or all: sweep of all sets
	IOTLBPageTime    Cycles // IOTLB by page and mask
	InterruptInvTime Cycles // interrupt-entry cache
	DrainTime        Cycles // least time to make sure that no request with an old translation is in flight
	DeviceTLBTime    sim.Time
	StatusTime       Cycles // wait descriptor decoded to its status write visible to the CPUs
}

// DefaultConfig returns a unit of the Ice Lake-SP class. Its cache sizes are guesses, and so is how its times are split into stages; their sums
// are in the range of published measurements: 64 to 120 IOTLB entries, 213 ns per miss with one table read from the LLC, 4.5 to 5 walks at
// once (pcie-bench on Haswell, rows PB-hsw-walk and PB-hsw-rate of the published numbers), about 0.7 microseconds for an invalidation
// as the CPU sees it (rIOMMU, recalled).
func DefaultConfig() Config {
	return Config{
		ClockHz: 800_000_000, HostWidth: 46, GuestWidth: 57, Levels: []int{4, 5}, FirstLevel5: true, Page2M: true, Page1G: true,
		Scalable: true, Coherent: true, SnoopControl: true, PageSelective: true, MaxMask: 18, FaultRecords: 8,
		IOTLB:   tlb.Config{Entries: 128, Ways: 4},
		Context: tlb.Config{Entries: 64, Ways: 4},
		PASID:   tlb.Config{Entries: 64, Ways: 4},
		Paging:  [6]tlb.Config{2: {Entries: 32, Ways: 4}, 3: {Entries: 16, Ways: 4}, 4: {Entries: 8}, 5: {Entries: 4}},
		Walkers: 5, LookupTime: 2, WalkStart: 60, PTEOverhead: 36, WalkEnd: 16,
		RegWrite: 60 * sim.Nanosecond, RegRead: 200 * sim.Nanosecond,
		FetchOverhead: 24, DecodeTime: 8, ContextInvTime: 16, IOTLBGlobalTime: 128, IOTLBPageTime: 24, InterruptInvTime: 16,
		DrainTime: 128, DeviceTLBTime: 800 * sim.Nanosecond, StatusTime: 32,
	}
}

// Validate returns every problem of c at once, nil if there is none.
func (c *Config) Validate() error {
	var errs []error
	bad := func(field string, v any, allowed string) {
		errs = append(errs, fmt.Errorf("iommu: %s is %v, allowed are %s", field, v, allowed))
	}
	within := func(field string, v, lo, hi int) {
		if v < lo || v > hi {
			bad(field, v, fmt.Sprintf("%d to %d", lo, hi))
		}
	}
	if _, err := sim.NewClock(c.ClockHz); err != nil {
		errs = append(errs, fmt.Errorf("iommu: clock_hz: %w", err))
	}
	within("host_width", c.HostWidth, 36, 52)
	within("guest_width", c.GuestWidth, 39, 57)
	if len(c.Levels) == 0 {
		bad("levels", c.Levels, "at least one of 3, 4, 5")
	}
	for _, l := range c.Levels {
		within("levels", l, 3, 5)
	}
	if c.Page1G && !c.Page2M {
		bad("page_1g", c.Page1G, "false without page_2m")
	}
	within("max_mask", c.MaxMask, 0, 63)
	within("fault_records", c.FaultRecords, 1, 256)
	within("walkers", c.Walkers, 1, 64)
	for _, t := range []struct {
		name string
		v    Cycles
	}{{"lookup_time", c.LookupTime}, {"walk_start", c.WalkStart}, {"pte_overhead", c.PTEOverhead}, {"walk_end", c.WalkEnd}, {"fetch_overhead", c.FetchOverhead},
		{"decode_time", c.DecodeTime}, {"context_inv_time", c.ContextInvTime}, {"iotlb_global_time", c.IOTLBGlobalTime}, {"iotlb_page_time", c.IOTLBPageTime},
		{"interrupt_inv_time", c.InterruptInvTime}, {"drain_time", c.DrainTime}, {"status_time", c.StatusTime}} {
		within(t.name, int(t.v), 0, 1_000_000)
	}
	for _, t := range []struct {
		name string
		v    sim.Time
	}{{"reg_write", c.RegWrite}, {"reg_read", c.RegRead}, {"device_tlb_time", c.DeviceTLBTime}} {
		if t.v < 0 || t.v > sim.Millisecond {
			bad(t.name, t.v, "0 to 1 ms")
		}
	}
	return errors.Join(errs...)
}

// capabilities returns the CAP and ECAP registers.
func (c *Config) capabilities() (capReg, ecap uint64) {
	bit := func(on bool, v uint64) uint64 {
		if on {
			return v
		}
		return 0
	}
	capReg = uint64(c.GuestWidth-1)<<capMGAW | RegFRCD/16<<capFRO | uint64(c.FaultRecords-1)<<capNFR | uint64(c.MaxMask)<<capMAMV |
		capDWD | capDRD | bit(c.CachingMode, capCM) | bit(c.WriteBuffer, capRWBF) | bit(c.PageSelective, capPSI) |
		bit(c.Page2M, 1<<capSLLPS) | bit(c.Page1G, 2<<capSLLPS) | bit(c.Page1G, capFS1GP) | bit(c.FirstLevel5, capFS5LP)
	for _, l := range c.Levels {
		capReg |= 1 << (capSAGAW + l - 2)
	}
	ecap = ecapQI | ecapPT | RegIVA/16<<ecapIRO | bit(c.Coherent, ecapC) | bit(c.SnoopControl, ecapSC) |
		bit(c.Scalable, ecapSMTS|ecapSSTS|ecapFSTS|ecapPASD|19<<ecapPSS)
	return capReg, ecap
}
