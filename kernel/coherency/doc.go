// Package coherency is the cache maintenance by which a kernel shares memory with devices that do not snoop its caches:
// arch_sync_dma_for_device and arch_sync_dma_for_cpu of arm64 (arch/arm64/mm/dma-mapping.c, cache.S) in 6.12 and 7.3.
//
// # What happens
//
// Before a device may use a buffer, every line of it is cleaned to the point of coherency (dc cvac), whatever the direction. After
// the device has written it, every line is invalidated (dc ivac), but the first and the last are cleaned as well (dc civac) when the
// buffer covers only a part of them: the other part belongs to somebody else. A buffer that was only read by the device needs
// nothing. One op per line, four instructions per turn of the loop.
//
// On 6.12 each call ends with a barrier that waits for all its lines (dsb sy). On 7.3 the loops have none, and whoever has
// finished a map, an unmap, a sync or a whole scatterlist calls Flush, one dsb, once.
//
// # Hazards
//
// The lines are reached through the linear map. Memory that it does not contain is a page fault in the loop's first op, reported by
// kernel.Env.Touch, and the loop ends there. A device's memory that has an alias in the linear map is maintained and reported.
// kernel.Env.Truth follows what each op does to the data.
//
// # Left out
//
// x86 is coherent by definition: nothing here emits anything for kernel.X86_64, even if the platform's device does not snoop.
// 32-bit Arm is modelled with the same loops page by page, without an outer cache (Cortex-A15 and later have none) and without
// the function pointers of kernels that are built for several kinds of core. The twice-repeated cleaning of erratum
// 4311569, and lines of other lengths than 64 bytes. No recording of these loops exists: the counts are read.
package coherency
