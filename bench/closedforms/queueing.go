package closedforms

import (
	"fmt"
	"math/rand/v2"

	"dmapath/bench/evidence"
	"dmapath/pcie"
	"dmapath/sim"
)

// customers of one run: the first batch is the warm-up.
const customers = 160_000

// service is the mean service time of the queues.
const service = sim.Microsecond

// waits drives a queue with Poisson arrivals at load rho of n servers and returns the mean waiting time and half of its interval, in ns.
func waits(r *rand.Rand, rho float64, n int, serve func(now sim.Time) (wait sim.Time)) (mean, half float64) {
	means := make([]float64, batches)
	now := 0.0
	gap := float64(service) / (rho * float64(n))
	for b := -1; b < batches; b++ {
		var sum sim.Time
		for range customers / batches {
			now += r.ExpFloat64() * gap
			sum += serve(sim.Time(now))
		}
		if b >= 0 {
			means[b] = sum.Nanoseconds() / (customers / batches)
		}
	}
	return interval(means)
}

// erlangC is the probability that a customer of an M/M/c queue waits.
func erlangC(c int, rho float64) float64 {
	a := rho * float64(c)
	b := 1.0 // Erlang B by recursion
	for k := 1; k <= c; k++ {
		b = a * b / (float64(k) + a*b)
	}
	return b / (1 - rho*(1-b))
}

// queues is the waiting time of the simulator's servers, locks and links.
func queues(seed uint64) (rows []evidence.Row, err error) {
	s := float64(service) / float64(sim.Nanosecond)
	add := func(what, source string, got, half, want float64) {
		rows = append(rows, evidence.Row{What: what, Unit: "ns", Predicted: got, Reference: want, Slack: half, Source: source})
	}
	const (
		md1 = "Pollaczek and Khinchine, M/D/1: rho S / 2(1 - rho)"
		mmc = "Erlang, M/M/c: C(c, a) S / c(1 - rho)"
	)
	for _, rho := range []float64{0.3, 0.5, 0.7, 0.8, 0.9} {
		var q sim.Server
		got, half := waits(sim.NewRand(seed, fmt.Sprint("md1 ", rho)), rho, 1, func(now sim.Time) sim.Time {
			start, _ := q.Serve(now, service)
			return start - now
		})
		add(fmt.Sprintf("wait, M/D/1 server, load %.1f", rho), md1, got, half, rho*s/(2*(1-rho)))
	}
	for _, c := range []int{1, 2, 5, 16} {
		for _, rho := range []float64{0.5, 0.8, 0.9} {
			if c == 16 && rho == 0.5 {
				continue // one in 500 waits: too rare for this many
			}
			r := sim.NewRand(seed, fmt.Sprint("mmc ", c, rho))
			q := sim.NewServers("", c)
			got, half := waits(r, rho, c, func(now sim.Time) sim.Time {
				start, _ := q.Serve(now, sim.Time(r.ExpFloat64()*float64(service)))
				return start - now
			})
			add(fmt.Sprintf("wait, M/M/%d servers, load %.1f", c, rho), mmc, got, half, erlangC(c, rho)*s/(float64(c)*(1-rho)))
		}
	}
	for _, rho := range []float64{0.5, 0.8} {
		got, half, err := locked(seed, rho)
		if err != nil {
			return nil, err
		}
		add(fmt.Sprintf("wait, lock held for equal times, load %.1f", rho), md1, got, half, rho*s/(2*(1-rho)))
		got, half, want, err := linked(seed, rho)
		if err != nil {
			return nil, err
		}
		add(fmt.Sprintf("wait, PCIe link with equal packets, load %.1f", rho), md1, got, half, want)
	}
	return rows, nil
}

// locked has processes take a lock: an arrival is a process of its own.
func locked(seed uint64, rho float64) (mean, half float64, err error) {
	e := sim.NewEngine()
	defer e.Close()
	r := sim.NewRand(seed, fmt.Sprint("lock ", rho))
	var l sim.Lock
	const n = customers / 8
	means, sum, done := make([]float64, 0, batches+1), sim.Time(0), 0
	left := n + n/batches
	var arrive sim.Handler
	arrive = e.Register("arrival", func(uint64) {
		e.Go("customer", func(p *sim.Proc) {
			came := p.Now()
			l.Wait(p)
			sum += p.Now() - came
			if done++; done%(n/batches) == 0 {
				means = append(means, sum.Nanoseconds()/(n/batches))
				sum = 0
			}
			p.SleepUntil(p.Now() + service)
			l.Unlock(p)
		})
		if left--; left > 0 {
			e.At(e.Now()+sim.Time(r.ExpFloat64()*float64(service)/rho), arrive, 0)
		}
	})
	e.At(0, arrive, 0)
	if err := e.Run(sim.Never); err != nil {
		return 0, 0, err
	}
	mean, half = interval(means[1:])
	return mean, half, nil
}

// linked has a device write packets of one size, and returns also what the formula says for the time they take on the link.
func linked(seed uint64, rho float64) (mean, half, want float64, err error) {
	p, err := idlePort(openConfig(3, 8, 256, 512))
	if err != nil {
		return 0, 0, 0, err
	}
	s := p.Up.Time(256 + 24)
	r := sim.NewRand(seed, fmt.Sprint("link ", rho))
	now := 0.0
	const n = customers / 4 / batches
	means := make([]float64, 0, batches)
	for b := -1; b < batches; b++ {
		before := p.Up.Waited
		for range n {
			now += r.ExpFloat64() * float64(s) / rho
			if _, err := p.Write(1, above4G, 256, sim.Time(now)); err != nil {
				return 0, 0, 0, err
			}
		}
		if b >= 0 {
			means = append(means, (p.Up.Waited-before).Nanoseconds()/n)
		}
	}
	mean, half = interval(means)
	return mean, half, rho * s.Nanoseconds() / (2 * (1 - rho)), nil
}

// openConfig is a device and link without limits but the link's rate: infinite credits and 1024 tags.
func openConfig(gen, lanes, mps, mrrs int) pcie.Config {
	c := pcie.DefaultConfig()
	c.Gen, c.Lanes, c.MPS, c.MRRS, c.Tags = gen, lanes, mps, mrrs, 1024
	c.Root, c.Device = pcie.Credits{}, pcie.Credits{}
	return c
}
