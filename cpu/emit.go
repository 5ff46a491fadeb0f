package cpu

import "slices"

// Val names the result of an op of a stream: its sequence number. The zero Val was ready long ago (a register that
// was live before the stream started, a constant).
type Val int64

// Stream receives ops in program order. The modelled kernel writes into it with the methods below, one method per kind
// of instruction; each returns the Val that later instructions name as their source. A Stream keeps the program
// counter, the call stack and the stack pointer, so that code lines and stack lines come out as they would.
type Stream struct {
	Ops    []Op
	seq    Val    // sequence number of the last op
	pc     uint32 // next instruction
	fn     *Func
	sp     uint64
	frames []frame
	mit    Mitigation
	// Stacks accounts a function by its callers; see stacks.go.
	Stacks bool
	kept   Val // the last register restored from the stack: see base
	// ISA is how calls, returns, pushes and barriers are made; it is set before anything is emitted.
	ISA ISA
}

// ISA is an instruction set as far as the shape of a path depends on it.
type ISA uint8

// Instruction sets.
const (
	// X86: calls and returns go through memory, registers are saved one by one, smp_mb is a locked add.
	X86 ISA = iota
	// A64: calls and returns go through the link register, registers are saved in pairs (stp, ldp), smp_mb is dmb ish.
	A64
)

type frame struct {
	fn *Func
	pc uint32
	sp uint64
}

// insnBytes is the average length of an instruction: 4.2 bytes over the recorded x86-64 paths, rounded down because
// PCs here only decide code lines and branch identity.
const insnBytes = 4

// Mitigation says how an indirect branch is compiled or patched (CONFIG_MITIGATION_RETPOLINE, spectre_v2=).
type Mitigation uint8

// Indirect branch mitigations.
const (
	MitNone      Mitigation = iota // plain indirect jump, predicted by the BTB
	MitIBRS                        // eIBRS: plain jump, prediction restricted to kernel targets
	MitLFENCE                      // lfence; jmp *reg: the jump waits for its target
	MitRetpoline                   // call, overwrite the return address, ret: a certain return misprediction
)

// NewStream returns a stream whose stack starts at virtual address stackTop and grows down.
func NewStream(stackTop uint64, mit Mitigation) *Stream {
	return &Stream{Ops: make([]Op, 0, 4096), sp: stackTop, fn: funcs[0], mit: mit}
}

// maxDep is the largest distance of a dependence; what lies farther back has retired.
const maxDep = 1000

// dep returns the distance from the next op back to the producer of v; 0 when v was ready long ago.
func (s *Stream) dep(v Val) uint16 {
	d := s.seq + 1 - v
	if v == 0 || d >= maxDep {
		d = 0
	}
	return uint16(d)
}

// base is what the address va of an access depends on when the caller names nothing: the last register that was restored from the
// stack. A pointer that lives across a call is in a register that the callee saves and restores, so what follows a call cannot
// start before its epilogue, and what follows an epilogue that waited (for a fence, a locked operation) waits as well; 7 of 8
// ALU ops and nearly all loads outside the stack have a producer in the recordings. Stack and per-CPU areas are addressed by
// registers that nothing restores.
func (s *Stream) base(va uint64, a Val) Val {
	if a == 0 && va < PerCPUBase {
		return s.kept
	}
	return a
}

// emit appends one op, writing it in place: most modelled instructions pass here.
func (s *Stream) emit(c Class, addr uint64, size uint32, a, b Val, fl Flag) Val {
	n := len(s.Ops)
	if n == cap(s.Ops) {
		s.Ops = slices.Grow(s.Ops, 1)
	}
	s.Ops = s.Ops[:n+1]
	o := &s.Ops[n]
	o.Addr, o.Src, o.PC, o.Size = addr, 0, s.pc, size
	o.Dep1, o.Dep2, o.Fn, o.Class, o.Flag = s.dep(a), s.dep(b), s.fn.ID, c, fl
	s.pc += insnBytes
	s.seq++
	return s.seq
}

// Last returns the result of the last op.
func (s *Stream) Last() Val { return s.seq }

// Here returns the current program counter, to be given to Back at the end of a loop body.
func (s *Stream) Here() uint32 { return s.pc }

// ALU emits n integer operations. The first depends on d; the following form two interleaved chains, the mean
// parallelism of ALU runs in the recorded kernel paths. It returns the last result.
func (s *Stream) ALU(n int, d Val) Val {
	if n <= 0 {
		return d
	}
	if d == 0 {
		d = s.kept
	}
	at := len(s.Ops)
	if at+n > cap(s.Ops) {
		s.Ops = slices.Grow(s.Ops, n)
	}
	s.Ops = s.Ops[:at+n]
	ops := s.Ops[at:]
	first := s.dep(d)
	s.seq++
	second := s.dep(d)
	s.seq += Val(n - 1)
	pc, fn := s.pc, s.fn.ID
	for i := range ops {
		ops[i] = Op{PC: pc, Dep1: 2, Fn: fn, Class: ALU}
		pc += insnBytes
	}
	s.pc = pc
	ops[0].Dep1 = first
	if n > 1 {
		ops[1].Dep1 = second
	}
	return s.seq
}

