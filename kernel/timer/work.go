package timer

import (
	"dmapath/cpu"
	"dmapath/kernel/locking"
	"dmapath/sim"
)

var (
	fnQueue    = cpu.NewFunc("queue_delayed_work_on", "kernel/workqueue.c", 160)
	fnQueueIn  = cpu.NewFunc("__queue_delayed_work", "kernel/workqueue.c", 240)
	fnDisabled = cpu.NewFunc("clear_pending_if_disabled", "kernel/workqueue.c", 120)
	fnHouse    = cpu.NewFunc("housekeeping_enabled", "kernel/sched/isolation.c", 32)
	fnAdd      = cpu.NewFunc("add_timer_global", "kernel/time/timer.c", 48)
)

// Work is a struct delayed_work: its address, and its timer 32 bytes into it.
type Work struct {
	VA    uint64
	Timer Timer
	queue bool
}

// WorkAt places a delayed work at va.
func WorkAt(va uint64) Work { return Work{VA: va, Timer: At(va + 32)} }

// Queue emits queue_delayed_work_on(): if the work is not pending, arm its timer; fn runs when it expires.
func (w *Wheel) Queue(t *cpu.Thread, work *Work, delay sim.Time, fn func(t *cpu.Thread)) {
	t.Call(fnQueue)
	t.Nop(2)
	t.Push(5)
	locking.IrqSave(t)
	set := t.Atomic(work.VA, 0, 0)
	t.Branch(!work.queue, set)
	if !work.queue {
		work.queue = true
		t.ALU(5, 0)
		t.Call(fnDisabled)
		t.Nop(1)
		t.ALU(1, 0)
		data := t.Load(work.VA, 0)
		t.ALU(1, 0)
		t.StackStore(-24, 0)
		t.StackStore(-16, 0)
		t.Branch(true, t.ALU(1, data))
		t.Branch(true, t.ALU(1, data))
		t.ALU(2, 0)
		t.Ret()
		t.Branch(false, t.ALU(1, 0))
		t.ALU(4, 0)
		w.queueIn(t, work, delay, fn)
		t.ALU(1, 0)
		t.Jump()
	}
	t.ALU(1, 0)
	t.Branch(true, t.Last())
	t.Pop(1)
	t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
}

// queueIn is __queue_delayed_work for a delay above 0 on any CPU.
func (w *Wheel) queueIn(t *cpu.Thread, work *Work, delay sim.Time, fn func(t *cpu.Thread)) {
	t.Call(fnQueueIn)
	t.Nop(1)
	t.Push(2)
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.Branch(false, t.LoadOp(work.Timer.Function, 0, 0))
	t.Branch(false, t.ALU(1, t.Load(work.Timer.Pprev, 0)))
	e := t.Load(work.VA+8, 0)
	t.Branch(false, t.ALU(2, e))
	t.Branch(false, t.ALU(1, 0))
	j := t.Load(w.jif, 0)
	t.Mem(cpu.Store, work.VA+80, 4, 0, 0)
	t.ALU(2, 0)
	t.Store(work.VA+72, 0, 0)
	t.Store(work.Timer.Expires, 0, t.ALU(1, j))
	t.Call(fnHouse)
	t.Nop(2)
	h := t.Load(w.house+8, 0)
	t.ALU(2, h)
	t.Ret()
	t.Branch(false, t.ALU(1, 0))
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Pop(2)
	t.TailCall(fnAdd)
	t.Nop(2)
	p := t.Load(work.Timer.Pprev, 0)
	t.Branch(false, t.ALU(1, p))
	t.Mem(cpu.RMW, work.Timer.Flags, 4, 0, 0)
	t.Load(work.Timer.Expires, 0)
	t.ALU(1, 0)
	t.TailCall(fnModReal)
	w.modReal(t, &work.Timer, delay, func(t *cpu.Thread) {
		work.queue = false
		fn(t)
	})
}
