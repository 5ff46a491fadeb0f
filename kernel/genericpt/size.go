package genericpt

import (
	"math/bits"

	"dmapath/cpu"
)

// firstSize chooses the size and the level of the first entries of a range of more than one page.
func (d *Table) firstSize(t *cpu.Thread, r *ptRange, m *mapArgs) {
	t.Load(r.at+rLast, 0)
	t.Load(r.at+rVA, 0)
	t.ALU(2, 0)
	t.StackStore(8, 0)
	best := d.bestSize(t, r, m)
	t.Mem(cpu.Store, m.at+mSize, 4, 0, best)
	t.ALU(2, best)
	t.Branch(false, t.Last())
	d.sizeToArgs(t, r, m)
	t.Jump()
}

// bestSize is pt_compute_best_pgsize: the largest page size to which both addresses are aligned and which fits the
// length.
func (d *Table) bestSize(t *cpu.Thread, r *ptRange, m *mapArgs) cpu.Val {
	t.Call(d.fn.bestSize)
	t.Push(1)
	t.ALU(3, 0)
	t.Push(1)
	t.ALU(3, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Op(cpu.BitScan, t.Last())
	t.ALU(2, t.Last())
	t.Branch(r.va|m.oa == 0, t.Last())
	lg := bits.Len64(r.last-r.va+1) - 1
	if merged := r.va | m.oa; merged != 0 {
		t.ALU(1, 0)
		t.Op(cpu.BitScan, t.Last())
		lg = min(lg, bits.TrailingZeros64(merged))
	}
	t.ALU(1, t.Last())
	t.Branch(false, t.Last())
	t.ALU(7, 0)
	t.Op(cpu.BitScan, t.Last())
	t.ALU(1, t.Last())
	t.Branch(false, t.Last())
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	v := t.ALU(1, 0)
	t.Pop(4)
	t.Ret()
	m.lg2 = uint(bits.Len64(d.Core.PgsizeBitmap&(1<<(lg+1)-1)) - 1)
	m.level = int(m.lg2-12) / 9
	return v
}

// sizeToArgs is pt_pgsz_lg2_to_level and pt_pgsz_count, inlined: how many entries of the size come before a larger
// size becomes possible.
func (d *Table) sizeToArgs(t *cpu.Thread, r *ptRange, m *mapArgs) {
	t.ALU(1, 0)
	last := t.Load(r.at+rLast, 0)
	t.ALU(2, 0)
	lv := t.Op(cpu.Mul, t.Last()) // division by 9
	t.ALU(1, last)
	t.StackLoad(8)
	t.ALU(3, 0)
	t.Mem(cpu.Store, m.at+mLevel, 4, 0, lv)
	t.Load(r.at+rVA, 0)
	t.ALU(2, 0)
	n := r.last - r.va + 1
	larger := d.Core.PgsizeBitmap &^ (2<<m.lg2 - 1)
	t.Branch(larger == 0, t.Last())
	if larger != 0 {
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.Op(cpu.BitScan, 0)
		t.ALU(8, t.Last())
		next := larger & -larger
		alike := (r.va^m.oa)&(next-1) == 0
		t.Branch(alike, t.Last())
		t.ALU(1, 0)
		t.Branch(false, t.Last())
		t.ALU(1, 0)
		to := next - r.va&(next-1)
		early := alike && to+next <= n
		t.Branch(early, t.Last())
		if early {
			n = to
			t.ALU(1, 0)
		}
	}
	t.Load(r.at+rVA, 0)
	t.ALU(3, 0)
	t.Store(m.at+mLeaves, 0, t.Last())
	m.leaves = n >> m.lg2
}