// repeat emits n copies of op, each at its own address.
func (s *Stream) repeat(n int, op Op) {
	at := len(s.Ops)
	s.Ops = slices.Grow(s.Ops, n)[:at+n]
	for i := range n {
		op.PC = s.pc
		s.Ops[at+i] = op
		s.pc += insnBytes
	}
	s.seq += Val(n)
}

// Test emits the test of one value against null before a branch; on A64 it is part of the branch (cbz).
func (s *Stream) Test(d Val) Val {
	if s.ISA == A64 {
		return d
	}
	return s.emit(ALU, 0, 0, d, 0, 0)
}

// Chain emits n integer operations each of which depends on the one before.
func (s *Stream) Chain(n int, d Val) Val {
	for i := 0; i < n; i++ {
		d = s.emit(ALU, 0, 0, d, 0, 0)
	}
	return d
}

// ALU2 emits one integer operation with two sources (compare, add).
func (s *Stream) ALU2(a, b Val) Val { return s.emit(ALU, 0, 0, a, b, 0) }

// Op emits an op without memory operand: Mul, Div, BitScan, Pause, IrqFlag, Sysreg, Fence.
func (s *Stream) Op(c Class, d Val) Val {
	var fl Flag
	return s.emit(c, 0, 0, d, 0, fl)
}

// Serialize emits an lfence: everything before it has finished before anything after it starts.
func (s *Stream) Serialize() { s.emit(Fence, 0, 0, 0, 0, Serialize) }

// Nop emits n nops (endbr64, ftrace call site, disabled static key).
func (s *Stream) Nop(n int) {
	s.repeat(n, Op{Fn: s.fn.ID, Class: Nop})
}

// Load emits an 8-byte load whose address depends on a.
func (s *Stream) Load(va uint64, a Val) Val { return s.emit(Load, va, 8, s.base(va, a), 0, 0) }

// LoadOp emits an ALU operation with an 8-byte memory source; a produces the address, b the other operand. On A64, which has no
// memory operands, it is a load and the operation.
func (s *Stream) LoadOp(va uint64, a, b Val) Val { return s.loadOp(va, 8, a, b) }

func (s *Stream) loadOp(va uint64, size uint32, a, b Val) Val {
	a = s.base(va, a)
	if s.ISA == A64 {
		return s.emit(ALU, 0, 0, s.emit(Load, va, size, a, 0, 0), b, 0)
	}
	return s.emit(LoadOp, va, size, a, b, 0)
}

// Store emits an 8-byte store; a produces the address, v the data.
func (s *Stream) Store(va uint64, a, v Val) Val { return s.emit(Store, va, 8, s.base(va, a), v, 0) }

// RMW emits a non-atomic read-modify-write of 8 bytes; on A64 a load, an operation and a store.
func (s *Stream) RMW(va uint64, a, v Val) Val { return s.rmw(va, 8, a, v) }

func (s *Stream) rmw(va uint64, size uint32, a, v Val) Val {
	a = s.base(va, a)
	if s.ISA == A64 {
		n := s.emit(ALU, 0, 0, s.emit(Load, va, size, a, 0, 0), v, 0)
		s.emit(Store, va, size, a, n, 0)
		return n
	}
	return s.emit(RMW, va, size, a, v, 0)
}

// Atomic emits a locked read-modify-write of 8 bytes.
func (s *Stream) Atomic(va uint64, a, v Val) Val { return s.emit(Atomic, va, 8, a, v, 0) }

// Mem emits a memory op of any class and size; LoadOp and RMW as the methods of that name do.
func (s *Stream) Mem(c Class, va uint64, size int, a, v Val) Val {
	switch c {
	case LoadOp:
		return s.loadOp(va, uint32(size), a, v)
	case RMW:
		return s.rmw(va, uint32(size), a, v)
	}
	return s.emit(c, va, uint32(size), s.base(va, a), v, 0)
}

// FlushLine emits the cache maintenance of the line at va: how is 0 (clean and invalidate), KeepLine (clean) or Discard
// (invalidate).
func (s *Stream) FlushLine(va uint64, how Flag, a Val) Val { return s.emit(Flush, va, 64, a, 0, how) }

