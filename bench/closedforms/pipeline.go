package closedforms

import (
	"fmt"

	"dmapath/bench/evidence"
	"dmapath/cache"
	"dmapath/iommu/table"
	"dmapath/pcie"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// pipelines is the rate of n equal servers that always have work: n per service time.
func pipelines(uint64) (rows []evidence.Row, err error) {
	perMicro := func(n int, d sim.Time) float64 { return float64(n) / (float64(d) / float64(sim.Microsecond)) }
	for _, w := range []int{1, 2, 5, 16} {
		got, walk, err := walkRate(w)
		if err != nil {
			return nil, err
		}
		rows = append(rows, evidence.Row{What: fmt.Sprintf("%d walkers, 4-level walks", w), Unit: "per us", Predicted: got, Reference: perMicro(w, walk),
			Tolerance: 0.001, Source: "walkers / time of a walk"})
	}
	for _, t := range []int{1, 4, 32} {
		c := openConfig(5, 16, 512, 512)
		c.Tags = t
		p, err := pcie.NewPort(c, nil, fixed{})
		if err != nil {
			return nil, err
		}
		// The first read takes the round trip; a waiting request is past the device's engine already.
		first, err := p.Read(1, above4G, 512, 0)
		if err != nil {
			return nil, err
		}
		trip := first - c.EndpointLatency
		got, err := readRate(p, 512)
		if err != nil {
			return nil, err
		}
		rows = append(rows, evidence.Row{What: fmt.Sprintf("%d tags, reads of 512 B", t), Unit: "per us", Predicted: got, Reference: perMicro(t, trip), Tolerance: 0.02,
			Source: "tags / round trip; answers that leave together queue for the link, up to 2 %"})
	}
	for _, h := range []int{2, 4} {
		c := openConfig(5, 16, 256, 512)
		c.Root = pcie.Credits{PostedHeaders: h}
		p, err := pcie.NewPort(c, nil, fixed{})
		if err != nil {
			return nil, err
		}
		const n = 4000
		var last, first sim.Time
		for i := range uint64(n) {
			if last, err = p.Write(1, above4G+i*4096, 256, 0); err != nil {
				return nil, err
			}
			if i == n/2-1 {
				first = last
			}
		}
		loop := p.Up.Time(256+24) + c.LinkLatency + c.RootUp + readTime + c.CreditReturn
		rows = append(rows, evidence.Row{What: fmt.Sprintf("%d posted credits, writes of 256 B", h), Unit: "per us", Predicted: perMicro(n/2, last-first), Reference: perMicro(h, loop),
			Tolerance: 0.01, Source: "credits / time until a credit is back"})
	}
	for _, m := range []int{1, 4, 8} {
		got, latency, err := missRate(m)
		if err != nil {
			return nil, err
		}
		rows = append(rows, evidence.Row{What: fmt.Sprintf("%d miss registers, DRAM reads", m), Unit: "per us", Predicted: got, Reference: perMicro(m, latency), Tolerance: 0.01,
			Source: "miss registers / latency of a miss"})
	}
	for _, channels := range []int{2, 8} {
		got, err := mediaRate(channels)
		if err != nil {
			return nil, err
		}
		rows = append(rows, evidence.Row{What: fmt.Sprintf("NVMe, %d media channels of 50 us", channels), Unit: "per ms", Predicted: got, Reference: float64(channels) / 0.05, Tolerance: 0.005,
			Source: "channels / media latency, while more commands wait than there are channels"})
	}
	return rows, nil
}

// walkRate is how many walks a microsecond a unit with so many walkers makes, and how long one takes.
func walkRate(walkers int) (perMicro float64, walk sim.Time, err error) {
	const pages = 500
	w, err := mappedUnit(walkers, pages)
	if err != nil {
		return 0, 0, err
	}
	begin := w.b.eng.Now() + sim.Microsecond
	var first, last sim.Time
	for i := range uint64(pages) {
		_, done, err := w.unit.Translate(requester, w.at+i*4096, true, begin)
		if err != nil {
			return 0, 0, err
		}
		if i == pages/5-1 {
			first = done
		}
		last = done
	}
	walk = sim.Time(w.cfg.WalkStart+w.cfg.WalkEnd+4*w.cfg.PTEOverhead)*sim.Nanosecond + 4*readTime
	return float64(pages*4/5) / (float64(last-first) / float64(sim.Microsecond)), walk, nil
}

// mappedUnit is a VT-d unit with so many walkers, no cached tables, and pages of a 4-level second stage.
func mappedUnit(walkers, pages int) (walk, error) {
	w, b, err := vtdUnitOf(table.SecondStage, 4, false, walkers, func(_ *rig, t, _ *table.Builder) error {
		for i := range uint64(pages) {
			if err := t.Map(0x40000000+i*4096, 0x80000000+i*4096, 12, table.Read|table.Write); err != nil {
				return err
			}
		}
		return nil
	})
	w.b = b
	return w, err
}

// readRate is how many reads of a size a microsecond p makes of a device that always has more.
func readRate(p *pcie.Port, size int) (float64, error) {
	const n = 4000
	var last, first sim.Time
	for i := range uint64(n) {
		done, err := p.Read(1, above4G+i*4096, size, 0)
		if err != nil {
			return 0, err
		}
		if last = max(last, done); i == n/2-1 {
			first = last
		}
	}
	return n / 2 / (float64(last-first) / float64(sim.Microsecond)), nil
}

// missRate is how many lines a microsecond a core with so many miss registers reads from memory when it asks for all at once, and how long
// one takes.
func missRate(mshrs int) (perMicro float64, latency sim.Time, err error) {
	c := cache.Default(1)
	c.Prefetch = cache.PrefetchConfig{}
	c.L1D.MSHRs = mshrs
	c.DRAM = cache.DRAMConfig{Channels: 64, Banks: 64, RowBytes: 8192, TCL: 20 * sim.Nanosecond, Burst: 100, Overhead: 40 * sim.Nanosecond}
	h, err := cache.New(c)
	if err != nil {
		return 0, 0, err
	}
	const n = 4000
	begin := sim.Microsecond
	var last, first sim.Time
	for i := range uint64(n) {
		done, _ := h.Load(0, 1<<30+i*64, 0, begin)
		if i == 0 {
			latency = done - begin
		}
		if last = max(last, done); i == n/2-1 {
			first = last
		}
	}
	return n / 2 / (float64(last-first) / float64(sim.Microsecond)), latency, nil
}

// mediaRate is how many I/Os a millisecond a drive completes whose media has so many channels of 50 us each, and 32 commands at a time.
func mediaRate(channels int) (perMilli float64, err error) {
	err = run("icelake-sp", "nvme", "direct", 1, map[string]string{"operations": "2000", "nvme.queue_depth": "32", "nvme.media_latency": "50us", "nvme.media_distribution": "constant",
		"nvme.media_channels": fmt.Sprint(channels), "nvme.surround_instructions": "0"}, func(*platform.Machine, *platform.Device) []*observer { return nil },
		func(_ *platform.Machine, _ *platform.Device, _ []*observer, r *workloads.Result) {
			perMilli = float64(sim.Millisecond) / r.Gaps.SecondHalf().Mean
		})
	return perMilli, err
}
