package timer

import (
	"fmt"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/sim"
)

// Jiffy is the period of the tick of both Debian kernels: CONFIG_HZ=250.
const Jiffy = 4 * sim.Millisecond

// Runner lets fn run at time at on CPU c, in softirq or worker context, as a process of the engine.
type Runner func(c int, at sim.Time, fn func(t *cpu.Thread))

// Wheel is the timer bases of all CPUs.
type Wheel struct {
	env    *kernel.Env
	run    Runner
	base   uint64 // per-CPU offset of timer_bases
	bucket uint64 // offset of the bucket heads used
	jif    uint64 // jiffies
	offs   uint64 // __per_cpu_offset, an array
	house  uint64 // housekeeping flags
	bases  []base
}

// base is one CPU's struct timer_base.
type base struct {
	lock cpu.LockWord
	clk  sim.Time   // the jiffy that the wheel has been turned to
	due  []sim.Time // expiries of the timers that are pending
}

// earliest reports whether a timer that expires at x would be the next one.
func (b *base) earliest(x sim.Time) bool {
	for _, d := range b.due {
		if d <= x {
			return false
		}
	}
	return true
}

func (b *base) done(x sim.Time) {
	for i, d := range b.due {
		if d == x {
			b.due = append(b.due[:i], b.due[i+1:]...)
			return
		}
	}
}

// NewWheel returns the wheel of a kernel. run is called to let an expired timer's function run; nil never runs any.
func NewWheel(env *kernel.Env, run Runner) *Wheel {
	w := &Wheel{env: env, run: run, base: env.PerCPU(256, 64), jif: env.Data(64), offs: env.Data(64 + 8*env.CPUs),
		house: env.Data(64)}
	w.bucket = w.base + 128
	w.bases = make([]base, max(env.CPUs, 1))
	for c := range w.bases {
		w.bases[c].lock.VA = env.Cpu(w.base, c)
		w.bases[c].lock.Name = "timer base lock"
	}
	return w
}

// Timer is a struct timer_list.
type Timer struct {
	// Next, Pprev, Expires, Function and Flags are the addresses of its fields.
	Next, Pprev, Expires, Function, Flags uint64
	pending                               bool
}

// At places a timer at va: entry 0 and 8, expires 16, function 24, flags 32.
func At(va uint64) Timer {
	return Timer{Next: va, Pprev: va + 8, Expires: va + 16, Function: va + 24, Flags: va + 32}
}

// Pending reports whether the timer is armed.
func (tm *Timer) Pending() bool { return tm.pending }

// Expiry returns when a timer runs that is armed at now for a delay: never earlier than asked, at a tick.
func Expiry(now, delay sim.Time) sim.Time {
	n := (delay + Jiffy - 1) / Jiffy // msecs_to_jiffies rounds up
	return (now/Jiffy + n + 1) * Jiffy
}

var (
	fnMsecs   = cpu.NewFunc("__msecs_to_jiffies", "kernel/time/time.c", 40)
	fnMod     = cpu.NewFunc("mod_timer", "kernel/time/timer.c", 16)
	fnModReal = cpu.NewFunc("__mod_timer", "kernel/time/timer.c", 700)
	fnLock    = cpu.NewFunc("lock_timer_base", "kernel/time/timer.c", 160)
	fnDetach  = cpu.NewFunc("detach_if_pending", "kernel/time/timer.c", 200)
	fnCalc    = cpu.NewFunc("calc_wheel_index", "kernel/time/timer.c", 220)
	fnEnqueue = cpu.NewFunc("enqueue_timer", "kernel/time/timer.c", 200)
)

// JiffiesVA returns the address of jiffies.
func (w *Wheel) JiffiesVA() uint64 { return w.jif }

// MsecsToJiffies emits __msecs_to_jiffies.
func (w *Wheel) MsecsToJiffies(t *cpu.Thread) {
	t.Call(fnMsecs)
	t.Nop(2)
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	n := 2
	if w.env.Version == kernel.V7_3 {
		n = 3
	}
	t.ALU(n, 0)
	t.Ret()
}

