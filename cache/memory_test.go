package cache

import (
	"testing"

	"dmapath/sim"
)

// Who waits for a line wakes at the very time of the write of any word of it, and of no other line; all who wait wake.
func TestAWriteWakesWhoWaitsForTheLine(t *testing.T) {
	e := sim.NewEngine()
	m := NewMemory()
	woken := [3]sim.Time{}
	for i, pa := range []uint64{0x1000, 0x1038, 0x1040} {
		e.Go("waiter", func(p *sim.Proc) {
			m.WaitWrite(p, pa)
			woken[i] = p.Now()
		})
	}
	e.Go("writer", func(p *sim.Proc) {
		p.SleepUntil(10)
		m.Write64(0x2000, 1)
		p.SleepUntil(20)
		m.Write64(0x1008, 1)
		p.SleepUntil(30)
		m.Write64(0x1040, 1)
	})
	if err := e.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
	e.Close()
	if woken != [3]sim.Time{20, 20, 30} {
		t.Errorf("woken at %v, want 20 20 30", woken)
	}
}
