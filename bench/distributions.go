package bench

import (
	"dmapath/results"
	"dmapath/sim"
)

// maxBuckets bounds the buckets of a distribution. It makes their width 1/16 of a power of two or less where the largest
// value is up to sixteen times the smallest.
const maxBuckets = sim.MinBins

// distribute adds how the costs of o's calls, the latency of its I/Os and its page walks are distributed.
func (o *Outcome) distribute(r *results.Record, dims []results.Dim) {
	for _, p := range o.ops() {
		AddHistogram(r, dims, p.name, "cycles", p.Cycles, 1)
	}
	AddHistogram(r, dims, "latency", "ns", o.Latency, 1)
	AddHistogram(r, dims, "walk", "ns", o.IOMMU.WalkTimes, float64(sim.Nanosecond))
}

// AddHistogram adds a histogram to r, unless it is nil or empty; its values are divided by scale.
func AddHistogram(r *results.Record, dims []results.Dim, metric, unit string, h *sim.Histogram, scale float64) {
	if h == nil || h.N == 0 {
		return
	}
	d := results.Distribution{Dims: dims, Metric: metric, Unit: unit}
	for _, b := range h.Bins(maxBuckets) {
		d.Buckets = append(d.Buckets, results.Bucket{From: float64(b.From) / scale, To: float64(b.To) / scale, Count: int64(b.Count)})
	}
	r.AddDistribution(d)
}
