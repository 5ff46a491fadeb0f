package behaviour

import (
	"fmt"

	"dmapath/bench"
)

// strictAgainstLazy is what an NVMe drive that could do millions of I/Os a second gets with strict, lazy and no translation.
func strictAgainstLazy() *Behaviour {
	b := &Behaviour{Name: "strict_lazy_passthrough", Title: "NVMe 4 KiB random reads on 8 CPUs: throughput by invalidation policy",
		Source: "published-numbers 3, GRACE (8 drives, 2x72 Neoverse V2), 16.5 / 16.4 / 2.8 M IOPS",
		Setup:  "Ours: " + preset + ", 8 CPUs and queues on one drive of 1 us media latency, depth 128, 1500 instructions between two calls (a polling driver).",
		Label:  "mode", Unit: "M IOPS", Ours: "M IOPS"}
	for _, r := range []struct {
		backend   string
		published float64
	}{{"iommu-passthrough", 16.5}, {"iommu-lazy", 16.4}, {"iommu-strict", 2.8}} {
		b.Rows = append(b.Rows, Row{r.backend, r.published, func() (float64, error) {
			s, err := spec(preset)
			if err != nil {
				return 0, err
			}
			o, err := point(s, "nvme", r.backend, "hot", "map_page@6.12", func(x *bench.Experiment) {
				x.CPUs, x.Operations = 8, 12_000
				x.NVMe.QueueDepth, x.NVMe.MediaLatency, x.NVMe.MediaShape, x.NVMe.MediaChannels, x.NVMe.Surround = 128, "1us", "constant", 4096, 1500
			})
			if err != nil {
				return 0, err
			}
			rate, _ := o.Throughput()
			return rate / 1e6, nil
		}})
	}
	b.Claims = []Claim{
		{"Strict keeps less than half of passthrough", func(v []float64) bool { return v[2] < 0.5*v[0] }},
		{"Lazy comes closer to passthrough than to strict", func(v []float64) bool { return v[1] > (v[0]+v[2])/2 }},
	}
	return b
}

// iovaCaches is what the per-CPU caches of I/O addresses are worth.
func iovaCaches() *Behaviour {
	b := &Behaviour{Name: "iova_caches", Title: "Map and unmap pairs per second, all CPUs, with and without the per-CPU caches of the IOVA allocator",
		Source: "published-numbers 3, IOVA-lock (vduse, fio jobs): tree 137/170/128/113, cached 145/265/514/758 kIOPS at 1/2/4/8 jobs",
		Setup:  "Ours: " + preset + ", dma_map_benchmark's loop without its copy, lazy, one buffer per thread; theirs is a whole block device in a virtual machine.",
		Label:  "allocator, threads", Unit: "kIOPS", Ours: "M pairs/s"}
	for _, a := range []struct {
		name, orders string
		published    [4]float64
	}{{"cached", "6", [4]float64{145, 265, 514, 758}}, {"tree", "0", [4]float64{137, 170, 128, 113}}} {
		for i, threads := range []int{1, 2, 4, 8} {
			b.Rows = append(b.Rows, Row{fmt.Sprintf("%s, %d", a.name, threads), a.published[i], func() (float64, error) {
				s, err := spec(preset, "kernel.iova_cache_orders", a.orders)
				if err != nil {
					return 0, err
				}
				o, err := point(s, "map-benchmark", "iommu-lazy", "hot", "map_page@6.12", func(x *bench.Experiment) {
					x.CPUs, x.Operations = threads, 2000
					x.MapBench.Threads, x.MapBench.Dir = threads, 2
				})
				if err != nil {
					return 0, err
				}
				rate, _ := o.Throughput()
				return rate / 1e6, nil
			}})
		}
	}
	b.Claims = []Claim{
		{"With caches 8 threads do more than 4 times what one does", func(v []float64) bool { return v[3] > 4*v[0] }},
		{"Without them 8 threads do less than 2 threads with them", func(v []float64) bool { return v[7] < v[1] }},
		{"Without them throughput does not grow from 2 to 8 threads", func(v []float64) bool { return v[7] < 1.1*v[5] }},
	}
	return b
}
