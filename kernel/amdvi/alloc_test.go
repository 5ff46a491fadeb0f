package amdvi_test

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel/iommucore"
	"dmapath/kernel/recorded"
)

// Mapping and unmapping allocate nothing once the tables are there.
func TestNoAllocations(t *testing.T) {
	for _, v := range versions {
		r := newRig(t, v, 6)
		g := new(iommucore.Gather)
		recorded.Run(func(th *cpu.Thread) {
			r.dom.Core.Map(th, 0x10000000+1<<20, 8<<30, 4096, rw) // the tables stay
			for _, size := range []uint64{4096, 128 << 10} {
				n := testing.AllocsPerRun(50, func() {
					if err := r.dom.Core.Map(th, 0x10000000, 9<<30, size, rw); err != nil {
						t.Fatal(err)
					}
					g.Init(th.SP() - 64)
					r.dom.Core.Unmap(th, 0x10000000, size, g)
					r.dom.Core.SyncTLB(th, g)
					r.hw.seen = r.hw.seen[:0]
					th.Sync()
				})
				if n != 0 {
					t.Errorf("%v, %d bytes: %v allocations", v, size, n)
				}
			}
		})
	}
}
