package platform

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/iommu/amd"
	"dmapath/iommu/smmu"
	"dmapath/iommu/smmutable"
	hwvtd "dmapath/iommu/vtd"
	"dmapath/kernel"
	"dmapath/kernel/amdvi"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/mm"
	driversmmu "dmapath/kernel/smmu"
	"dmapath/kernel/vtd"
	"dmapath/tlb"
)

// dialect is one kind of translation hardware, and the driver that the kernel has for it.
type dialect struct {
	name string // as iommu.dialect has it
	// hardware builds the unit that the machine's platform file describes; its registers lie at cpu.MMIOBase.
	hardware func(m *Machine) (iommu.Unit, error)
	// driver boots the driver of a kernel on m.Unit, short of enabling it: the kernel's, or that of a host below it.
	driver func(m *Machine, env *kernel.Env, memory *mm.MM) (iommucore.Adapter, error)
	// reserved are the ranges of I/O addresses that the driver or the architecture keeps out of every domain
	// (iommu_get_resv_regions), first and last byte.
	reserved [][2]uint64
}

// msiWindow is where x86 devices write their message-signalled interrupts.
var msiWindow = [2]uint64{0xfee00000, 0xfeefffff}

// hyperTransport is the range that AMD's fabric keeps for itself: HT_RANGE_START and HT_RANGE_END of the driver.
var hyperTransport = [2]uint64{0xfd00000000, 0xffffffffff}

// softwareMSI is where the SMMU driver keeps room for mappings of message-signalled interrupts: MSI_IOVA_BASE and MSI_IOVA_LENGTH.
var softwareMSI = [2]uint64{0x8000000, 0x80fffff}

// dialects is the one list of them: a new one is a line here. A dialect without hardware or driver can be named in a platform
// file, and a machine with it can be built for the direct backend.
var dialects = []dialect{
	{"vt-d", vtdHardware, vtdDriver, [][2]uint64{msiWindow}},
	{"amd-vi", amdHardware, amdDriver, [][2]uint64{msiWindow, hyperTransport}},
	{"smmuv3", smmuHardware, smmuDriver, [][2]uint64{softwareMSI}},
}

// driver boots what drives the devices' IOMMU: the dialect's driver, or on top of it a guest's.
func (m *Machine) driver() (iommucore.Adapter, error) {
	if m.Opt.Backend.Virtio() {
		return m.virtioDriver()
	}
	return m.dialect.driver(m, m.Env, m.MM)
}

// dialectNames returns their names, in the order of the list.
func dialectNames() (names []string) {
	for i := range dialects {
		names = append(names, dialects[i].name)
	}
	return names
}

// dialect returns the one that s names, or why there can be no unit of it.
func (s *Spec) dialect() (*dialect, error) {
	for i := range dialects {
		d := &dialects[i]
		switch {
		case d.name != string(s.IOMMU.Dialect):
		case d.hardware == nil || d.driver == nil:
			return nil, fmt.Errorf("iommu.dialect is %s: its driver is not modelled; use the backend direct, or another dialect as a stand-in", d.name)
		default:
			return d, nil
		}
	}
	return nil, fmt.Errorf("iommu.dialect is %q: allowed are %v", s.IOMMU.Dialect, dialectNames())
}

func vtdHardware(m *Machine) (iommu.Unit, error) {
	return hwvtd.New(m.Spec.vtdConfig(), m.Eng, m.tables(), m.Mem)
}

func vtdDriver(m *Machine, env *kernel.Env, memory *mm.MM) (iommucore.Adapter, error) {
	if m.Spec.IOMMU.Trapped {
		return m.guestDriver()
	}
	u, err := vtd.NewUnit(env, m.Unit, cpu.MMIOBase, memory)
	return vtd.Adapter{Unit: u}, err
}

// vtdConfig is the IOMMU as package iommu/vtd takes it. Six levels are AMD's alone: a unit of this dialect has five then, and its driver
// refuses domains of six.
func (s *Spec) vtdConfig() hwvtd.Config {
	u := &s.IOMMU
	levels := min(int(u.Levels), 5)
	cfg := hwvtd.Config{Config: s.unitConfig(), GuestWidth: 12 + 9*levels, FirstLevel5: levels == 5,
		DeviceTLBs: s.PCIe.DeviceTLB.Entries > 0, Coherent: bool(u.Coherent), SnoopControl: bool(u.SnoopControl), PageSelective: bool(u.PageSelective),
		MaxMask: int(u.MaxMask), FaultRecords: int(u.FaultRecords), Context: u.Context.config(), PASID: u.PASID.config(),
		FetchOverhead: iommu.Cycles(u.Fetch), DecodeTime: iommu.Cycles(u.Decode), ContextInvTime: iommu.Cycles(u.InvContext),
		IOTLBGlobalTime: iommu.Cycles(u.InvIOTLBGlobal), IOTLBPageTime: iommu.Cycles(u.InvIOTLBPage),
		InterruptInvTime: iommu.Cycles(u.InvInterrupt), DeviceTLBTime: u.InvDeviceTLB, StatusTime: iommu.Cycles(u.Status)}
	for l := 3; l <= levels; l++ {
		cfg.Levels = append(cfg.Levels, l)
	}
	for _, shift := range u.Pages.Shifts() {
		cfg.Page2M = cfg.Page2M || shift == 21
		cfg.Page1G = cfg.Page1G || shift == 30
	}
	return cfg
}