// StringSet emits one rep stos of n bytes at dst, StringCopy one rep movs of n bytes.
func (s *Stream) StringSet(dst uint64, n int, a Val) Val {
	return s.emit(String, dst, uint32(n), s.base(dst, a), 0, 0)
}

// StringCopy emits one rep movs of n bytes from src to dst.
func (s *Stream) StringCopy(dst, src uint64, n int, a, b Val) Val {
	v := s.emit(String, dst, uint32(n), a, b, Copy)
	s.Ops[len(s.Ops)-1].Src = src
	return v
}

// FenceLockAdd emits smp_mb(): on x86-64 a locked add of zero to the stack, on A64 dmb ish.
func (s *Stream) FenceLockAdd() Val {
	if s.ISA == A64 {
		return s.emit(Fence, 0, 0, 0, 0, 0)
	}
	return s.emit(Fence, s.sp-4, 4, 0, 0, Stack)
}

// StackLoad and StackStore access a local variable off bytes above the stack pointer.
func (s *Stream) StackLoad(off int) Val { return s.emit(Load, s.sp+uint64(off), 8, 0, 0, 0) }

// StackStore stores v to a local variable off bytes above the stack pointer.
func (s *Stream) StackStore(off int, v Val) Val {
	return s.emit(Store, s.sp+uint64(off), 8, 0, v, 0)
}

// LoadPair and StorePair access 16 bytes in one instruction (ldp, stp).
func (s *Stream) LoadPair(va uint64, a Val) Val { return s.emit(Load, va, 16, s.base(va, a), 0, 0) }

// StorePair stores two registers at va; a produces the address, v the data.
func (s *Stream) StorePair(va uint64, a, v Val) Val {
	return s.emit(Store, va, 16, s.base(va, a), v, 0)
}

// ZeroLine emits one dc zva: the 64 bytes at va, which are aligned, become zero. The line is asked for as for any other
// store; a core may do without reading it.
func (s *Stream) ZeroLine(va uint64, a Val) Val { return s.emit(Store, va, 64, a, 0, Zva) }

// Push emits the saving of n registers on the stack: n pushes, or on A64 the stores of pairs that save them.
func (s *Stream) Push(n int) {
	if s.ISA == A64 {
		s.sp -= uint64(n) * 8
		for at := 0; at < n; at += 2 {
			s.emit(Store, s.sp+uint64(at)*8, uint32(min(n-at, 2))*8, 0, 0, Stack)
		}
		return
	}
	for i := 0; i < n; i++ {
		s.sp -= 8
		s.emit(Store, s.sp, 8, 0, 0, Stack)
	}
}

// Pop emits the restoring of n registers.
func (s *Stream) Pop(n int) {
	if s.ISA == A64 {
		for at := 0; at < n; at += 2 {
			s.emit(Load, s.sp+uint64(at)*8, uint32(min(n-at, 2))*8, 0, 0, Stack)
		}
		s.sp += uint64(n) * 8
		s.kept = s.seq
		return
	}
	for i := 0; i < n; i++ {
		s.emit(Load, s.sp, 8, 0, 0, Stack)
		s.sp += 8
	}
	s.kept = s.seq
}

// Frame moves the stack pointer down by n bytes of local variables (one ALU op); a negative n gives them back.
func (s *Stream) Frame(n int) {
	s.sp -= uint64(n)
	s.emit(ALU, 0, 0, 0, 0, 0)
}

// Branch emits a conditional branch that depends on d. A taken forward branch skips some code.
func (s *Stream) Branch(taken bool, d Val) {
	if !taken {
		s.emit(Branch, 0, 0, d, 0, 0)
		return
	}
	s.emit(Branch, 0, 0, d, 0, Taken)
	s.pc += 3 * insnBytes // lands past the code not executed
}

// Loop emits the branch at the end of a loop body: back to top when again, falling through otherwise.
func (s *Stream) Loop(top uint32, again bool, d Val) {
	s.Branch(false, d)
	if again {
		s.Ops[len(s.Ops)-1].Flag |= Taken
		s.pc = top
	}
}

// Jump emits an unconditional direct jump within the function.
func (s *Stream) Jump() {
	s.emit(Jmp, 0, 0, 0, 0, 0)
	s.pc += 3 * insnBytes
}

// JumpInd emits an indirect jump within the function (a jump table) over n instructions, to a place that d produced.
func (s *Stream) JumpInd(n int, d Val) {
	s.emit(JmpInd, 0, 0, d, 0, 0)
	s.pc += uint32(n) * insnBytes
	s.Ops[len(s.Ops)-1].Src = TextBase + uint64(s.pc)
}

// Skip moves the program counter over n instructions that are not executed (a cold block placed in line).
func (s *Stream) Skip(n int) { s.pc += uint32(n) * insnBytes }

