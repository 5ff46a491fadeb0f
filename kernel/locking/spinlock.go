package locking

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	rawLockIrqsave      = cpu.NewFunc("_raw_spin_lock_irqsave", "kernel/locking/spinlock.c", 76)
	rawUnlockIrqrestore = cpu.NewFunc("_raw_spin_unlock_irqrestore", "kernel/locking/spinlock.c", 52)
	rawLock             = cpu.NewFunc("_raw_spin_lock", "kernel/locking/spinlock.c", 44)
	rawUnlock           = cpu.NewFunc("_raw_spin_unlock", "kernel/locking/spinlock.c", 32)
	rawTrylock          = cpu.NewFunc("_raw_spin_trylock", "kernel/locking/spinlock.c", 64)
)

// word is what a lock function operates on: the lock's address, and the lock itself when other CPUs can hold it.
type word struct {
	va     uint64
	shared *cpu.LockWord
}

// take emits the compare-and-exchange of the lock word and, for a shared lock, waits until it is ours.
func (w word) take(t *cpu.Thread, a cpu.Val) cpu.Val {
	if w.shared != nil {
		return t.Acquire(w.shared, a)
	}
	return t.Mem(cpu.Atomic, w.va, 4, a, 0)
}

func (w word) free(t *cpu.Thread) {
	if w.shared != nil {
		t.Release(w.shared, 0)
		return
	}
	t.Mem(cpu.Store, w.va, 1, 0, 0)
}

// SpinLockIrqsave emits _raw_spin_lock_irqsave on a lock that other CPUs take, and returns when it is held.
func SpinLockIrqsave(t *cpu.Thread, v kernel.Version, l *cpu.LockWord) {
	lockIrqsave(t, v, word{l.VA, l})
}

// SpinUnlockIrqrestore emits _raw_spin_unlock_irqrestore; it assumes that interrupts were on before the lock was
// taken. For a lock taken inside a section with interrupts off use SpinUnlockIrqrestoreNested.
func SpinUnlockIrqrestore(t *cpu.Thread, v kernel.Version, l *cpu.LockWord) {
	unlockIrqrestore(t, v, word{l.VA, l}, true)
}

// SpinUnlockIrqrestoreNested is SpinUnlockIrqrestore when interrupts were off already: no sti.
func SpinUnlockIrqrestoreNested(t *cpu.Thread, v kernel.Version, l *cpu.LockWord) {
	unlockIrqrestore(t, v, word{l.VA, l}, false)
}

// SpinLock emits _raw_spin_lock on a lock that other CPUs take, and returns when it is held.
func SpinLock(t *cpu.Thread, v kernel.Version, l *cpu.LockWord) { lock(t, v, word{l.VA, l}) }

// SpinUnlock emits _raw_spin_unlock.
func SpinUnlock(t *cpu.Thread, v kernel.Version, l *cpu.LockWord) { unlock(t, v, word{l.VA, l}) }

// LocalLockIrqsave is SpinLockIrqsave for a lock at va that only this CPU takes.
func LocalLockIrqsave(t *cpu.Thread, v kernel.Version, va uint64) { lockIrqsave(t, v, word{va: va}) }

// LocalUnlockIrqrestore is SpinUnlockIrqrestore for a lock at va that only this CPU takes.
func LocalUnlockIrqrestore(t *cpu.Thread, v kernel.Version, va uint64) {
	unlockIrqrestore(t, v, word{va: va}, true)
}

// TailSpinUnlockIrqrestore is SpinUnlockIrqrestore as the last thing a function does: the compiler jumps to it, and it
// returns to the function's caller. The caller has popped its registers and must not emit a Ret.
func TailSpinUnlockIrqrestore(t *cpu.Thread, v kernel.Version, l *cpu.LockWord) {
	tailUnlockIrqrestore(t, v, word{l.VA, l})
}

// TailLocalUnlockIrqrestore is TailSpinUnlockIrqrestore for a lock at va that only this CPU takes.
func TailLocalUnlockIrqrestore(t *cpu.Thread, v kernel.Version, va uint64) {
	tailUnlockIrqrestore(t, v, word{va: va})
}

// LocalUnlockIrqrestoreNested is LocalUnlockIrqrestore when interrupts were off already.
func LocalUnlockIrqrestoreNested(t *cpu.Thread, v kernel.Version, va uint64) {
	unlockIrqrestore(t, v, word{va: va}, false)
}

// LocalLock is SpinLock for a lock at va that only this CPU takes.
func LocalLock(t *cpu.Thread, v kernel.Version, va uint64) { lock(t, v, word{va: va}) }

// LocalUnlock is SpinUnlock for a lock at va that only this CPU takes.
func LocalUnlock(t *cpu.Thread, v kernel.Version, va uint64) { unlock(t, v, word{va: va}) }

