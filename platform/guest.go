package platform

import (
	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	driversmmu "dmapath/kernel/smmu"
	"dmapath/kernel/virtioiommu"
	"dmapath/kernel/vmm"
	"dmapath/kernel/vtd"
)

// windowVA is where the guest's driver sees the registers of the virtual unit.
const windowVA = cpu.MMIOBase + 0x10000

// lazy says that iommu-dma defers invalidations: asked for, and not overruled because the kernel is a guest whose unit has
// caching mode.
func (m *Machine) lazy() bool {
	return m.Opt.Backend.Lazy() && !(bool(m.Spec.IOMMU.Trapped) && m.Spec.IOMMU.Dialect == "vt-d")
}

// guestDriver boots a host with the driver of m.Unit and, on the virtual unit that the host emulates, the guest's driver.
func (m *Machine) guestDriver() (iommucore.Adapter, error) {
	env, memory, err := m.hostKernel()
	if err != nil {
		return nil, err
	}
	real, err := vtd.NewUnit(env, m.Unit, cpu.MMIOBase, memory)
	if err != nil {
		return nil, err
	}
	reg := func(off uint64) uint64 { v, _ := m.Unit.ReadReg(cpu.MMIOBase+off, 0); return v }
	host, window := vmm.New(vmm.Config{Env: env, Adapter: vtd.Adapter{Unit: real}, Levels: int(m.Spec.IOMMU.Levels), Exit: m.Spec.IOMMU.Exit,
		Base: windowVA, Cap: reg(table.RegCAP), ECap: reg(table.RegECAP)})
	m.Host = host
	virtual, err := vtd.NewUnit(m.Env, window, windowVA, m.MM)
	return vmm.Adapter{Adapter: vtd.Adapter{Unit: virtual}, Host: host}, err
}

// aside is Do where the engine may be running already: in the process that runs then. A device can be plugged in at any time.
func (m *Machine) aside(name string, body func(t *cpu.Thread)) error {
	p := m.Eng.Current()
	if p == nil {
		return m.Do(name, body)
	}
	body(cpu.NewThread(p, 0, nil, m.stream(stackTop(0)-3*kernel.StackBytes)))
	return nil
}

// hostKernel returns a second kernel above the guest's.
func (m *Machine) hostKernel() (*kernel.Env, *mm.MM, error) {
	env := kernel.NewEnv(m.Env.Config, m.Mem, m.reserved[0]+kernelBytes)
	env.PerCPU(kernel.PerCPUStride/2, 64) // the guest's per-CPU data lies below
	memory, err := mm.NewConfigured(env, m.Spec.MemoryConfig())
	return env, memory, err
}

// trappedQueue boots a host with the driver of m.Unit, whose stage 2 lies under the guest's stage 1, and the guest's driver on a virtual SMMU
// whose queue the host works off.
func (m *Machine) trappedQueue() (iommucore.Adapter, error) {
	env, memory, err := m.hostKernel()
	if err != nil {
		return nil, err
	}
	real, err := driversmmu.NewUnit(env, m.Unit, cpu.MMIOBase, memory)
	if err != nil {
		return nil, err
	}
	reg := func(off uint64) uint64 { v, _ := m.Unit.ReadReg(cpu.MMIOBase+off, 0); return v }
	host, window := vmm.NewSMMU(vmm.SMMUConfig{Config: vmm.Config{Env: env, Exit: m.Spec.IOMMU.Exit, Base: windowVA}, Real: driversmmu.Adapter{Unit: real},
		Register: reg, Access: m.Spec.IOMMU.TrapAccess, Command: m.Spec.IOMMU.TrapCommand})
	m.Host = host
	virtual, err := driversmmu.NewUnit(m.Env, window, windowVA, m.MM)
	return vmm.SMMUAdapter{Adapter: driversmmu.Adapter{Unit: virtual}, Window: window}, err
}

// virtioDriver boots a host with the driver of m.Unit, the virtio-iommu that it emulates, and the guest's driver of that.
func (m *Machine) virtioDriver() (iommucore.Adapter, error) {
	env, memory, err := m.hostKernel()
	if err != nil {
		return nil, err
	}
	real, err := m.dialect.driver(m, env, memory)
	if err != nil {
		return nil, err
	}
	var ram []vmm.Range
	for _, r := range m.memory {
		if r.Kind == mm.RAM || r.Kind == mm.HotRAM {
			ram = append(ram, vmm.Range{Start: r.Start, Bytes: r.End() - r.Start})
		}
	}
	host, window, err := vmm.NewVirtio(vmm.Config{Env: env, Adapter: real, Levels: int(m.Spec.IOMMU.Levels), Exit: m.Spec.IOMMU.Exit,
		SVM: m.dialect.name == "amd-vi", Base: windowVA, RAM: ram})
	if err != nil {
		return nil, err
	}
	m.Host = host
	unit, err := virtioiommu.NewUnit(virtioiommu.Config{Env: m.Env, HW: window, Regs: windowVA, MM: m.MM, Boot: m.aside})
	return vmm.VirtioAdapter{Adapter: virtioiommu.Adapter{Unit: unit}, Window: window}, err
}
