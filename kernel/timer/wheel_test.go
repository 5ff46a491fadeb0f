package timer_test

import (
	"testing"

	"dmapath/cache"
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/recorded"
	"dmapath/kernel/timer"
	"dmapath/sim"
)

// A timer never runs early: at the first tick that is at least one more jiffy away than asked.
func TestExpiryIsATickAndNeverEarly(t *testing.T) {
	const ms = sim.Millisecond
	for _, c := range []struct{ now, delay, want sim.Time }{
		{0, 10 * ms, 16 * ms}, {4*ms - 1, 10 * ms, 16 * ms}, {4 * ms, 10 * ms, 20 * ms}, {0, 12 * ms, 16 * ms},
		{0, 12*ms + 1, 20 * ms}, {1, 100 * ms, 104 * ms},
	} {
		got := timer.Expiry(c.now, c.delay)
		if got != c.want {
			t.Errorf("%v from %v: runs at %v, want %v", c.delay, c.now, got, c.want)
		}
		if got < c.now+c.delay || got%timer.Jiffy != 0 {
			t.Errorf("%v from %v: %v is early or no tick", c.delay, c.now, got)
		}
	}
}

// Work that is pending is not queued twice; once it ran it can be queued again. A pending timer must not be armed.
func TestWorkIsQueuedOnce(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		env := kernel.NewEnv(kernel.Config{Version: v, CPUs: 2}, cache.NewMemory(), 1<<32)
		var run []func(t *cpu.Thread)
		w := timer.NewWheel(env, func(c int, at sim.Time, fn func(t *cpu.Thread)) { run = append(run, fn) })
		work := timer.WorkAt(env.Slab(128, 64))
		ran := 0
		recorded.Run(func(th *cpu.Thread) {
			for range 3 {
				w.Queue(th, &work, 100*sim.Millisecond, func(*cpu.Thread) { ran++ })
			}
			if len(run) != 1 || !work.Timer.Pending() {
				t.Fatalf("%v: %d timers for one work", v, len(run))
			}
			run[0](th)
			w.Queue(th, &work, 100*sim.Millisecond, func(*cpu.Thread) { ran++ })
			if ran != 1 || len(run) != 2 {
				t.Errorf("%v: ran %d times, armed %d times; want 1 and 2", v, ran, len(run))
			}
			defer func() {
				if recover() == nil {
					t.Errorf("%v: arming a pending timer went unnoticed", v)
				}
			}()
			w.Mod(th, &work.Timer, sim.Millisecond, false, func(*cpu.Thread) {})
		})
	}
}
