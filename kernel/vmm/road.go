package vmm

import "dmapath/cpu"

const (
	fileVMX = "arch/x86/kvm/vmx/vmx.c"
	fileSVM = "arch/x86/kvm/svm/svm.c"
	fileX86 = "arch/x86/kvm/x86.c"
	fileArm = "arch/arm64/kvm/arm.c"
	fileHyp = "arch/arm64/kvm/hyp/vhe/switch.c"
	fileMem = "system/memory.c (QEMU)"
	fileKVM = "virt/kvm/kvm_main.c"
)

// road is the way from the guest to the device model and back on one kind of processor.
type road struct {
	exit, entry *cpu.Func // the assembly at the very border
	registers   int       // general registers that it saves and loads
	fields      int       // reads of what the hardware says about the exit
	down        []stage   // from the exit to where no device of the kernel wants the access
	out         []stage   // to the return of the ioctl
	state       *cpu.Func // exchanges the extended state
	in          []stage   // the ioctl by which the device model runs the guest again
	up          []stage   // to the entry
}

// Functions that belong to no processor.
var (
	fnRun = cpu.NewFunc("vcpu_run", fileX86, 900) // what belongs to no function below
	model = []stage{                              // of the device model, before the device's own handler; the first runs without the big lock
		{cpu.NewFunc("kvm_cpu_exec", "accel/kvm/kvm-all.c (QEMU)", 1500), 180, onDevice},
		{cpu.NewFunc("address_space_rw", "system/physmem.c (QEMU)", 900), 260, onDevice},
		{cpu.NewFunc("flatview_do_translate", "system/physmem.c (QEMU)", 700), 180, onDevice},
		{cpu.NewFunc("memory_region_dispatch_write", fileMem, 900), 220, onDevice},
	}
	fnBus   = cpu.NewFunc("kvm_io_bus_write", fileKVM, 500)
	fnIoctl = cpu.NewFunc("kvm_vcpu_ioctl", fileKVM, 1600)
)

// x86Down are the functions behind the exit handler on x86-64: the instruction is decoded and emulated.
func x86Down(first ...stage) []stage {
	return append(first,
		stage{fnFault, 180, onVCPU},
		stage{fnDecode, 420, onVCPU},
		stage{fnEmulate, 260, onVCPU},
		stage{fnReadWrite, 240, onVCPU},
		stage{fnBus, 120, onVM})
}

var (
	fnFault     = cpu.NewFunc("kvm_mmu_page_fault", "arch/x86/kvm/mmu/mmu.c", 1100)
	fnDecode    = cpu.NewFunc("x86_decode_insn", "arch/x86/kvm/emulate.c", 3600)
	fnEmulate   = cpu.NewFunc("x86_emulate_insn", "arch/x86/kvm/emulate.c", 2800)
	fnReadWrite = cpu.NewFunc("emulator_read_write", fileX86, 700)
	fnEnter     = cpu.NewFunc("vcpu_enter_guest", fileX86, 5200)

	x86Out = []stage{
		{cpu.NewFunc("kvm_arch_vcpu_ioctl_run", fileX86, 2200), 220, onVCPU},
		{cpu.NewFunc("kvm_arch_vcpu_put", fileX86, 700), 160, onVCPU},
	}
	x86In = []stage{
		{fnIoctl, 150, onVCPU},
		{cpu.NewFunc("kvm_arch_vcpu_load", fileX86, 900), 220, onVCPU},
	}
	fnComplete = cpu.NewFunc("complete_emulated_mmio", fileX86, 400)
	fnPreRun   = cpu.NewFunc("kvm_x86_vcpu_pre_run", fileX86, 900)
	fnFPU      = cpu.NewFunc("fpu_swap_kvm_fpstate", "arch/x86/kernel/fpu/core.c", 500)
)

// vmxRoad is Intel's, svmRoad AMD's: the same counts, which are guesses, under other names.
var (
	vmxRoad = road{
		exit: cpu.NewFunc("vmx_vmexit", "arch/x86/kvm/vmx/vmenter.S", 300), entry: cpu.NewFunc("__vmx_vcpu_run", "arch/x86/kvm/vmx/vmenter.S", 300),
		registers: 15, fields: 6, state: fnFPU, out: x86Out, in: x86In,
		down: x86Down(
			stage{cpu.NewFunc("vmx_vcpu_run", fileVMX, 1400), 260, onVCPU},
			stage{fnEnter, 320, onVCPU},
			stage{cpu.NewFunc("vmx_handle_exit", fileVMX, 700), 110, onVCPU},
			stage{cpu.NewFunc("handle_ept_misconfig", fileVMX, 300), 60, onVCPU}),
		up: []stage{{fnComplete, 70, onVCPU}, {fnPreRun, 420, onVCPU}, {cpu.NewFunc("vmx_prepare_switch_to_guest", fileVMX, 600), 120, onVCPU}},
	}
	svmRoad = road{
		exit: cpu.NewFunc("svm_vmexit", "arch/x86/kvm/svm/vmenter.S", 300), entry: cpu.NewFunc("__svm_vcpu_run", "arch/x86/kvm/svm/vmenter.S", 300),
		registers: 15, fields: 6, state: fnFPU, out: x86Out, in: x86In,
		down: x86Down(
			stage{cpu.NewFunc("svm_vcpu_run", fileSVM, 1400), 260, onVCPU},
			stage{fnEnter, 320, onVCPU},
			stage{cpu.NewFunc("svm_handle_exit", fileSVM, 700), 110, onVCPU},
			stage{cpu.NewFunc("npf_interception", fileSVM, 300), 60, onVCPU}),
		up: []stage{{fnComplete, 70, onVCPU}, {fnPreRun, 420, onVCPU}, {cpu.NewFunc("svm_prepare_switch_to_guest", fileSVM, 600), 120, onVCPU}},
	}
)

