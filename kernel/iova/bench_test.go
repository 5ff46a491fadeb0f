package iova

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// BenchmarkPair is one AllocFast and FreeFast: silent, with emission, and through the tree (512 pages).
func BenchmarkPair(b *testing.B) {
	b.Run("silent", func(b *testing.B) {
		d := newDomain(b, kernel.V6_12, 2)
		b.ReportAllocs()
		for b.Loop() {
			pfn, _ := d.AllocFast(nil, 0, 1, 0xfffff, false)
			d.FreeFast(nil, 0, pfn, 1)
		}
	})
	b.Run("silent-tree", func(b *testing.B) {
		d := newDomain(b, kernel.V6_12, 2)
		b.ReportAllocs()
		for b.Loop() {
			pfn, _ := d.AllocFast(nil, 0, 512, 0xfffff, false)
			d.FreeFast(nil, 0, pfn, 512)
		}
	})
	b.Run("emitting", func(b *testing.B) {
		d := newDomain(b, kernel.V6_12, 2)
		recorded.Run(func(t *cpu.Thread) {
			b.ReportAllocs()
			for b.Loop() {
				pfn, _ := d.AllocFast(t, 0, 1, 0xfffff, false)
				d.FreeFast(t, 0, pfn, 1)
				t.Ops = t.Ops[:0]
			}
		})
	})
}

// A warm pair allocates nothing on the host, silent or emitting.
func TestPairsDoNotAllocate(t *testing.T) {
	for _, size := range []uint64{1, 32, 512} {
		d := newDomain(t, kernel.V7_3, 1)
		pair := func() {
			pfn, _ := d.AllocFast(nil, 0, size, 0xfffff, false)
			d.FreeFast(nil, 0, pfn, size)
		}
		pair()
		if n := testing.AllocsPerRun(100, pair); n != 0 {
			t.Errorf("%d pages: %v allocations per pair", size, n)
		}
	}
}
