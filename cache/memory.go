package cache

// Memory is the contents of simulated physical memory that somebody looks at: page tables, device tables, queues and
// descriptors. Only frames that were written exist; everything else reads as zero. It has no timing: the
// Hierarchy times accesses, Memory says what they return.
type Memory struct {
	frames map[uint64]*[512]uint64
	last   *[512]uint64 // most recently used frame
	lastNo uint64
}

// NewMemory returns an all-zero memory.
func NewMemory() *Memory { return &Memory{frames: map[uint64]*[512]uint64{}, lastNo: ^uint64(0)} }

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
}

// Frames returns how many 4 KiB frames hold data; it is how tests see that a run does not grow.
func (m *Memory) Frames() int { return len(m.frames) }

// Free drops the frame at pa: it reads as zero again.
func (m *Memory) Free(pa uint64) {
	delete(m.frames, pa>>12)
	m.lastNo = ^uint64(0)
}
