package workloads

import "dmapath/sim"

// Unit is one kind of operation as the user of a device sees it (an I/O, a received packet, a super-frame sent) with what all
// mapping calls that it needs cost together, from the first map to the last unmap. Every value is the sum over one operation.
type Unit struct {
	Name   string
	Cycles sim.Series // in the calls
	Instr  sim.Series // executed by the calls
	Calls  sim.Series // how many
	// Around are the cycles of what the driver does around the calls: Result.Setup and Teardown. Zero where single calls are measured.
	Around sim.Series
}

// Cost is what the mapping of one operation has cost so far.
type Cost struct{ Cycles, Instr, Calls, Around int64 }

// Add adds the n calls of s.
func (c *Cost) Add(s *Sample, n int64) {
	c.Cycles += s.Cycles
	c.Instr += s.Instr
	c.Calls += n
}

// Plus adds d to c.
func (c *Cost) Plus(d Cost) {
	c.Cycles += d.Cycles
	c.Instr += d.Instr
	c.Calls += d.Calls
	c.Around += d.Around
}

// Add counts an operation that is complete.
func (u *Unit) Add(c Cost) {
	u.Cycles.Add(c.Cycles)
	u.Instr.Add(c.Instr)
	u.Calls.Add(c.Calls)
	u.Around.Add(c.Around)
}

// Call is a call of the DMA API that a driver makes.
type Call uint8

// Calls, with dma_map_page and dma_map_phys one kind: which of them is the variant's business.
const (
	CallMap      Call = iota // dma_map_page, dma_map_single, dma_map_phys
	CallUnmap                // dma_unmap_page, dma_unmap_single, dma_unmap_phys
	CallMapSG                // dma_map_sgtable
	CallUnmapSG              // dma_unmap_sgtable
	CallAlloc                // dma_iova_try_alloc
	CallLink                 // dma_iova_link
	CallSyncIOVA             // dma_iova_sync
	CallDestroy              // dma_iova_destroy
	CallSync                 // dma_sync_single_for_cpu, _for_device: the inline test at least
	NumCalls
)

func (c Call) String() string {
	return [...]string{"map", "unmap", "map_sgtable", "unmap_sgtable", "iova_try_alloc", "iova_link", "iova_sync", "iova_destroy", "sync"}[c]
}
