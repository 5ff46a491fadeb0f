package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	memsetEntry = cpu.NewFunc("__memset", "arch/x86/lib/memset_64.S", 32)
	memsetOrig  = cpu.NewFunc("memset_orig", "arch/x86/lib/memset_64.S", 320)
)

// memset emits __memset of n bytes, which jumps to memset_orig on CPUs without fast short rep stosb: 31 instructions
// (30 on 7.3) for 64 bytes and 11 more for each further 64.
func (m *MM) memset(t *cpu.Thread, dst uint64, n int) {
	t.Call(memsetEntry)
	t.Nop(1)
	t.TailCall(memsetOrig)
	if m.Env.Version == kernel.V6_12 {
		t.Nop(1)
	}
	ret := t.ALU(1, 0)
	t.ALU(1, 0)
	pattern := t.Op(cpu.Mul, t.ALU(1, 0))
	t.Branch(false, t.Chain(2, 0)) // aligned
	count := t.Chain(2, 0)
	t.Branch(n < 64, count)
	left := n
	if n >= 64 {
		t.Nop(1)
		top := t.Here()
		for ; left >= 64; left -= 64 {
			count = t.ALU(1, count)
			for o := 0; o < 64; o += 8 {
				t.Store(dst+uint64(o), 0, pattern)
			}
			dst += 64
			t.ALU(1, 0)
			t.Loop(top, left >= 128, count)
		}
		t.Nop(1)
	}
	words := t.Chain(2, 0)
	t.Branch(left < 8, words)
	if left >= 8 {
		top := t.Here()
		for ; left >= 8; left -= 8 {
			words = t.ALU(1, words)
			t.Store(dst, 0, pattern)
			dst += 8
			t.ALU(1, 0)
			t.Loop(top, left >= 16, words)
		}
	}
	tail := t.ALU(1, 0)
	t.Branch(left == 0, tail)
	if left > 0 {
		top := t.Here()
		for ; left > 0; left-- {
			tail = t.ALU(1, tail)
			t.Mem(cpu.Store, dst, 1, 0, pattern)
			dst++
			t.ALU(1, 0)
			t.Loop(top, left > 1, tail)
		}
	}
	t.ALU(1, ret)
	t.Ret()
}
