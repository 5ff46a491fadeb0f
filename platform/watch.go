package platform

import (
	"dmapath/cache"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/mapops"
	"dmapath/kernel/mm"
)

// Watch makes the kernel report hazards to on and lets it keep account of what every byte holds, which costs time on the host and
// none in the simulation. The result is that account.
func (m *Machine) Watch(on func(kernel.Hazard)) *cache.Truth {
	e := m.Env
	e.Truth, e.OnHazard = cache.NewTruth(), on
	e.Linear = m.Linear
	e.DeviceMemory = func(pa uint64) bool { r, ok := m.memory.Find(pa); return ok && r.Kind.Device() }
	e.HasPage = func(pa uint64) bool { return m.MM.Valid(pa >> 12) }
	return e.Truth
}

// lpaeBits is the width of physical addresses with LPAE; lowmem is how much RAM the linear map of a 32-bit kernel contains: what 3 GiB for user
// space and 240 MiB for vmalloc leave (arch/arm/mm/mmu.c, arm_lowmem_limit). The rest is highmem.
const (
	lpaeBits = 40
	lowmem   = 760 << 20
)

// Linear reports whether the kernel's linear map contains pa.
func (m *Machine) Linear(pa uint64) bool {
	r, ok := m.memory.Find(pa)
	return ok && r.Kind.Linear() && (m.Env.Arch != kernel.ARM32 || pa < lowmem)
}

// Memory returns what lies where in physical memory.
func (m *Machine) Memory() mm.MemoryMap { return m.memory }

// Reach returns where an access of the device to a bus address ends up at the present time: the translation that its requests get,
// caches of the IOMMU and of the device included, which it changes as a request does. ok is false when the device cannot emit the address, the
// IOMMU refuses it, or nothing answers there. snoops says that the access looks into the CPUs' caches.
func (d *Device) Reach(addr uint64, write bool) (pa uint64, snoops, ok bool) {
	dev := d.Ctx.Dev
	if addr > dev.Mask {
		return 0, false, false
	}
	if dev.P2P.Route == kernel.P2PBusAddress {
		if r, found := d.m.memory.Find(addr - dev.P2P.BusOffset); found && r.Kind == mm.ZoneDevice {
			return addr - dev.P2P.BusOffset, false, true // the switch does not pass it on to the root
		}
	}
	if pa, ok = d.translate(addr, write); !ok {
		return 0, false, false
	}
	_, ok = d.m.memory.Find(pa)
	if d.m.Env.EncryptedGuest && d.m.Tlb.Find(pa) == nil {
		ok = false // private memory: only the pool is shared with the host
	}
	return pa, !dev.NonCoherent, ok
}

// translate is the IOMMU's answer, or that of the table of a provider of dma_map_ops, which stands for hardware that is not modelled
// and forgets at once.
func (d *Device) translate(addr uint64, write bool) (pa uint64, ok bool) {
	if d.tr != nil {
		pa, err := d.Port.Address(d.RID, addr, write, d.m.Eng.Now())
		return pa, err == nil
	}
	if d.m.ops != nil {
		switch p := d.m.ops.Provider.(type) {
		case *mapops.Gart:
			return p.Translate(addr)
		case *mapops.Grant:
			pfn, mayWrite, ok := p.Frame(addr)
			return pfn<<12 | addr&4095, ok && (mayWrite || !write)
		}
	}
	return direct.ToPhys(d.Ctx.Dev, addr), true
}
