package delay

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

const file = "arch/x86/lib/delay.c"

var (
	fnConst  = cpu.NewFunc("__const_udelay", file, 72)
	fnDelay  = cpu.NewFunc("__delay", file, 24)
	fnHalt   = cpu.NewFunc("delay_halt", file, 104)
	fnMwaitx = cpu.NewFunc("delay_halt_mwaitx", file, 80)
)

// Delay is what udelay reads of the kernel's data.
type Delay struct {
	env  *kernel.Env
	lpj  uint64 // offset of cpu_info.loops_per_jiffy in the per-CPU area
	tss  uint64 // offset of cpu_tss_rw, the monitored line
	ptrs uint64 // delay_fn and delay_halt_fn
}

// New returns the delays of a kernel.
func New(env *kernel.Env) *Delay {
	return &Delay{env: env, lpj: env.PerCPU(64, 64), tss: env.PerCPU(64, 64), ptrs: env.Data(64)}
}

// Udelay emits udelay(us) and returns when it is over. The wait is charged to the caller's cause.
func (d *Delay) Udelay(t *cpu.Thread, us int, cause cpu.Stall) {
	t.Call(fnConst)
	t.Nop(2)
	l := t.Load(d.env.Cpu(d.lpj, t.CPU), t.ALU(2, 0))
	t.Branch(false, t.ALU(1, l))
	loops := t.Op(cpu.Mul, t.ALU(3, l))
	loops = t.ALU(2, loops)
	t.TailCall(fnDelay)
	t.Nop(2)
	fn := t.Load(d.ptrs, 0)
	t.TailCallInd(fnHalt, fn)
	t.Nop(2)
	t.Push(3)
	t.Branch(false, t.ALU(1, loops))
	start := d.rdtsc(t)
	for top, until := t.Here(), t.Now()+sim.Time(us)*sim.Microsecond; ; t.Back(top) {
		halt := t.Load(d.ptrs+8, 0)
		t.ALU(2, 0)
		t.CallInd(fnMwaitx, halt)
		t.Nop(2)
		t.Push(1)
		t.ALU(3, 0)
		tss := t.LoadOp(kernel.ThisCPUOff(d.env.Version, t.CPU), 0, 0)
		t.Mem(cpu.Load, d.env.Cpu(d.tss, t.CPU), 8, tss, 0) // monitorx
		t.ALU(3, 0)
		t.WaitUntil(cause, until) // mwaitx
		t.Pop(1)
		t.Ret()
		end := d.rdtsc(t)
		over := t.ALU(1, t.ALU2(start, end))
		done := t.Now() >= until
		t.Branch(done, over)
		if done {
			break
		}
		start = t.ALU(2, end)
	}
	t.Pop(3)
	t.Ret()
}

// rdtsc emits rdtsc_ordered, a fence and the reading (rdtscp is both in one): what went before has finished. It ends the
// segment, so the thread's time is the counter's.
func (d *Delay) rdtsc(t *cpu.Thread) cpu.Val {
	t.Serialize()
	v := t.Op(cpu.Sysreg, 0)
	v = t.ALU(2, v)
	t.Sync()
	return v
}
