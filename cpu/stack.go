package cpu

// SP returns the stack pointer: the address of the last push. A structure on the stack of the present function lies at
// SP plus its offset in the frame.
func (s *Stream) SP() uint64 { return s.sp }

// TailCallInd emits a jump through a pointer produced by d to f, which returns to the caller of the present function,
// compiled as the mitigation demands.
func (s *Stream) TailCallInd(f *Func, d Val) {
	target := TextBase + uint64(f.PC)
	switch s.mit {
	case MitRetpoline:
		s.TailCall(thunk)
		s.sp -= 8
		s.emit(Call, s.sp, 8, 0, 0, Stack)
		s.pc += 3 * insnBytes
		s.emit(Store, s.sp, 8, 0, d, 0)
		s.emit(Ret, s.sp, 8, 0, 0, Stack)
		s.sp += 8
	default:
		if s.mit == MitLFENCE {
			s.emit(Fence, 0, 0, d, 0, Serialize)
		}
		s.emit(JmpInd, target, 0, d, 0, 0)
	}
	s.Ops[len(s.Ops)-1].Src = target
	s.fn, s.pc = f, f.PC
}

// Reserve moves the stack pointer down by n bytes as part of the store that follows or, with a negative n, up as part of the load
// before: A64 code opens a frame with stp x29, x30, [sp, #-n]! and closes it with ldp x29, x30, [sp], #n, without an instruction
// for the stack pointer.
func (s *Stream) Reserve(n int) { s.sp -= uint64(n) }

// StackLoadPair loads two local variables off bytes above the stack pointer with one ldp.
func (s *Stream) StackLoadPair(off int) Val { return s.emit(Load, s.sp+uint64(off), 16, 0, 0, 0) }

// StackStorePair stores two local variables off bytes above the stack pointer with one stp; v produces the data.
func (s *Stream) StackStorePair(off int, v Val) Val {
	return s.emit(Store, s.sp+uint64(off), 16, 0, v, 0)
}