// Call emits a direct call of f, which returns by Ret.
func (s *Stream) Call(f *Func) {
	if s.ISA == A64 {
		s.emit(Link, 0, 0, 0, 0, 0)
		s.link(f)
		return
	}
	s.sp -= 8
	s.emit(Call, s.sp, 8, 0, 0, Stack)
	s.enter(f)
}

// TailCall emits a jump to f, which returns to the caller of the present function.
func (s *Stream) TailCall(f *Func) {
	s.emit(Jmp, 0, 0, 0, 0, 0)
	s.jump(f)
}

// jump goes on in f, which returns to the caller of the present function.
func (s *Stream) jump(f *Func) {
	if s.Stacks {
		caller := funcs[0]
		if n := len(s.frames); n > 0 {
			caller = s.frames[n-1].fn
		}
		f = f.on(caller)
	}
	s.fn, s.pc = f, f.PC
}

// CallInd emits an indirect call of f through a pointer produced by d, compiled as the mitigation demands.
func (s *Stream) CallInd(f *Func, d Val) {
	if s.ISA == A64 {
		s.emit(LinkInd, 0, 0, d, 0, 0)
		s.Ops[len(s.Ops)-1].Src = TextBase + uint64(f.PC)
		s.link(f)
		return
	}
	switch s.mit {
	case MitRetpoline:
		s.Call(thunk)
		s.sp -= 8
		s.emit(Call, s.sp, 8, 0, 0, Stack) // over the speculation trap
		s.pc += 3 * insnBytes
		s.emit(Store, s.sp, 8, 0, d, 0)
		// The ret goes to f although the return stack says otherwise: Addr tells the core where it really goes.
		s.emit(Ret, s.sp, 8, 0, 0, Stack)
		s.Ops[len(s.Ops)-1].Src = TextBase + uint64(f.PC)
		s.sp += 8
		s.jump(f)
		return
	case MitLFENCE:
		s.emit(Fence, 0, 0, d, 0, Serialize)
	}
	s.sp -= 8
	s.emit(CallInd, s.sp, 8, d, 0, Stack)
	s.Ops[len(s.Ops)-1].Src = TextBase + uint64(f.PC)
	s.enter(f)
}

var thunk = NewFunc("__x86_indirect_thunk_array", "arch/x86/lib/retpoline.S", 32)

func (s *Stream) enter(f *Func) {
	s.frames = append(s.frames, frame{s.fn, s.pc, s.sp + 8})
	if s.Stacks {
		f = f.on(s.fn)
	}
	s.fn, s.pc = f, f.PC
}

// link enters f with the return address in a register.
func (s *Stream) link(f *Func) {
	s.frames = append(s.frames, frame{s.fn, s.pc, s.sp})
	if s.Stacks {
		f = f.on(s.fn)
	}
	s.fn, s.pc = f, f.PC
}

// Enter starts f as the outermost function without emitting a call: what a recording of f alone begins with.
func (s *Stream) Enter(f *Func) {
	if s.ISA == A64 {
		s.link(f)
		return
	}
	s.sp -= 8
	s.enter(f)
}

// Ret emits the return of the present function to its caller.
func (s *Stream) Ret() {
	sp := s.sp + 8
	if s.ISA == A64 {
		s.emit(LinkRet, 0, 0, 0, 0, 0)
		sp = s.sp
	} else {
		s.emit(Ret, s.sp, 8, 0, 0, Stack)
	}
	fr := s.frames[len(s.frames)-1]
	s.frames = s.frames[:len(s.frames)-1]
	if sp != fr.sp {
		panic("cpu: " + s.fn.Name + " returns with an unbalanced stack")
	}
	s.Ops[len(s.Ops)-1].Src = TextBase + uint64(fr.pc)
	s.fn, s.pc, s.sp = fr.fn, fr.pc, fr.sp
}

// Depth returns the number of functions that are active.
func (s *Stream) Depth() int { return len(s.frames) }

// Fn returns the function being emitted.
func (s *Stream) Fn() *Func { return s.fn }

// Back moves the program counter to pc, the start of code that is executed again.
func (s *Stream) Back(pc uint32) { s.pc = pc }

// Append adds ops that were made elsewhere (a recording) to the stream.
func (s *Stream) Append(ops []Op) {
	s.Ops = append(s.Ops, ops...)
	s.seq += Val(len(ops))
}

// Leave ends the outermost function started by Enter without emitting a return.
func (s *Stream) Leave() {
	fr := s.frames[len(s.frames)-1]
	s.frames = s.frames[:len(s.frames)-1]
	s.fn, s.pc, s.sp = fr.fn, fr.pc, fr.sp
}
