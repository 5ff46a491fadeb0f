package closedforms

import (
	"fmt"

	"dmapath/bench"
	"dmapath/bench/evidence"
	"dmapath/cache"
	"dmapath/iommu"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// observer looks at a level at random times, Poisson with the mean gap given: what it sees on average is the time average.
type observer struct {
	gap   sim.Time
	look  func() float64
	batch []float64 // means of complete batches
	sum   float64   // of the batch at hand
	n     int
	total float64 // over the whole run
	count int
}

// perBatch is how often an observer looks in a batch.
const perBatch = 400

func (o *observer) see() {
	v := o.look()
	o.sum += v
	o.total += v
	o.count++
	if o.n++; o.n == perBatch {
		o.batch = append(o.batch, o.sum/perBatch)
		o.sum, o.n = 0, 0
	}
}

// mean returns what was seen on average over the whole run, and half of its interval. Batches are joined to as many as there are in
// other intervals; what is left over at the end counts for the mean, because the other side of the law counts it.
func (o *observer) mean() (mean, half float64) {
	mean = o.total / float64(o.count)
	per := len(o.batch) / batches
	if per == 0 {
		_, half = interval(o.batch)
		return mean, half
	}
	means := make([]float64, batches)
	for i := range means {
		for _, v := range o.batch[i*per : (i+1)*per] {
			means[i] += v / float64(per)
		}
	}
	_, half = interval(means)
	return mean, half
}

// start lets o look from now on, as long as the engine runs.
func (o *observer) start(e *sim.Engine, seed uint64, name string) {
	r := sim.NewRand(seed, "observer of "+name)
	var h sim.Handler
	h = e.Register("observer of "+name, func(uint64) {
		o.see()
		e.At(e.Now()+sim.Time(r.ExpFloat64()*float64(o.gap)), h, 0)
	})
	e.At(e.Now()+o.gap, h, 0)
}

// little is L = lambda W of every queue: on the left what an observer saw at random times, on the right rate times mean time as the
// component counted them.
func little(seed uint64) (rows []evidence.Row, err error) {
	const source = "Little, 1961: arrival rate x mean time in the queue, as the component counts them"
	for _, f := range []func(seed uint64) ([]evidence.Row, error){littleNVMe, littleInvalidations, littleWalkers, littleMisses} {
		r, err := f(seed)
		if err != nil {
			return nil, err
		}
		for i := range r {
			r[i].Unit, r[i].Source = "count", source
		}
		rows = append(rows, r...)
	}
	return rows, nil
}

// run is a point of compare with an observer for each look.
func run(platformName, workload, backend string, seed uint64, set map[string]string, watch func(m *platform.Machine, d *platform.Device) []*observer, end func(m *platform.Machine, d *platform.Device, o []*observer, r *workloads.Result)) error {
	s, err := platform.Load(platformName)
	if err != nil {
		return err
	}
	x := bench.Default()
	x.Workloads, x.Backends, x.Caches, x.Variants, x.Seed = []string{workload}, []string{backend}, []string{"hot"}, []string{"map_phys@7.3"}, seed
	for _, k := range sortedKeys(set) {
		if err := x.Set(k, set[k]); err != nil {
			return err
		}
	}
	if err := x.Validate(s); err != nil {
		return err
	}
	_, err = x.Inspect(s, x.Points()[0], func(m *platform.Machine, d *platform.Device) (func(*workloads.Result) error, error) {
		list := watch(m, d)
		for i, o := range list {
			o.start(m.Eng, seed, fmt.Sprint(workload, i))
		}
		return func(r *workloads.Result) error {
			end(m, d, list, r)
			return nil
		}, nil
	})
	return err
}

// littleNVMe is commands in the drive's queues and tags in the device, of writes of 512 B: a read of the link each for command and data.
func littleNVMe(seed uint64) (rows []evidence.Row, err error) {
	for _, backend := range []string{"direct", "iommu-strict"} {
		begun := sim.Time(0)
		err := run("icelake-sp", "nvme", backend, seed, map[string]string{"operations": "4000", "size": "512B", "nvme.write_percent": "100", "nvme.queue_depth": "16",
			"nvme.media_latency": "5us", "nvme.surround_instructions": "2000"}, func(m *platform.Machine, d *platform.Device) []*observer {
			begun = m.Eng.Now()
			return []*observer{{gap: 100 * sim.Nanosecond, look: func() float64 { return float64(d.Port.InFlight(m.Eng.Now()).Tags) }}}
		}, func(m *platform.Machine, d *platform.Device, o []*observer, r *workloads.Result) {
			now := m.Eng.Now()
			t := float64(now - begun)
			got, half := o[0].mean()
			p := d.Port.Stats()
			rows = append(rows, evidence.Row{What: "PCIe tags, NVMe on " + backend, Predicted: got, Slack: half, Reference: float64(p.ReadTime) / t})
			rows = append(rows, evidence.Row{What: "NVMe commands, " + backend, Predicted: r.Flight.Mean(now), Tolerance: 0.002,
				Reference: r.Latency.Sum() * float64(sim.Nanosecond) / float64(r.Elapsed)})
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// littleInvalidations is commands in the invalidation queue of each dialect while CPUs map and unmap strictly.
func littleInvalidations(seed uint64) (rows []evidence.Row, err error) {
	for _, name := range []string{"icelake-sp", "genoa", "neoverse-n1"} {
		begun := sim.Time(0)
		err := run(name, "map-benchmark", "iommu-strict", seed, map[string]string{"operations": "1500", "cpus": "4", "map_benchmark.threads": "4"}, func(m *platform.Machine, _ *platform.Device) []*observer {
			begun = m.Eng.Now()
			q := m.Unit.(interface{ QueueDepth() int })
			return []*observer{{gap: 100 * sim.Nanosecond, look: func() float64 { return float64(q.QueueDepth()) }}}
		}, func(m *platform.Machine, _ *platform.Device, o []*observer, _ *workloads.Result) {
			got, half := o[0].mean()
			rows = append(rows, evidence.Row{What: "command queue, " + name, Predicted: got, Slack: half,
				Reference: float64(m.Unit.Statistics().QueueTime) / float64(m.Eng.Now()-begun)})
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// littleWalkers is walkers in use when requests to a unit are a Poisson stream over pages that are not cached.
func littleWalkers(seed uint64) (rows []evidence.Row, err error) {
	for _, c := range []struct {
		walkers int
		load    float64
	}{{1, 0.5}, {5, 0.8}} {
		const pages = 4096
		w, err := mappedUnit(c.walkers, pages)
		if err != nil {
			return nil, err
		}
		u := w.unit.(interface {
			iommu.Unit
			WalkersInUse(t sim.Time) int
		})
		what := fmt.Sprintf("%d walkers, load %.1f", c.walkers, c.load)
		r, look := sim.NewRand(seed, what), sim.NewRand(seed, what+" observer")
		service := float64(w.cfg.WalkStart+w.cfg.WalkEnd+4*w.cfg.PTEOverhead)*1000 + 4*float64(readTime)
		gap := service / c.load / float64(c.walkers)
		start := w.b.eng.Now() + sim.Microsecond
		now, next := float64(start), float64(start)
		o := observer{}
		order := r.Perm(pages)
		for i := 0; i < 40_000; i++ {
			now += r.ExpFloat64() * gap
			for ; next < now; next += look.ExpFloat64() * gap {
				at := sim.Time(next)
				o.look = func() float64 { return float64(u.WalkersInUse(at)) }
				o.see()
			}
			if _, _, err := u.Translate(requester, w.at+uint64(order[i%pages])*4096, true, sim.Time(now)); err != nil {
				return nil, err
			}
		}
		got, half := o.mean()
		rows = append(rows, evidence.Row{What: "in use, " + what, Predicted: got, Slack: half, Reference: float64(u.WalkerBusy()) / (now - float64(start))})
	}
	return rows, nil
}

// littleMisses is miss registers in use when loads of lines in memory are a Poisson stream.
func littleMisses(seed uint64) (rows []evidence.Row, err error) {
	for _, load := range []float64{0.3, 0.7} {
		c := cache.Default(1)
		c.Prefetch = cache.PrefetchConfig{}
		h, err := cache.New(c)
		if err != nil {
			return nil, err
		}
		what := fmt.Sprintf("L1D miss registers, load %.1f", load)
		r, look := sim.NewRand(seed, what), sim.NewRand(seed, what+" observer")
		gap := 90 * float64(sim.Nanosecond) / load / float64(c.L1D.MSHRs)
		start := float64(sim.Microsecond)
		now, next := start, start
		var sum sim.Time
		o := observer{}
		for range 100_000 {
			now += r.ExpFloat64() * gap
			for ; next < now; next += look.ExpFloat64() * gap {
				at := sim.Time(next)
				o.look = func() float64 { return float64(h.MissesInFlight(0, at)) }
				o.see()
			}
			done, _ := h.Load(0, 1<<30+r.Uint64N(1<<30)&^63, 0, sim.Time(now))
			sum += done - sim.Time(now)
		}
		waited := h.Stats().L1D.MSHRWait
		got, half := o.mean()
		rows = append(rows, evidence.Row{What: what, Predicted: got, Slack: half, Reference: float64(sum-waited) / (now - start)})
	}
	return rows, nil
}
