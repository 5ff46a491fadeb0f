package platform

import (
	"fmt"
	"slices"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/direct"
	"dmapath/kernel/dma"
	"dmapath/kernel/dmadebug"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/iommudma"
	"dmapath/kernel/kmsan"
	"dmapath/kernel/mapops"
	"dmapath/kernel/mm"
	"dmapath/kernel/swiotlb"
	"dmapath/kernel/timer"
	"dmapath/kernel/trace"
	"dmapath/kernel/vmm"
	"dmapath/pcie"
	"dmapath/sim"
)

// Parts are the parts of the booted kernel.
type Parts struct {
	MM     *mm.MM
	Timers *timer.Wheel
	Direct *direct.Direct
	Tlb    *swiotlb.Mem      // bounce pools
	Layer  *iommudma.Layer   // nil without an IOMMU
	Driver iommucore.Adapter // nil without an IOMMU
	Host   *vmm.Host         // below the kernel when it is a guest (iommu.trapped, virtio-iommu), else nil

	ops              *mapops.Table   // what dev->dma_ops of all devices points to; nil for dma-direct and iommu-dma
	dmaDebug         *dmadebug.Debug // the state of the debug options; nil when they are off
	shadow           *kmsan.Shadow
	nodes, magazines *mm.Cache
	softirqs         [][]*cpu.Stream // per CPU: streams not in use
	timerRuns        []sim.Lock      // per CPU: held while a timer's function runs
	memory           mm.MemoryMap
	ram              []mm.Range
	ramTop           uint64 // first page frame above RAM
}

// boot brings up the kernel: memory management, timers, dma-direct and, behind an IOMMU, its driver.
func (m *Machine) boot() (err error) {
	s := m.Spec
	m.Env = kernel.NewEnv(kernel.Config{Version: m.Opt.Version, Arch: s.Arch(), CPUs: m.Opt.CPUs, Mitigation: mitigations[s.Kernel.Mitigation],
		MemEncrypt: bool(s.Kernel.MemEncrypt), EncryptedGuest: bool(s.Kernel.EncryptedGuest), FSRM: bool(s.CPU.String.FSRM), IOVAOrders: iovaOrders(s), Coherent: bool(s.IOMMU.Coherent), CleanEach: s.Kernel.PTECleaning == "entry", P2PDMA: m.Opt.P2PDMA,
		Debug: kernel.Debug{DMAAPI: bool(s.Kernel.DebugDMA), Trace: bool(s.Kernel.TraceDMA), KMSAN: bool(s.Kernel.KMSAN)}}, m.Mem, m.reserved[0])
	cfg := s.MemoryConfig()
	cfg.Map = append(cfg.Map, m.Opt.Extra...)
	m.memory = cfg.Map
	if m.MM, err = mm.NewConfigured(m.Env, cfg); err != nil {
		return err
	}
	for _, r := range cfg.Map {
		if r.Kind == mm.RAM || r.Kind == mm.HotRAM {
			m.ram = append(m.ram, r)
			m.ramTop = max(m.ramTop, r.End()>>12)
		}
	}
	if err := m.debug(); err != nil {
		return err
	}
	m.softirqs, m.timerRuns = make([][]*cpu.Stream, m.Opt.CPUs), make([]sim.Lock, m.Opt.CPUs)
	for c := range m.timerRuns {
		m.timerRuns[c].Name = fmt.Sprintf("timers of cpu %d", c)
	}
	m.Timers = timer.NewWheel(m.Env, m.softirq)
	if m.Env.Arch == kernel.ARM32 { // what has to be mapped for an access costs that whether or not anybody watches
		m.Env.Linear = m.Linear
	}
	pool := m.pool()
	if m.Tlb, err = swiotlb.New(pool); err != nil {
		return err
	}
	m.bounceAt = [2]uint64{pool.Start, pool.Start + pool.Bytes}
	if pool.Growth != nil {
		m.bounceAt[0] = pool.Growth.Memory[0]
	}
	m.Direct = direct.New(m.Env, m.Tlb)
	if !m.Opt.Backend.HasIOMMU() {
		m.ops, err = m.provider()
		return err
	}
	m.nodes, m.magazines = m.MM.NewCache("iommu_iova", 40, 64), m.MM.NewCache("iommu_iova_magazine", 1024, 1024)
	m.Layer = iommudma.NewLayer()
	if m.Driver, err = m.driver(); err != nil {
		return err
	}
	m.Driver.Enable()
	return nil
}

