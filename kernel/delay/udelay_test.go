package delay_test

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/delay"
	"dmapath/kernel/recorded"
	"dmapath/sim"
)

// A delay lasts exactly what was asked for beyond the instructions around it, which without a core take no time; the counter is
// read in order before and after the halt, and the waiting is charged to the halted function.
func TestDelayLastsWhatWasAsked(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, us := range []int{1, 2, 100} {
			d := delay.New(kernel.NewEnv(kernel.Config{Version: v, CPUs: 1}, cache.NewMemory(), 0))
			ops := recorded.Run(func(th *cpu.Thread) {
				start := th.Now()
				d.Udelay(th, us, cpu.StallInv)
				if got := th.Now() - start; got != sim.Time(us)*sim.Microsecond {
					t.Errorf("%v: udelay(%d) takes %v", v, us, got)
				}
			})
			fences, clocks := 0, 0
			for _, o := range ops {
				switch o.Class {
				case cpu.Fence:
					fences++
				case cpu.Sysreg:
					clocks++
				}
			}
			if fences != 2 || clocks != 2 {
				t.Errorf("%v: %d readings of the counter, %d of them ordered", v, clocks, fences)
			}
		}
	}
}
