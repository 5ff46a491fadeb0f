package platform

import (
	"errors"
	"fmt"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
	"dmapath/sim"
)

// Backend is what stands behind the DMA API for a device.
type Backend string

// Backends.
const (
	Direct           Backend = "direct"            // no IOMMU: dma-direct
	IommuStrict      Backend = "iommu-strict"      // iommu.strict=1
	IommuLazy        Backend = "iommu-lazy"        // iommu.strict=0: flush queue
	IommuPassthrough Backend = "iommu-passthrough" // iommu.passthrough=1: dma-direct behind an IOMMU that passes addresses
	// A guest with a virtio-iommu and a device of its own; the platform's IOMMU is the host's.
	ViommuStrict      Backend = "viommu-strict"
	ViommuLazy        Backend = "viommu-lazy"
	ViommuPassthrough Backend = "viommu-passthrough" // the guest's domain bypasses, and the host maps all its memory
	SwiotlbForce      Backend = "swiotlb-force"      // swiotlb=force: dma-direct, and every mapping bounces
	OpsGart           Backend = "ops-gart"           // dma_map_ops: AMD's GART with iommu=force; no device behind it
	OpsGrant          Backend = "ops-grant"          // dma_map_ops: grants to another Xen domain; no device behind it
)

// Backends lists them in the order of tables.
var Backends = []Backend{Direct, IommuStrict, IommuLazy, IommuPassthrough, ViommuStrict, ViommuLazy, ViommuPassthrough, SwiotlbForce, OpsGart, OpsGrant}

// Provider reports whether b maps by a table of functions of the device (package mapops). The hardware or hypervisor that would translate is
// not modelled: a device cannot use such an address.
func (b Backend) Provider() bool { return b == OpsGart || b == OpsGrant }

// HasIOMMU reports whether the machine has an IOMMU.
func (b Backend) HasIOMMU() bool {
	return b == IommuStrict || b == IommuLazy || b == IommuPassthrough || b.Virtio()
}

// Virtio reports whether the kernel is a guest with a virtio-iommu.
func (b Backend) Virtio() bool {
	return b == ViommuStrict || b == ViommuLazy || b == ViommuPassthrough
}

// Lazy reports whether invalidations are asked to be deferred, Passthrough whether the kernel gives devices physical addresses behind an IOMMU.
func (b Backend) Lazy() bool        { return b == IommuLazy || b == ViommuLazy }
func (b Backend) Passthrough() bool { return b == IommuPassthrough || b == ViommuPassthrough }

// Translates reports whether a device's DMA operations are iommu-dma or a provider of its own, and not dma-direct.
func (b Backend) Translates() bool { return b != Direct && b != SwiotlbForce && !b.Passthrough() }

// Options is what of a machine belongs to the run and not to the platform.
type Options struct {
	Version kernel.Version
	Backend Backend
	CPUs    int    // cores simulated, 1 to the platform's
	Seed    uint64 // of everything random in the machine itself
	// P2PDMA builds the kernel with CONFIG_PCI_P2PDMA, as Debian builds 7.3 and not 6.12.
	P2PDMA bool
	// Stacks accounts kernel functions by their callers (cpu.Stream.Stacks): for profiles. Such machines run one after the other.
	Stacks bool
	// Extra is memory beside what the platform has: hot-plugged RAM, BARs with and without struct pages, RAM outside of the
	// linear map. It must not overlap the platform's.
	Extra mm.MemoryMap
}

// Machine is a whole simulated machine with a booted kernel, ready for devices. One run uses it; it is not safe for concurrent
// use.
type Machine struct {
	Spec  *Spec
	Opt   Options
	Eng   *sim.Engine
	Clock sim.Clock // of the cores
	Hier  *cache.Hierarchy
	Cores []*cpu.Core
	Mem   *cache.Memory
	Unit  iommu.Unit // nil without an IOMMU
	Env   *kernel.Env
	Parts // the kernel's parts

	dialect  *dialect  // nil without an IOMMU
	reserved [2]uint64 // physical range that holds the kernel's own objects
	routes   *rootComplex
	bounceAt [2]uint64 // physical range of the bounce pools, also of those that may be added
}

// kernelBytes is how much RAM is set aside for the kernel's static data, slabs and page tables.
const kernelBytes = 1 << 30

// Build assembles the machine that s describes and boots its kernel. Its errors are Unfit.
func Build(s *Spec, o Options) (*Machine, error) {
	m, err := build(s, o)
	return m, unfit(err)
}

// Fits says why the platform cannot have a device on a backend of a kernel; nil when it can. Its errors are Unfit.
func (s *Spec) Fits(v kernel.Version, b Backend) error {
	m, err := Build(s, Options{Version: v, Backend: b, CPUs: 1, Seed: 1})
	if err == nil {
		_, err = m.AddDevice("0000:01:00.0", 0x0100)
	}
	return err
}