// Mod emits mod_timer of a timer that is not pending and lets fn run when it expires. tail says that it is jumped to.
func (w *Wheel) Mod(t *cpu.Thread, tm *Timer, delay sim.Time, tail bool, fn func(t *cpu.Thread)) {
	if tail {
		t.TailCall(fnMod)
	} else {
		t.Call(fnMod)
	}
	t.Nop(2)
	t.ALU(1, 0)
	t.TailCall(fnModReal)
	w.modReal(t, tm, delay, fn)
}

// modReal is __mod_timer after it was entered.
func (w *Wheel) modReal(t *cpu.Thread, tm *Timer, delay sim.Time, fn func(t *cpu.Thread)) {
	if tm.pending {
		panic(fmt.Sprintf("timer: timer at %#x armed while pending", tm.Next))
	}
	v7 := w.env.Version == kernel.V7_3
	guard := kernel.StackGuard(w.env.Version, t.CPU)
	at := Expiry(t.Now(), delay)
	base := w.env.Cpu(w.base, t.CPU)
	t.Push(6)
	if v7 {
		t.ALU(2, 0)
		t.Frame(64)
		t.StackStore(56, t.Load(guard, 0))
		t.ALU(2, 0)
		t.StackStore(40, 0)
		t.Branch(false, t.Last())
	} else {
		t.ALU(3, 0)
		t.Frame(64)
		t.StackStore(56, t.Load(guard, 0))
		t.ALU(2, 0)
		t.StackStore(24, 0)
		t.StackStore(32, 0)
		t.Branch(false, t.Last())
	}
	p := t.Load(tm.Pprev, 0)
	t.Branch(true, t.ALU(1, p))
	if v7 {
		t.ALU(3, 0)
	} else {
		t.ALU(2, 0)
	}
	w.lockBase(t, tm)
	f := t.LoadOp(tm.Function, 0, 0)
	t.ALU(1, f)
	t.Branch(false, f)
	j := t.Load(w.jif, 0)
	clk := t.Load(base+16, 0)
	b := &w.bases[t.CPU]
	now := t.Now() / Jiffy
	t.Branch(now <= b.clk, t.ALU2(j, clk))
	if now > b.clk { // forward_timer_base: the CPU was idle, turn the wheel to now
		t.Branch(true, t.ALU(1, t.Load(base+24, 0)))
		t.Store(base+16, 0, j)
		t.Jump()
		b.clk = now
	}
	t.StackStore(8, 0)
	t.ALU(4, 0)
	t.Call(fnDetach)
	t.Nop(1)
	t.Branch(true, t.ALU(1, t.Load(tm.Pprev, 0)))
	t.ALU(1, 0)
	t.Ret()
	t.Branch(false, t.ALU(2, 0))
	t.Branch(false, t.ALU(1, 0))
	if v7 {
		fl := t.Mem(cpu.Load, tm.Flags, 4, 0, 0)
		t.ALU(1, 0)
		t.Branch(true, t.ALU(1, fl))
		t.ALU(5, fl)
		t.Jump()
		off := t.Load(kernel.ThisCPUOff(w.env.Version, t.CPU), 0)
		t.Branch(true, t.ALU(2, off))
		t.Store(tm.Expires, 0, 0)
		t.Branch(true, t.ALU(1, t.Load(base+16, 0)))
		t.ALU(2, 0)
	} else {
		t.Load(kernel.ThisCPUOff(w.env.Version, t.CPU), 0)
		fl := t.Mem(cpu.Load, tm.Flags, 4, 0, 0)
		t.Branch(false, t.ALU(2, fl))
		t.ALU(8, fl)
		t.Branch(true, t.ALU(1, 0))
		t.ALU(1, 0)
		t.Jump()
		t.Store(tm.Expires, 0, 0)
		t.Branch(true, t.ALU(1, t.Load(base+16, 0)))
		t.ALU(2, 0)
		t.StackStore(40, 0)
	}
	t.Call(fnCalc)
	t.Nop(1)
	t.Branch(false, t.ALU(4, 0))
	t.ALU(3, 0)
	t.StackStore(48, 0)
	t.Ret()
	t.StackLoad(40)
	t.ALU(3, 0)
	w.enqueue(t, tm, base, b.earliest(at))
	b.due = append(b.due, at)
	if v7 {
		t.ALU(1, 0)
		t.Jump()
	} else {
		t.Jump()
	}
	t.StackLoad(24)
	t.ALU(1, 0)
	locking.SpinUnlockIrqrestore(t, w.env.Version, &w.bases[t.CPU].lock)
	g := t.StackLoad(56)
	t.Branch(false, t.LoadOp(guard, 0, g))
	t.Frame(-64)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	tm.pending = true
	if w.run != nil {
		w.run(t.CPU, at, func(t *cpu.Thread) {
			tm.pending = false
			b.done(at)
			b.clk = max(b.clk, at/Jiffy)
			fn(t)
		})
	}
}

