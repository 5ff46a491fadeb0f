package advise

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads"
	"dmapath/workloads/mapbench"
	"dmapath/workloads/nic"
)

// Dimension is what a change is about. Changes of different dimensions can be combined.
type Dimension uint8

// Dimensions.
const (
	Protection Dimension = iota // how the device is kept from memory
	Call                        // which call or kernel maps
	Buffers                     // what memory is mapped, and for how long
	numDimensions
)

// Change is one thing to do differently.
type Change struct {
	Name      string // as in tables
	Dimension Dimension
	Needs     string // what must hold, or be done, to switch
	// Resized says that an operation moves another number of bytes than before: costs are compared per byte then.
	Resized bool
	// Replaces says that the buffers are mapped by another call, so that changing the call as well means nothing.
	Replaces bool
	apply    func(u *Setup)
}

// backends are the ways of protection, in the order of tables.
var backends = []struct {
	backend platform.Backend
	name    string
	needs   string
}{
	{platform.IommuStrict, "iommu.strict=1", "kernel command line iommu.strict=1, or DMA in the type file of the device's group in sysfs"},
	{platform.IommuLazy, "iommu.strict=0 (lazy)", "kernel command line iommu.strict=0 (the default of x86), or DMA-FQ in the type file of the device's group in sysfs; the kernel refuses it for a device of an external port"},
	{platform.IommuPassthrough, "iommu.passthrough=1", "kernel command line iommu.passthrough=1 (x86: iommu=pt), or identity in the type file of the device's group in sysfs; no untrusted device, and one whose DMA mask reaches all RAM, or else its buffers bounce"},
	{platform.Direct, "no IOMMU", "the IOMMU off in firmware or on the kernel command line (x86: intel_iommu=off, amd_iommu=off); no assignment of devices to guests then"},
	{platform.SwiotlbForce, "swiotlb=force", "kernel command line swiotlb=force, and a pool (swiotlb=SLABS) that holds all that is under way; no mapping above 256 KiB"},
	{platform.ViommuStrict, "iommu.strict=1", "in the guest: kernel command line iommu.strict=1"},
	{platform.ViommuLazy, "iommu.strict=0 (lazy)", "in the guest: kernel command line iommu.strict=0; the kernel refuses it for a device of an external port"},
	{platform.ViommuPassthrough, "iommu.passthrough=1", "in the guest: kernel command line iommu.passthrough=1; the host maps all of the guest's memory for the device, and pins it"},
}

// changes lists what can be done differently about u.
func (u *Setup) changes() []*Change {
	return slices.Concat(u.protections(), u.calls(), u.buffers())
}

// protections are the other backends of the same kind of machine.
func (u *Setup) protections() (list []*Change) {
	own := u.backend()
	device := u.call() != nil && dma.MemoryOf(u.call()) == dma.DeviceMemory
	for _, b := range backends {
		switch {
		case b.backend == own && !u.Untrusted || b.backend.Virtio() != own.Virtio():
			continue
		case b.backend == platform.Direct && own != platform.SwiotlbForce: // pass-through is the same to the CPU
			continue
		case b.backend == platform.SwiotlbForce && device:
			continue
		}
		list = append(list, &Change{Name: b.name, Dimension: Protection, Needs: b.needs, apply: func(v *Setup) {
			v.Exp.Backends, v.Untrusted = []string{string(b.backend)}, false
		}})
	}
	if strict := platform.IommuStrict; !u.Untrusted && !own.Virtio() && !device {
		list = append(list, &Change{Name: "untrusted device: parts bounce", Dimension: Protection,
			Needs: "a port that firmware marks as external (ExternalFacingPort, external-facing), so that parts of pages bounce; a pool (swiotlb=SLABS) that holds them", apply: func(v *Setup) {
				v.Exp.Backends, v.Untrusted = []string{string(strict)}, true
			}})
	}
	return list
}

// calls are other calls that map the same memory, of this kernel or the next.
func (u *Setup) calls() (list []*Change) {
	to := func(name, needs string) {
		if name != u.variant() && !slices.ContainsFunc(list, func(c *Change) bool { return c.Name == name }) {
			list = append(list, &Change{Name: name, Dimension: Call, Needs: needs, apply: func(v *Setup) { v.Exp.Variants = []string{name} }})
		}
	}
	if u.driver() {
		to("driver@7.3", "kernel 7.3, whose driver maps as it does there: no change of the driver")
		return list
	}
	const driver = "kernel 7.3 and a change of the driver"
	if dma.MemoryOf(u.call()) == dma.DeviceMemory {
		to("map_phys_mmio@7.3", driver+": dma_map_phys with DMA_ATTR_MMIO")
		return list
	}
	if name, _, _ := strings.Cut(u.variant(), "@"); !u.newest() {
		if _, err := dma.Lookup(name + "@7.3"); err == nil {
			to(name+"@7.3", "kernel 7.3: no change of the driver")
		}
	}
	if dma.MemoryOf(u.call()) == dma.OwnMemory {
		return list
	}
	to("map_phys@7.3", driver+": dma_map_phys takes physical addresses")
	if u.Trace != nil {
		for _, c := range u.traceChanges() {
			if c.Dimension == Call {
				list = append(list, c)
			}
		}
	}
	if u.workload() == "nvme" || u.workload() == "map-benchmark" {
		to("iova_link@7.3", driver+": dma_iova_try_alloc, a link per piece, one sync; it invalidates at once in lazy mode too")
	}
	return list
}

