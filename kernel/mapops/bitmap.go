package mapops

import (
	"math/bits"

	"dmapath/cpu"
)

var (
	findZeroArea = cpu.NewFunc("bitmap_find_next_zero_area_off", "lib/bitmap.c", 160)
	findZero     = cpu.NewFunc("_find_next_zero_bit", "lib/find_bit.c", 96)
	findSet      = cpu.NewFunc("_find_next_bit", "lib/find_bit.c", 96)
	bitmapSet    = cpu.NewFunc("__bitmap_set", "lib/bitmap.c", 160)
	bitmapClear  = cpu.NewFunc("__bitmap_clear", "lib/bitmap.c", 160)
)

// bitmap is an array of bits at va, searched and changed by the functions of lib/bitmap.c and lib/find_bit.c, whose loops go word by
// word: what they cost depends on how far the search has to go.
type bitmap struct {
	va    uint64
	words []uint64
	n     int
}

func newBitmap(va uint64, n int) bitmap { return bitmap{va, make([]uint64, (n+63)/64), n} }

// next emits find_next_zero_bit (invert) or find_next_bit from bit at on, and returns the bit, n when there is none below end.
func (b *bitmap) next(t *cpu.Thread, end, at int, invert bool) int {
	if invert {
		t.Call(findZero)
	} else {
		t.Call(findSet)
	}
	t.Nop(1)
	t.Branch(at >= end, t.ALU(1, 0))
	if at >= end {
		t.ALU(1, 0)
		t.Ret()
		return end
	}
	first := uint(at & 63)
	top := t.Here()
	for w := at / 64; ; w++ {
		v := t.Load(b.va+uint64(w)*8, 0)
		x := b.words[w]
		if invert {
			x = ^x
		}
		x = x >> first << first
		first = 0
		t.Branch(x != 0, t.ALU(1, v))
		if x != 0 || (w+1)*64 >= end {
			t.ALU(2, t.Op(cpu.BitScan, v))
			t.Ret()
			if x == 0 {
				return end
			}
			return min(w*64+bits.TrailingZeros64(x), end)
		}
		t.Loop(top, true, t.ALU(2, 0))
	}
}

// findArea emits bitmap_find_next_zero_area: the first n clear bits in a row below end, from at on; false when there are none.
func (b *bitmap) findArea(t *cpu.Thread, end, at, n int) (int, bool) {
	t.Call(findZeroArea)
	t.Nop(2)
	t.Push(5)
	t.ALU(4, 0)
	defer func() { t.Pop(5); t.Ret() }()
	top := t.Here()
	for {
		i := b.next(t, end, at, true)
		t.ALU(3, 0)
		t.Branch(i+n > end, t.Last())
		if i+n > end {
			return 0, false
		}
		j := b.next(t, i+n, i, false)
		t.Branch(j >= i+n, t.ALU(1, 0))
		if j >= i+n {
			return i, true
		}
		at = j + 1
		t.Loop(top, true, t.ALU(1, 0))
	}
}

// fill emits bitmap_set or bitmap_clear of n bits from at on; one bit is inlined into the caller.
func (b *bitmap) fill(t *cpu.Thread, at, n int, set bool) {
	change := func(w int, mask uint64) {
		if set {
			b.words[w] |= mask
		} else {
			b.words[w] &^= mask
		}
		t.RMW(b.va+uint64(w)*8, 0, t.ALU(2, 0))
	}
	if n == 1 {
		change(at/64, 1<<(at&63))
		return
	}
	if set {
		t.Call(bitmapSet)
	} else {
		t.Call(bitmapClear)
	}
	t.Nop(1)
	t.ALU(4, 0)
	top := t.Here()
	for n > 0 {
		k := min(64-at&63, n)
		change(at/64, (1<<k-1)<<(at&63))
		at, n = at+k, n-k
		t.Loop(top, n > 0, t.ALU(2, 0))
	}
	t.Ret()
}
