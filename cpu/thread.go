package cpu

import "dmapath/sim"

// Thread is a flow of control on one CPU: a Stream whose ops the core times, inside a process of the engine, so
// that what other agents can delay (locks, device registers, completions) really waits for them.
//
// Ops are timed in segments: Sync times everything emitted since the last Sync in one pass and lets simulated time
// catch up. Within a segment the CPU runs ahead of other agents; Sync is called before everything that another
// agent can observe or delay, and by Call when a segment has grown to SegmentOps.
type Thread struct {
	*Stream
	CPU  int
	Core *Core
	Proc *sim.Proc
	// Acct receives the counts and cycles of what is timed; nil counts nothing.
	Acct *Account
	// Tap sees every segment before it is timed; nil for none. Used to count lines and to compare with recordings.
	Tap func(ops []Op)

	shown  []shown // what of it is open on the engine's timeline
	tracks struct {
		of             *sim.Timeline
		self, segments sim.TrackID
	}
}

// SegmentOps bounds a segment: about half a microsecond at the IPC of kernel paths (1 to 2 at 3 GHz).
const SegmentOps = 1024

// NewThread returns a thread that emits on core of CPU cpu within process p.
func NewThread(p *sim.Proc, cpu int, core *Core, s *Stream) *Thread {
	return &Thread{Stream: s, CPU: cpu, Core: core, Proc: p}
}

// Now returns the current simulated time; it does not include what was emitted since the last Sync.
func (t *Thread) Now() sim.Time { return t.Proc.Now() }

// Sync ends a segment: it times what was emitted and returns when the last op has retired.
func (t *Thread) Sync() {
	if len(t.Ops) == 0 {
		return
	}
	if t.Tap != nil {
		t.Tap(t.Ops)
	}
	if t.Core == nil { // a functional thread: what it does takes no time
		t.Ops = t.Ops[:0]
		return
	}
	var end sim.Time
	if tl := t.Proc.Engine().Timeline; tl.On() {
		end = t.runShown(tl)
	} else {
		end = t.Core.Run(t.Ops, t.Proc.Now(), t.Acct)
	}
	t.Ops = t.Ops[:0]
	t.Proc.SleepUntil(end)
	if t.Core.late != nil {
		t.settle()
	}
}

// settle waits for a line that is in another node, where far atomics are carried out on it: when it comes depends on what others have asked for
// meanwhile (cache.Hierarchy.Settle). What comes on top is charged to the function that wanted it.
func (t *Thread) settle() {
	c := t.Core
	fn := c.late
	c.late = nil
	for {
		done := c.h.Settle(c.id, t.Proc.Now())
		if done <= t.Proc.Now() {
			return
		}
		t.stall(fn, StallPeer, done)
	}
}

// Call emits a direct call of f, ending the segment first when it is long.
func (t *Thread) Call(f *Func) {
	if len(t.Ops) > SegmentOps {
		t.Sync()
	}
	t.Stream.Call(f)
}

// MMIO is a device's register window.
type MMIO interface {
	// WriteReg delivers a posted write that left the core at now; the device sees it later, at a time of its own.
	WriteReg(addr, val uint64, now sim.Time)
	// ReadReg returns the register's value and when the value is back at the core.
	ReadReg(addr uint64, now sim.Time) (val uint64, done sim.Time)
}

// Exiter is a register window that software emulates: the access of a guest leaves it, and what the host does then runs on the
// same core.
type Exiter interface {
	MMIO
	// Exit carries out one access on t, with all that the host executes, and returns the value of a read.
	Exit(t *Thread, va, val uint64, write bool) uint64
}

// MMIOWrite emits a write to an uncached register, ends the segment and delivers the write. It leaves the core behind every
// older store, which may be after it has retired.
func (t *Thread) MMIOWrite(m MMIO, va, val uint64, a, v Val) {
	t.emit(MMIOWrite, va, 4, a, v, 0)
	t.Sync()
	if x, ok := m.(Exiter); ok {
		x.Exit(t, va, val, true)
		return
	}
	now := t.Proc.Now()
	if t.Core != nil {
		now = max(now, t.Core.Drained())
	}
	m.WriteReg(va, val, now)
}

