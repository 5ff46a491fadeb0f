// Package ftrace reads the text that Linux prints for its dma:* and iommu:* trace events, so that what a real kernel
// mapped can be mapped again by the modelled one.
//
// Three writers are understood, recognised line by line so that files may be concatenated: the kernel's own trace file
// (tracefs/trace, trace_pipe), `trace-cmd report`, and `perf script`. They differ in the prefix only:
//
//	         io-166   [000] d.h1.  19.049303: unmap: IOMMU: iova=0x... - 0x... size=16384 unmapped_size=16384
//	         io-166   [000]        19.049303: unmap:  IOMMU: iova=...
//	io   166 [000]    19.049303: iommu:unmap: IOMMU: iova=...
//
// with these variations: the column of flags may be missing (options/irq-info) or there may be one of process group IDs (options/record-tgid); the
// latency format has the CPU before the flags and microseconds since the trace began ("io-166 0d.h1. 123us+: map: ..."); perf script may show
// the fields pid, period and ns, and leave out comm, tid or cpu, not time. A command name may contain anything, brackets, spaces and what looks
// like a time included: every place where an event of ours could begin is tried, and the first that reads is it.
//
// trace-cmd and perf print arrays and events they cannot evaluate in their own way (libtraceevent): decimal numbers with spaces between, and "[FAILED TO
// PARSE]" with the fields of the record. Both are read.
//
// Reader.Next delivers one Event after the other in constant memory. A line that looks like an event of ours but does not
// parse is delivered as a *SyntaxError with its line number, in the stream, and reading goes on; comments, blank
// lines and events of other subsystems are counted and skipped. Where the tracer says that it lost events, that is counted, too.
//
// Field layouts are those of include/trace/events/dma.h and iommu.h in Linux 6.12 and 7.3. Not read: the
// dma_alloc_sgt, dma_free_sgt and dma_sync_sg events, swiotlb events, binary trace.dat and perf.data; trace clocks that count in
// something other than seconds (counter, x86-tsc), and the verbose latency format, whose lines are skipped.
package ftrace
