package relations

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"dmapath/bench"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads/probe"
)

// Draw returns case number i of a seed. Draws that contradict themselves are thrown away, so every case passes the checks of a
// user's input; whether the machine can be built shows when it is.
func Draw(seed uint64, i int) Case {
	r := sim.NewRand(seed, fmt.Sprintf("case %d", i))
	for {
		if c, ok := draw(r); ok {
			return c
		}
	}
}

// of draws one of a list.
func of[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func draw(r *rand.Rand) (Case, bool) {
	c := Case{Platform: of(r, platform.Names())}
	c.Workload, c.Backend, c.Cache = of(r, bench.Workloads), string(of(r, platform.Backends)), of(r, []string{"hot", "hot", "warm", "warm", "cold"})
	if c.Workload == "netperf-rx" && r.IntN(8) > 0 {
		return c, false // its connections make thousands of calls before they settle: a hundred times the work of the others
	}
	if v := dma.Variants(); r.IntN(5) > 0 {
		c.Variant = of(r, v).Name()
	} else {
		c.Variant = of(r, bench.Drivers)
	}
	if _, _, err := c.setup(); err != nil {
		return c, false
	}
	for range 1 + r.IntN(4) {
		if n, ok := workloadValue(r, c); ok {
			c = n
		}
	}
	ops := 64 + r.IntN(65)
	switch {
	case c.Workload == "dma-probe":
		ops = 500 + r.IntN(1500)
	case c.Cache == "cold":
		ops = 64 // a cold call simulates many misses
	}
	c = c.With("workload.operations", strconv.Itoa(ops)).With("workload.seed", strconv.Itoa(1+r.IntN(1000)))
	keys := platform.Schema()
	for range r.IntN(7) {
		if n, ok := platformValue(r, c, &keys[r.IntN(len(keys))]); ok {
			c = n
		}
	}
	_, _, err := c.setup()
	return c, err == nil
}

// workloadValue changes one value of the experiment.
func workloadValue(r *rand.Rand, c Case) (Case, bool) {
	num := func(lo, hi int) string { return strconv.Itoa(lo + r.IntN(hi-lo+1)) }
	pow := func(lo, hi int) string { return strconv.Itoa(1 << (lo + r.IntN(hi-lo+1))) }
	list := [][2]string{{"size", of(r, []string{"512B", "1KiB", "4KiB", "4KiB", "8KiB", "16KiB", "20KiB", "64KiB"})}, {"cpus", num(1, 4)}}
	switch c.Workload {
	case "nvme":
		list = append(list, [2]string{"nvme.queue_depth", pow(0, 7)}, [2]string{"nvme.write_percent", num(0, 100)}, [2]string{"nvme.segments", of(r, []string{"scattered", "contiguous", "mixed"})},
			[2]string{"nvme.offset", of(r, []string{"0B", "512B", "3584B"})}, [2]string{"nvme.sgl", of(r, []string{"true", "false"})}, [2]string{"nvme.rate", of(r, []string{"0", "5000", "50000", "200000"})},
			[2]string{"nvme.media_latency", num(1, 100) + "us"}, [2]string{"nvme.media_distribution", of(r, []string{"constant", "exponential", "lognormal"})},
			[2]string{"nvme.media_channels", num(1, 64)}, [2]string{"nvme.coalesce_completions", num(1, 16)}, [2]string{"nvme.coalesce_time", num(0, 50) + "us"},
			[2]string{"nvme.surround_instructions", num(0, 12000)}, [2]string{"nvme.target", of(r, []string{"memory", "memory", "p2p-pages", "p2p-mmio"})}, [2]string{"nvme.route", of(r, bench.Routes)})
	case "nic":
		list = append(list, [2]string{"nic.rate", num(1000, 2_000_000)}, [2]string{"nic.sizes", of(r, []string{"imix", "64", "1514", "9000", "333"})}, [2]string{"nic.arrivals", of(r, []string{"constant", "poisson", "onoff"})},
			[2]string{"nic.burst", num(1, 64)}, [2]string{"nic.ring", pow(6, 9)}, [2]string{"nic.page_pool", of(r, []string{"true", "false"})}, [2]string{"nic.driver", of(r, []string{"per-packet", "page_pool", "gso"})},
			[2]string{"nic.tx_percent", num(0, 100)}, [2]string{"nic.moderation", num(0, 50) + "us"}, [2]string{"nic.surround_instructions", num(0, 4000)})
	case "dma-probe":
		list = append(list, [2]string{"probe.access", of(r, probe.Accesses)}, [2]string{"probe.size", of(r, []string{"1B", "64B", "100B", "512B", "2KiB", "4KiB"})}, [2]string{"probe.window", of(r, []string{"4KiB", "256KiB", "1MiB", "4MiB"})},
			[2]string{"probe.order", of(r, bench.ProbeOrders)}, [2]string{"probe.outstanding", pow(0, 8)}, [2]string{"probe.pages", of(r, bench.ProbePages)}, [2]string{"probe.state", of(r, bench.ProbeStates)})
	case "netperf-rx":
		list = append(list, [2]string{"netperf_rx.rate", num(1, 200)}, [2]string{"netperf_rx.frame_size", of(r, []string{"64", "1514", "9000"})}, [2]string{"netperf_rx.flows", num(1, 8)},
			[2]string{"netperf_rx.window", of(r, []string{"64KiB", "256KiB", "1MiB"})}, [2]string{"netperf_rx.ring", pow(6, 10)}, [2]string{"netperf_rx.buffers", of(r, []string{"per-packet", "page_pool"})},
			[2]string{"netperf_rx.moderation", num(0, 50) + "us"}, [2]string{"netperf_rx.pause", of(r, []string{"true", "false"})})
	default:
		list = append(list, [2]string{"map_benchmark.dir", num(0, 2)}, [2]string{"map_benchmark.trans_ns", num(0, 5000)}, [2]string{"map_benchmark.granule", num(0, 8)},
			[2]string{"segments", of(r, []string{"one", "scattered", "contiguous"})}, [2]string{"map_benchmark.threads", num(1, 4)}, [2]string{"attrs", of(r, []string{"skip-cpu-sync", "weak-ordering", "no-warn"})})
	}
	kv := of(r, list)
	if kv[0] == "map_benchmark.threads" {
		c = c.With("workload.cpus", kv[1])
	}
	c = c.With("workload."+kv[0], kv[1])
	_, _, err := c.setup()
	return c, err == nil
}

// capped bounds values that cost the host memory or time without making a run any different: simulated machines of terabytes are tables of
// gigabytes.
var capped = map[string]int64{"cache.llc.size": 128 << 20, "cache.l2.size": 4 << 20, "kernel.swiotlb_mb": 128, "memory.ram": 2 << 40,
	"iommu.command_queue": 65536, "surroundings.cold.code_lines": 200_000, "surroundings.cold.data_lines": 2_000_000, "surroundings.warm.code_lines": 20_000,
	"surroundings.warm.data_lines": 20_000, "surroundings.hot.code_lines": 2000, "surroundings.hot.data_lines": 2000, "cpu.cores": 256}

// platformValue changes one value of the platform: words to any word, shapes by powers of two, numbers mostly within a factor of 4, at times of 16,
// and at times to an end of what is allowed.
func platformValue(r *rand.Rand, c Case, k *platform.Key) (Case, bool) {
	s, _, err := c.setup()
	if err != nil {
		return c, false
	}
	switch {
	case k.Words != nil:
		c = c.With(k.Name, of(r, k.Words))
	case !k.Number:
		return c, false // ports and page sizes
	default:
		v, _ := s.Number(k.Name)
		c = c.With(k.Name, k.Format(number(r, k, v)))
	}
	_, _, err = c.setup()
	return c, err == nil
}

func number(r *rand.Rand, k *platform.Key, v int64) int64 {
	top := k.Max
	if t, ok := capped[k.Name]; ok {
		top = min(top, t)
	}
	last := k.Name[strings.LastIndexByte(k.Name, '.')+1:]
	switch {
	case last == "entries" || last == "ways" || last == "size" || k.Pow2:
		if j := r.IntN(5) - 2; j < 0 {
			v >>= -j
		} else {
			v <<= j
		}
	case r.IntN(20) == 0 && k.Max <= 1<<20 && !strings.HasPrefix(k.Name, "iommu."):
		return of(r, []int64{k.Min, k.Min + 1, top})
	default:
		span := math.Log(4)
		if r.IntN(4) == 0 {
			span = math.Log(16)
		}
		if v == 0 {
			v = r.Int64N(4)
		}
		v = int64(math.Round(float64(v) * math.Exp(span*(2*r.Float64()-1))))
	}
	return min(max(v, k.Min), top)
}
