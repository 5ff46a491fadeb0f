package iommucore

import (
	"math/bits"

	"dmapath/cpu"
)

var fnPgsize = cpu.NewFunc("iommu_pgsize.isra.0", file, 188)

// pgsize is iommu_pgsize of 6.12 (the same in 7.3 for drivers without generic page tables): the largest page size
// that fits iova, phys and size, and how many such pages come before a larger size becomes possible. The count
// is stored to the caller's frame, off bytes above the stack pointer of the caller.
func (d *Domain) pgsize(t *cpu.Thread, iova, phys, size uint64, off int, bitmap cpu.Val) (pgsize, count uint64) {
	t.Call(fnPgsize)
	t.Nop(1)
	t.Push(1)
	t.ALU(3, bitmap)
	t.Push(1)
	t.ALU(3, 0)
	t.Op(cpu.BitScan, 0) // __fls(size)
	t.ALU(7, t.Last())
	merged := iova | phys
	t.Branch(merged == 0, t.Last())
	sizes := d.PgsizeBitmap & (1<<bits.Len64(size) - 1)
	if merged != 0 {
		t.Op(cpu.BitScan, t.Last()) // __ffs(iova | phys)
		t.ALU(5, t.Last())
		sizes &= 1<<(bits.TrailingZeros64(merged)+1) - 1
	}
	if sizes == 0 {
		panic("iommucore: no page size fits an aligned range")
	}
	t.Branch(false, t.Last())
	t.ALU(1, 0)
	t.Op(cpu.BitScan, t.Last())
	idx := bits.Len64(sizes) - 1
	pgsize = 1 << idx
	larger := d.PgsizeBitmap &^ (2<<idx - 1)
	t.ALU(10, t.Last())
	t.Branch(larger == 0, t.Last())
	n := size
	if larger != 0 {
		// Stop where the next size becomes possible, if iova and phys lie equally within it.
		next := larger & -larger
		t.ALU(2, 0)
		t.Op(cpu.BitScan, t.Last())
		t.ALU(3, t.Last())
		misaligned := (iova^phys)&(next-1) != 0
		t.Branch(misaligned, t.Last())
		if !misaligned {
			t.ALU(7, 0)
			to := next - iova&(next-1)
			t.Branch(to+next > size, t.Last())
			if to+next <= size {
				t.ALU(2, 0)
				n = to
			}
		}
	}
	count = n >> idx
	t.ALU(2, 0)
	t.Pop(1)
	t.ALU(1, 0)
	t.Pop(1)
	t.StackStore(8+off, t.Last()) // the return address lies between
	t.Ret()
	return pgsize, count
}
