package vmm

import (
	"dmapath/cpu"
	"dmapath/iommu/table"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/sim"
)

const (
	fileQEMU = "hw/i386/intel_iommu.c (QEMU)"
	fileVFIO = "drivers/vfio/vfio_iommu_type1.c"
)

// Host is what runs on a core while its guest has exited: KVM, the device model and VFIO, over the host's own IOMMU driver.
type Host struct {
	// Exits counts accesses of the guest to the virtual unit, Invalidations the IOTLB descriptors among what they asked for,
	// Maps and Unmaps what the device model told VFIO.
	Exits, Invalidations, Maps, Unmaps uint64

	env     *kernel.Env
	adapter iommucore.Adapter // the host's driver
	levels  int
	exit    sim.Time
	road    *road
	shadows []*shadow
	lock    cpu.LockWord // the big lock of the device model
	gathers []iommucore.Gather

	vcpu [][]uint64 // per CPU: lines of struct kvm_vcpu and of the emulator's context
	fpu  []uint64   // per CPU: the area where the extended state is saved
	vm   []uint64   // lines of struct kvm and its buses
	dev  []uint64   // lines of the device model: memory regions, the unit's state, its trees
	vfio []uint64   // lines of struct vfio_iommu, its trees, accounting
}

// Config says what a Host stands on.
type Config struct {
	Env     *kernel.Env       // the host's kernel, with memory of its own
	Adapter iommucore.Adapter // its IOMMU driver, on the real unit
	Levels  int               // of the host's domains
	Exit    sim.Time          // the hardware's part of leaving a guest and entering it again
	SVM     bool              // an AMD processor: names the functions of KVM
	Base    uint64            // virtual address of the virtual unit's registers, as the guest's driver has it
	Cap     uint64            // VT-d: capability registers of the unit that the virtual one resembles
	ECap    uint64
	RAM     []Range // virtio-iommu: what a device sees whose domain bypasses
}

// Range is physical memory of the guest.
type Range struct{ Start, Bytes uint64 }

// New returns a host and the register window of a virtual VT-d unit.
func New(c Config) (*Host, *Window) {
	h := newHost(c)
	w := &Window{host: h, base: c.Base}
	w.set(table.RegCAP, c.Cap|capCM)
	w.set(table.RegECAP, c.ECap)
	return h, w
}

func newHost(c Config) *Host {
	h := &Host{env: c.Env, adapter: c.Adapter, levels: c.Levels, exit: c.Exit, gathers: make([]iommucore.Gather, max(c.Env.CPUs, 1))}
	lines := func(n int) (l []uint64) {
		base := c.Env.Slab(n*64, 64)
		for i := range n {
			l = append(l, base+uint64(i)*64)
		}
		return l
	}
	for range max(c.Env.CPUs, 1) {
		h.vcpu = append(h.vcpu, lines(40))
		h.fpu = append(h.fpu, c.Env.Slab(xstateBytes, 64))
	}
	h.vm, h.dev, h.vfio = lines(12), lines(48), lines(16)
	h.lock.VA, h.lock.Name = c.Env.Slab(64, 64), "bql"
	switch {
	case c.Env.Arch.ISA() == cpu.A64:
		h.road = &armRoad
	case c.SVM:
		h.road = &svmRoad
	default:
		h.road = &vmxRoad
	}
	return h
}

// xstateBytes is how much extended state is exchanged between guest and host user space: x87, SSE and AVX; on arm64 the vector registers take less.
const xstateBytes = 832

// stage is a function of the host whose body is not modelled step by step. The counts are guesses, made while reading.
type stage struct {
	f    *cpu.Func
	n    int // instructions
	objs objects
}

// objects says on whose lines a stage works.
type objects uint8

const (
	onVCPU objects = iota
	onVM
	onDevice
	onVFIO
)

// Stages that other files name.
const (
	stDesc = iota
	stIOTLB
	stWait
	stContext
	stWalk
	stOne
	stMapNotify
	stUnmapNotify
	stSyscall
	stSysret
	stVFIOMap
	stVFIOUnmap
	stPin
	stUnpin
)

var stages = [...]stage{
	stDesc:        {cpu.NewFunc("vtd_fetch_inv_desc", fileQEMU, 500), 260, onDevice},
	stIOTLB:       {cpu.NewFunc("vtd_process_iotlb_desc", fileQEMU, 900), 320, onDevice},
	stWait:        {cpu.NewFunc("vtd_process_wait_desc", fileQEMU, 500), 240, onDevice},
	stContext:     {cpu.NewFunc("vtd_dev_to_context_entry", fileQEMU, 700), 300, onDevice},
	stWalk:        {cpu.NewFunc("vtd_page_walk", fileQEMU, 300), 90, onDevice},
	stOne:         {cpu.NewFunc("vtd_page_walk_one", fileQEMU, 500), 150, onDevice},
	stMapNotify:   {cpu.NewFunc("vfio_iommu_map_notify", "hw/vfio/listener.c (QEMU)", 900), 420, onDevice},
	stUnmapNotify: {cpu.NewFunc("vfio_iommu_unmap_notify", "hw/vfio/listener.c (QEMU)", 900), 220, onDevice},
	stSyscall:     {cpu.NewFunc("entry_SYSCALL_64", "arch/x86/entry/entry_64.S", 400), 110, onVFIO},
	stSysret:      {cpu.NewFunc("syscall_exit_to_user_mode", "kernel/entry/common.c", 400), 90, onVFIO},
	stVFIOMap:     {cpu.NewFunc("vfio_iommu_type1_map_dma", fileVFIO, 1600), 620, onVFIO},
	stVFIOUnmap:   {cpu.NewFunc("vfio_iommu_type1_unmap_dma", fileVFIO, 1600), 480, onVFIO},
	stPin:         {cpu.NewFunc("vfio_pin_pages_remote", fileVFIO, 1800), 900, onVFIO},
	stUnpin:       {cpu.NewFunc("vfio_unpin_pages_remote", fileVFIO, 500), 240, onVFIO},
}

func (h *Host) code(t *cpu.Thread, s *stage) {
	var objs []uint64
	switch s.objs {
	case onVCPU:
		objs = h.vcpu[t.CPU]
	case onVM:
		objs = h.vm
	case onDevice:
		objs = h.dev
	case onVFIO:
		objs = h.vfio
	}
	kernel.Code(t, s.f, s.n, objs...)
}

func (h *Host) all(t *cpu.Thread, l []stage) {
	for i := range l {
		h.code(t, &l[i])
	}
}

// load is a read of guest memory by the device model (dma_memory_read).
func (h *Host) load(t *cpu.Thread, pa uint64) uint64 {
	t.ALU(3, 0)
	t.Load(kernel.Virt(pa), t.Last())
	return h.env.Mem.Read64(pa)
}

// store32 is the write of a status word.
func (h *Host) store32(t *cpu.Thread, pa uint64, v uint32) {
	t.ALU(3, 0)
	t.Mem(cpu.Store, kernel.Virt(pa), 4, t.Last(), 0)
	sh := pa & 4 * 8
	w := h.env.Mem.Read64(pa &^ 7)
	h.env.Mem.Write64(pa&^7, w&^(0xffffffff<<sh)|uint64(v)<<sh)
}

// gather returns the gather on the stack of vfio_unmap_unpin.
func (h *Host) gather(t *cpu.Thread) *iommucore.Gather { return &h.gathers[t.CPU] }
