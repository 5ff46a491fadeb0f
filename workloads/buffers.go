package workloads

import (
	"fmt"
	"math/rand/v2"

	"dmapath/kernel/dma"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	"dmapath/platform"
)

// Buffers hands out the physical memory that a workload maps: runs of pages at random places of RAM, as the page cache
// and the page allocator scatter them on a machine that has been up for a while. On a larger machine they are
// farther apart, which is what makes lookups by page frame number miss.
type Buffers struct {
	m    *platform.Machine
	r    *rand.Rand
	peer *mm.Range // memory of another device; nil for RAM
}

// NewBuffers draws from r, a stream of its own.
func NewBuffers(m *platform.Machine, r *rand.Rand) *Buffers { return &Buffers{m: m, r: r} }

// In lets b hand out memory of another device from now on; nil is RAM again.
func (b *Buffers) In(bar *mm.Range) { b.peer = bar }

// Next returns a physically contiguous, page-aligned buffer of size bytes somewhere in RAM, or in the other device's memory.
func (b *Buffers) Next(size uint64) dma.Buffer {
	if b.peer == nil {
		return b.m.RandomRAM(b.r, size)
	}
	pages := (size + 4095) / 4096
	buf := dma.Buffer{Phys: b.peer.Start + b.r.Uint64N(b.peer.Size/4096-pages+1)*4096, Size: size}
	if b.peer.Kind == mm.ZoneDevice {
		buf.Page = b.m.PageOf(buf.Phys)
	}
	return buf
}

// Layout says how the memory of one I/O lies in physical memory.
type Layout string

// Layouts.
const (
	Scattered  Layout = "scattered"  // every page of 4 KiB lies somewhere else: anonymous memory after a while
	Contiguous Layout = "contiguous" // one run in one folio: a huge page
	Mixed      Layout = "mixed"      // runs of 1 to 16 pages that are neighbours by chance and belong to no folio
)

// Layouts lists them.
var Layouts = []string{string(Scattered), string(Contiguous), string(Mixed)}

// Runs appends to runs the physically contiguous runs of a buffer of size bytes that lies as l says and begins offset bytes into a
// page, 0 to 4095.
func (b *Buffers) Runs(runs []iommucore.Segment, l Layout, offset, size uint64) []iommucore.Segment {
	for size > 0 {
		n := size // of the run, what lies before the buffer in its first page not counted
		switch l {
		case Scattered:
			n = min(size, 4096-offset)
		case Mixed:
			n = min(size, 4096<<b.r.IntN(5)-offset)
		case Contiguous:
		default:
			panic(fmt.Sprintf("workloads: layout %q", l))
		}
		runs = append(runs, iommucore.Segment{Phys: b.Next(offset+n).Phys + offset, Size: n})
		size -= n
		offset = 0
	}
	return runs
}
