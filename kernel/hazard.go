package kernel

import (
	"fmt"

	"dmapath/cpu"
)

// HazardKind says what went wrong on a path that the kernel lets through or dies on.
type HazardKind uint8

// Kinds of hazard.
const (
	PageFault       HazardKind = iota // the kernel accesses an address that nothing is mapped at
	MissingPage                       // a struct page that does not exist is dereferenced
	KmapOfNoPage                      // kmap of memory without a struct page
	MaintainsDevice                   // cache maintenance over device memory
	BouncesDevice                     // device memory is copied through the bounce pool
	StaleDevice                       // the device reads data older than the CPU's last store
	StaleCPU                          // the CPU reads data older than the device's last write
	LostWrite                         // a write of one side is overwritten by an older copy
	UseAfterUnmap                     // the device reaches memory through a mapping that was undone
	BeyondMapping                     // the device reaches memory that was never mapped for it
	WrongMemoryType                   // memory is mapped with the attributes of another kind
	Leak                              // a mapping or its address range is never given back
	CallsNothing                      // a call through a null pointer
	WrongFrame                        // another page frame than the caller meant is mapped
	DataCorruption                    // the bytes that arrive are not those that were sent, for any other reason
	Refused                           // the device's access to a live mapping is refused
	OutOfTurn                         // the device reaches a buffer that was synced for the CPU
	NumHazards
)

var hazardNames = [NumHazards]string{"page fault", "missing struct page dereferenced", "kmap of a non-page", "cache maintenance on device memory",
	"bounce of device memory", "stale data read by device", "stale data read by CPU", "write lost", "access through a freed mapping",
	"access beyond the mapping", "wrong memory type", "mapping leaked", "call through a null pointer", "wrong page frame mapped", "data corrupted",
	"access to a live mapping refused", "access to what the CPU owns"}

func (k HazardKind) String() string { return hazardNames[k] }

// Fatal reports whether the kernel does not survive it.
func (k HazardKind) Fatal() bool {
	return k == PageFault || k == MissingPage || k == KmapOfNoPage || k == CallsNothing
}

// Hazard is something that a path did although it must not.
type Hazard struct {
	Kind HazardKind
	Step string // kernel function in which it happened; empty when no kernel function was to blame
	Addr uint64 // physical address, I/O address or virtual address, as Note says
	Note string // what happened, one clause
	// Inferred says that the source was read and nobody has seen it happen.
	Inferred bool
}

func (h Hazard) String() string {
	if h.Step == "" {
		return fmt.Sprintf("%v at %#x: %s", h.Kind, h.Addr, h.Note)
	}
	return fmt.Sprintf("%v in %s at %#x: %s", h.Kind, h.Step, h.Addr, h.Note)
}

// Report tells whoever watches (Env.OnHazard) of a hazard in the function that t executes. Without a watcher it does nothing: the
// path goes on as the kernel's code would, as far as it can.
func (e *Env) Report(t *cpu.Thread, k HazardKind, addr uint64, inferred bool, note string) {
	if e.OnHazard != nil {
		e.OnHazard(Hazard{k, t.Fn().Name, addr, note, inferred})
	}
}

// Touch reports a page fault unless the n bytes at physical address pa are in the kernel's linear map, and returns whether they
// are: what phys_to_virt() of a caller that does not look promises itself.
func (e *Env) Touch(t *cpu.Thread, pa, n uint64) bool {
	if e.Linear == nil || e.Linear(pa) && e.Linear(pa+n-1) {
		return true
	}
	e.Report(t, PageFault, pa, true, "phys_to_virt of memory that the linear map does not contain")
	return false
}

// Deref reports a missing struct page unless pa has one, and returns whether it has: what a caller that reads or writes the struct
// page of an address promises itself.
func (e *Env) Deref(t *cpu.Thread, pa uint64) bool {
	if e.HasPage == nil || e.HasPage(pa) {
		return true
	}
	e.Report(t, MissingPage, pa, true, "a struct page is accessed that does not exist")
	return false
}

// Copies reports the bounce of device memory when the n bytes at pa are a device's and not RAM.
func (e *Env) Copies(t *cpu.Thread, pa, n uint64) {
	if e.onDevice(pa, n) {
		e.Report(t, BouncesDevice, pa, true, "memcpy between device memory and the bounce pool")
	}
}

// Maintains reports cache maintenance of device memory.
func (e *Env) Maintains(t *cpu.Thread, pa, n uint64) {
	if e.onDevice(pa, n) {
		e.Report(t, MaintainsDevice, pa, true, "cache maintenance of a device's memory")
	}
}

func (e *Env) onDevice(pa, n uint64) bool {
	return e.DeviceMemory != nil && (e.DeviceMemory(pa) || e.DeviceMemory(pa+n-1))
}
