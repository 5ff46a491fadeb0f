package iova

import "dmapath/cpu"

// emitter writes instructions into a thread's stream, or nowhere when the thread is nil: the replay of recorded events
// and the property tests run the very same allocator without a machine around it.
type emitter struct{ t *cpu.Thread }

func (e emitter) alu(n int, d cpu.Val) cpu.Val {
	if e.t == nil {
		return 0
	}
	return e.t.ALU(n, d)
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
	if e.t == nil {
		return 0
	}
	return e.t.StackLoad(off)
}

func (e emitter) stackStore(off int, v cpu.Val) {
	if e.t != nil {
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
	v := e.t.StackLoad(off)
	e.t.Ops[len(e.t.Ops)-1].Class = cpu.LoadOp
	return v
}
