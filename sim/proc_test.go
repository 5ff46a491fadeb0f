package sim

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Two processes that wake each other in many ways; the log tells who ran when. Sleeping is the fast path where nothing
// happens in between, and an event and a switch where the run is cut into steps or something else is pending.
func scenario(e *Engine, log *strings.Builder) {
	var s Signal
	for id := range 3 {
		e.Go(fmt.Sprintf("p%d", id), func(p *Proc) {
			r := NewRand(uint64(id), "scenario")
			for range 50 {
				p.SleepUntil(p.Now() + Time(r.IntN(40)*r.IntN(2)))
				fmt.Fprintf(log, "%d:p%d ", p.Now(), id)
				if id == 0 && r.IntN(3) == 0 {
					s.Fire(p.Now() + Time(r.IntN(10)))
				} else if id == 1 && r.IntN(10) == 0 {
					s.Wait(p)
				}
			}
			for id == 0 && s.Waiters() > 0 {
				s.Fire(p.Now())
			}
		})
	}
}

func TestSleepFastPathEqualsSlowPath(t *testing.T) {
	run := func(disturb func(e *Engine)) string {
		e := NewEngine()
		defer e.Close()
		var log strings.Builder
		scenario(e, &log)
		disturb(e)
		_ = e.Run(Never)
		return log.String()
	}
	want := run(func(*Engine) {})
	if strings.Count(want, "p2") != 50 {
		t.Fatalf("p2 ran %d times, want 50: %s", strings.Count(want, "p2"), want)
	}
	for step := range Time(7) {
		got := run(func(e *Engine) {
			if step > 0 { // many short runs
				for u := Time(0); u < 3000; u += step {
					_ = e.Run(u)
				}
				return
			}
			h := e.Register("tick", func(uint64) {})
			for u := range Time(3000) { // an event at every picosecond: never a fast path
				e.At(u, h, 0)
			}
		})
		if got != want {
			t.Errorf("step %d: the order depends on how sleeping is done:\n%s\nwant\n%s", step, got, want)
		}
	}
}

func TestSleepUntilIsTight(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	awake := Time(-1)
	e.Go("p", func(p *Proc) {
		p.SleepUntil(0) // not in the future: returns at once
		p.SleepUntil(100)
		awake = p.Now()
	})
	if err := e.Run(99); err != nil || awake != -1 || e.Now() != 99 {
		t.Fatalf("at %v awake since %d (%v)", e.Now(), awake, err)
	}
	if err := e.Run(100); err != nil || awake != 100 {
		t.Fatalf("at %v awake since %d (%v), want 100", e.Now(), awake, err)
	}
}

// An event of the same time that was scheduled before the sleep runs before the sleeper continues.
func TestSleepYieldsToAnEventOfTheSameTime(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	var log []string
	h := e.Register("h", func(uint64) { log = append(log, "event") })
	e.At(50, h, 0)
	e.Go("p", func(p *Proc) {
		p.SleepUntil(50)
		log = append(log, "process")
	})
	if err := e.Run(Never); err != nil || fmt.Sprint(log) != "[event process]" {
		t.Fatalf("order %v (%v)", log, err)
	}
}

func TestWakeOfAProcessThatIsNotParkedPanics(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	p := e.Go("p", func(p *Proc) { p.SleepUntil(10) })
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "wake of p, which is not parked") {
			t.Errorf("panic %q", r)
		}
	}()
	p.Wake(1)
}

// coroutines counts the goroutines on which processes run. Those of earlier tests, which may be about to end, are none.
func coroutines() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), " [coroutine")
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := coroutines()
	e := NewEngine()
	var l Lock
	var s Signal
	cleaned := 0
	for i := range 20 {
		e.Go(fmt.Sprintf("p%d", i), func(p *Proc) {
			defer func() { cleaned++ }()
			switch i % 4 {
			case 0:
				s.Wait(p)
			case 1:
				l.Wait(p)
				s.Wait(p)
			case 2:
				p.SleepUntil(Second)
			}
		})
	}
	if err := e.Run(Microsecond); err != nil {
		t.Fatal(err)
	}
	if n := coroutines(); n != before+15 {
		t.Errorf("%d goroutines while 15 processes wait, %d before", n, before)
	}
	e.Go("never started", func(*Proc) { t.Error("a process ran in Close") })
	e.Close()
	e.Close() // harmless
	if n := coroutines(); n != before {
		t.Errorf("%d goroutines after Close, %d before", n, before)
	}
	if cleaned != 20 {
		t.Errorf("%d of 20 processes unwound", cleaned)
	}
}

