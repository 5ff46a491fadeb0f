package kernel

import "dmapath/cpu"

// What arm64 keeps in struct task_struct, which sp_el0 points to, and x86 in per-CPU variables. The running task's structure lies in
// the per-CPU window here, as the stacks do.
const (
	taskStruct  = 0x1400 // line aligned
	taskPreempt = 8      // thread_info.preempt_count; the 8 bytes there hold need_resched as well
	taskGuard12 = 0x480 + 40
	taskGuard73 = 0x480 + 32
)

// TaskPreempt returns the address of the running task's preemption count on CPU c: 4 bytes, or 8 with need_resched.
func TaskPreempt(c int) uint64 { return perCPU(taskStruct+taskPreempt, c) }

// TaskGuard returns the address of the running task's stack canary on CPU c.
func TaskGuard(v Version, c int) uint64 {
	if v == V7_3 {
		return perCPU(taskStruct+taskGuard73, c)
	}
	return perCPU(taskStruct+taskGuard12, c)
}

// PreemptDisableArm emits preempt_disable of 7.3 on arm64: 4 instructions.
func PreemptDisableArm(t *cpu.Thread) {
	va := TaskPreempt(t.CPU)
	task := t.Op(cpu.Sysreg, 0)
	n := t.Mem(cpu.Load, va, 4, task, 0)
	t.Mem(cpu.Store, va, 4, task, t.ALU(1, n))
}

// CheckGuard emits the end of a function with a stack protector on arm64: the canary that it stored off bytes above the stack
// pointer against the task's. 6 instructions.
func CheckGuard(t *cpu.Thread, v Version, off int) {
	task := t.Op(cpu.Sysreg, 0)
	t.StackLoad(off)
	guard := t.Load(TaskGuard(v, t.CPU), task)
	t.ALU(2, guard)
	t.Branch(false, guard)
}