// debug sets up the debug options that the platform has on.
func (m *Machine) debug() error {
	on := m.Env.Debug
	if on.DMAAPI {
		m.dmaDebug = dmadebug.New(m.Env, m.MM)
	}
	if on.KMSAN {
		m.shadow = kmsan.New(m.Env, m.MM)
	}
	if on.Trace {
		r, err := trace.New(m.Env, trace.RingBytes)
		if err != nil {
			return err
		}
		m.Env.Tracer = r
	}
	return nil
}

// iovaOrders is the key kernel.iova_cache_orders as kernel.Config wants it.
func iovaOrders(s *Spec) int {
	if s.Kernel.IOVAOrders == 0 {
		return -1
	}
	return int(s.Kernel.IOVAOrders)
}

// softirq runs an expired timer's function on CPU c at time at. Those that expire together run one after the other, as __run_timers
// calls them.
func (m *Machine) softirq(c int, at sim.Time, fn func(t *cpu.Thread)) {
	m.Eng.Go(fmt.Sprintf("cpu %d timer", c), func(p *sim.Proc) {
		p.SleepUntil(at)
		if l := &m.timerRuns[c]; !l.TryLock(p) {
			l.Wait(p)
		}
		defer m.timerRuns[c].Unlock(p)
		s := m.takeStream(c)
		t := cpu.NewThread(p, c, m.Cores[c], s)
		fn(t)
		t.Sync()
		m.softirqs[c] = append(m.softirqs[c], s)
	})
}

// takeStream returns a stream for a softirq on CPU c, one that an earlier softirq has finished with if there is one.
func (m *Machine) takeStream(c int) *cpu.Stream {
	if n := len(m.softirqs[c]); n > 0 {
		s := m.softirqs[c][n-1]
		m.softirqs[c] = m.softirqs[c][:n-1]
		return s
	}
	return m.stream(stackTop(c) - kernel.StackBytes)
}

// Device is a PCIe device with its driver-visible side.
type Device struct {
	RID  uint16
	Port *pcie.Port
	Ctx  *dma.Ctx
	// Cookie is the device's iommu-dma domain; nil where its addresses are not translated.
	Cookie *iommudma.Cookie

	m     *Machine
	tr    pcie.Translator // nil where addresses are not translated
	areas int             // allocated by AllocCoherent
	quiet *cpu.Stream
}

// io is the memory system as devices see it.
func (m *Machine) io() pcie.Memory {
	if !bool(m.Spec.PCIe.Coherent) {
		return m.Hier.Around()
	}
	return m.Hier
}

// window is the host bridge's 64-bit window, whose addresses no device behind it may be given (iova_reserve_pci_windows).
func (m *Machine) window() [2]uint64 {
	mem := &m.Spec.Memory
	return [2]uint64{uint64(mem.MMIOBase), uint64(mem.MMIOBase+mem.MMIOSize) - 1}
}

// AddDevice plugs in a device with a 64-bit DMA mask behind a root port of its own. Its errors are Unfit.
func (m *Machine) AddDevice(name string, rid uint16) (*Device, error) {
	d, err := m.addDevice(name, rid)
	return d, unfit(err)
}

