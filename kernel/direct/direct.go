package direct

import (
	"errors"
	"fmt"

	"dmapath/kernel"
	"dmapath/kernel/swiotlb"
)

// Direct is dma-direct of one kernel.
type Direct struct {
	Env *kernel.Env
	Tlb *swiotlb.Mem // where buffers bounce that a device cannot reach
}

// New returns dma-direct for the kernel e with its bounce pools; nil is a kernel without (dev->dma_io_tlb_mem is nil).
func New(e *kernel.Env, pools *swiotlb.Mem) *Direct { return &Direct{Env: e, Tlb: pools} }

// Reasons of an Error.
var (
	ErrNotCapable = errors.New("device cannot reach the buffer")
	ErrNoRange    = errors.New("no entry of dma_range_map contains the address")
	ErrForced     = errors.New("memory that must not bounce, and bouncing is forced")
	ErrPeer       = errors.New("memory of another device cannot bounce")
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
func Limit(d *kernel.Device) uint64 { return d.Limit() }

// Capable is dma_capable: the last byte of [addr, addr+size) is within reach.
func Capable(d *kernel.Device, addr, size uint64) bool { return d.Reaches(addr, size) }

// ToPhys is dma_to_phys.
func ToPhys(d *kernel.Device, addr uint64) uint64 { return d.PhysAddress(addr) }
