package dma

import (
	"errors"
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/dmadebug"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/kmsan"
	"dmapath/kernel/mapops"
	"dmapath/kernel/mm"
	"dmapath/kernel/scatterlist"
)

// Buffer is memory to be mapped: one physically contiguous piece, or the several pieces of a List.
type Buffer struct {
	Phys uint64 // of the first byte
	Page uint64 // virtual address of the struct page of its first byte; 0 when it has none
	Size uint64 // bytes of all pieces, at least 1
	// Virt is its kernel virtual address where that is not the linear map's: vmalloc memory, a stack with VMAP_STACK. 0: it is.
	Virt uint64
	// List holds the pieces when there are several, and what the driver keeps for them. MapBuffer maps such a buffer.
	List *List
}

// Translated is the DMA backend of a device behind an IOMMU (iommu-dma). On 6.12, where the call passes a struct page,
// the backend emits the conversion itself, as iommu_dma_map_page does; AttrMMIO selects iommu_dma_map_resource there.
type Translated interface {
	Map(t *cpu.Thread, d *kernel.Device, phys, size uint64, dir kernel.Direction, attrs kernel.Attrs) (uint64, error)
	Unmap(t *cpu.Thread, d *kernel.Device, iova, size uint64, dir kernel.Direction, attrs kernel.Attrs)
	// MapSG and UnmapSG map a scatterlist; the DMA segments stand in it.
	MapSG(t *cpu.Thread, d *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs) error
	UnmapSG(t *cpu.Thread, d *kernel.Device, sg *scatterlist.List, dir kernel.Direction, attrs kernel.Attrs)
	// SyncSingle is iommu_dma_sync_single_for_cpu or _for_device, SyncSG the same of a list.
	SyncSingle(t *cpu.Thread, d *kernel.Device, iova, size uint64, dir kernel.Direction, toDevice bool) error
	SyncSG(t *cpu.Thread, d *kernel.Device, sg *scatterlist.List, dir kernel.Direction, toDevice bool) error
	// MergeBoundary is reached by a jump and returns for its caller.
	MergeBoundary(t *cpu.Thread, d *kernel.Device) uint64
	// TryAlloc to Destroy are dma_iova_try_alloc, _link, _sync and _destroy of 7.3. TryAlloc is called for devices without
	// translation too, and declines.
	TryAlloc(t *cpu.Thread, d *kernel.Device, st *iommucore.State, phys, size uint64) bool
	Link(t *cpu.Thread, d *kernel.Device, st *iommucore.State, phys, offset, size uint64, dir kernel.Direction, attrs kernel.Attrs) error
	Sync(t *cpu.Thread, d *kernel.Device, st *iommucore.State, offset, size uint64) error
	Destroy(t *cpu.Thread, d *kernel.Device, st *iommucore.State, mapped uint64, dir kernel.Direction, attrs kernel.Attrs)
}

// Ctx is one device with the backend that its mappings use.
type Ctx struct {
	Env    *kernel.Env
	MM     *mm.MM
	Dev    *kernel.Device
	Direct *direct.Direct
	IOMMU  Translated // used when Dev.IOMMU is set
	// Ops is dev->dma_ops, a provider of dma_map_ops; nil for dma-direct and iommu-dma.
	Ops *mapops.Table
	// Debug and KMSAN are the debug options' state, shared by all devices of a kernel; nil when they are not built in.
	Debug *dmadebug.Debug
	KMSAN *kmsan.Shadow

	// Described is what variants that are described in text (kernel/described) keep with the device, by variant.
	Described map[Variant]any

	singles []*List // per CPU: for variants that map lists when they are given a buffer of one piece

	pool   []pooled       // what premapped variants have mapped, in this order
	poolAt map[uint64]int // by physical address, index into pool
}

// Validate reports everything that keeps the context from working.
func (c *Ctx) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New("dma: "+what))
		}
	}
	need(c.Env != nil, "no kernel")
	need(c.MM != nil, "no memory management")
	if c.Env != nil {
		need(c.Env.Debug.DMAAPI == (c.Debug != nil), "DMA_API_DEBUG is configured and there, or neither")
		need(c.Env.Debug.KMSAN == (c.KMSAN != nil), "KMSAN is configured and there, or neither")
		need(c.Env.Debug.Trace == (c.Env.Tracer != nil), "trace events are on and have a buffer, or neither")
	}
	need(c.Dev != nil, "no device")
	if c.Dev != nil {
		need(c.Dev.Mask != 0, c.Dev.Name+": no DMA mask")
		need(!c.Dev.IOMMU || c.Ops == nil, c.Dev.Name+" has both iommu-dma and DMA operations of its own")
		need(!c.Dev.IOMMU || c.IOMMU != nil, c.Dev.Name+" is behind an IOMMU, but there is no iommu-dma")
		need(c.Dev.IOMMU || c.Ops != nil || c.Direct != nil, c.Dev.Name+" uses dma-direct, which is missing")
	}
	return errors.Join(errs...)
}

// ErrNoPage: a call that takes a struct page got memory without one.
var ErrNoPage = errors.New("memory has no struct page")

// ErrVmalloc: dma_map_single got an address in vmalloc space; the kernel warns once and fails every time.
var ErrVmalloc = errors.New("the buffer lies in vmalloc space")

// ErrMMIOAttr: AttrMMIO was given to a call that takes a struct page.
var ErrMMIOAttr = errors.New("MMIO cannot be mapped by page")

// ErrZoneDevice: with DMA_API_DEBUG, 7.3 refuses pages that are a device's memory.
var ErrZoneDevice = errors.New("the page is a device's memory")

func (c *Ctx) fail(b Buffer, err error) (uint64, error) {
	return kernel.MappingError, fmt.Errorf("%s: mapping %#x bytes at %#x: %w", c.Dev.Name, b.Size, b.Phys, err)
}

// checkDirection is the BUG_ON of every map call.
func checkDirection(dir kernel.Direction) {
	if dir >= kernel.NoDirection {
		panic("dma: direction " + dir.String() + " (kernel BUG)")
	}
}
