package replay

import (
	"context"
	"testing"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads"
	"dmapath/workloads/ftrace"
)

// Events per second of reading, tracking and prediction alone.
func BenchmarkTrack(b *testing.B) {
	b.ReportAllocs()
	if _, err := Run(context.Background(), ftrace.NewReader(&stream{n: b.N}, "stream"), 0, 2, nil, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// Events per second with a machine that performs the calls.
func BenchmarkPlay(b *testing.B) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		b.Fatal(err)
	}
	v, err := dma.Lookup("map_phys@7.3")
	if err != nil {
		b.Fatal(err)
	}
	for _, back := range []platform.Backend{platform.IommuStrict, platform.IommuLazy} {
		b.Run(string(back), func(b *testing.B) {
			m, err := platform.Build(s, platform.Options{Version: v.Version(), Backend: back, CPUs: 2, Seed: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			b.ReportAllocs()
			b.ResetTimer()
			if _, err := Run(context.Background(), ftrace.NewReader(&stream{n: b.N}, "stream"), 0, 2, []*Player{NewPlayer(m, v, &workloads.Ambience{})}, nil); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
