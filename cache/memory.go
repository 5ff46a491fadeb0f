package cache

import (
	"math/bits"

	"dmapath/sim"
)

// Memory is the contents of simulated physical memory that somebody looks at: page tables, device tables, queues and
// descriptors. Only frames that were written exist; everything else reads as zero. It has no timing: the
// Hierarchy times accesses, Memory says what they return.
type Memory struct {
	frames map[uint64]*[512]uint64
	last   *[512]uint64 // most recently used frame
	lastNo uint64
	// watched are the lines that processes wait for, with who waits; clock is one of those processes.
	watched map[uint64]*sim.Signal
	waiting int
	granule uint // log2 of the bytes of a watched line
	clock   *sim.Proc
}

// NewMemory returns an all-zero memory.
func NewMemory() *Memory {
	return &Memory{frames: map[uint64]*[512]uint64{}, lastNo: ^uint64(0), granule: 6}
}

// WatchLines makes WaitWrite wait for lines of n bytes, a power of two: those that caches take from each other at once. Without it they have 64.
func (m *Memory) WatchLines(n int) { m.granule = uint(bits.Len(uint(n)) - 1) }

func (m *Memory) frame(pa uint64) *[512]uint64 {
	if n := pa >> 12; n != m.lastNo {
		m.last, m.lastNo = m.frames[n], n
	}
	return m.last
}

// Read64 returns the aligned 8-byte word that contains physical address pa.
func (m *Memory) Read64(pa uint64) uint64 {
	f := m.frame(pa)
	if f == nil {
		return 0
	}
	return f[pa>>3&511]
}

// Write64 sets the aligned 8-byte word that contains physical address pa.
func (m *Memory) Write64(pa, v uint64) {
	f := m.frame(pa)
	if f == nil {
		f = new([512]uint64)
		m.frames[pa>>12], m.last = f, f
	}
	f[pa>>3&511] = v
	if m.waiting > 0 {
		m.wake(pa)
	}
}

// WaitWrite parks p until somebody writes a word of the line of pa: a core that has armed its exclusive monitor on the line (ldxr) and
// sleeps (wfe) wakes when the line is taken from it. It does not remember: p has looked at the line before, in the same instant.
func (m *Memory) WaitWrite(p *sim.Proc, pa uint64) {
	s := m.watched[pa>>m.granule]
	if s == nil {
		if m.watched == nil {
			m.watched = map[uint64]*sim.Signal{}
		}
		s = &sim.Signal{Name: "write of a watched line"}
		m.watched[pa>>m.granule] = s
	}
	m.waiting++
	m.clock = p
	s.Wait(p)
}

func (m *Memory) wake(pa uint64) {
	s := m.watched[pa>>m.granule]
	if s == nil || s.Waiters() == 0 {
		return
	}
	m.waiting -= s.Waiters()
	s.Fire(m.clock.Now())
}

// Frames returns how many 4 KiB frames hold data; it is how tests see that a run does not grow.
func (m *Memory) Frames() int { return len(m.frames) }

// Free drops the frame at pa: it reads as zero again.
func (m *Memory) Free(pa uint64) {
	delete(m.frames, pa>>12)
	m.lastNo = ^uint64(0)
}
