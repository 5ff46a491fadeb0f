package sim

import (
	"fmt"
	"slices"
	"testing"
)

func TestEqualTimesRunInTheOrderOfScheduling(t *testing.T) {
	for _, n := range []int{3, 31, 32, 33, 1000} {
		e := NewEngine()
		var got []uint64
		h := e.Register("h", func(arg uint64) { got = append(got, arg) })
		for i := range n {
			e.At(5, h, uint64(i))
			e.At(Time(6+i%3), h, uint64(1000*(1+i%3)+i))
		}
		e.At(4, e.Register("late", func(uint64) { e.At(5, h, uint64(n)) }), 0) // scheduled last, so it runs last at 5
		if err := e.Run(Never); err != nil {
			t.Fatal(err)
		}
		for i := range n + 1 {
			if got[i] != uint64(i) {
				t.Fatalf("%d events at one time: event %d ran as number %d", n, got[i], i)
			}
		}
		if !slices.IsSorted(got[n+1:]) {
			t.Fatalf("%d events: later times ran as %v", n, got[n+1:])
		}
	}
}

func TestRunStopsAtUntil(t *testing.T) {
	e := NewEngine()
	ran := 0
	h := e.Register("h", func(uint64) { ran++ })
	e.At(99, h, 0)
	e.At(100, h, 0)
	e.At(101, h, 0)
	for _, c := range []struct {
		until, next Time
		ran         int
	}{{98, 99, 0}, {99, 100, 1}, {100, 101, 2}, {100, 101, 2}, {200, Never, 3}} {
		if err := e.Run(c.until); err != nil {
			t.Fatal(err)
		}
		if ran != c.ran || e.Next() != c.next {
			t.Errorf("until %d: %d events ran and the next is at %d, want %d and %d", c.until, ran, e.Next(), c.ran, c.next)
		}
	}
}

// An event may be scheduled before one that Next has already shown, however far away that is.
func TestScheduleBeforeAFarEvent(t *testing.T) {
	e := NewEngine()
	var at []Time
	h := e.Register("h", func(uint64) { at = append(at, e.Now()) })
	e.At(Second, h, 0)
	for i := range Time(100) {
		if e.Next() != Second {
			t.Fatalf("next at %v, want 1 s", e.Next())
		}
		e.At(1000*(i+1), h, 0)
		if e.Next() != 1000*(i+1) {
			t.Fatalf("next at %v, want %v", e.Next(), 1000*(i+1))
		}
		if err := e.Run(1000 * (i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run(Never); err != nil || len(at) != 101 || at[100] != Second {
		t.Fatalf("%d events ran, the last at %v, error %v", len(at), at[len(at)-1], err)
	}
}

func TestThePastCannotBeScheduled(t *testing.T) {
	e := NewEngine()
	h := e.Register("h", func(uint64) {})
	e.At(10, h, 0)
	if err := e.Run(Never); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("an event at 9 was accepted at 10")
		}
	}()
	e.At(9, h, 0)
}

func TestStop(t *testing.T) {
	e := NewEngine()
	ran := 0
	h := e.Register("h", func(arg uint64) {
		if ran++; arg == 1 {
			e.Stop()
		}
	})
	e.At(1, h, 0)
	e.At(2, h, 1)
	e.At(3, h, 0)
	if err := e.Run(Never); err != nil || ran != 2 || e.Now() != 2 {
		t.Fatalf("stopped after %d events at %v (%v), want 2 at 0.002ns", ran, e.Now(), err)
	}
	if err := e.Run(Never); err != nil || ran != 3 {
		t.Fatalf("a run after Stop left %d events run (%v), want 3", ran, err)
	}
}

func TestNoAllocationPerEvent(t *testing.T) {
	for _, pending := range []int{1, 20, 64, 4096} {
		t.Run(fmt.Sprint(pending), func(t *testing.T) {
			e := NewEngine()
			inc := increments("mixed", 1e5)
			i := 0
			var h Handler
			h = e.Register("hold", func(uint64) { i++; e.At(e.Now()+inc[i%len(inc)], h, 0) })
			for j := range pending {
				e.At(inc[j%len(inc)], h, 0)
			}
			until := 100 * Microsecond
			run := func() {
				until += 100 * Nanosecond
				if err := e.Run(until); err != nil {
					t.Fatal(err)
				}
			}
			run()
			run()
			if n := testing.AllocsPerRun(50, run); n != 0 {
				t.Errorf("%v allocations per 100 ns of events", n)
			}
		})
	}
}

// BenchmarkEvent is an event with an empty handler that schedules the next one, through the engine.
func BenchmarkEvent(b *testing.B) {
	for _, pending := range []int{1, 64, 4096} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			e := NewEngine()
			inc := increments("exp", 1e6)
			i := 0
			var h Handler
			h = e.Register("hold", func(uint64) {
				if i++; i == b.N {
					e.Stop()
				}
				e.At(e.Now()+inc[i%len(inc)], h, 0)
			})
			for j := range pending {
				e.At(inc[j%len(inc)], h, 0)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := e.Run(Never); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// A process that runs is the current one, also after others ran in between; outside there is none.
func TestCurrent(t *testing.T) {
	e := NewEngine()
	var a, b *Proc
	body := func(p *Proc) {
		for i := range 3 {
			if e.Current() != p {
				t.Errorf("%s runs and %v is the current process", p.Name, e.Current())
			}
			p.SleepUntil(Time(i+1) * Microsecond)
		}
	}
	a, b = e.Go("a", body), e.Go("b", body)
	if a == b || e.Current() != nil {
		t.Error("a process runs before the engine does")
	}
	h := e.Register("handler", func(uint64) {
		if e.Current() != nil {
			t.Error("a handler is taken for a process")
		}
	})
	e.At(1500*Nanosecond, h, 0)
	if err := e.Run(Never); err != nil || e.Current() != nil {
		t.Error(err, e.Current())
	}
}
