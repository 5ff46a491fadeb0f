package iommu

import (
	"errors"
	"fmt"

	"dmapath/sim"
	"dmapath/tlb"
)

// Config is what units of all dialects have: sizes of the caches, and how long things take. None of the times is in a
// datasheet; platform presets say where each value is from.
type Config struct {
	RegBase   uint64 // address of the register window as ReadReg and WriteReg are given it
	ClockHz   int64  // clock of the unit
	HostWidth int    // bits of physical address, 36 to 52

	// Caches. Page shifts are filled in by the unit.
	IOTLB tlb.Config
	// Paging holds the paging-structure caches: Paging[l] keeps entries of level l, which say where the next table is, for l = 2 to
	// 6. Entries 0 means none.
	Paging [MaxLevels + 1]tlb.Config

	// Translation.
	Walkers     int    // walks under way at once, 1 to 64
	LookupTime  Cycles // device-entry cache and IOTLB, pipelined: one request per cycle, this long
	WalkStart   Cycles // miss to the first table read, paging-structure caches included
	PTEOverhead Cycles // added to every table read for the way to the memory system and back
	WalkEnd     Cycles // last table read to the answer, filling the IOTLB included

	// Registers.
	RegWrite sim.Time // a register write that left a core until the unit has it
	RegRead  sim.Time // a register read, there and back

	DrainTime Cycles // least time to make sure that no request with an old translation is in flight
}

// Validate returns every problem of c at once, nil if there is none.
func (c *Config) Validate() error {
	var errs []error
	if _, err := sim.NewClock(c.ClockHz); err != nil {
		errs = append(errs, fmt.Errorf("iommu: clock_hz: %w", err))
	}
	errs = append(errs, Within("host_width", c.HostWidth, 36, 52), Within("walkers", c.Walkers, 1, 64),
		ValidCycles("lookup_time", c.LookupTime), ValidCycles("walk_start", c.WalkStart), ValidCycles("pte_overhead", c.PTEOverhead),
		ValidCycles("walk_end", c.WalkEnd), ValidCycles("drain_time", c.DrainTime), ValidTime("reg_write", c.RegWrite), ValidTime("reg_read", c.RegRead))
	return errors.Join(errs...)
}

// Within reports a number outside of lo to hi.
func Within(field string, v, lo, hi int) error {
	if v < lo || v > hi {
		return Bad(field, v, fmt.Sprintf("%d to %d", lo, hi))
	}
	return nil
}

// Bad says that field has a value that is not allowed.
func Bad(field string, v any, allowed string) error {
	return fmt.Errorf("iommu: %s is %v, allowed are %s", field, v, allowed)
}

// ValidCycles reports a number of cycles outside of 0 to a million.
func ValidCycles(field string, n Cycles) error { return Within(field, int(n), 0, 1_000_000) }

// ValidTime reports a time outside of 0 to a millisecond.
func ValidTime(field string, v sim.Time) error {
	if v < 0 || v > sim.Millisecond {
		return Bad(field, v, "0 to 1 ms")
	}
	return nil
}
