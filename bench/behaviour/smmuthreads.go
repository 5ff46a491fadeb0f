package behaviour

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/smmu"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// The SMMU starts commands behind a CMD_SYNC while that waits, or does not. The specification has CMDQ_CONS wait for a CMD_SYNC and leaves open
// whether the commands behind it do; no vendor says what its unit does.
var (
	overlapping = []string{"iommu.sync_overlap", "on"}
	serial      = []string{"iommu.sync_overlap", "off"}
)

// smmuThreads are what happens when N threads map and unmap on one device behind an SMMUv3: its command queue has no lock, but one pair of
// indexes that everybody changes. The SMMU works off one CMD_SYNC after the other, or several at once.
func smmuThreads() []*Behaviour {
	const setup = "Ours: kunpeng-920, kernel 6.12; each thread copies 4 KiB, maps and unmaps it; threads are spread over nodes and clusters."
	list := smmuTables("", "", setup+" The SMMU's times are fitted to an idle CMD_SYNC and to the wait for one behind a TLBI in the row of one thread. It starts "+
		"nothing behind a CMD_SYNC before that is complete, which other measurements of this machine contradict (see the preset).", serial)
	return append(list, smmuTables("_overlap", ", commands behind a CMD_SYNC start while it waits",
		setup+" As the tables before, but the SMMU carries out the commands behind a CMD_SYNC while that waits, as in the preset.", overlapping)...)
}

// smmuTables makes the tables of one SMMU, named with a suffix and titled with what is special.
func smmuTables(suffix, special, setup string, set []string) []*Behaviour {
	threads := []int{1, 16, 32, 64, 96}
	runs := make([]func() (*unmapCost, error), len(threads)) // shared by all tables
	for i, n := range threads {
		runs[i] = sync.OnceValues(func() (*unmapCost, error) { return smmuLoop(n, set...) })
	}
	const source = "published-numbers 1.2 (B. Song, Kunpeng 920, 96 cores in two sockets, kernel 5.7-rc)"
	table := func(name, title, source, unit string) *Behaviour {
		return &Behaviour{Name: name + suffix, Title: "SMMUv3, strict: " + title + special, Source: source, Setup: setup, Label: "threads", Unit: unit, Ours: unit}
	}
	latency := table("smmuv3_unmap_threads", "latency of one unmap of 4 KiB against threads on one device", source, "ns")
	share := table("smmuv3_cmdlist_share", "part of an unmap that puts commands into the queue and waits for them", source, "%")
	claims := table("smmuv3_claims", "compare-and-exchanges of the queue's indexes per submission", "published-numbers CMDQ-succ (J. Garry, 64 CPUs): 1 in 12 succeeds", "attempts")
	wait := table("smmuv3_sync_wait", "wait for CMD_SYNC, per submission", source, "ns")
	none := math.NaN()
	published := [][4]float64{{1956, 68, none, 883}, {8891, 84, none, 4000}, {22043, 89, none, 6879}, {60842, 92, 12, 16746}, {101880, 92, none, 24429}}
	for i, n := range threads {
		for k, b := range []*Behaviour{latency, share, claims, wait} {
			b.Rows = append(b.Rows, Row{fmt.Sprint(n), published[i][k], func() (float64, error) {
				c, err := runs[i]()
				if err != nil {
					return 0, err
				}
				return c.values()[k], nil
			}})
		}
	}
	within := func(i int, tolerance float64) func(v []float64) bool {
		return func(v []float64) bool { return math.Abs(v[i]/published[i][0]-1) <= tolerance }
	}
	exponent := func(v []float64) float64 { return math.Log(v[4]/v[1]) / math.Log(6) }
	latency.Claims = []Claim{
		{"It rises at every step", func(v []float64) bool { return v[0] < v[1] && v[1] < v[2] && v[2] < v[3] && v[3] < v[4] }},
		{"96 threads wait 25 to 100 times as long as one (published 52)", func(v []float64) bool { return v[4] > 25*v[0] && v[4] < 100*v[0] }},
		{"16 threads within 25 %", within(1, 0.25)}, {"32 threads within 25 %", within(2, 0.25)},
		{"64 threads within 25 %", within(3, 0.25)}, {"96 threads within 25 %", within(4, 0.25)},
		{"From 16 to 96 threads it grows with an exponent within 0.1 of the published 1.36", func(v []float64) bool { return math.Abs(exponent(v)-1.36) < 0.1 }},
	}
	share.Claims = []Claim{
		{"It rises from between half and three quarters to more than nine tenths", func(v []float64) bool { return v[0] > 50 && v[0] < 75 && v[4] > 90 }},
		{"It is within 8 points of the published share everywhere", func(v []float64) bool {
			for i := range v {
				if math.Abs(v[i]-published[i][1]) > 8 {
					return false
				}
			}
			return true
		}},
		{"It rises to more than nine tenths", func(v []float64) bool { return v[0] < v[1] && v[1] < v[4] && v[4] > 90 }},
		{"From 16 threads on it is within 5 points of the published share", func(v []float64) bool {
			for i := 1; i < len(v); i++ {
				if math.Abs(v[i]-published[i][1]) > 5 {
					return false
				}
			}
			return true
		}},
	}
	claims.Claims = []Claim{
		{"From 16 threads on less than two of three succeed", func(v []float64) bool { return min(v[1], v[2], v[3], v[4]) > 1.5 }},
		{"At 64 threads 1 in 6 to 1 in 24 succeeds", func(v []float64) bool { return v[3] > 6 && v[3] < 24 }},
	}
	wait.Claims = []Claim{
		{"It rises at every step", func(v []float64) bool { return v[0] < v[1] && v[1] < v[2] && v[2] < v[3] && v[3] < v[4] }},
	}
	return []*Behaviour{latency, share, claims, wait}
}

