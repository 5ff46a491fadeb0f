package vtd

import (
	"testing"

	"dmapath/cpu"
	"dmapath/iommu"
	"dmapath/pcie"
	"dmapath/sim"
)

// What other rooms expect of a unit.
var (
	_ pcie.Translator = (*Unit)(nil)
	_ iommu.Unit      = (*Unit)(nil)
	_ cpu.MMIO        = (*Unit)(nil)
	_ iommu.Drainer   = (*pcie.Port)(nil)
)

// A CPU that polls the status word finds it in its cache until the unit writes it; then it loses its copy, and the next read brings the
// new value.
func TestPollingCPUSeesTheStatusWhenItIsWritten(t *testing.T) {
	r, h := machine(t, DefaultConfig(), 1)
	var hits, misses int
	var seen, start sim.Time
	r.eng.Go("cpu0", func(p *sim.Proc) {
		for range 2 { // the first read brings the line, the second one makes later ones hit
			done, _ := h.Load(0, statusWord, 0, p.Now())
			p.SleepUntil(done)
		}
		start = p.Now()
		want := r.submit(pages(1<<30, 0, true))
		for r.status() != want {
			if ready, ok := h.LoadHit(0, statusWord); ok {
				hits++
				p.SleepUntil(max(ready, p.Now()+sim.Nanosecond))
				continue
			}
			misses++
			done, _ := h.Load(0, statusWord, 0, p.Now())
			p.SleepUntil(done)
		}
		if _, ok := h.LoadHit(0, statusWord); !ok {
			misses++
			done, _ := h.Load(0, statusWord, 0, p.Now())
			p.SleepUntil(done)
		}
		seen = p.Now()
	})
	r.run()
	if hits < 100 || misses != 1 {
		t.Errorf("%d polls hit and %d missed, want many and 1", hits, misses)
	}
	if took := seen - start; took < 300*ns || took > 700*ns {
		t.Errorf("status seen after %v", took)
	}
	r.eng.Close()
}
