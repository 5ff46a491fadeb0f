package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	memsetArm   = cpu.NewFunc("__memset", "arch/arm64/lib/memset.S", 216)
	memsetArm73 = cpu.NewFunc("__pi_memset_generic", "arch/arm64/lib/memset.S", 216)
)

// zvaBytes is the block that dc zva zeroes (DCZID_EL0), on every core that Linux servers have.
const zvaBytes = 64

// MemsetArm emits memset(dst, 0, n) of arm64: by dc zva from 128 bytes on, else by pairs of stores. 14 instructions for 8 bytes, 28
// for an aligned 64. On 7.3 __memset jumps to the variant that the boot chose.
func MemsetArm(t *cpu.Thread, v kernel.Version, dst uint64, n int) {
	t.Call(memsetArm)
	if v == kernel.V7_3 {
		t.Nop(1)
		t.TailCall(memsetArm73)
	}
	t.Nop(1)
	val := t.ALU(6, 0)
	left := uint64(n)
	t.Branch(left > 15, t.Last())
	if left <= 15 {
		for _, size := range []uint64{8, 4, 2, 1} {
			t.Branch(left&size == 0, 0)
			if left&size != 0 {
				t.Mem(cpu.Store, dst, int(size), 0, val)
				dst += size
			}
		}
		t.Ret()
		return
	}
	pad := -dst & 15
	t.Branch(pad == 0, t.ALU(2, 0))
	if pad != 0 {
		t.StorePair(dst, 0, val)
		t.ALU(2, 0)
		dst, left = dst+pad, left-pad
	}
	t.Branch(true, val) // zero
	t.Branch(left <= 63, t.ALU(1, 0))
	if left > 63 {
		t.Branch(left < 128, t.ALU(1, 0))
		switch {
		case left < 128:
			dst, left = memsetLong(t, dst, left, val)
		default:
			dst, left = memsetZva(t, dst, left, val)
		}
	}
	if left > 0 {
		memsetTail(t, dst, left, val)
	}
	t.Ret()
}

// memsetLong emits the loop of four pairs a turn, for at least 64 bytes, and returns what is left.
func memsetLong(t *cpu.Thread, dst, left uint64, val cpu.Val) (uint64, uint64) {
	t.ALU(2, 0)
	top := t.Here()
	for ; left >= 64; left -= 64 {
		for o := uint64(0); o < 64; o += 16 {
			t.StorePair(dst+o, 0, val)
		}
		dst += 64
		t.Loop(top, left >= 128, t.ALU(1, 0))
	}
	t.Branch(left > 0, t.ALU(2, 0))
	return dst, left
}

// memsetZva emits what comes before the loop of dc zva (is it allowed, is its block sane, the stores up to a block's start), and
// the loop. At least 128 bytes are to be zeroed.
func memsetZva(t *cpu.Thread, dst, left uint64, val cpu.Val) (uint64, uint64) {
	dczid := t.Op(cpu.Sysreg, 0)
	t.Branch(false, dczid)
	t.Branch(false, t.ALU(4, dczid))
	t.Branch(false, t.ALU(1, 0))
	pad := -dst & (zvaBytes - 1)
	t.Branch(pad == 0, t.ALU(3, 0))
	if pad != 0 {
		short := left-pad < zvaBytes
		t.Branch(short, t.ALU(3, 0))
		if short {
			return memsetLong(t, dst, left, val)
		}
		t.ALU(1, 0)
		for o := uint64(0); o < 64; o += 16 {
			if o == 48 {
				t.ALU(1, 0)
			}
			t.StorePair(dst+o, 0, val)
		}
		t.Branch(false, t.ALU(1, 0))
		t.ALU(1, 0)
		dst, left = dst+pad, left-pad
	}
	t.ALU(1, 0)
	top := t.Here()
	for ; left >= zvaBytes; left -= zvaBytes {
		t.ZeroLine(dst, 0)
		dst += zvaBytes
		t.Loop(top, left >= 2*zvaBytes, t.ALU(2, 0))
	}
	t.Branch(left > 0, t.ALU(1, 0))
	if left > 0 { // less than 64 bytes: the test for more
		t.Branch(false, t.ALU(1, 0))
	}
	return dst, left
}

// memsetTail emits the end, less than 64 bytes from a multiple of 16 on.
func memsetTail(t *cpu.Thread, dst, left uint64, val cpu.Val) {
	pairs := left / 16
	t.Branch(pairs == 0, t.ALU(1, 0))
	if pairs > 0 {
		t.Branch(pairs == 2, t.ALU(1, 0))
		if pairs != 2 {
			t.Branch(pairs == 1, 0)
		}
		for ; pairs > 0; pairs-- {
			t.StorePair(dst, 0, val)
			dst += 16
		}
	}
	t.Branch(left&15 == 0, t.ALU(1, 0))
	if left&15 != 0 {
		t.ALU(1, 0)
		t.StorePair(dst+left&15-16, 0, val)
	}
}