// unmapCost is what unmaps cost in a window of time: cycles by kernel function, and what the command queue met.
type unmapCost struct {
	inside sim.Time // time that threads spent in unmaps within the window
	calls  int64    // unmaps that ended within it
	acct   *cpu.Account
	stats  smmu.Stats
}

// add counts an unmap.
func (c *unmapCost) add(from, to sim.Time) {
	c.inside += max(0, min(to, smmuEnd)-max(from, smmuWarm))
	if to >= smmuWarm && to < smmuEnd {
		c.calls++
	}
}

// values returns the mean latency of a call in ns, which is the time in calls divided by the calls that end (of many that compete, some take longer
// than the window), the part in percent of the function that puts commands into the queue, with those that it
// calls and that are called nowhere else, the compare-and-exchanges per submission, and the wait for a CMD_SYNC in ns.
func (c *unmapCost) values() [4]float64 {
	var in int64
	for id := range c.acct.Fn {
		switch cpu.FuncByID(uint16(id)).Name {
		case "arm_smmu_cmdq_issue_cmdlist", "arm_smmu_cmdq_write_entries", "__arm_smmu_cmdq_poll_set_valid_map", "arm_smmu_cmdq_shared_unlock",
			"queue_poll", "ktime_get", "arch_counter_read", "arch_counter_get_cntvct":
			in += c.acct.Fn[id].Cycles
		}
	}
	return [4]float64{float64(c.inside) / float64(c.calls) / float64(sim.Nanosecond), 100 * float64(in) / float64(c.acct.Cycles),
		float64(c.stats.Claims) / float64(c.stats.Claims-c.stats.ClaimRetries),
		float64(c.stats.Waiting) / float64(c.stats.Syncs) / float64(sim.Nanosecond)}
}

// Threads loop for smmuWarm before what they do until smmuEnd is measured.
const (
	smmuWarm = 500 * sim.Microsecond
	smmuEnd  = 2000 * sim.Microsecond
)

// smmuLoop lets threads loop: copy 4 KiB into a buffer, map it, unmap it. set changes the machine.
func smmuLoop(threads int, set ...string) (*unmapCost, error) {
	s, err := spec("kunpeng-920", set...)
	if err != nil {
		return nil, err
	}
	m, dev, err := machine(s, kernel.V6_12, platform.IommuStrict, int(s.CPU.Cores))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	variant, err := dma.Lookup("map_single@6.12")
	if err != nil {
		return nil, err
	}
	cost := &unmapCost{}
	all, driver := cpu.NewAccount(), m.Driver.(smmu.Adapter)
	var failed error
	live := threads
	for i := range threads {
		bufs := workloads.NewBuffers(m, sim.NewRand(1, fmt.Sprintf("buffers %d", i)))
		from, buf := bufs.Next(4096), bufs.Next(4096)
		m.Spawn(place(s, i), fmt.Sprintf("thread %d", i), func(t *cpu.Thread) {
			defer func() {
				if live--; live == 0 {
					m.Eng.Stop()
				}
			}()
			for failed == nil && t.Now() < smmuEnd {
				t.StringCopy(kernel.Virt(buf.Phys), kernel.Virt(from.Phys), 4096, 0, 0)
				at, err := variant.Map(t, dev.Ctx, buf, kernel.ToDevice, 0)
				if err != nil {
					failed = err
					return
				}
				t.Sync()
				begin := t.Now()
				t.Acct = all
				failed = variant.Unmap(t, dev.Ctx, at, 4096, kernel.ToDevice, 0)
				t.Sync()
				t.Acct = nil
				cost.add(begin, t.Now())
			}
		})
	}
	m.Spawn(int(s.CPU.Cores)-1, "clock", func(t *cpu.Thread) {
		t.Proc.SleepUntil(smmuWarm)
		*all = *cpu.NewAccount()
		before := driver.Stats
		t.Proc.SleepUntil(smmuEnd)
		cost.acct = &cpu.Account{Fn: slices.Clone(all.Fn), Cycles: all.Cycles}
		cost.stats = driver.Stats
		cost.stats.Claims -= before.Claims
		cost.stats.ClaimRetries -= before.ClaimRetries
		cost.stats.Syncs -= before.Syncs
		cost.stats.Waiting -= before.Waiting
	})
	if err := m.Run(); err != nil {
		return nil, err
	}
	return cost, failed
}

// place returns the CPU of thread i: the scheduler spreads threads over the nodes and, within one, over the clusters.
func place(s *platform.Spec, i int) int {
	t := &s.Cache.Topology
	nodes, clusters := int(t.Nodes), int(t.Clusters/t.Nodes)
	per := int(s.CPU.Cores / t.Clusters)
	node, k := i%nodes, i/nodes
	return (node*clusters+k%clusters)*per + k/clusters
}