func TestSlotsOfEndedProcessesAreUsedAgain(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	n := 0
	e.Go("parent", func(p *Proc) {
		for i := range Time(1000) {
			e.Go("child", func(c *Proc) { c.SleepUntil(c.Now() + 5); n++ })
			p.SleepUntil(10 * (i + 1))
		}
	})
	if err := e.Run(Never); err != nil || n != 1000 {
		t.Fatalf("%d children ran (%v)", n, err)
	}
	if len(e.procs) != 2 {
		t.Errorf("%d slots for 2 processes at a time", len(e.procs))
	}
}

func TestDeadlockSaysWhoWaitsForWhom(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	a, b := Lock{Name: "a"}, Lock{Name: "b"}
	q := NewBoundedQueue[int]("completions", 4)
	q.Producer = "nvme0"
	full := NewBoundedQueue[int]("commands", 1)
	full.Consumer = "nvme0"
	c := NewCredits("tags", 8)
	c.Owner = "root port"
	s := Signal{Name: "flush done", Owner: "iommu"}
	e.Go("cpu0", func(p *Proc) { a.Wait(p); p.SleepUntil(10); b.Wait(p) })
	e.Go("cpu1", func(p *Proc) { b.Wait(p); p.SleepUntil(10); a.Wait(p) })
	e.Go("cpu2", func(p *Proc) { p.SleepUntil(20); a.Wait(p) })
	e.Go("irq", func(p *Proc) { q.Get(p) })
	e.Go("submit", func(p *Proc) { full.Put(p, 1); full.Put(p, 2) })
	e.Go("dma", func(p *Proc) { c.Take(p, 5); c.Take(p, 4) })
	e.Go("unmap", func(p *Proc) { s.Wait(p) })
	e.Go("done", func(p *Proc) {})
	err := e.Run(Never)
	want := "deadlock at 0.020ns: " +
		"cpu0 waits for lock b held by cpu1 since 0.000ns; " +
		"cpu1 waits for lock a held by cpu0 since 0.000ns (2 wait); " +
		"cpu2 waits for lock a held by cpu0 since 0.000ns (2 wait); " +
		"irq waits for an item in queue completions (0 of 4), up to nvme0; " +
		"submit waits for room in queue commands (1 of 1), up to nvme0; " +
		"dma waits for credits tags (3 of 8 unused, 4 wanted), up to root port; " +
		"unmap waits for signal flush done, up to iommu; " +
		"circle: cpu0 -> cpu1 -> cpu0"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestALockTakenTwiceIsADeadlock(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	l := Lock{Name: "rcache"}
	e.Go("cpu0", func(p *Proc) { l.Wait(p); l.Wait(p) })
	err := e.Run(Never)
	if err == nil || err.Error() != "deadlock at 0.000ns: cpu0 waits for lock rcache held by cpu0 since 0.000ns; circle: cpu0 -> cpu0" {
		t.Error(err)
	}
}

func TestNothingPendingIsNoDeadlock(t *testing.T) {
	e := NewEngine()
	e.Go("p", func(p *Proc) { p.SleepUntil(5) })
	if err := e.Run(Never); err != nil {
		t.Error(err)
	}
}

// BenchmarkSleep is a process that sleeps: alone, which needs no switch, and against another, which does.
func BenchmarkSleep(b *testing.B) {
	for _, procs := range []int{1, 2, 64} {
		b.Run(fmt.Sprintf("procs=%d", procs), func(b *testing.B) {
			e := NewEngine()
			defer e.Close()
			for i := range procs {
				e.Go("p", func(p *Proc) {
					for j := range b.N / procs {
						p.SleepUntil(Time(j*procs + i))
					}
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := e.Run(Never); err != nil {
				b.Fatal(err)
			}
		})
	}
}
