package mapops

import (
	"math/rand/v2"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// Two CPUs map and unmap at the same time: no two live mappings share a page, and everything comes back. They meet at the lock.
func TestCPUsMeetAtTheLock(t *testing.T) {
	for _, v := range versions {
		for _, name := range []string{"gart", "grant"} {
			var p Provider
			var d *kernel.Device
			var used func() int
			if name == "gart" {
				g, dev := gart(t, v, 256)
				p, d, used = g, dev, g.Live
			} else {
				g, dev := grant(t, v, 512)
				p, d, used = g, dev, func() int { return 504 - g.Free() }
			}
			owner := map[uint64]int{} // by page of the address
			e := sim.NewEngine()
			for c := range 2 {
				e.Go("cpu", func(pr *sim.Proc) {
					th := cpu.NewThread(pr, c, nil, cpu.NewStream(cpu.PerCPUBase+0x8000+uint64(c)<<16, cpu.MitNone))
					rng := rand.New(rand.NewPCG(uint64(c), 9))
					var lives []live
					for range 1500 {
						pr.SleepUntil(pr.Now() + 20*sim.Nanosecond)
						if len(lives) < 8 && rng.IntN(2) == 0 || len(lives) == 0 {
							l := live{phys: 5<<30 + rng.Uint64N(1<<20)<<12, size: (1 + rng.Uint64N(6)) << 12}
							a, err := p.Map(th, 0, d, l.phys, l.size, kernel.ToDevice, 0)
							if err != nil {
								t.Fatal(err)
							}
							l.addr = a
							for o := uint64(0); o < l.size; o += 4096 {
								if who, ok := owner[a+o]; ok {
									t.Errorf("%v %s: CPU %d got %#x, which CPU %d has", v, name, c, a+o, who)
								}
								owner[a+o] = c
							}
							lives = append(lives, l)
						} else {
							l := lives[0]
							lives = lives[1:]
							for o := uint64(0); o < l.size; o += 4096 {
								delete(owner, l.addr+o)
							}
							p.Unmap(th, 0, d, l.addr, l.size, kernel.ToDevice, 0)
						}
					}
					for _, l := range lives {
						p.Unmap(th, 0, d, l.addr, l.size, kernel.ToDevice, 0)
					}
				})
			}
			if err := e.Run(sim.Never); err != nil {
				t.Fatal(err)
			}
			e.Close()
			if used() != 0 {
				t.Errorf("%v %s: %d pages stay in use", v, name, used())
			}
		}
	}
}
