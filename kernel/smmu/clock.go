package smmu

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	fnKtimeGet    = cpu.NewFunc("ktime_get", "kernel/time/timekeeping.c", 220)
	fnCounterRead = cpu.NewFunc("arch_counter_read", "drivers/clocksource/arm_arch_timer.c", 48)
	fnCntvct      = cpu.NewFunc("arch_counter_get_cntvct", "drivers/clocksource/arm_arch_timer.c", 28)
)

// clock are the lines that ktime_get loads.
type clock struct {
	suspended uint64 // timekeeping_suspended
	core      uint64 // tk_core: sequence count, clock source, base
	source    uint64 // struct clocksource: read, mask
	counter   uint64 // arch_timer_read_counter
}

func newClock(env *kernel.Env) clock {
	return clock{env.Data(64) + 4, env.Data(64), env.Data(128), env.Data(64) + 40}
}

// ktimeGet emits ktime_get: 40 instructions on 6.12, 41 on 7.3, without those of the counter it reads.
func (u *Unit) ktimeGet(t *cpu.Thread) {
	k := u.clock
	enter(t, fnKtimeGet, true)
	t.ALU(1, 0)
	t.Nop(1)
	open(t, 48, 2)
	t.ALU(1, 0)
	s := load4(t, k.suspended, 0)
	t.StackStore(32, 0)
	t.Branch(false, s)
	t.ALU(2, 0)
	if u.Env.Version == kernel.V6_12 {
		t.Jump()
	}
	seq := load4(t, k.core, 0)
	t.Branch(false, seq)
	src := t.Load(k.core+8, 0)
	base := t.Load(k.core+48, 0)
	u.counterRead(t, t.Load(k.source+24, src))
	tk := t.LoadPair(k.core+8, 0)
	last := t.Load(k.core+24, 0)
	t.ALU(1, last)
	mask := t.Load(k.source+64, tk)
	delta := t.ALU(2, mask)
	t.Branch(false, delta)
	nsec := t.Load(k.core+40, 0)
	mult := t.Mem(cpu.Load, k.core+32, 8, 0, 0)
	ns := t.Mem(cpu.Mul, 0, 0, mult, delta)
	if u.Env.Version == kernel.V7_3 {
		t.ALU(1, nsec)
		t.Branch(false, t.Last())
	}
	ns = t.ALU(1, ns)
	t.Op(cpu.Fence, 0)
	again := t.ALU(1, load4(t, k.core, 0))
	t.Branch(false, again)
	t.LoadPair(t.SP()+16, 0)
	t.ALU2(ns, base)
	t.StackLoad(32)
	shut(t, 48, 1)
}

// counterRead is arch_counter_read through the clock source's pointer: it reads the virtual counter behind an isb.
func (u *Unit) counterRead(t *cpu.Thread, target cpu.Val) {
	enterInd(t, fnCounterRead, target, false)
	t.ALU(1, 0)
	open(t, 16, 1)
	t.ALU(1, 0)
	t.CallInd(fnCntvct, t.Load(u.clock.counter, 0))
	t.Serialize()
	c := t.Op(cpu.Sysreg, 0)
	t.ALU(2, c)
	t.StackLoad(0) // orders the read before what follows
	t.Ret()
	shut(t, 16, 1)
}
