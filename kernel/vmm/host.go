package vmm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/iommucore"
	"dmapath/sim"
)

const (
	fileVMX  = "arch/x86/kvm/vmx/vmx.c"
	fileX86  = "arch/x86/kvm/x86.c"
	fileQEMU = "hw/i386/intel_iommu.c (QEMU)"
	fileMem  = "system/memory.c (QEMU)"
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
	Base    uint64            // virtual address of the virtual unit's registers, as the guest's driver has it
	Cap     uint64            // capability registers of the unit that the virtual one resembles
	ECap    uint64
}

// New returns a host and the register window of the virtual unit.
func New(c Config) (*Host, *Window) {
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
	w := &Window{host: h, base: c.Base}
	w.set(regCAP, c.Cap|capCM)
	w.set(regECAP, c.ECap)
	return h, w
}

// xstateBytes is how much extended state is exchanged between guest and host user space: x87, SSE and AVX.
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

// The way from the guest to the device model and back.
var (
	down = []stage{
		{cpu.NewFunc("vmx_vcpu_run", fileVMX, 1400), 260, onVCPU},
		{cpu.NewFunc("vcpu_enter_guest", fileX86, 5200), 320, onVCPU},
		{cpu.NewFunc("vmx_handle_exit", fileVMX, 700), 110, onVCPU},
		{cpu.NewFunc("handle_ept_misconfig", fileVMX, 300), 60, onVCPU},
		{cpu.NewFunc("kvm_mmu_page_fault", "arch/x86/kvm/mmu/mmu.c", 1100), 180, onVCPU},
		{cpu.NewFunc("x86_decode_insn", "arch/x86/kvm/emulate.c", 3600), 420, onVCPU},
		{cpu.NewFunc("x86_emulate_insn", "arch/x86/kvm/emulate.c", 2800), 260, onVCPU},
		{cpu.NewFunc("emulator_read_write", fileX86, 700), 240, onVCPU},
		{cpu.NewFunc("kvm_io_bus_write", "virt/kvm/kvm_main.c", 500), 120, onVM},
	}
	out = []stage{
		{cpu.NewFunc("kvm_arch_vcpu_ioctl_run", fileX86, 2200), 220, onVCPU},
		{cpu.NewFunc("kvm_arch_vcpu_put", fileX86, 700), 160, onVCPU},
	}
	model = []stage{
		{cpu.NewFunc("kvm_cpu_exec", "accel/kvm/kvm-all.c (QEMU)", 1500), 180, onDevice},
		{cpu.NewFunc("address_space_rw", "system/physmem.c (QEMU)", 900), 260, onDevice},
		{cpu.NewFunc("flatview_do_translate", "system/physmem.c (QEMU)", 700), 180, onDevice},
		{cpu.NewFunc("memory_region_dispatch_write", fileMem, 900), 220, onDevice},
		{cpu.NewFunc("vtd_mem_write", fileQEMU, 1600), 90, onDevice},
	}
	in = []stage{
		{cpu.NewFunc("kvm_vcpu_ioctl", "virt/kvm/kvm_main.c", 1600), 150, onVCPU},
		{cpu.NewFunc("kvm_arch_vcpu_load", fileX86, 900), 220, onVCPU},
	}
	up = []stage{
		{cpu.NewFunc("complete_emulated_mmio", fileX86, 400), 70, onVCPU},
		{cpu.NewFunc("kvm_x86_vcpu_pre_run", fileX86, 900), 420, onVCPU},
		{cpu.NewFunc("vmx_prepare_switch_to_guest", fileVMX, 600), 120, onVCPU},
	}
	fnRun   = cpu.NewFunc("vcpu_run", fileX86, 900) // what belongs to no function below
	fnExit  = cpu.NewFunc("vmx_vmexit", "arch/x86/kvm/vmx/vmenter.S", 300)
	fnEntry = cpu.NewFunc("__vmx_vcpu_run", "arch/x86/kvm/vmx/vmenter.S", 300)
	fnState = cpu.NewFunc("fpu_swap_kvm_fpstate", "arch/x86/kernel/fpu/core.c", 500)
)

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

// guestRegisters is how many general registers the entry code saves and loads.
const guestRegisters = 15

// leaveGuest is the exit: the hardware's half, the guest's registers, the host's handling down to where no device of the kernel
// wants the access.
func (h *Host) leaveGuest(t *cpu.Thread) {
	t.Enter(fnExit)
	t.WaitUntil(cpu.StallMMIO, t.Now()+h.exit/2)
	for i := range guestRegisters {
		t.Store(h.vcpu[t.CPU][0]+uint64(i)*8, 0, 0)
	}
	t.ALU(20, 0)
	t.Op(cpu.Sysreg, 0) // speculation control
	t.Leave()
	for range 6 { // reads of the control structure
		t.Op(cpu.Sysreg, 0)
	}
	h.all(t, down)
}

// toUser leaves the kernel for the device model, with the extended state exchanged.
func (h *Host) toUser(t *cpu.Thread) {
	h.all(t, out)
	h.swapState(t)
	h.code(t, &stages[stSysret])
	t.Op(cpu.Sysreg, 0)
}

// toKernel is the ioctl by which the device model runs the guest again.
func (h *Host) toKernel(t *cpu.Thread) {
	t.Op(cpu.Sysreg, 0)
	h.code(t, &stages[stSyscall])
	h.all(t, in)
	h.swapState(t)
}

// enterGuest is the way from the ioctl to the guest's next instruction.
func (h *Host) enterGuest(t *cpu.Thread) {
	h.all(t, up)
	for range 4 {
		t.Op(cpu.Sysreg, 0)
	}
	t.Enter(fnEntry)
	for i := range guestRegisters {
		t.Load(h.vcpu[t.CPU][0]+uint64(i)*8, 0)
	}
	t.ALU(12, 0)
	t.WaitUntil(cpu.StallMMIO, t.Now()+h.exit-h.exit/2)
	t.Leave()
}

// swapState saves one extended state and restores the other.
func (h *Host) swapState(t *cpu.Thread) {
	t.Call(fnState)
	t.Nop(2)
	t.ALU(40, 0)
	area := h.fpu[t.CPU]
	t.StringSet(area, xstateBytes, 0) // xsave: stores of the whole area
	for off := uint64(0); off < xstateBytes; off += 64 {
		t.Load(area+off, 0) // xrstor
	}
	t.ALU(20, 0)
	t.Ret()
}

// dispatch takes the big lock and finds the virtual unit's handler.
func (h *Host) dispatch(t *cpu.Thread, write bool) {
	h.code(t, &model[0])
	t.Acquire(&h.lock, 0)
	h.all(t, model[1:])
}

func (h *Host) undispatch(t *cpu.Thread) {
	t.ALU(20, 0)
	t.Release(&h.lock, 0)
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
