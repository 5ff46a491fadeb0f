package mapops

import (
	"errors"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/scatterlist"
)

// Op is a function of struct dma_map_ops.
type Op uint8

// Functions that the streaming calls use. 7.3 has MapPhys and UnmapPhys where 6.12 has MapPage and UnmapPage, and no resources.
const (
	MapPage Op = iota
	UnmapPage
	MapSG
	UnmapSG
	MapResource // 6.12 only
	numOps
)

// Offsets of the pointers in the table: 6.12 as compiled; in 7.3 map_phys and unmap_phys are at the same places.
var offsets = [numOps]uint64{0x30, 0x38, 0x40, 0x48, 0x50}

// Errors of providers. The kernel returns DMA_MAPPING_ERROR.
var (
	ErrNoMapPhys = errors.New("the provider has no map_phys")
	ErrNullCall  = errors.New("the provider has no map_page, and the kernel calls it all the same")
	ErrMMIO      = errors.New("the provider does not map device memory")
	ErrFull      = errors.New("the aperture is full")
	ErrNoGrant   = errors.New("no grant references are left")
	ErrTooHigh   = errors.New("the aperture's table cannot hold the address")
)

// Provider is what is behind the table. Phys names the memory in both versions; on 6.12 the function is passed its struct page, and
// page emits the conversion that the provider begins with.
type Provider interface {
	// Map is map_page or map_phys, called through the pointer that target produced.
	Map(t *cpu.Thread, target cpu.Val, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	Unmap(t *cpu.Thread, target cpu.Val, d *kernel.Device, addr, size uint64, dir kernel.Direction, attrs kernel.Attrs) error
	MapSG(t *cpu.Thread, target cpu.Val, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error
	UnmapSG(t *cpu.Thread, target cpu.Val, d *kernel.Device, l *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error
}

// Table is a struct dma_map_ops.
type Table struct {
	Provider
	VA      uint64
	Missing [numOps]bool // pointers that are null
}

// New returns a table of provider p with all functions that it has.
func New(e *kernel.Env, p Provider) *Table {
	return &Table{Provider: p, VA: e.Data(192), Missing: [numOps]bool{MapResource: true}}
}

// Load emits the load of op's pointer and returns it; ops produced the table's address.
func (x *Table) Load(t *cpu.Thread, op Op, ops cpu.Val) cpu.Val { return t.Load(x.VA+offsets[op], ops) }

// pages returns how many pages of 4 KiB a buffer touches (iommu_num_pages).
func pages(addr, size uint64) int { return int((addr&4095 + size + 4095) >> 12) }