// lockBase is lock_timer_base: find the base in the timer's flags and lock it.
func (w *Wheel) lockBase(t *cpu.Thread, tm *Timer) {
	v7 := w.env.Version == kernel.V7_3
	t.Call(fnLock)
	t.Nop(1)
	if v7 {
		t.Push(3)
		t.ALU(1, 0)
		t.Push(1)
		t.ALU(1, 0)
		t.Push(1)
		t.Jump()
		fl := t.Mem(cpu.Load, tm.Flags, 4, 0, 0)
		t.Branch(false, t.ALU(1, fl))
		t.Branch(false, t.ALU(4, fl))
		t.ALU(6, fl)
		t.Branch(false, t.ALU(1, fl))
		t.ALU(1, t.LoadOp(w.offs+8*uint64(t.CPU), fl, 0))
	} else {
		t.Push(3)
		t.ALU(1, 0)
		t.Push(1)
		t.ALU(1, 0)
		t.Push(1)
		t.ALU(1, 0)
		t.Jump()
		fl := t.Mem(cpu.Load, tm.Flags, 4, 0, 0)
		t.Branch(false, t.ALU(1, fl))
		t.ALU(9, fl)
		off := t.Load(w.offs+8*uint64(t.CPU), fl)
		t.Branch(false, t.ALU(3, off))
		t.ALU(2, off)
	}
	locking.SpinLockIrqsave(t, w.env.Version, &w.bases[t.CPU].lock)
	t.StackStore(0, 0)
	t.ALU(1, 0)
	fl := t.Mem(cpu.LoadOp, tm.Flags, 4, 0, 0)
	t.Branch(false, fl)
	t.ALU(1, 0)
	t.Pop(5)
	t.Ret()
}

// enqueue is enqueue_timer: link the timer into its bucket and note the new next expiry.
func (w *Wheel) enqueue(t *cpu.Thread, tm *Timer, base uint64, first bool) {
	v7 := w.env.Version == kernel.V7_3
	bucket := w.env.Cpu(w.bucket, t.CPU)
	t.Call(fnEnqueue)
	t.Nop(1)
	t.Push(1)
	n := 3
	if v7 {
		t.Push(1)
		n = 4
	}
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(3, 0)
	h := t.Load(bucket, 0)
	t.Store(tm.Next, 0, h)
	t.Branch(true, t.ALU(1, h))
	t.Store(bucket, 0, 0)
	t.Store(tm.Pprev, 0, 0)
	t.RMW(base+40, 0, 0)
	fl := t.Mem(cpu.Load, tm.Flags, 4, 0, 0)
	t.ALU(3, fl)
	t.Mem(cpu.Store, tm.Flags, 4, 0, t.Last())
	t.Nop(1)
	t.Branch(first, t.LoadOp(base+24, 0, 0))
	if first {
		t.Store(base+24, 0, 0)
		t.Mem(cpu.Store, base+38, 1, 0, 0)
		t.Mem(cpu.Store, base+36, 1, 0, 0)
		t.Jump()
		fl = t.Mem(cpu.Load, tm.Flags, 4, 0, 0)
		t.Branch(false, t.ALU(1, fl))
		t.Branch(true, t.Mem(cpu.LoadOp, base+37, 1, 0, 0))
	}
	t.Pop(n)
	t.Ret()
}
