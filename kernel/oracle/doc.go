// Package oracle says whether a device and a driver got what the DMA API promises them, and whether a device got more.
//
// # What it knows
//
// The contract: which bytes of bus address space a driver has mapped, for which direction, and whose turn it is. A map gives
// the buffer to the device, dma_sync_*_for_cpu lends it to the CPU, dma_sync_*_for_device gives it back, an unmap ends it
// (Documentation/core-api/dma-api.rst). And for every byte of a buffer, which write was the last that the contract allowed.
//
// The machine: an access of the device goes through the machine's own translation (Bus: the IOMMU with its caches, or the identity
// of dma-direct) and moves data in cache.Truth, where the kernel's cache maintenance and bounce copies move it as well. The oracle
// looks at what arrived. It never looks at how the kernel came to it.
//
// # What it reports
//
// Of a device that does what its driver told it (DeviceRead, DeviceWrite): a refused access, another frame than the buffer's,
// stale data, lost writes. Of a CPU that reads what it owns (CPURead): stale data, lost writes. Of a device that reaches for more
// (Access): bytes of a mapping that was undone, bytes beside a mapping, the wrong direction, a buffer lent to the CPU. An access
// that the contract allows and the machine performs is never reported, and one that the contract forbids and the machine performs
// always is; the property tests hold the oracle to that.
//
// Between a map and an unmap the caches may at any time write a dirty line back or bring a line in. An Adversary chooses
// when; Adversaries lists every combination that can matter for one transfer.
//
// # Example
//
// A driver maps 4 KiB for writing by a device that does not snoop. The map cleans the lines, the adversary brings them in again,
// the device writes around the caches. If the unmap invalidates, CPURead finds the device's versions; if it does not, it finds
// the older ones and reports StaleCPU, naming the unmap.
//
// # Left out
//
// Time: an access happens at once. Data at less than a byte, atomics, ordering between accesses of one device. Instruction fetch
// from a buffer.
package oracle
