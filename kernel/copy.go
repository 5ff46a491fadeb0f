package kernel

import "dmapath/cpu"

var (
	memcpyEntry = cpu.NewFunc("__memcpy", "arch/x86/lib/memcpy_64.S", 32)
	memcpyOrig  = cpu.NewFunc("memcpy_orig", "arch/x86/lib/memcpy_64.S", 288)
)

// Memcpy emits a call of memcpy: n bytes from virtual address src to dst, whose addresses a and b produce. On x86-64 it is rep movsb
// on a CPU with fast short rep movs (Config.FSRM) and memcpy_orig otherwise: 32 bytes per turn of its loop, with ordinary
// loads and stores. On Arm 64 bytes per turn, in pairs of registers. A long copy is timed in several segments.
func (e *Env) Memcpy(t *cpu.Thread, dst, src uint64, n int, a, b cpu.Val) {
	t.Call(memcpyEntry)
	e.memcpy(t, dst, src, n, a, b)
}

// TailMemcpy is Memcpy as the last thing a function does: it returns to the function's caller.
func (e *Env) TailMemcpy(t *cpu.Thread, dst, src uint64, n int, a, b cpu.Val) {
	t.TailCall(memcpyEntry)
	e.memcpy(t, dst, src, n, a, b)
}

func (e *Env) memcpy(t *cpu.Thread, dst, src uint64, n int, a, b cpu.Val) {
	t.Nop(1)
	switch {
	case e.Arch != X86_64:
		copyPairs(t, dst, src, n, a, b)
	case e.FSRM:
		t.ALU(2, 0)
		t.StringCopy(dst, src, n, a, b)
	default:
		t.TailCall(memcpyOrig)
		copyWords(t, dst, src, n, a, b)
	}
	t.Ret()
}

// copyWords is memcpy_orig after it was entered, copying forwards. The loop moves 32 bytes; what remains is moved by accesses from
// its start and from its end that may overlap.
func copyWords(t *cpu.Thread, dst, src uint64, n int, a, b cpu.Val) {
	t.ALU(2, 0)
	t.Branch(n < 32, t.Last())
	if n >= 32 {
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.ALU(1, 0)
		top := t.Here()
		for ; n >= 32; n -= 32 {
			t.ALU(1, 0)
			var w [4]cpu.Val
			for i := range w {
				w[i] = t.Load(src+uint64(i)*8, b)
			}
			b = t.ALU(1, b)
			for i := range w {
				t.Store(dst+uint64(i)*8, a, w[i])
			}
			a = t.ALU(1, a)
			t.Loop(top, n >= 64, a)
			dst, src = dst+32, src+32
			if len(t.Ops) > cpu.SegmentOps {
				t.Sync()
			}
		}
		t.ALU(1, 0)
		t.Jump()
	}
	t.ALU(1, 0)
	for size := 16; size >= 4; size /= 2 {
		t.Branch(n < size, t.Last())
		if n >= size {
			copyEnds(t, dst, src, n, size, a, b)
			return
		}
		t.ALU(1, 0)
	}
	t.Branch(n == 0, t.Last())
	for i := range n {
		w := t.Mem(cpu.Load, src+uint64(i), 1, b, 0)
		t.Mem(cpu.Store, dst+uint64(i), 1, a, w)
	}
}

// copyEnds moves the first and the last size bytes of n; 16 bytes as two words each.
func copyEnds(t *cpu.Thread, dst, src uint64, n, size int, a, b cpu.Val) {
	word := min(size, 8)
	var w [4]cpu.Val
	ends := [4]int{0, size - word, n - size, n - word}
	if size == word {
		ends[1] = n - size
	}
	k := 2 * size / word
	for i := range k {
		w[i] = t.Mem(cpu.Load, src+uint64(ends[i]), word, b, 0)
	}
	for i := range k {
		t.Mem(cpu.Store, dst+uint64(ends[i]), word, a, w[i])
	}
}

// copyPairs is memcpy of arm64 (arch/arm64/lib/memcpy.S): above 128 bytes a loop of 64 in four pairs, the rest and short copies
// in pairs from both ends.
func copyPairs(t *cpu.Thread, dst, src uint64, n int, a, b cpu.Val) {
	t.ALU(2, 0)
	t.Branch(n > 128, t.Last())
	if n > 128 {
		t.ALU(4, 0)
		top := t.Here()
		for ; n > 64; n -= 64 {
			for i := range uint64(4) {
				t.StorePair(dst+i*16, a, t.LoadPair(src+i*16, b))
			}
			a = t.ALU(1, a)
			t.Loop(top, n > 128, a)
			dst, src = dst+64, src+64
			if len(t.Ops) > cpu.SegmentOps {
				t.Sync()
			}
		}
	}
	for ; n > 0; n -= 16 {
		size := min(n, 16)
		t.Mem(cpu.Store, dst, size, a, t.Mem(cpu.Load, src, size, b, 0))
		dst, src = dst+16, src+16
	}
}
