// Package host measures the machine that it runs on, derives a platform preset from that, and holds the simulated core against the real one on
// lookups of the kernel.
//
// # Three steps
//
//   - Calibrate times probes (Probe): pointer chases within and across pages from 4 KiB to 1 GiB, independent loads, streams, chains of arithmetic,
//     mispredicted branches, store forwarding, locked additions, fences, the counter, pauses, copies, flushes.
//   - Derive moves parameters of the nearest preset until the simulated core takes as long for the same instructions on the same data. Nothing
//     is fitted to more than one probe, and most probes are fitted to nothing: they show how good the result is.
//   - Run times twins (Twin) of pfn_valid, page_to_phys, memblock_search, a four-level table insert and an IOVA magazine, hot, warm and
//     cold, natively and simulated. Calibration and twins share no program and no measurement.
//
// # Figures and noise
//
// A native figure is the lower quartile of runs in which the thread kept its processor (it is pinned, and switches are counted); a measurement
// whose interquartile range is above 5 % of the median is repeated up to three times, and the least disturbed attempt counts. Cycles
// are core cycles: ticks of the counter times a scale that a chain of additions shows before and after every measurement. A row is
// skipped, with the reason, when its runs spread too far, when the clock drifts, and when memory is not what it was at the calibration.
//
// # What the machine taught the model
//
// Virtual machines translate twice (tlb.nested, cpu.Region.Scattered): with small pages on the host's side TLBs hold 4 KiB whatever the guest
// maps, walks read the host's tables too, and memory that looks contiguous is scattered over the sets of the caches. Loads pass locked
// instructions on Zen 4, and the store queue drains meanwhile (cpu.atomic_holds). String instructions do not overlap. An address of base and
// index waits for both. Next lines are prefetched for a page in use.
//
// # Left out
//
// What no probe decides keeps the preset's value: sizes of queues and predictors, ports, miss registers, prefetchers, second-level TLB, paging-structure
// caches, everything of PCIe and IOMMU. Known to differ on Zen 4: wrong paths (a mispredicted search loads lines that are needed later), prefetchers that
// run further ahead on streams, line flushes, the bandwidth of L2, the extra cycle of an indexed load, walks of a guest's small pages. The transfer of a line between cores is not measured. The
// programs of arm64 have been run in an emulator only (qemu-aarch64: right answers, no times).
package host
