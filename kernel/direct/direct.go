package direct

import (
	"errors"
	"fmt"

	"dmapath/kernel"
)

// Direct is dma-direct of one kernel.
type Direct struct {
	Env  *kernel.Env
	Pool Pool
	// ranges holds, per device with a dma_range_map, where its entries lie.
	ranges map[*kernel.Device]uint64
}

// Pool is where io_tlb_default_mem's buffers lie: physical addresses [Start, End). The zero Pool is no swiotlb at all
// (dev->dma_io_tlb_mem is nil).
type Pool struct {
	Start, End uint64
	Force      bool // swiotlb=force: every mapping bounces
}

// DefaultPool is the pool a 64-bit kernel allocates when there is memory above 4 GiB: 64 MiB at the top of the RAM
// below 4 GiB, which ends at lowTop.
func DefaultPool(lowTop uint64) Pool { return Pool{Start: lowTop - 64<<20, End: lowTop} }

// New returns dma-direct for the kernel e.
func New(e *kernel.Env, pool Pool) (*Direct, error) {
	if pool.End < pool.Start {
		return nil, fmt.Errorf("direct: swiotlb pool ends at %#x, before its start %#x", pool.End, pool.Start)
	}
	return &Direct{Env: e, Pool: pool, ranges: map[*kernel.Device]uint64{}}, nil
}

// Reasons of an Error.
var (
	ErrNotCapable = errors.New("device cannot reach the buffer")
	ErrBounce     = errors.New("buffer would bounce through swiotlb, which is not modelled")
	ErrNoRange    = errors.New("no entry of dma_range_map contains the address")
	ErrForced     = errors.New("MMIO cannot bounce, and bouncing is forced")
)

// Error is a failed mapping; the kernel returns DMA_MAPPING_ERROR.
type Error struct {
	Device     string
	Phys, Size uint64
	Limit      uint64 // highest bus address that the device reaches
	Reason     error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: mapping %#x bytes at %#x (device reaches up to %#x): %v", e.Device, e.Size, e.Phys, e.Limit, e.Reason)
}

func (e *Error) Unwrap() error { return e.Reason }

func (x *Direct) fail(d *kernel.Device, phys, size uint64, reason error) (uint64, error) {
	return kernel.MappingError, &Error{d.Name, phys, size, Limit(d), reason}
}

// Limit is min_not_zero(*dev->dma_mask, dev->bus_dma_limit).
func Limit(d *kernel.Device) uint64 {
	if d.BusLimit != 0 && d.BusLimit < d.Mask {
		return d.BusLimit
	}
	return d.Mask
}

// Capable is dma_capable: the last byte of [addr, addr+size) is within reach.
func Capable(d *kernel.Device, addr, size uint64) bool {
	end := addr + size - 1
	return end >= addr && end <= Limit(d)
}

// toDMA is phys_to_dma without the encryption bit.
func toDMA(d *kernel.Device, phys uint64) (uint64, bool) {
	if d.Ranges == nil {
		return phys, true
	}
	for _, r := range d.Ranges {
		if phys-r.CPU < r.Size {
			return phys - r.CPU + r.DMA, true
		}
	}
	return kernel.MappingError, false
}

// ToPhys is dma_to_phys.
func ToPhys(d *kernel.Device, addr uint64) uint64 {
	for _, r := range d.Ranges {
		if addr-r.DMA < r.Size {
			return addr - r.DMA + r.CPU
		}
	}
	return addr
}

func (p Pool) contains(phys uint64) bool { return phys >= p.Start && phys < p.End }

func (p Pool) present() bool { return p.End > p.Start }

// rangeMap returns the address of the device's range map, 24 bytes per entry.
func (x *Direct) rangeMap(d *kernel.Device) uint64 {
	va, ok := x.ranges[d]
	if !ok {
		va = x.Env.Slab(24*(len(d.Ranges)+1), 64)
		x.ranges[d] = va
	}
	return va
}
