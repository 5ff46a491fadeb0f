// Package ftrace reads the text that Linux prints for its dma:* and iommu:* trace events, so that what a real kernel
// mapped can be mapped again by the modelled one.
//
// Three writers are understood, recognised line by line so that files may be concatenated: the kernel's own trace file
// (tracefs/trace), `trace-cmd report`, and `perf script`. They differ in the prefix only:
//
//	         io-166   [000] d.h1.  19.049303: unmap: IOMMU: iova=0x... - 0x... size=16384 unmapped_size=16384
//	         io-166   [000]        19.049303: unmap:  IOMMU: iova=...
//	io   166 [000]    19.049303: iommu:unmap: IOMMU: iova=...
//
// A command name may contain anything, so the CPU in brackets that is followed by a time stamp is found first and the
// rest is read outwards from there.
//
// Reader.Next delivers one Event after the other in constant memory. A line that looks like an event of ours but does not
// parse is delivered as a *SyntaxError with its line number, in the stream, and reading goes on; comments, blank
// lines and events of other subsystems are counted and skipped.
//
// Field layouts are those of include/trace/events/dma.h and iommu.h in Linux 6.12 and 7.3. Not read: the
// dma_alloc_sgt, dma_free_sgt and dma_sync_sg events, swiotlb events, binary trace.dat and perf.data.
package ftrace