// MMIORead emits a read of an uncached register and waits for its value, which nothing can hide.
func (t *Thread) MMIORead(m MMIO, va uint64, a Val) (uint64, Val) {
	return t.MMIOReadAs(m, va, a, StallMMIO)
}

// MMIOReadAs is MMIORead with the wait charged to cause: the reads of a loop that waits for something else.
func (t *Thread) MMIOReadAs(m MMIO, va uint64, a Val, cause Stall) (uint64, Val) {
	v := t.emit(MMIORead, va, 4, a, 0, 0)
	fn := t.Fn()
	t.Sync()
	if x, ok := m.(Exiter); ok {
		return x.Exit(t, va, 0, false), v
	}
	val, done := m.ReadReg(va, t.Proc.Now())
	t.stall(fn, cause, done)
	return val, v
}

// stall waits until done and charges the time to fn.
func (t *Thread) stall(fn *Func, cause Stall, done sim.Time) {
	if now := t.Proc.Now(); done > now {
		if t.Acct != nil {
			t.Acct.Wait(fn.ID, cause, t.Core.Between(now, done))
		}
		if tl := t.Proc.Engine().Timeline; tl.On() {
			tl.Slice(t.track(tl), waitNames[cause], now, done)
		}
		t.Proc.SleepUntil(done)
	}
}

// WaitUntil waits until done, idle or spinning as the caller models it, and charges the time to the present function.
func (t *Thread) WaitUntil(cause Stall, done sim.Time) { t.Sync(); t.stall(t.Fn(), cause, done) }

// LockWord is a lock of the simulated kernel: its word in memory and who holds it.
type LockWord struct {
	sim.Lock
	VA uint64
}

// Acquire emits the locked compare-and-exchange that takes l and, when another CPU holds it, the queued-spinlock slow
// path: it spins on its own MCS node until the holder hands over (kernel/locking/qspinlock.c). It is a
// segment boundary.
func (t *Thread) Acquire(l *LockWord, a Val) Val {
	v := t.Atomic(l.VA, a, 0)
	t.Sync()
	if l.TryLock(t.Proc) {
		return v
	}
	fn := t.Fn()
	t.Call(lockSlow)
	node := t.node()
	t.Push(3)
	t.ALU(8, 0)
	t.Store(node, 0, 0)  // node->locked, node->next
	t.Atomic(l.VA, 0, 0) // xchg of the tail
	prev := t.Load(l.VA, 0)
	t.Store(node+8, prev, 0)
	t.Sync()
	start := t.Proc.Now()
	l.Wait(t.Proc)
	if t.Acct != nil {
		t.Acct.Wait(fn.ID, StallLock, t.Core.Between(start, t.Proc.Now()))
	}
	t.Load(node, 0) // the hand-over written by the previous holder
	t.ALU(4, t.Last())
	t.Branch(true, t.Last())
	t.Mem(Store, l.VA, 1, 0, 0)
	t.Pop(3)
	t.Ret()
	return t.Last()
}

// Release emits the store that frees l and hands it to the next waiter. It is a segment boundary.
func (t *Thread) Release(l *LockWord, a Val) {
	t.Mem(Store, l.VA, 1, a, 0)
	t.Sync()
	l.Unlock(t.Proc)
}

// node returns the virtual address of the CPU's MCS node, one line per CPU.
func (t *Thread) node() uint64 { return mcsBase + uint64(t.CPU)*64 }

// mcsBase is the per-CPU qnodes area.
const mcsBase = PerCPUBase + 0x30000

var lockSlow = NewFunc("native_queued_spin_lock_slowpath", "kernel/locking/qspinlock.c", 700)
