// Package trace is what an enabled trace event costs: the ring buffer of the kernel's tracer (kernel/trace/ring_buffer.c) and the
// function of an event that fills a record in it (include/trace/trace_events.h).
//
// # What is modelled
//
// Each CPU has a ring of pages. An event takes the time, reserves as many bytes as its record has behind the last one (a header of 4 bytes, the
// fixed fields, the name of the device, arrays, rounded up to 4), fills them and commits. No lock is taken and no locked instruction
// executed: only this CPU writes here, and interrupts nest. A record that does not fit goes to the next page, which is
// the oldest one once the ring is full, and that takes a locked instruction. What counts is the memory: the ring is much larger than a core's caches,
// so every record is written to lines that are not there.
//
// The sizes of the records are those of the two kernels' event formats. No recording of an enabled event exists: instructions are
// estimated from the structure of the source.
//
// # Left out
//
// Readers (a trace that is being read swaps pages), event filters and triggers, stack traces per event, several enabled instances, perf's
// buffers, which have another layout.
package trace
