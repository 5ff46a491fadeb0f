package smmu

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

const fileMemset = "arch/arm64/lib/memset.S"

var (
	fnMemset   = cpu.NewFunc("__memset", fileMemset, 400)
	fnMemsetPI = cpu.NewFunc("__pi_memset_generic", fileMemset, 400)
)

// memset emits memset(dst, 0, n) of arm64: up to 15 bytes by the bits of n, more in pairs of registers up to an aligned line, then dc zva line
// by line, then the rest. 7.3 gets there by a jump. It emits stores; the contents of memory are the caller's.
func (u *Unit) memset(t *cpu.Thread, dst, n uint64, a cpu.Val) {
	t.Call(fnMemset)
	t.Nop(1)
	if u.Env.Version == kernel.V7_3 {
		t.TailCall(fnMemsetPI)
		t.Nop(1)
	}
	p := t.ALU(6, a)
	t.Branch(n > 15, p)
	if n <= 15 {
		t.Branch(n&8 == 0, p)
		for _, k := range [4]uint64{8, 4, 2, 1} {
			if n&k != 0 {
				t.Mem(cpu.Store, dst, int(k), p, 0)
				dst += k
			}
			if k > 1 {
				t.Branch(n&(k>>1) == 0, p)
			}
		}
		t.Ret()
		return
	}
	t.ALU(2, p)
	head := -dst & 15
	t.Branch(head == 0, t.Last())
	if head != 0 {
		t.StorePair(dst, p, 0)
		t.ALU(2, p)
		dst, n = dst+head, n-head
	}
	t.Branch(true, p) // zero is what is stored
	t.ALU(1, 0)
	t.Branch(n <= 63, t.Last())
	if n > 63 {
		dst, n = lines(t, dst, n)
		t.ALU(1, 0)
		t.Branch(n > 0, t.Last())
		if n == 0 {
			t.Ret()
			return
		}
		t.ALU(1, 0)
		t.Branch(false, t.Last())
	}
	t.ALU(1, 0)
	t.Branch(n < 16, t.Last())
	if n >= 16 {
		t.ALU(1, 0)
		t.Branch(n&48 == 32, t.Last())
		if n&48 != 32 {
			t.Branch(n&48 == 16, t.Last())
		}
		for ; n >= 16; n -= 16 {
			t.StorePair(dst, 0, 0)
			dst += 16
		}
	}
	t.ALU(1, 0)
	t.Branch(n == 0, t.Last())
	if n > 0 {
		t.StorePair(dst+n-16, t.ALU(1, 0), 0)
	}
	t.Ret()
}

// lines zeroes what of n bytes from dst, which is aligned to 16, fills whole lines, and the bytes up to the first of them. It returns what is
// left, less than a line.
func lines(t *cpu.Thread, dst, n uint64) (uint64, uint64) {
	t.ALU(1, 0)
	t.Branch(false, t.Last())
	id := t.Op(cpu.Sysreg, 0) // dczid_el0
	t.Branch(false, id)
	t.ALU(4, id)
	t.Branch(false, t.Last())
	t.ALU(1, id)
	t.Branch(false, t.Last())
	t.ALU(3, id)
	head := -dst & 63
	t.Branch(head == 0, t.Last())
	if head != 0 {
		t.ALU(3, 0)
		t.Branch(false, t.Last())
		t.ALU(1, 0)
		for i := range uint64(4) {
			t.StorePair(dst+16*i, 0, 0)
		}
		t.ALU(2, 0)
		t.Branch(false, t.Last())
		t.ALU(2, 0)
		dst, n = dst+head, n-head
	} else {
		t.ALU(1, 0)
	}
	top := t.Here()
	for n >= 64 {
		t.ZeroLine(dst, 0)
		t.ALU(2, 0)
		dst, n = dst+64, n-64
		t.Loop(top, n >= 64, t.Last())
	}
	return dst, n
}