func amdHardware(m *Machine) (iommu.Unit, error) {
	return amd.New(m.Spec.amdConfig(), m.Eng, m.tables(), m.Mem)
}

func amdDriver(m *Machine, env *kernel.Env, memory *mm.MM) (iommucore.Adapter, error) {
	u, err := amdvi.NewUnit(env, m.Unit, cpu.MMIOBase, memory)
	return amdvi.Adapter{Unit: u}, err
}

// amdConfig is the IOMMU as package iommu/amd takes it. Its page tables have up to 6 levels and pages of all sizes, whatever the kernel
// makes of that; PASID, superpages and masks of the platform file mean nothing to it.
func (s *Spec) amdConfig() amd.Config {
	u := &s.IOMMU
	cfg := amd.Config{Config: s.unitConfig(), Levels: iommu.MaxLevels, Coherent: bool(u.Coherent), Devices: u.Context.config(),
		FetchOverhead: iommu.Cycles(u.Fetch), DecodeTime: iommu.Cycles(u.Decode), DeviceInvTime: iommu.Cycles(u.InvContext),
		PageInvTime: iommu.Cycles(u.InvIOTLBPage), SweepTime: iommu.Cycles(u.InvIOTLBGlobal), InterruptTime: iommu.Cycles(u.InvInterrupt),
		DeviceTLBTime: u.InvDeviceTLB, StoreTime: iommu.Cycles(u.Status)}
	cfg.Paging[6] = cfg.Paging[5]
	return cfg
}

func smmuHardware(m *Machine) (iommu.Unit, error) {
	return smmu.New(m.Spec.smmuConfig(), m.Eng, m.tables(), m.Mem)
}

func smmuDriver(m *Machine, env *kernel.Env, memory *mm.MM) (iommucore.Adapter, error) {
	if err := m.secondStage(m.Unit.(*smmu.Unit)); err != nil {
		return nil, err
	}
	if m.Spec.IOMMU.Trapped {
		return m.trappedQueue()
	}
	u, err := driversmmu.NewUnit(env, m.Unit, cpu.MMIOBase, memory)
	return driversmmu.Adapter{Unit: u}, err
}

// smmuConfig is the IOMMU as package iommu/smmu takes it: the context cache is that of stream table entries, the PASID cache that of context
// descriptors, pages give the granules.
func (s *Spec) smmuConfig() smmu.Config {
	u := &s.IOMMU
	cfg := smmu.Config{Config: s.unitConfig(), Coherent: bool(u.Coherent), Stage1: true, Stage2: true, MSI: bool(u.SyncMessage), SEV: true,
		ATS:   s.PCIe.DeviceTLB.Entries > 0,
		Range: bool(u.RangeInv), StreamBits: 16, QueueLog2: log2(u.CommandQueue), Streams: u.Context.config(), Contexts: u.PASID.config(),
		FetchOverhead: iommu.Cycles(u.Fetch), DecodeTime: iommu.Cycles(u.Decode), ConfigInvTime: iommu.Cycles(u.InvContext),
		PageInvTime: iommu.Cycles(u.InvIOTLBPage), SweepTime: iommu.Cycles(u.InvIOTLBGlobal), ATCTime: u.InvDeviceTLB,
		SyncTime: iommu.Cycles(u.Status), MessageTime: u.Message, Overlap: bool(u.SyncOverlap)}
	cfg.HostWidth = min(cfg.HostWidth, 48) // wider output is left out
	for _, shift := range u.Pages.Shifts() {
		if shift == smmutable.Granule4K || shift == smmutable.Granule16K || shift == smmutable.Granule64K {
			cfg.Granules = append(cfg.Granules, shift)
		}
	}
	return cfg
}

// config is the geometry of t as package tlb takes it.
func (t Table) config() tlb.Config { return tlb.Config{Entries: int(t.Entries), Ways: int(t.Ways)} }

// tables is how the unit reaches its tables.
func (m *Machine) tables() iommu.Fabric {
	if m.Spec.Cache.IO.KeepTables {
		return m.Hier.Keeping()
	}
	return m.Hier
}
