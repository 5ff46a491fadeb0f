// Package iopf is the modelled I/O page fault handling of both kernels: drivers/iommu/io-pgfault.c between an IOMMU driver's page request
// queue (kernel/vtd) and the memory of a process.
//
// # Who uses it
//
// dma_map_* never faults: iommu-dma maps what it is given before the device may see it, and a device's access to a page that is not
// there is an error. Page faults are for domains whose table somebody else fills on demand: SVA, where the device walks a process's page
// table, and iommufd's domains with a fault queue. This package is the SVA side.
//
// # What happens to a fault
//
//	Report   iommu_report_device_fault, in the IRQ thread of the page request queue. A request that is not the last of its group is kept on a
//	         list under the fault parameter's mutex. The last one allocates an iopf_group, moves the others into it, and hands it to
//	         the workqueue (iommu_sva_iopf_handler).
//	worker   iommu_sva_handle_iopf: for every request the memory map's read lock, find_vma, handle_mm_fault; a page is allocated, which
//	         init_on_alloc has zeroed, and put into the table. Then iopf_group_response, which calls the driver, and the group is freed.
//
// The workqueue is unbound: groups are handled by as many workers as there are CPUs beside the one that takes the interrupt, each until
// nothing is left. With one CPU the IRQ thread goes first.
//
// # What is real and what is guessed
//
// Real: lists, groups, slab objects, allocated pages, locks, the table and what the device sees of it, the driver's queue and registers. Guessed
// (nothing is recorded): the instruction counts of waking a thread, of entering an interrupt, of find_vma and of handle_mm_fault outside of the
// allocation, all of which are bodies without steps (kernel.Code).
//
// # Left out
//
// PASIDs: the process's table is the domain that the device's requests without PASID use, and entries are written by iommu_map, not by
// set_pte; swap, file pages and copy on write (a fault always gets a fresh page); faults that the process may not have, beyond the range that
// was set up; a stopped or freed mm; iopf_queue_discard_partial when partial groups are lost.
package iopf
