package platform

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	"dmapath/kernel/vmm"
	"dmapath/kernel/vtd"
)

// windowVA is where the guest's driver sees the registers of the virtual unit.
const windowVA = cpu.MMIOBase + 0x10000

// lazy says that iommu-dma defers invalidations: asked for, and not overruled because the kernel is a guest whose unit has
// caching mode.
func (m *Machine) lazy() bool { return m.Opt.Backend == IommuLazy && !bool(m.Spec.IOMMU.Trapped) }

// guestDriver boots a host with the driver of m.Unit and, on the virtual unit that the host emulates, the guest's driver.
func (m *Machine) guestDriver() (iommucore.Adapter, error) {
	env := kernel.NewEnv(m.Env.Config, m.Mem, m.reserved[0]+kernelBytes)
	env.PerCPU(kernel.PerCPUStride/2, 64) // the guest's per-CPU data lies below
	memory, err := mm.NewConfigured(env, m.Spec.MemoryConfig())
	if err != nil {
		return nil, err
	}
	real, err := vtd.NewUnit(env, m.Unit, cpu.MMIOBase, memory)
	if err != nil {
		return nil, err
	}
	reg := func(off uint64) uint64 { v, _ := m.Unit.ReadReg(cpu.MMIOBase+off, 0); return v }
	host, window := vmm.New(vmm.Config{Env: env, Adapter: vtd.Adapter{Unit: real}, Levels: int(m.Spec.IOMMU.Levels), Exit: m.Spec.IOMMU.Exit,
		Base: windowVA, Cap: reg(0x08), ECap: reg(0x10)})
	m.Host = host
	virtual, err := vtd.NewUnit(m.Env, window, windowVA, m.MM)
	return vmm.Adapter{Adapter: vtd.Adapter{Unit: virtual}, Host: host}, err
}
