// Package rig is what the tests of units share: an engine, memory of constant latency, frames for tables, and ways to let time pass.
// It takes no part in a simulation.
package rig

import (
	"testing"

	"dmapath/cache"
	"dmapath/sim"
)

// Steady is a memory system of constant latency that counts what it is asked for.
type Steady struct {
	Read, Write   sim.Time
	Reads, Writes int
}

// DeviceRead takes Read.
func (f *Steady) DeviceRead(pa uint64, n int, now sim.Time) (sim.Time, cache.Level) {
	f.Reads++
	return now + f.Read, cache.LLC
}

// DeviceWrite takes Write.
func (f *Steady) DeviceWrite(pa uint64, n int, now sim.Time) sim.Time {
	f.Writes++
	return now + f.Write
}

// Rig is a machine without CPUs.
type Rig struct {
	T   testing.TB
	Eng *sim.Engine
	Mem *cache.Memory
	Fab *Steady

	next uint64 // free frame
}

// FirstFrame is where Frame starts; what lies below is free for a test's own structures.
const FirstFrame = 0x100000

// New returns a rig whose memory takes 100 ns to read and 50 ns to write.
func New(t testing.TB) *Rig {
	return &Rig{T: t, Eng: sim.NewEngine(), Mem: cache.NewMemory(), Fab: &Steady{Read: 100 * sim.Nanosecond, Write: 50 * sim.Nanosecond}, next: FirstFrame}
}

// Frame returns the address of a zeroed frame of 4 KiB.
func (r *Rig) Frame() uint64 { return r.Frames(4096) }

// Frames returns the address of zeroed memory of a power of two of bytes from 4 KiB on, aligned to its size.
func (r *Rig) Frames(bytes uint64) uint64 {
	at := (r.next + bytes - 1) &^ (bytes - 1)
	r.next = at + bytes
	return at
}

// Run lets the engine run until nothing is left to do.
func (r *Rig) Run() {
	r.T.Helper()
	if err := r.Eng.Run(sim.Never); err != nil {
		r.T.Fatal(err)
	}
}

// RunTo lets the engine run up to t inclusive.
func (r *Rig) RunTo(t sim.Time) {
	r.T.Helper()
	if err := r.Eng.Run(t); err != nil {
		r.T.Fatal(err)
	}
	if r.Eng.Now() < t { // nothing was left to do
		h := r.Eng.Register("wait", func(uint64) {})
		r.Eng.At(t, h, 0)
		r.Run()
	}
}

// Settle lets all walks end, so that what they fetched counts as cached.
func (r *Rig) Settle() { r.RunTo(r.Eng.Now() + 100*sim.Microsecond) }

// Port is a root port with requests in flight: those accepted from Since on are over at Until.
type Port struct{ Since, Until sim.Time }

// Drained is iommu.Drainer's.
func (p Port) Drained(t sim.Time) sim.Time {
	if p.Since <= t {
		return p.Until
	}
	return 0
}
