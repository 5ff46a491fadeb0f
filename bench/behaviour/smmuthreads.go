package behaviour

import (
	"fmt"
	"math"
	"sync"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/kernel/smmu"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// kunpeng changes neoverse-n1 to a machine like the measured one: 96 cores of 2.6 GHz, and an SMMU that answers a CMD_SYNC by message. A line
// comes from another core in 95 ns, half way between the 50 ns within and the 139 ns across the sockets of a Graviton 4 (published-numbers
// C2C-G4), because half of the other cores are in the other socket; nobody has published the figures of a Kunpeng 920.
var kunpeng = []string{"cpu.cores", "96", "cpu.frequency", "2.6GHz", "iommu.sync_message", "on", "cache.peer", "95ns"}

const kunpengHz = 2.6e9

// smmuThreads are what happens when N threads map and unmap on one device behind an SMMUv3: its command queue has no lock, but one pair of
// indexes that everybody changes.
func smmuThreads() []*Behaviour {
	threads := []int{1, 16, 32, 64, 96}
	runs := make([]func() (*unmapCost, error), len(threads)) // shared by the three
	for i, n := range threads {
		runs[i] = sync.OnceValues(func() (*unmapCost, error) { return smmuLoop(n) })
	}
	const source, setup = "published-numbers 1.2 (B. Song, Kunpeng 920, 96 cores in two sockets, kernel 5.7-rc)",
		"Ours: neoverse-n1 with 96 cores of 2.6 GHz, 95 ns for a line from any other core (Graviton 4, the mean of both sockets) and CMD_SYNC by message, kernel 6.12; each thread copies 4 KiB, maps and unmaps it."
	latency := &Behaviour{Name: "smmuv3_unmap_threads", Title: "SMMUv3, strict: latency of one unmap of 4 KiB against threads on one device", Source: source, Setup: setup,
		Label: "threads", Unit: "ns", Ours: "ns"}
	share := &Behaviour{Name: "smmuv3_cmdlist_share", Title: "SMMUv3, strict: part of an unmap that puts commands into the queue and waits for them", Source: source, Setup: setup,
		Label: "threads", Unit: "%", Ours: "%"}
	claims := &Behaviour{Name: "smmuv3_claims", Title: "SMMUv3, strict: compare-and-exchanges of the queue's indexes per submission",
		Source: "published-numbers CMDQ-succ (J. Garry, 64 CPUs): 1 in 12 succeeds", Setup: setup, Label: "threads", Unit: "attempts", Ours: "attempts"}
	published := [][3]float64{{1956, 68, math.NaN()}, {8891, 84, math.NaN()}, {22043, 89, math.NaN()}, {60842, 92, 12}, {101880, 92, math.NaN()}}
	for i, n := range threads {
		for k, b := range []*Behaviour{latency, share, claims} {
			b.Rows = append(b.Rows, Row{fmt.Sprint(n), published[i][k], func() (float64, error) {
				c, err := runs[i]()
				if err != nil {
					return 0, err
				}
				return c.values()[k], nil
			}})
		}
	}
	exponent := func(v []float64) float64 { return math.Log(v[4]/v[1]) / math.Log(6) }
	latency.Claims = []Claim{
		{"It rises at every step", func(v []float64) bool { return v[0] < v[1] && v[1] < v[2] && v[2] < v[3] && v[3] < v[4] }},
		{"96 threads wait 25 to 100 times as long as one (published 52)", func(v []float64) bool { return v[4] > 25*v[0] && v[4] < 100*v[0] }},
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
	}
	claims.Claims = []Claim{
		{"From 16 threads on less than two of three succeed", func(v []float64) bool { return min(v[1], v[2], v[3], v[4]) > 1.5 }},
		{"At 64 threads 1 in 6 to 1 in 24 succeeds", func(v []float64) bool { return v[3] > 6 && v[3] < 24 }},
	}
	return []*Behaviour{latency, share, claims}
}

// unmapCost is what unmaps cost: cycles by kernel function, and what the command queue met during the whole run.
type unmapCost struct {
	calls int64
	acct  *cpu.Account
	stats smmu.Stats
}

// values returns the mean latency of a call in ns, the part in percent of the function that puts commands into the queue, with those that it
// calls and that are called nowhere else, and the compare-and-exchanges per submission.
func (c *unmapCost) values() [3]float64 {
	var in int64
	for id := range c.acct.Fn {
		switch cpu.FuncByID(uint16(id)).Name {
		case "arm_smmu_cmdq_issue_cmdlist", "arm_smmu_cmdq_write_entries", "__arm_smmu_cmdq_poll_set_valid_map", "arm_smmu_cmdq_shared_unlock",
			"queue_poll", "ktime_get", "arch_counter_read", "arch_counter_get_cntvct":
			in += c.acct.Fn[id].Cycles
		}
	}
	return [3]float64{float64(c.acct.Cycles) / float64(c.calls) / kunpengHz * 1e9, 100 * float64(in) / float64(c.acct.Cycles),
		float64(c.stats.Claims) / float64(c.stats.Claims-c.stats.ClaimRetries)}
}

// Threads loop for smmuWarm before what they do until smmuEnd is measured.
const (
	smmuWarm = 100 * sim.Microsecond
	smmuEnd  = 500 * sim.Microsecond
)

// smmuLoop lets threads loop: copy 4 KiB into a buffer, map it, unmap it.
func smmuLoop(threads int) (*unmapCost, error) {
	s, err := spec("neoverse-n1", kunpeng...)
	if err != nil {
		return nil, err
	}
	m, dev, err := machine(s, kernel.V6_12, platform.IommuStrict, threads)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	variant, err := dma.Lookup("map_single@6.12")
	if err != nil {
		return nil, err
	}
	cost := &unmapCost{acct: cpu.NewAccount()}
	var failed error
	live := threads
	for i := range threads {
		bufs := workloads.NewBuffers(m, sim.NewRand(1, fmt.Sprintf("buffers %d", i)))
		from, buf := bufs.Next(4096), bufs.Next(4096)
		m.Spawn(i, fmt.Sprintf("cpu %d", i), func(t *cpu.Thread) {
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
				if t.Now() >= smmuWarm {
					t.Acct = cost.acct
					cost.calls++
				}
				failed = variant.Unmap(t, dev.Ctx, at, 4096, kernel.ToDevice, 0)
				t.Sync()
				t.Acct = nil
			}
		})
	}
	if err := m.Run(); err != nil {
		return nil, err
	}
	cost.stats = m.Driver.(smmu.Adapter).Stats
	return cost, failed
}