// armRoad is arm64's with virtualisation host extensions: the syndrome register describes the access, so nothing is decoded.
var armRoad = road{
	exit: cpu.NewFunc("__guest_exit", "arch/arm64/kvm/hyp/entry.S", 300), entry: cpu.NewFunc("__guest_enter", "arch/arm64/kvm/hyp/entry.S", 300),
	registers: 31, fields: 8, state: cpu.NewFunc("fpsimd_save_state", "arch/arm64/kernel/entry-fpsimd.S", 200),
	down: []stage{
		{cpu.NewFunc("__kvm_vcpu_run_vhe", fileHyp, 1100), 230, onVCPU},
		{cpu.NewFunc("kvm_arch_vcpu_ioctl_run", fileArm, 2600), 260, onVCPU},
		{cpu.NewFunc("handle_exit", "arch/arm64/kvm/handle_exit.c", 500), 60, onVCPU},
		{cpu.NewFunc("kvm_handle_guest_abort", "arch/arm64/kvm/mmu.c", 1800), 150, onVCPU},
		{cpu.NewFunc("io_mem_abort", "arch/arm64/kvm/mmio.c", 700), 160, onVCPU},
		{fnBus, 120, onVM},
	},
	out: []stage{{cpu.NewFunc("kvm_arch_vcpu_put", fileArm, 700), 240, onVCPU}},
	in: []stage{
		{fnIoctl, 150, onVCPU},
		{cpu.NewFunc("kvm_arch_vcpu_load", fileArm, 900), 320, onVCPU},
	},
	up: []stage{
		{cpu.NewFunc("kvm_handle_mmio_return", "arch/arm64/kvm/mmio.c", 400), 60, onVCPU},
		{cpu.NewFunc("kvm_vgic_flush_hwstate", "arch/arm64/kvm/vgic/vgic.c", 900), 180, onVCPU},
		{cpu.NewFunc("kvm_timer_vcpu_load", "arch/arm64/kvm/arch_timer.c", 600), 120, onVCPU},
	},
}

// leaveGuest is the exit: the hardware's half, the guest's registers, the host's handling down to where no device of the kernel
// wants the access.
func (h *Host) leaveGuest(t *cpu.Thread) {
	t.Enter(h.road.exit)
	t.WaitUntil(cpu.StallMMIO, t.Now()+h.exit/2)
	for i := range h.road.registers {
		t.Store(h.vcpu[t.CPU][i/8]+uint64(i%8)*8, 0, 0)
	}
	t.ALU(20, 0)
	t.Op(cpu.Sysreg, 0) // speculation control
	t.Leave()
	for range h.road.fields { // of the control structure, or system registers
		t.Op(cpu.Sysreg, 0)
	}
	h.all(t, h.road.down)
}

// toUser leaves the kernel for the device model, with the extended state exchanged.
func (h *Host) toUser(t *cpu.Thread) {
	h.all(t, h.road.out)
	h.swapState(t)
	h.code(t, &stages[stSysret])
	t.Op(cpu.Sysreg, 0)
}

// toKernel is the ioctl by which the device model runs the guest again.
func (h *Host) toKernel(t *cpu.Thread) {
	t.Op(cpu.Sysreg, 0)
	h.code(t, &stages[stSyscall])
	h.all(t, h.road.in)
	if t.ISA != cpu.A64 { // arm64 loads the guest's when the guest first uses it
		h.swapState(t)
	}
}

// enterGuest is the way from the ioctl to the guest's next instruction.
func (h *Host) enterGuest(t *cpu.Thread) {
	h.all(t, h.road.up)
	for range 4 {
		t.Op(cpu.Sysreg, 0)
	}
	t.Enter(h.road.entry)
	for i := range h.road.registers {
		t.Load(h.vcpu[t.CPU][i/8]+uint64(i%8)*8, 0)
	}
	t.ALU(12, 0)
	t.WaitUntil(cpu.StallMMIO, t.Now()+h.exit-h.exit/2)
	t.Leave()
}

// swapState saves one extended state and restores the other.
func (h *Host) swapState(t *cpu.Thread) {
	t.Call(h.road.state)
	t.Nop(2)
	t.ALU(40, 0)
	area := h.fpu[t.CPU]
	if t.ISA == cpu.A64 {
		for off := uint64(0); off < 512; off += 32 {
			t.StorePair(area+off, 0, 0)
			t.StorePair(area+off+16, 0, 0)
		}
		t.Ret()
		return
	}
	t.StringSet(area, xstateBytes, 0) // xsave: stores of the whole area
	for off := uint64(0); off < xstateBytes; off += 64 {
		t.Load(area+off, 0) // xrstor
	}
	t.ALU(20, 0)
	t.Ret()
}

// dispatch takes the big lock and finds the virtual device's handler, which is called next.
func (h *Host) dispatch(t *cpu.Thread, handler []stage) {
	h.code(t, &model[0])
	t.Acquire(&h.lock, 0)
	h.all(t, model[1:])
	h.all(t, handler)
}

func (h *Host) undispatch(t *cpu.Thread) {
	t.ALU(20, 0)
	t.Release(&h.lock, 0)
}

// handle is one access of the running guest: everything from the exit of the guest to its entry, with body in between, in the device model
// under its big lock.
func (h *Host) handle(t *cpu.Thread, handler []stage, body func()) {
	h.Exits++
	t.Enter(fnRun)
	h.leaveGuest(t)
	h.toUser(t)
	h.dispatch(t, handler)
	body()
	h.undispatch(t)
	h.toKernel(t)
	h.enterGuest(t)
	t.Leave()
}
