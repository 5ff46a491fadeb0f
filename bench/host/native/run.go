//go:build linux && (amd64 || arm64)

package native

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"dmapath/bench/host/program"
)

// needs names the processor flags that the programs use on amd64, as /proc/cpuinfo writes them.
var needs = []string{"bmi2", "clflushopt", "constant_tsc"}

// Supported returns nil when programs can run here, and otherwise why not.
var Supported = sync.OnceValue(func() error {
	if runtime.GOARCH == "arm64" {
		return supportedArm()
	}
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for l := range strings.Lines(string(data)) {
		name, list, _ := strings.Cut(l, ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		have := strings.Fields(list)
		for _, f := range needs {
			if !slices.Contains(have, f) {
				return fmt.Errorf("%w, with the processor flag %s", ErrUnsupported, f)
			}
		}
		return nil
	}
	return fmt.Errorf("%w: /proc/cpuinfo lists no processor flags", ErrUnsupported)
})

// supportedArm asks the auxiliary vector for the atomics of Armv8.1 (HWCAP_ATOMICS, arch/arm64/include/uapi/asm/hwcap.h).
func supportedArm() error {
	const hwcap, atomics = 16, 1 << 8
	data, err := os.ReadFile("/proc/self/auxv")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for ; len(data) >= 16; data = data[16:] {
		if binary.LittleEndian.Uint64(data) == hwcap && binary.LittleEndian.Uint64(data[8:])&atomics != 0 {
			return nil
		}
	}
	return fmt.Errorf("%w, with the atomics of Armv8.1", ErrUnsupported)
}

// Can reports whether p has a body for this processor.
func Can(p *program.Program) bool { return bodies[p.Name] != nil }

// Run executes p on s and leaves the counter before and after it in s.
func Run(p *program.Program, s *program.State) { bodies[p.Name](s) }

// Pin binds the calling goroutine to its thread and the thread to a processor, which it counts among those allowed from 0 on. Release undoes
// both. On an error the goroutine is bound to its thread all the same.
func Pin(nth int) (release func(), err error) {
	runtime.LockOSThread()
	var old, mask [16]uint64
	n, _, e := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(old), uintptr(unsafe.Pointer(&old)))
	if e != 0 {
		return runtime.UnlockOSThread, fmt.Errorf("reading the processors allowed: %w", e)
	}
	for cpu := range int(n) * 8 {
		if old[cpu/64]>>(cpu%64)&1 == 0 {
			continue
		}
		if nth == 0 {
			mask[cpu/64] = 1 << (cpu % 64)
			break
		}
		nth--
	}
	set := func(m *[16]uint64) syscall.Errno {
		_, _, e := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(*m), uintptr(unsafe.Pointer(m)))
		return e
	}
	if e := set(&mask); e != 0 {
		return runtime.UnlockOSThread, fmt.Errorf("pinning the thread: %w", e)
	}
	return func() { set(&old); runtime.UnlockOSThread() }, nil
}

// Memory advice (include/uapi/asm-generic/mman-common.h).
const (
	madvHugepage   = 14
	madvNoHugepage = 15
)

// Map returns an arena of at least size bytes of touched memory in pages of 1<<shift bytes, 12 or 21. Huge pages are asked for, and an error
// says when less than nine tenths of the arena got them.
func Map(size uint64, shift uint8) (*program.Arena, error) {
	const huge = 2 << 20
	size = (size + huge - 1) &^ (huge - 1)
	raw, err := syscall.Mmap(-1, 0, int(size+huge), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes: %w", size, err)
	}
	advice := madvNoHugepage
	if shift == 21 {
		advice = madvHugepage
	}
	// Small pages are what there is where the advice is not known.
	if err := syscall.Madvise(raw, advice); err != nil && shift == 21 {
		syscall.Munmap(raw)
		return nil, fmt.Errorf("%w (%w)", ErrNoHugePages, err)
	}
	start := uint64(uintptr(unsafe.Pointer(&raw[0])))
	skip := (huge - start%huge) % huge
	a := &program.Arena{Base: start + skip, Bytes: raw[skip : skip+size], PageShift: shift}
	before := hugeBytes()
	for at := uint64(0); at < size; at += 4096 {
		a.Bytes[at] = 1
		a.Bytes[at] = 0
	}
	mapped.Lock()
	mapped.raw[a.Base] = raw
	mapped.Unlock()
	if shift == 21 && hugeBytes()-before < int64(size/10*9) {
		Unmap(a)
		return nil, fmt.Errorf("%w (of %d bytes less than nine tenths are in such pages)", ErrNoHugePages, size)
	}
	return a, nil
}

var mapped = struct {
	sync.Mutex
	raw map[uint64][]byte
}{raw: map[uint64][]byte{}}

// Unmap gives the memory of a back.
func Unmap(a *program.Arena) {
	mapped.Lock()
	defer mapped.Unlock()
	if raw := mapped.raw[a.Base]; raw != nil {
		delete(mapped.raw, a.Base)
		a.Bytes = nil
		syscall.Munmap(raw)
	}
}

// hugeBytes is how much of this process is mapped by huge pages.
func hugeBytes() int64 {
	data, _ := os.ReadFile("/proc/self/smaps_rollup")
	for l := range strings.Lines(string(data)) {
		var kb int64
		if n, _ := fmt.Sscanf(l, "AnonHugePages: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

// Switches is how often the kernel gave the processor of the calling thread to another one.
func Switches() int64 {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if syscall.Getrusage(thread, &u) != nil {
		return 0
	}
	return int64(u.Nvcsw + u.Nivcsw)
}

// CounterHz is the rate of the cycle counter against the monotonic clock: the median of five spans of 20 ms.
var CounterHz = sync.OnceValue(func() float64 {
	var rates []float64
	read := func() (uint64, time.Time) {
		var s program.State
		Run(program.Empty, &s)
		return s.Stop, time.Now()
	}
	for range 5 {
		c0, t0 := read()
		for time.Since(t0) < 20*time.Millisecond {
		}
		c1, t1 := read()
		rates = append(rates, float64(c1-c0)/t1.Sub(t0).Seconds())
	}
	slices.Sort(rates)
	return rates[2]
})
