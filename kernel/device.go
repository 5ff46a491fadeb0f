package kernel

import "fmt"

// Device is the struct device of a DMA master, inside its struct pci_dev, with what hangs off it.
type Device struct {
	Name string // as in dma:* events, 0000:00:01.0
	RID  uint16 // PCI requester ID, bus<<8 | devfn
	VA   uint64 // struct device
	Pdev uint64 // struct pci_dev that contains it
	Mask uint64 // *dev->dma_mask: highest address the device can emit
	// BusLimit is dev->bus_dma_limit: highest address that the bus between device and memory passes; 0 for no limit.
	BusLimit uint64
	// Ranges is dev->dma_range_map; nil when bus addresses are physical addresses.
	Ranges []BusRange
	// IOMMU says that the device's DMA ops are iommu-dma (dev->dma_iommu, DEV_FLAG_DMA_IOMMU).
	IOMMU    bool
	Group    uint64 // struct iommu_group
	DevIOMMU uint64 // struct dev_iommu
	DmaParms uint64 // struct device_dma_parameters
	// Workaround32 is dev->iommu->pci_32bit_workaround: try below 4 GiB first.
	Workaround32 bool
	// NeedSync is the opposite of dev->dma_skip_sync: set for good by the first bounce of any of the device's buffers.
	NeedSync bool
	// MinAlign is dev->dma_parms->min_align_mask: a bounce buffer keeps these bits of the address. NVMe sets 4095, others 0.
	MinAlign uint64
	// NonCoherent says that the device's accesses do not snoop the caches (dev->dma_coherent is off): the kernel maintains them.
	NonCoherent bool
	// Untrusted is pci_dev.untrusted: a port that faces outside. iommu-dma bounces what shares a granule with other data.
	Untrusted bool
	// MaxSeg and SegBoundary are dma_parms->max_segment_size, bytes, and segment_boundary_mask: what one DMA segment of a scatterlist
	// may be. pci_setup_device sets 64 KiB and 4 GiB - 1; drivers change them (NVMe: no limit of the size).
	MaxSeg, SegBoundary uint64
	// P2P is the way to the memory of another device.
	P2P P2P
	// At holds the addresses of the fields that the paths load.
	At DeviceFields

	rangesVA uint64 // of dma_range_map
}

// BusRange is struct bus_dma_region: Size bytes from physical address CPU appear on the bus from DMA on.
type BusRange struct{ CPU, DMA, Size uint64 }

// DeviceFields are the virtual addresses of fields of struct device and of what it points to. The bytes within their
// lines are those of the recordings, in which struct pci_dev starts on a line.
type DeviceFields struct {
	Bus          uint64 // bus
	DmaOps       uint64 // dma_ops
	DmaMask      uint64 // dma_mask, a pointer
	MaskValue    uint64 // what dma_mask points to: pci_dev.dma_mask
	BusDmaLimit  uint64 // bus_dma_limit
	DmaRangeMap  uint64 // dma_range_map
	DmaParms     uint64 // dma_parms, a pointer
	MaxSeg       uint64 // dma_parms->max_segment_size (4 bytes)
	MinAlignMask uint64 // dma_parms->min_align_mask (4 bytes)
	SegBoundary  uint64 // dma_parms->segment_boundary_mask
	IoTlbMem     uint64 // dma_io_tlb_mem
	IommuGroup   uint64 // iommu_group, a pointer
	Default      uint64 // iommu_group->default_domain
	Iommu        uint64 // iommu, a pointer
	Workaround   uint64 // iommu->pci_32bit_workaround (1 byte)
	Flags        uint64 // 6.12: byte with dma_skip_sync and dma_iommu; 7.3 and arm64: flags, 8 bytes
	Untrusted    uint64 // pci_dev.untrusted (1 byte)
}

// offset of struct device in struct pci_dev of the recorded kernels.
const pdevDevice = 208

// NewDevice allocates a device's structures. The slab places a pci_dev of about 2640 bytes at a 64-byte boundary.
func (e *Env) NewDevice(name string, rid uint16, mask uint64) *Device {
	pdev := e.Slab(4096, 64)
	d := &Device{Name: name, RID: rid, Pdev: pdev, VA: pdev + pdevDevice, Mask: mask, Workaround32: true,
		Group: e.Slab(256, 64), MaxSeg: 64 << 10, SegBoundary: 1<<32 - 1}
	va := d.VA
	if e.Version == V7_3 {
		d.DmaParms, d.DevIOMMU = pdev+152, e.Slab(64, 64)
		d.At = DeviceFields{Bus: va + 0x60, DmaOps: va + 0x258, DmaMask: va + 0x260, MaskValue: pdev + 136,
			BusDmaLimit: va + 0x270, DmaRangeMap: va + 0x278, DmaParms: va + 0x280, MaxSeg: d.DmaParms, MinAlignMask: d.DmaParms + 4, SegBoundary: d.DmaParms + 8,
			IoTlbMem: va + 0x2a0, IommuGroup: va + 0x2f0, Default: d.Group + 0xa0, Iommu: va + 0x2f8,
			Workaround: d.DevIOMMU + 60, Flags: va + 0x310, Untrusted: pdev + 2163}
		if e.Arch != X86_64 {
			d.At.shift(8)
			d.At.Untrusted = pdev + 2168
		}
		return d
	}
	d.DmaParms, d.DevIOMMU = pdev+144, e.Slab(160, 64)+32
	d.At = DeviceFields{Bus: va + 0x58, DmaOps: va + 0x240, DmaMask: va + 0x248, MaskValue: pdev + 136,
		BusDmaLimit: va + 0x258, DmaRangeMap: va + 0x260, DmaParms: va + 0x268, MaxSeg: d.DmaParms, MinAlignMask: d.DmaParms + 4, SegBoundary: d.DmaParms + 8,
		IoTlbMem: va + 0x280, IommuGroup: va + 0x2d0, Default: d.Group + 0xa8, Iommu: va + 0x2d8,
		Workaround: d.DevIOMMU + 0x44, Flags: va + 0x2ec, Untrusted: pdev + 2132}
	if e.Arch != X86_64 {
		d.At.shift(16)
		d.At.Flags = va + 0x2f8 // the 8 bytes that end with the flags
		d.At.Workaround -= 32
		d.At.Untrusted = pdev + 2148
	}
	return d
}

// shift moves the fields behind dma_parms by the n bytes that struct device has more there on arm64.
func (f *DeviceFields) shift(n uint64) {
	for _, p := range []*uint64{&f.IoTlbMem, &f.IommuGroup, &f.Iommu, &f.Flags} {
		*p += n
	}
}

func (d *Device) String() string { return fmt.Sprintf("%s (%04x)", d.Name, d.RID) }
