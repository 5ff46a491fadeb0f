package smmu

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/mm"
)

// How gcc compiles a function for arm64, as recorded: two nops for the function tracer (the first is a register move while tracing is
// possible), one that would sign the return address, a frame whose lowest words are the frame pointer and the return address, and registers saved in
// pairs above them.

// memset emits memset(dst, 0, n); the contents of memory are the caller's.
func (u *Unit) memset(t *cpu.Thread, dst, n uint64) { mm.MemsetArm(t, u.Env.Version, dst, int(n)) }

// enter emits a call of f and what every function begins with. A leaf function signs nothing.
func enter(t *cpu.Thread, f *cpu.Func, leaf bool) {
	t.Call(f)
	land(t, leaf)
}

// enterInd is enter through the pointer that target produced.
func enterInd(t *cpu.Thread, f *cpu.Func, target cpu.Val, leaf bool) {
	t.CallInd(f, target)
	land(t, leaf)
}

func land(t *cpu.Thread, leaf bool) {
	t.ALU(1, 0)
	if leaf {
		t.Nop(1)
	} else {
		t.Nop(2)
	}
}

// open opens a frame of n bytes and saves pairs of registers from its bottom up.
func open(t *cpu.Thread, n, pairs int) {
	t.Reserve(n)
	for i := range pairs {
		t.StorePair(t.SP()+uint64(i)*16, 0, 0)
	}
}

// shut restores pairs of registers, closes the frame of n bytes and returns.
func shut(t *cpu.Thread, n, pairs int) {
	for i := range pairs {
		t.LoadPair(t.SP()+uint64(i)*16, 0)
	}
	t.Reserve(-n)
	t.Nop(1)
	t.Ret()
}

// canary loads the stack protector's canary from the task and puts it off bytes above the stack pointer.
func (u *Unit) canary(t *cpu.Thread, off int) {
	task := t.Op(cpu.Sysreg, 0)
	t.StackStore(off, t.Load(kernel.TaskGuard(u.Env.Version, t.CPU), task))
}

// checkCanary compares it before the function returns: 6 instructions.
func (u *Unit) checkCanary(t *cpu.Thread, off int) { kernel.CheckGuard(t, u.Env.Version, off) }

// load4 and store4 access 4 bytes.
func load4(t *cpu.Thread, va uint64, a cpu.Val) cpu.Val { return t.Mem(cpu.Load, va, 4, a, 0) }

func store4(t *cpu.Thread, va uint64, a, v cpu.Val) { t.Mem(cpu.Store, va, 4, a, v) }

// split ends the segment when a loop has made it long.
func split(t *cpu.Thread) {
	if len(t.Ops) > cpu.SegmentOps {
		t.Sync()
	}
}