// larger is the size of an operation that is as large as the IOVA caches keep.
const larger = 128 << 10

// jumbo is a jumbo frame, bytes without FCS: the longest that the workload has.
const jumbo = 9000

// buffers are other ways to use memory.
func (u *Setup) buffers() (list []*Change) {
	add := func(name, needs string, resized bool, apply func(v *Setup)) {
		list = append(list, &Change{Name: name, Dimension: Buffers, Needs: needs, Resized: resized, apply: apply})
	}
	const pool = "a change of the driver: page_pool with PP_FLAG_DMA_MAP (CONFIG_PAGE_POOL); the pool's pages stay mapped"
	x := &u.Exp
	switch u.workload() {
	case "nic":
		switch {
		case u.driver() && x.NIC.Driver == string(nic.PerPacket):
			add("page_pool", pool, false, func(v *Setup) { v.Exp.NIC.Driver = string(nic.Pool) })
		case !u.driver() && !x.NIC.PagePool:
			add("page_pool", pool, false, func(v *Setup) { v.Exp.NIC.PagePool = true })
		}
		if n, err := strconv.ParseInt(x.NIC.Sizes, 10, 64); err == nil && n < jumbo {
			add(fmt.Sprintf("frames of %d", jumbo), "an MTU of about 9000 on the whole path, senders that fill it, and receive buffers of 16 KiB: per byte, not the same frames", true, func(v *Setup) {
				v.Exp.NIC.Sizes, v.Exp.NIC.Rate = strconv.Itoa(jumbo), max(v.Exp.NIC.Rate*n/jumbo, 1)
				v.Exp.Operations = max(v.Exp.Operations*n/jumbo, min(3*int64(v.Exp.NIC.Ring), v.Exp.Operations))
			})
		}
	case "netperf-rx":
		if x.NetperfRX.Buffers == string(nic.PerPacket) {
			add("page_pool", pool, false, func(v *Setup) { v.Exp.NetperfRX.Buffers = string(nic.Pool) })
			if !u.driver() && x.NetperfRX.FrameSize <= 2048 {
				add("page-reuse", "a driver that gives a frame half a page and keeps the mapping, as ice and ixgbe did", false, func(v *Setup) { v.Exp.NetperfRX.Buffers = "page-reuse" })
			}
		}
	case "nvme":
		if size, err := u.bytes(); err == nil && u.driver() && size > 4096 && x.NVMe.Segments != string(workloads.Contiguous) {
			add("contiguous memory", "memory in huge pages (hugetlbfs, transparent huge pages) or large folios of the page cache", false,
				func(v *Setup) { v.Exp.NVMe.Segments = string(workloads.Contiguous) })
		}
		list = append(list, u.enlarged()...)
	case tracedWorkload:
		for _, c := range u.traceChanges() {
			if c.Dimension == Buffers {
				list = append(list, c)
			}
		}
	case "map-benchmark":
		device := dma.MemoryOf(u.call()) == dma.DeviceMemory
		if x.Segments == mapbench.Scattered && x.MapBench.Mode == 0 {
			add("contiguous memory", "memory in huge pages or large folios, so that one call maps what several did", false, func(v *Setup) { v.Exp.Segments = mapbench.One })
		}
		if name := "premapped@" + u.kernel(); name != u.variant() && !device && x.Segments != mapbench.Scattered && x.Segments != mapbench.Contiguous && len(x.Attrs) == 0 {
			list = append(list, &Change{Name: "premapped buffers", Dimension: Buffers, Replaces: true, Needs: "a change of the driver: buffers of its own that stay mapped, and a sync per use (dma_sync_single_for_cpu, _for_device)", apply: func(v *Setup) { v.Exp.Variants = []string{"premapped@" + v.kernel()} }})
		}
		if x.MapBench.Granule == 0 {
			list = append(list, u.enlarged()...)
		}
	}
	return list
}

// enlarged is the change to operations of 128 KiB.
func (u *Setup) enlarged() []*Change {
	size, err := u.bytes()
	if err != nil || size >= larger {
		return nil
	}
	return []*Change{{Name: fmt.Sprintf("%ss of 128 KiB", strings.ReplaceAll(operation(u.workload()), "map+unmap", "mapping")), Dimension: Buffers, Resized: true,
		Needs: "an application, read-ahead or a merging scheduler that asks for 128 KiB at a time: per byte, not the same operations", apply: func(v *Setup) {
			v.Exp.Size = "128KiB"
			// As many bytes, as long as that is enough operations for an interval.
			v.Exp.Operations = max(v.Exp.Operations*size/larger, min(enough, v.Exp.Operations))
		}}}
}

// enough is how many operations a run needs for intervals that tell something.
const enough = 240
