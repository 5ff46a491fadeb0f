package dma

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
)

// How fast the host emits one map and unmap with dma-direct.
func BenchmarkEmitPair(b *testing.B) {
	for _, v := range Variants() {
		b.Run(v.Name(), func(b *testing.B) {
			ctx := newCtx(b, v.Version())
			th := cpu.NewThread(nil, 0, nil, cpu.NewStream(recorded.StackTop, cpu.MitNone))
			buf := buffer(5<<30, 4096)
			b.ReportAllocs()
			ops := 0
			for range b.N {
				addr, _ := v.Map(th, ctx, buf, kernel.ToDevice, 0)
				v.Unmap(th, ctx, addr, 4096, kernel.ToDevice, 0)
				ops = len(th.Ops)
				th.Ops = th.Ops[:0]
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(ops), "ns/op-emitted")
		})
	}
}
