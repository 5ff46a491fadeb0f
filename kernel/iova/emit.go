package iova

import "dmapath/cpu"

// emitter writes instructions into a thread's stream, or nowhere when the thread is nil: the replay of recorded events
// and the property tests run the very same allocator without a machine around it.
//
// The functions of the tree and of the depots are written once, in the shape of the x86 code. On A64 a memory operand is a load and an
// operation, and what x86 keeps on the stack for want of registers is in a register: stackLoad and stackStore emit nothing.
type emitter struct{ t *cpu.Thread }

// arm reports whether arm64 code is emitted.
func (e emitter) arm() bool { return e.t != nil && e.t.ISA == cpu.A64 }

func (e emitter) alu(n int, d cpu.Val) cpu.Val {
	if e.t == nil {
		return 0
	}
	return e.t.ALU(n, d)
}

// test emits the test of one value (is it null, is a bit set) before a branch, which on A64 is part of the branch.
func (e emitter) test(d cpu.Val) cpu.Val {
	if e.arm() {
		return d
	}
	return e.alu(1, d)
}

func (e emitter) op(c cpu.Class, d cpu.Val) cpu.Val {
	if e.t == nil {
		return 0
	}
	return e.t.Op(c, d)
}

func (e emitter) nop(n int) {
	if e.t != nil {
		e.t.Nop(n)
	}
}

func (e emitter) load(va uint64, a cpu.Val) cpu.Val {
	if e.t == nil {
		return 0
	}
	return e.t.Load(va, a)
}

func (e emitter) loadOp(va uint64, a, b cpu.Val) cpu.Val {
	if e.t == nil {
		return 0
	}
	return e.t.LoadOp(va, a, b)
}

func (e emitter) store(va uint64, a, v cpu.Val) {
	if e.t != nil {
		e.t.Store(va, a, v)
	}
}

func (e emitter) mem(c cpu.Class, va uint64, size int, a, v cpu.Val) cpu.Val {
	if e.t == nil {
		return 0
	}
	return e.t.Mem(c, va, size, a, v)
}

func (e emitter) stackLoad(off int) cpu.Val {
	if e.t == nil || e.arm() {
		return 0
	}
	return e.t.StackLoad(off)
}

func (e emitter) stackStore(off int, v cpu.Val) {
	if e.t != nil && !e.arm() {
		e.t.StackStore(off, v)
	}
}

func (e emitter) push(n int) {
	if e.t != nil {
		e.t.Push(n)
	}
}

func (e emitter) pop(n int) {
	if e.t != nil {
		e.t.Pop(n)
	}
}

func (e emitter) frame(n int) {
	if e.t != nil {
		e.t.Frame(n)
	}
}

func (e emitter) branch(taken bool, d cpu.Val) {
	if e.t != nil {
		e.t.Branch(taken, d)
	}
}

func (e emitter) here() uint32 {
	if e.t == nil {
		return 0
	}
	return e.t.Here()
}

func (e emitter) loop(top uint32, again bool, d cpu.Val) {
	if e.t != nil {
		e.t.Loop(top, again, d)
	}
}

func (e emitter) jump() {
	if e.t != nil {
		e.t.Jump()
	}
}

func (e emitter) call(f *cpu.Func) {
	if e.t != nil {
		e.t.Call(f)
	}
}

func (e emitter) tail(f *cpu.Func) {
	if e.t != nil {
		e.t.TailCall(f)
	}
}

func (e emitter) ret() {
	if e.t != nil {
		e.t.Ret()
	}
}

// stackLoadOp emits an ALU operation with a local variable as its memory operand.
func (e emitter) stackLoadOp(off int) cpu.Val {
	if e.t == nil {
		return 0
	}
	if e.arm() {
		return e.t.ALU(1, 0)
	}
	v := e.t.StackLoad(off)
	e.t.Ops[len(e.t.Ops)-1].Class = cpu.LoadOp
	return v
}
