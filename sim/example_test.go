package sim_test

import (
	"fmt"

	"dmapath/sim"
)

func ExampleLock() {
	e := sim.NewEngine()
	defer e.Close()
	l := sim.Lock{Name: "rcache", HandOff: 70 * sim.Nanosecond}
	for i, came := range []sim.Time{0, 10 * sim.Nanosecond} {
		e.Go(fmt.Sprint("cpu", i), func(p *sim.Proc) {
			p.SleepUntil(came)
			l.Wait(p)
			fmt.Println(p.Name, "has the lock at", p.Now())
			p.SleepUntil(p.Now() + 100*sim.Nanosecond)
			l.Unlock(p)
		})
	}
	if err := e.Run(sim.Never); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%d of %d had to wait, %.0f ns on average\n", l.Contended, l.Acquired, l.Waited.Mean()/1000)
	// Output:
	// cpu0 has the lock at 0.000ns
	// cpu1 has the lock at 170.000ns
	// 1 of 2 had to wait, 160 ns on average
}

func ExampleDifference() {
	page, phys := new(sim.Series), new(sim.Series)
	noise := sim.NewRand(1, "misses")
	for range 20_000 { // the same operations for both
		misses := noise.Int64N(4) * 270 // cycles
		page.Add(180 + misses)
		phys.Add(176 + misses)
	}
	d := sim.Difference(page, phys)
	fmt.Printf("map_phys costs %.1f +- %.1f cycles more than map_page\n", d.Mean, d.HalfWidth)
	// Output:
	// map_phys costs -4.0 +- 0.0 cycles more than map_page
}

func ExampleEngine_Run_deadlock() {
	e := sim.NewEngine()
	defer e.Close()
	a, b := sim.Lock{Name: "a"}, sim.Lock{Name: "b"}
	e.Go("cpu0", func(p *sim.Proc) { a.Wait(p); p.SleepUntil(1000); b.Wait(p) })
	e.Go("cpu1", func(p *sim.Proc) { b.Wait(p); p.SleepUntil(1000); a.Wait(p) })
	fmt.Println(e.Run(sim.Never))
	// Output:
	// deadlock at 1.000ns: cpu0 waits for lock b held by cpu1 since 0.000ns; cpu1 waits for lock a held by cpu0 since 0.000ns; circle: cpu0 -> cpu1 -> cpu0
}
