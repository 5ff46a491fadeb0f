// Package virtiotable knows what a virtio-iommu device shares with its driver in memory: the split virtqueue, and the requests that lie in
// its buffers. Like iommu/table for VT-d it is pure: the modelled driver (kernel/virtioiommu) and the device model of the host
// (kernel/vmm) share one definition of every bit.
//
// The cast:
//
//	Ring       where descriptors, available and used ring of a queue lie, and the access to their 16-bit fields
//	Desc       a descriptor with its encoder
//	Request    a decoded request (ATTACH, MAP, UNMAP) with its encoder
//
// Source: Virtual I/O Device (VIRTIO) Version 1.2, 2.7 (split virtqueues), 4.1.4 (PCI), 5.13 (IOMMU device); the layout of the register
// window is QEMU's (hw/virtio/virtio-pci.c).
//
// Left out: the event queue (faults are reported to the root port that asked), PROBE (reserved regions are known to the platform),
// packed virtqueues.
package virtiotable
