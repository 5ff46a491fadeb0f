package dmadebug

import (
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// Three CPUs record and check at the same time, in the same buckets and the same leaf of the tree: nothing is lost, nobody is accused.
func TestCPUsMeetInABucket(t *testing.T) {
	for _, v := range versions {
		d, dev := boot(t, v)
		e := sim.NewEngine()
		for c := range 3 {
			e.Go("cpu", func(p *sim.Proc) {
				th := cpu.NewThread(p, c, nil, cpu.NewStream(cpu.PerCPUBase+0x8000+uint64(c)<<16, cpu.MitNone))
				for i := range uint64(600) {
					p.SleepUntil(p.Now() + 20*sim.Nanosecond)
					addr := (uint64(c)*Buckets + i%4) << hashShift // the same four buckets for all
					phys := 5<<30 + (uint64(c)*4+i%4)<<6
					d.Map(th, dev, addr, phys, 64, kernel.FromDevice, false)
					p.SleepUntil(p.Now() + 30*sim.Nanosecond)
					d.Sync(th, dev, addr, 64, kernel.FromDevice)
					d.Unmap(th, dev, addr, 64, kernel.FromDevice, false)
				}
			})
		}
		if err := e.Run(sim.Never); err != nil {
			t.Fatal(err)
		}
		e.Close()
		s := d.Stats
		if d.Live() != 0 || d.Lines() != 0 || s.Maps != 1800 || s.Unmaps != 1800 || s.NotMapped+s.WrongSize+s.WrongKind+s.WrongDirection+s.Overlaps != 0 {
			t.Errorf("%v: %d entries, %d lines, %+v", v, d.Live(), d.Lines(), s)
		}
	}
}
