// Package virtioiommu is the modelled virtio-iommu driver of both kernels: drivers/iommu/virtio-iommu.c over the split virtqueue of
// drivers/virtio/virtio_ring.c. It implements iommucore.Driver and iommucore.Adapter. The kernel that runs it is a guest; the device is
// software of the host (package vmm), which a write of the notification register leaves the guest for.
//
// # What happens in a map and in an unmap
//
// There is no page table in the guest. The driver keeps what it has mapped in an interval tree per domain, under the domain's
// mappings_lock, and sends requests. The device offers every power of two from 4 KiB as a page size, so a range takes as few requests as
// there are runs of one size.
//
//	map     a node is allocated and inserted; a request is allocated, its two parts (what the device reads, and the status it writes) go into an
//	        indirect table, which is allocated too, and the request is queued under the device's request_lock. iotlb_sync_map then takes the
//	        lock again, notifies, and takes back requests until none is left.
//	unmap   iova_to_phys searches the tree. The nodes in the range leave it; a request is queued. In strict mode iotlb_sync notifies and
//	        waits; in lazy mode nobody does (IOMMU_CAP_DEFERRED_FLUSH, since 6.8): the request stays in the queue.
//
// So lazy mode saves the exit of the unmap and not that of the map; and since every notification makes the device work off the whole
// queue, the next map of any domain carries out the unmaps that wait. The flush queue's timer and size bound the window only
// where nothing is mapped. When the queue is full, the next request notifies and waits.
//
// The host works the queue off before the guest runs again (QEMU's device has no ioeventfd), so the first look finds the requests
// used. The lock is held meanwhile, with interrupts off: CPUs that map or unmap in any domain of the device wait for the exit.
//
// # Nothing here is recorded
//
// Everything in this package was read in the source of 6.8 and later; the driver's map and unmap are the same in 6.12 and 7.3. What
// surrounds it (the DMA API, iommu-dma, the core, slab, locks) is the recorded code, but for iommu_map of 7.3 on x86-64, which is
// recorded for generic page tables only: the loop over map_pages is 6.12's. Instruction counts and the offsets of fields are
// estimates.
//
// # The cast
//
//	Unit    struct viommu_dev with its request queue
//	Domain  struct viommu_domain: the interval tree, its lock, what it is attached to
//	tree    the augmented red-black tree of lib/interval_tree.c
//
// # Left out
//
// The event queue (a fault is seen by the device's request); PROBE and reserved regions, which the platform knows; detaching and the
// replay of mappings, since devices stay where they are; identity mappings for a device without VIRTIO_IOMMU_F_BYPASS_CONFIG; devices
// with VIRTIO_F_ACCESS_PLATFORM, whose virtqueue buffers would be mapped; packed virtqueues.
package virtioiommu
