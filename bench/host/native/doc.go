// Package native runs programs (see package program) on this very machine and reads its cycle counter around them: rdtsc behind
// lfence on amd64, the virtual counter behind isb on arm64. It maps memory with small or huge pages, pins the thread, and notices when the
// kernel took the processor away in the middle.
//
// The assembly is generated from the programs; a test of package program holds it against them. Other systems than Linux, and other
// processors, build and say "not supported here".
package native

import "errors"

// ErrUnsupported says that there is no native measurement on this system.
var ErrUnsupported = errors.New("native measurement is not supported here: it needs Linux on amd64 or arm64")

// ErrNoHugePages says that the kernel gave small pages where huge ones were asked for.
var ErrNoHugePages = errors.New("there are no huge pages: /sys/kernel/mm/transparent_hugepage/enabled must be madvise or always, and memory must be free")
