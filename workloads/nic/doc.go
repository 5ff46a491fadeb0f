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
// # Left out
//
// The driver's instructions per frame and those of page_pool are estimates. No GRO, no XDP, no receive buffers of several descriptors;
// pages of a pool are never lost to a slow reader, so the pool never allocates after the start.
package nic
