package iommucore

import (
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// slowSize is the obvious twin of iommu_pgsize: try every size, and count until the next size would fit.
func slowSize(bitmap, iova, phys, size uint64) (pgsize, count uint64) {
	fits := func(p, off uint64) bool { return (iova+off)%p == 0 && (phys+off)%p == 0 && size-off >= p }
	for s := 12; s < 40; s++ {
		if p := uint64(1) << s; bitmap&p != 0 && fits(p, 0) {
			pgsize = p
		}
	}
	next := uint64(0)
	for s := 39; s >= 12; s-- {
		if p := uint64(1) << s; bitmap&p != 0 && p > pgsize {
			next = p
		}
	}
	for off := uint64(0); off+pgsize <= size; off += pgsize {
		if next != 0 && fits(next, off) {
			break
		}
		count++
	}
	return pgsize, count
}

// The page size and count are those of the obvious search, for the three VT-d sizes and for subsets of them.
func TestPgsizeEqualsSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	env := kernel.NewEnv(kernel.Config{Version: kernel.V6_12, CPUs: 1, Coherent: true}, cache.NewMemory(), 0)
	recorded.Run(func(th *cpu.Thread) {
		for _, bitmap := range []uint64{1 << 12, 1<<12 | 1<<21, 1<<12 | 1<<21 | 1<<30} {
			d := NewDomain(env, env.Slab(512, 64), nil, bitmap, 1<<48-1)
			for i := 0; i < 2000; i++ {
				unit := uint64(1) << []int{12, 16, 21, 30}[rng.IntN(4)]
				iova, phys := uint64(rng.IntN(64))*unit, uint64(rng.IntN(64))*unit
				size := (1 + uint64(rng.IntN(8))) << []int{12, 12, 16, 21}[rng.IntN(4)]
				if rng.IntN(2) == 0 {
					off := uint64(rng.IntN(512)) << 12
					iova, phys = iova+off, phys+off
				}
				th.Frame(64)
				p, n := d.pgsize(th, iova, phys, size, 8, 0)
				th.Frame(-64)
				wp, wn := slowSize(bitmap, iova, phys, size)
				if p != wp || n != wn {
					t.Fatalf("sizes %#x: %#x to %#x, %#x bytes: %d pages of %#x, want %d of %#x", bitmap, iova, phys, size, n, p, wn, wp)
				}
			}
		}
	})
}