func build(s *Spec, o Options) (*Machine, error) {
	if o.CPUs < 1 || o.CPUs > int(s.CPU.Cores) {
		return nil, fmt.Errorf("cpus is %d: allowed are 1 to %d, the cores of %s", o.CPUs, s.CPU.Cores, s.Name)
	}
	if err := s.CheckBackend(o.Backend); err != nil {
		return nil, err
	}
	cc := s.coreConfig()
	clock, err := sim.NewClock(cc.Hz)
	if err != nil {
		return nil, err
	}
	m := &Machine{Spec: s, Opt: o, Eng: sim.NewEngine(), Clock: clock, Mem: cache.NewMemory()}
	m.Mem.WatchLines(int(s.Cache.LLC.Line))
	hc, err := s.cacheConfig(o.CPUs, clock)
	if err != nil {
		return nil, err
	}
	if m.Hier, err = cache.New(hc); err != nil {
		return nil, err
	}
	space := m.space()
	var errs []error
	for i := range o.CPUs {
		c, err := cpu.NewCore(i, cc, m.Hier, space)
		if err != nil {
			errs = append(errs, err)
			break
		}
		m.Cores = append(m.Cores, c)
	}
	if o.Backend.HasIOMMU() {
		if m.dialect, err = s.dialect(); err == nil {
			m.Unit, err = m.dialect.hardware(m)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	n := uint64(kernelBytes)
	if bool(s.IOMMU.Trapped) || o.Backend.Virtio() {
		n *= 2 // the host's above the guest's
	}
	base := s.RAMEnd() - n // at the top, where memblock allocates from
	m.reserved = [2]uint64{base, base + n}
	return m, m.boot()
}

// What the virtual memory of the simulated kernel has room for: the direct map of 4-level paging, and the struct pages of what lies below
// vmemmapReach.
const (
	directMapBytes = 64 << 40
	vmemmapReach   = (cpu.PerCPUBase - cpu.VmemmapBase) / 64 * 4096
)

// space lays out the kernel's virtual memory; see cpu.Space.
func (m *Machine) space() *cpu.Space {
	mem := &m.Spec.Memory
	top := uint64(mem.HoleTop) + uint64(mem.RAM)
	return cpu.NewSpace([]cpu.Region{
		{Name: "direct map", VBase: cpu.DirectMapBase, Size: directMapBytes, PageShift: shiftOf(mem.DirectMap)},
		{Name: "vmemmap", VBase: cpu.VmemmapBase, Size: max(uint64(mem.MMIOBase)+uint64(mem.MMIOSize), top) >> 12 * 64, PBase: vmemmapPhys, PageShift: shiftOf(mem.VMemmap)},
		{Name: "per-CPU areas", VBase: cpu.PerCPUBase, Size: 1 << 34, PBase: percpuPhys, PageShift: 21},
		{Name: "kernel text", VBase: cpu.TextBase &^ (1<<30 - 1), Size: 1 << 30, PBase: 0, PageShift: shiftOf(mem.Text)},
		{Name: "registers", VBase: cpu.MMIOBase, Size: 1 << 30, PBase: regsPhys, PageShift: 12, Uncached: true},
	})
}

// stackTop is where the stack of CPU c's thread starts; stacks of kernel threads lie in vmalloc space, 16 KiB each, and
// here in the per-CPU window.
func stackTop(c int) uint64 {
	return cpu.PerCPUBase + 1<<33 + uint64(c+1)*4*kernel.StackBytes - 192
}

// StackTop returns where the stack of CPU c's thread starts.
func (m *Machine) StackTop(c int) uint64 { return stackTop(c) }

// stream returns a stream of the kernel's instruction set whose stack starts at top.
func (m *Machine) stream(top uint64) *cpu.Stream {
	s := cpu.NewStream(top, m.Env.Mitigation)
	s.ISA = m.Env.Arch.ISA()
	s.Stacks = m.Opt.Stacks
	return s
}

// Spawn starts body on CPU c at the current time.
func (m *Machine) Spawn(c int, name string, body func(t *cpu.Thread)) {
	s := m.stream(stackTop(c))
	m.Eng.Go(name, func(p *sim.Proc) { body(cpu.NewThread(p, c, m.Cores[c], s)) })
}

// Do runs body to its end on CPU 0 without timing what it executes: boot, set-up.
func (m *Machine) Do(name string, body func(t *cpu.Thread)) error {
	s := m.stream(stackTop(0))
	m.Eng.Go(name, func(p *sim.Proc) {
		body(cpu.NewThread(p, 0, nil, s))
		m.Eng.Stop()
	})
	return m.Run()
}

// Settle lets time catch up with what was timed on the cores before the run, so that the run starts on idle cores.
func (m *Machine) Settle() error {
	m.Eng.Go("settle", func(p *sim.Proc) {
		for _, c := range m.Cores {
			p.SleepUntil(c.Drained())
		}
		m.Eng.Stop()
	})
	return m.Run()
}

// LookUpMemory asks pfn_valid() on every CPU once for each section of RAM, as a machine that has been up for a while has: otherwise the
// first look at each section's tables, which comes once in a machine's life, would be among the few calls that a run measures. What
// of the tables stays in which cache is up to the caches, and to what happens between the calls.
func (m *Machine) LookUpMemory() error {
	left := len(m.Cores)
	for c := range m.Cores {
		m.Spawn(c, "look up memory", func(t *cpu.Thread) {
			for _, r := range m.MM.Memory().Map {
				if r.Kind != mm.RAM {
					continue
				}
				for at := r.Start; at < r.End(); at = at&^(mm.SectionSize-1) + mm.SectionSize {
					m.MM.PfnValid(t, at>>12, 0)
					t.Sync()
				}
			}
			if left--; left == 0 {
				m.Eng.Stop()
			}
		})
	}
	return m.Run()
}

// Run executes events until a workload stops the engine. When nothing can happen any more although somebody waits, the error
// says who waits for whom.
func (m *Machine) Run() error { return m.Eng.Run(sim.Never) }

// Close ends everything that still runs.
func (m *Machine) Close() { m.Eng.Close() }
