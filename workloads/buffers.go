package workloads

import (
	"math/rand/v2"

	"dmapath/kernel/dma"
	"dmapath/platform"
)

// Buffers hands out the physical memory that a workload maps: runs of pages at random places of RAM, as the page cache
// and the page allocator scatter them on a machine that has been up for a while. On a larger machine they are
// farther apart, which is what makes lookups by page frame number miss.
type Buffers struct {
	m *platform.Machine
	r *rand.Rand
}

// NewBuffers draws from r, a stream of its own.
func NewBuffers(m *platform.Machine, r *rand.Rand) *Buffers { return &Buffers{m, r} }

// Next returns a physically contiguous, page-aligned buffer of size bytes somewhere in RAM.
func (b *Buffers) Next(size uint64) dma.Buffer { return b.m.RandomRAM(b.r, size) }