func (m *Machine) addDevice(name string, rid uint16) (*Device, error) {
	d := &Device{RID: rid, m: m, quiet: m.stream(stackTop(0) - 2*kernel.StackBytes)}
	var tr pcie.Translator
	if m.Unit != nil {
		tr = m.Unit
	}
	d.tr = tr
	cfg := m.Spec.pcieConfig()
	if !m.translates() {
		cfg.DeviceTLB.Entries = 0 // nothing to ask
	}
	port, err := pcie.NewPort(cfg, tr, m.host())
	if err != nil {
		return nil, err
	}
	d.Port = port
	if tl := m.Eng.Timeline; tl != nil {
		port.Show(tl, "PCIe "+name)
	}
	dev := m.Env.NewDevice(name, rid, ^uint64(0))
	dev.NonCoherent = !bool(m.Spec.PCIe.Coherent)
	// The kernel is built with CONFIG_IOMMU_DMA, whether or not there is an IOMMU: dma_iova_try_alloc is there to decline.
	d.Ctx = &dma.Ctx{Env: m.Env, MM: m.MM, Dev: dev, Direct: m.Direct, Ops: m.ops, Debug: m.dmaDebug, KMSAN: m.shadow,
		IOMMU: iommudma.NewLayer()}
	if m.Unit == nil {
		return d, d.Ctx.Validate()
	}
	m.Unit.Drain(port)
	if m.Opt.Backend.Passthrough() {
		if err := m.Driver.AttachPassthrough(rid); err != nil {
			return nil, err
		}
		return d, d.Ctx.Validate()
	}
	dom, err := m.Driver.NewDomain(int(m.Spec.IOMMU.Levels))
	if err != nil {
		return nil, fmt.Errorf("iommu.levels is %d: %w", m.Spec.IOMMU.Levels, err)
	}
	if err := m.attach(d, dom); err != nil {
		return nil, err
	}
	d.Cookie, err = iommudma.New(iommudma.Config{Env: m.Env, Domain: dom, Lazy: m.lazy(), Nodes: m.nodes, Magazines: m.magazines,
		Timers: m.Timers, Reserved: append(slices.Clone(m.dialect.reserved), m.window()), Tlb: m.Tlb})
	if err != nil {
		return nil, err
	}
	m.Layer.Attach(dev, d.Cookie)
	d.Ctx.IOMMU = m.Layer
	return d, d.Ctx.Validate()
}

// translates reports whether devices' addresses are translated.
func (m *Machine) translates() bool { return m.Unit != nil && !m.Opt.Backend.Passthrough() }

// attach makes d use the domain; a device with a TLB of its own translates for itself.
func (m *Machine) attach(d *Device, dom *iommucore.Domain) error {
	if m.Spec.PCIe.DeviceTLB.Entries == 0 {
		return m.Driver.Attach(d.RID, dom)
	}
	a, ok := m.Driver.(iommucore.DeviceTLBs)
	if !ok {
		return fmt.Errorf("pcie.device_tlb.entries is %d: the driver of iommu.dialect %s does not invalidate devices' TLBs here; set it to 0", m.Spec.PCIe.DeviceTLB.Entries, m.dialect.name)
	}
	m.Unit.AttachTLB(d.RID, d.Port)
	return a.AttachATS(d.RID, dom)
}

// AllocCoherent allocates n bytes that driver and device share for the life of the device (dma_alloc_coherent): rings, PRP
// lists. It happens while the driver starts and costs no simulated time. It returns the virtual and the device's address.
func (d *Device) AllocCoherent(n int) (va, addr uint64, err error) {
	d.areas++
	order := 0
	for 4096<<order < n {
		order++
	}
	va = d.m.Env.Pages(order)
	phys := kernel.Phys(va)
	if d.Cookie == nil {
		return va, phys, nil
	}
	e := d.m.Do("coherent allocation", func(t *cpu.Thread) {
		addr, err = d.Cookie.Map(t, d.Ctx.Dev, phys, 4096<<order, kernel.Bidirectional, 0)
	})
	if e != nil {
		return 0, 0, e
	}
	return va, addr, err
}

// CoherentAreas returns how many times AllocCoherent was called: as many areas stay mapped for the life of the device.
func (d *Device) CoherentAreas() int { return d.areas }

// Invalidate lets the simulated IOMMU perform one page-selective invalidation and returns on t when it is complete, as
// the driver's polling sees it; the instructions of the driver are not executed.
func (d *Device) Invalidate(t *cpu.Thread) {
	if d.Cookie == nil {
		return
	}
	quiet := cpu.NewThread(t.Proc, t.CPU, nil, d.quiet)
	var g iommucore.Gather
	g.Init(quiet.SP())
	g.Start, g.End, g.PgSize = 0xfffff000, 0xffffffff, 4096
	d.Cookie.Domain().SyncTLB(quiet, &g)
}
