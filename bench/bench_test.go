package bench

import (
	"errors"
	"fmt"
	"testing"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
)

// onePoint is the experiment of one benchmark line.
func onePoint(workload, backend, cache, variant string, operations int64) Experiment {
	x := Default()
	x.Workloads, x.Backends, x.Caches, x.Variants = []string{workload}, []string{backend}, []string{cache}, []string{variant}
	x.Operations = operations
	return x
}

func load(tb testing.TB, name string) *platform.Spec {
	s, err := platform.Load(name)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// BenchmarkMap reports what the simulated machine spends on a map and on an unmap. The figures are exact: repeats that differ
// are a bug. Host time says nothing here and is left out.
func BenchmarkMap(b *testing.B) {
	for _, p := range platform.Names() {
		for _, be := range []string{"direct", "iommu-strict", "iommu-lazy"} {
			for _, v := range dma.Variants() {
				b.Run(fmt.Sprintf("platform=%s/backend=%s/cache=warm/variant=%s", p, be, v.Name()), func(b *testing.B) {
					s := load(b, p)
					x := onePoint("nvme", be, "warm", v.Name(), 512)
					if x.NeedsMapBenchmark(v.Name()) != "" {
						x.Workloads = []string{"map-benchmark"}
					}
					if err := x.Validate(s); err != nil {
						b.Skip(err)
					}
					var o *Outcome
					for b.Loop() {
						var err error
						if o, err = x.Run(s, x.Points()[0]); errors.As(err, new(platform.Unfit)) {
							b.Skip(err) // such as a machine whose IOMMU its kernel has no driver for
						} else if err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(o.Map.Series.Steady().Mean, "simcycles/map")
					b.ReportMetric(o.Unmap.Series.Steady().Mean, "simcycles/unmap")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// BenchmarkSimulator reports how fast the simulator itself is: whole 4 KiB NVMe reads, with CPU, caches, PCIe, IOMMU and device.
func BenchmarkSimulator(b *testing.B) {
	for _, be := range []string{"direct", "iommu-strict", "iommu-lazy"} {
		for _, cache := range []string{"hot", "warm"} {
			b.Run("backend="+be+"/cache="+cache, func(b *testing.B) {
				s := load(b, "icelake-sp")
				x := onePoint("nvme", be, cache, "map_page@6.12", 20_000) // long enough for building the machine not to count
				var instructions, ios float64
				b.ReportAllocs()
				for b.Loop() {
					o, err := x.Run(s, x.Points()[0])
					if err != nil {
						b.Fatal(err)
					}
					t, u := o.Map.Acct.Total(), o.Unmap.Acct.Total()
					instructions += float64(t.Instructions()+u.Instructions()) / float64(o.Map.N) * float64(o.IOs)
					ios += float64(o.IOs)
				}
				b.ReportMetric(ios/b.Elapsed().Seconds(), "IO/s")
				b.ReportMetric(instructions/b.Elapsed().Seconds()/1e6, "Mops/s")
			})
		}
	}
}

// BenchmarkEvents reports the engine's own speed in the pattern of the workloads: a few dozen pending events.
func BenchmarkEvents(b *testing.B) {
	e := sim.NewEngine()
	var h sim.Handler
	n := 0
	h = e.Register("tick", func(a uint64) {
		if n++; n < b.N {
			e.At(e.Now()+sim.Time(1+a*37%1000), h, a)
		}
	})
	for i := range uint64(64) {
		e.At(sim.Time(i), h, i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := e.Run(sim.Never); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
