// Package nic is a network card with its driver: a pair of rings per CPU, descriptors fetched by the line, write-back, interrupt moderation
// (device.go), frames that arrive by a pattern (traffic.go), and a driver that polls as NAPI does (driver.go).
//
// With a single call as variant every frame is one buffer and one call. With Config.Driver a whole driver maps in one of three styles
// (whole.go): for every packet, into a page_pool, or super-frames of many fragments, which 7.3 can map as one range of I/O addresses.
//
// A worked example: a super-frame of 64 KiB has a header and 17 fragments. 6.12 makes 18 maps and 18 unmaps; behind an IOMMU these are 18
// IOVA allocations and, strict, 18 invalidations. 7.3 makes one map for the header, one dma_iova_try_alloc, 17 links and one sync, and
// one unmap and one destroy: two invalidations.
//
// With Config.Stream the frames are those of TCP-like connections (workload netperf-rx). wire.go has senders with windows, a link that
// carries one frame at a time, and the card's packet memory, from which a frame goes to a receive buffer as fast as PCIe and IOMMU take
// it; stream.go has GRO, sockets, acknowledgements and the application that copies what it reads; antagonist.go has who else wants the
// CPU or the memory. Throughput is the least of what link, window, CPU and IOMMU allow, and nobody typed in which.
//
// # Left out
//
// The driver's instructions per frame and those of page_pool are estimates. No XDP; GRO in streams only; no receive buffers of several descriptors;
// without a stream pages of a pool are never lost to a slow reader, so the pool never allocates after the start. A stream
// delivers frames behind a lost one at once (no reordering queue), finds a loss one round trip later without time-outs, and acknowledges
// every aggregate. Its user memory is mapped by the direct map. The process beside the application has no footprint in caches.
package nic
