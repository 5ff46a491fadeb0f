package iommu

import (
	"dmapath/cache"
	"dmapath/pcie"
	"dmapath/sim"
)

// Unit is the translation hardware of one root complex, of whatever dialect: what root ports, register windows and reports need of it.
type Unit interface {
	// Translate translates the address in a request of requester rid that reaches the unit at now. It returns the physical address
	// and when it is known, or a *Fault. It looks at the tables as they are when it is called. It is pcie.Translator.
	Translate(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, done sim.Time, err error)
	// Probe returns the translation that the caches hold for a request of rid, whether the tables still say so or not; ok is
	// false if the unit would have to walk. It changes nothing.
	Probe(rid uint16, iova uint64) (pa uint64, ok bool)
	// WriteReg is a register write that left a core at now, which must be the engine's time; ReadReg a register read: its value
	// and when it is back. Together they are cpu.MMIO.
	WriteReg(addr, val uint64, now sim.Time)
	ReadReg(addr uint64, now sim.Time) (val uint64, done sim.Time)
	// TranslatePage answers a translation request of a device (ATS), and Translated judges a request with an address that it got so.
	// With Translate they are pcie.Agent.
	TranslatePage(rid uint16, iova uint64, now sim.Time) (p pcie.Page, done sim.Time, err error)
	Translated(rid uint16, pa uint64, write bool, now sim.Time) (done sim.Time, err error)
	// AttachTLB says that a device keeps translations itself.
	AttachTLB(rid uint16, d DeviceTLB)
	// Drain adds a root port whose requests an invalidation waits for.
	Drain(d Drainer)
	// Statistics returns the live counts, and ResetStats forgets them at the end of a warm-up.
	Statistics() *Stats
	ResetStats()
	// Walkers returns how many walks can be under way at once, WalkerBusy for how long walkers were busy, summed over all of them.
	Walkers() int
	WalkerBusy() sim.Time
	// Curves returns quantities over time since the last ResetStats.
	Curves() *Curves
}

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

// DeviceTLB is a device's own cache of translations; a *pcie.Port with one is one. InvalidateTLB makes it forget the addresses first to
// last of requester rid and returns when the unit, which sends the request at now, has the device's answer.
type DeviceTLB interface {
	InvalidateTLB(rid uint16, first, last uint64, now sim.Time) (done sim.Time)
}

// Cycles are cycles of the IOMMU's clock.
type Cycles int64
