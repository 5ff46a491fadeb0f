package iommucore

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
)

// run is what iommu_pgsize finds: the largest page size that fits, how many such pages come before a larger size becomes possible, and
// whether that could be at all: a larger size exists, and iova and phys lie equally within it.
func (d *Domain) run(iova, phys, size uint64) (pgsize, count uint64, larger bool) {
	sizes := d.PgsizeBitmap & (1<<bits.Len64(size) - 1)
	if merged := iova | phys; merged != 0 {
		sizes &= 1<<(bits.TrailingZeros64(merged)+1) - 1
	}
	if sizes == 0 {
		panic("iommucore: no page size fits an aligned range")
	}
	idx := bits.Len64(sizes) - 1
	n := size
	if up := d.PgsizeBitmap &^ (2<<idx - 1); up != 0 {
		next := up & -up
		if larger = (iova^phys)&(next-1) == 0; larger {
			if to := next - iova&(next-1); to+next <= size {
				n = to
			}
		}
	}
	return 1 << idx, n >> idx, larger
}

// pgsizeArm is iommu_pgsize on arm64, where a bit scan from below is two instructions and most conditions are selected rather than
// branched on. The count is stored off bytes above the stack pointer.
func (d *Domain) pgsizeArm(t *cpu.Thread, iova, phys, size uint64, off int, bitmap cpu.Val) (pgsize, count uint64) {
	v7 := d.Env.Version == kernel.V7_3
	pgsize, count, larger := d.run(iova, phys, size)
	t.Call(fnPgsize)
	t.ALU(1, 0)
	t.Nop(1)
	t.ALU(1, 0)
	t.Op(cpu.BitScan, 0)
	low := t.Op(cpu.BitScan, t.Last()) // __ffs(iova | phys)
	if v7 {
		t.ALU(3, 0)
		top := t.Op(cpu.BitScan, 0) // __fls(size)
		t.Branch(iova|phys == 0, t.ALU(10, top))
		idx := t.Op(cpu.BitScan, low)
		t.Branch(false, t.ALU(3, idx))
		t.Branch(false, t.ALU(3, bitmap))
	} else {
		t.ALU(1, 0)
		top := t.Op(cpu.BitScan, 0)
		t.Branch(iova|phys == 0, t.ALU(8, top))
		idx := t.Op(cpu.BitScan, low)
		t.Branch(false, t.ALU(5, idx))
	}
	t.Op(cpu.BitScan, t.Last())
	t.ALU(1, 0)
	next := t.Op(cpu.BitScan, t.Last())
	t.Branch(!larger, t.ALU(3, next))
	n := t.ALU(1, 0)
	if larger {
		n = t.ALU(9, next)
	}
	t.StackStore(off, n)
	t.Ret()
	return pgsize, count
}
