package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// MM is the memory management of one booted kernel: the map of physical memory, the memory model's tables in simulated
// memory, the page allocator's per-CPU lists and the slab caches.
type MM struct {
	Env *kernel.Env
	pcp []pcpList // per CPU
	z   zone
	tab tables
	// zoneLock is zone->lock, taken when a per-CPU list is refilled.
	zoneLock cpu.LockWord
}

// pageOfVirt returns the address of the struct page of a direct-map address (virt_to_page, functional only).
func (m *MM) pageOfVirt(va uint64) uint64 { return cpu.VmemmapBase + kernel.Phys(va)>>12*64 }

// New returns the memory management of e on a 16 GiB machine with SPARSEMEM_VMEMMAP.
func New(e *kernel.Env) *MM {
	m, err := NewConfigured(e, Config{Map: PCMap(16 << 30)})
	if err != nil {
		panic(err)
	}
	return m
}

// NewConfigured returns the memory management of e: it lays out the tables of the memory model as the kernel does at boot
// and when memory is added later.
func NewConfigured(e *kernel.Env, cfg Config) (*MM, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &MM{Env: e, pcp: make([]pcpList, max(e.CPUs, 1)), z: newZone(e)}
	m.zoneLock = cpu.LockWord{VA: e.Data(64)}
	m.zoneLock.Name = "zone lock"
	m.buildTables(cfg)
	return m, nil
}