// LocalTrylock emits a successful _raw_spin_trylock of a lock at va that only this CPU takes (the page allocator's
// per-CPU lists).
func LocalTrylock(t *cpu.Thread, v kernel.Version, va uint64) {
	if t.ISA == cpu.A64 {
		trylockArm(t, v, word{va: va})
		return
	}
	t.Call(rawTrylock)
	t.Nop(2)
	t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	held := t.Mem(cpu.Load, va, 4, 0, 0)
	free := t.ALU(1, held)
	t.Branch(false, free)
	one := t.ALU(1, 0)
	got := t.Mem(cpu.Atomic, va, 4, one, free)
	t.ALU(1, 0)
	t.Branch(v == kernel.V6_12, got)
	t.Ret()
}

// lockIrqsave is _raw_spin_lock_irqsave: 17 instructions uncontended on both versions.
func lockIrqsave(t *cpu.Thread, v kernel.Version, w word) {
	if t.ISA == cpu.A64 {
		lockIrqsaveArm(t, v, w)
		return
	}
	t.Call(rawLockIrqsave)
	t.Nop(2)
	t.Push(1)
	flags := IrqSave(t)
	t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	t.ALU(1, 0)
	val := t.ALU(1, 0)
	got := w.take(t, val)
	t.Branch(false, got)
	t.ALU(1, flags)
	t.Pop(1)
	t.Ret()
}

// IrqSave emits local_irq_save: pushf and pop, cli, with the nops of the paravirtual call sites. 6 instructions. The
// result is the saved flags.
func IrqSave(t *cpu.Thread) cpu.Val {
	if t.ISA == cpu.A64 { // mrs and msr daif
		flags := t.Op(cpu.IrqFlag, 0)
		t.Op(cpu.IrqFlag, 0)
		return flags
	}
	t.Push(1)
	t.Ops[len(t.Ops)-1].Class = cpu.IrqFlag // pushf
	t.Pop(1)
	t.Nop(1)
	flags := t.ALU(1, t.Last()-1)
	t.Op(cpu.IrqFlag, 0) // cli
	t.Nop(1)
	return flags
}

// unlockIrqrestore is _raw_spin_unlock_irqrestore. 6.12: 11 instructions with sti, 9 without; 7.3: 10 and 8 (the older
// compiler pads the store). The recordings of 6.12 in which a reschedule was pending show one more nop, behind
// a taken branch: the patched-out call of preempt_schedule.
func unlockIrqrestore(t *cpu.Thread, v kernel.Version, w word, enable bool) {
	if t.ISA == cpu.A64 {
		unlockIrqrestoreArm(t, v, w, false)
		return
	}
	t.Call(rawUnlockIrqrestore)
	unlockIrqrestoreBody(t, v, w, enable)
}

func tailUnlockIrqrestore(t *cpu.Thread, v kernel.Version, w word) {
	if t.ISA == cpu.A64 {
		unlockIrqrestoreArm(t, v, w, true)
		return
	}
	t.TailCall(rawUnlockIrqrestore)
	unlockIrqrestoreBody(t, v, w, true)
}

func unlockIrqrestoreBody(t *cpu.Thread, v kernel.Version, w word, enable bool) {
	t.Nop(2)
	w.free(t)
	if v == kernel.V6_12 {
		t.Nop(1)
	}
	irq := t.ALU(1, 0)
	t.Branch(!enable, irq)
	if enable {
		t.Op(cpu.IrqFlag, 0) // sti
		t.Nop(1)
	}
	preemptEnable(t, v)
	t.Ret()
}

// preemptEnable decrements the preemption count; the branch to preempt_schedule is not taken.
func preemptEnable(t *cpu.Thread, v kernel.Version) {
	zero := t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	t.Branch(false, zero)
}

// lock is _raw_spin_lock: 8 instructions uncontended.
func lock(t *cpu.Thread, v kernel.Version, w word) {
	if t.ISA == cpu.A64 {
		lockArm(t, v, w)
		return
	}
	t.Call(rawLock)
	t.Nop(2)
	t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	t.ALU(1, 0)
	val := t.ALU(1, 0)
	got := w.take(t, val)
	t.Branch(false, got)
	t.Ret()
}

// unlock is _raw_spin_unlock: 7 instructions on 6.12, 6 on 7.3.
func unlock(t *cpu.Thread, v kernel.Version, w word) {
	if t.ISA == cpu.A64 {
		unlockArm(t, v, w)
		return
	}
	t.Call(rawUnlock)
	t.Nop(2)
	w.free(t)
	if v == kernel.V6_12 {
		t.Nop(1)
	}
	preemptEnable(t, v)
	t.Ret()
}
