package locking

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// On arm64 the lock word is taken with one compare-and-swap of acquire semantics (LSE casa) and given back with a release store.
// 6.12 inlines all of it into the caller and has no preemption count (PREEMPT_VOLUNTARY); 7.3 calls the functions, which count
// in the running task. _raw_spin_lock and _raw_spin_unlock are not recorded and follow from the others. The slow path is the
// queued spinlock's on both architectures.

// lockIrqsaveArm is _raw_spin_lock_irqsave: 7 instructions inlined on 6.12, 22 in a function on 7.3.
func lockIrqsaveArm(t *cpu.Thread, v kernel.Version, w word) {
	if v == kernel.V6_12 {
		t.Op(cpu.IrqFlag, 0)
		t.Op(cpu.IrqFlag, 0)
		t.Nop(1)
		takeArm(t, w)
		return
	}
	t.Call(rawLockIrqsave)
	t.ALU(1, 0)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(1)
	t.Op(cpu.IrqFlag, 0)
	t.Op(cpu.IrqFlag, 0)
	kernel.PreemptDisableArm(t)
	t.Nop(1)
	takeArm(t, w)
	t.ALU(1, 0)
	t.Pop(1)
	t.Pop(2)
	t.Nop(1)
	t.Ret()
}

// takeArm emits the compare-and-swap and the test whether it succeeded.
func takeArm(t *cpu.Thread, w word) { t.Branch(false, w.take(t, t.ALU(2, 0))) }

// preemptEnableArm emits preempt_enable of 7.3: the count and need_resched are one word.
func preemptEnableArm(t *cpu.Thread) {
	va := kernel.TaskPreempt(t.CPU)
	task := t.Op(cpu.Sysreg, 0)
	n := t.ALU(1, t.Load(va, task))
	t.Mem(cpu.Store, va, 4, task, n)
	t.Branch(false, n)
	t.Branch(true, t.Load(va, task))
}

// unlockIrqrestoreArm is _raw_spin_unlock_irqrestore: 2 instructions inlined on 6.12, 12 on 7.3. Flags are restored whether or not
// interrupts were on. tail: the function is jumped to, or on 6.12 its caller returns.
func unlockIrqrestoreArm(t *cpu.Thread, v kernel.Version, w word, tail bool) {
	if v == kernel.V6_12 {
		w.free(t)
		t.Op(cpu.IrqFlag, 0)
		if tail {
			t.Ret()
		}
		return
	}
	if tail {
		t.TailCall(rawUnlockIrqrestore)
	} else {
		t.Call(rawUnlockIrqrestore)
	}
	t.ALU(1, 0)
	t.Nop(1)
	w.free(t)
	t.Op(cpu.IrqFlag, 0)
	preemptEnableArm(t)
	t.Ret()
}

// lockArm is _raw_spin_lock: 4 instructions inlined on 6.12, 12 on 7.3.
func lockArm(t *cpu.Thread, v kernel.Version, w word) {
	if v == kernel.V6_12 {
		takeArm(t, w)
		return
	}
	t.Call(rawLock)
	t.ALU(1, 0)
	t.Nop(1)
	kernel.PreemptDisableArm(t)
	t.Nop(1)
	takeArm(t, w)
	t.Ret()
}

// unlockArm is _raw_spin_unlock: a store on 6.12, 11 instructions on 7.3.
func unlockArm(t *cpu.Thread, v kernel.Version, w word) {
	if v == kernel.V6_12 {
		w.free(t)
		return
	}
	t.Call(rawUnlock)
	t.ALU(1, 0)
	t.Nop(1)
	w.free(t)
	preemptEnableArm(t)
	t.Ret()
}

// trylockArm is a successful _raw_spin_trylock.
func trylockArm(t *cpu.Thread, v kernel.Version, w word) {
	if v == kernel.V7_3 {
		t.Call(rawTrylock)
		t.ALU(1, 0)
		t.Nop(1)
		kernel.PreemptDisableArm(t)
	}
	held := t.Mem(cpu.Load, w.va, 4, 0, 0)
	t.Branch(false, held)
	takeArm(t, w)
	if v == kernel.V7_3 {
		t.ALU(1, 0)
		t.Ret()
	}
}
