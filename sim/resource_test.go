package sim

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Ten processes come at different times and must get the lock in the order in which they came, each hand-off as long as
// stated: the owner has the lock from its time on and not a picosecond earlier.
func TestLockIsHandedOverInOrder(t *testing.T) {
	for _, handOff := range []Time{0, 1, 70_000} {
		e := NewEngine()
		l := Lock{Name: "l", HandOff: handOff}
		var log []string
		for i := range 10 {
			came := Time((i * 7 % 10) * 100)
			e.Go(fmt.Sprint("p", int64(came)), func(p *Proc) {
				p.SleepUntil(came)
				l.Wait(p)
				log = append(log, fmt.Sprintf("%s@%d", p.Name, p.Now()))
				if l.Holder() != p {
					t.Errorf("%s continues but %s holds the lock", p.Name, l.Holder().Name)
				}
				p.SleepUntil(p.Now() + 1_000_000)
				l.Unlock(p)
			})
		}
		if err := e.Run(Never); err != nil {
			t.Fatal(err)
		}
		e.Close()
		var want []string
		var waited Time
		for i := range Time(10) {
			at := i * (1_000_000 + handOff)
			want = append(want, fmt.Sprintf("p%d@%d", i*100, at))
			waited += at - i*100
		}
		if strings.Join(log, " ") != strings.Join(want, " ") {
			t.Errorf("hand-off %v:\ngot  %v\nwant %v", handOff, log, want)
		}
		if l.Acquired != 10 || l.Contended != 9 || l.MaxWaiters != 9 || l.Waited.Sum() != float64(waited) || l.HeldFor != 10_000_000+9*handOff {
			t.Errorf("hand-off %v: statistics %+v, want waits of %v", handOff, l, waited)
		}
	}
}

func TestTryLockDoesNotOvertake(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	l := Lock{HandOff: 100}
	e.Go("a", func(p *Proc) { l.Wait(p); p.SleepUntil(50); l.Unlock(p) })
	e.Go("b", func(p *Proc) { l.Wait(p); p.SleepUntil(200); l.Unlock(p) })
	e.Go("c", func(p *Proc) {
		for _, c := range []struct {
			at Time
			ok bool
		}{{10, false}, {50, false}, {100, false}, {149, false}, {199, false}, {201, true}} { // free only after b
			p.SleepUntil(c.at)
			if got := l.TryLock(p); got != c.ok {
				t.Errorf("TryLock at %d is %v", c.at, got)
			}
		}
	})
	if err := e.Run(Never); err != nil {
		t.Fatal(err)
	}
}

func TestUnlockByAnotherPanics(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	l := Lock{Name: "l"}
	e.Go("a", func(p *Proc) { l.Wait(p) })
	e.Go("b", func(p *Proc) { l.Unlock(p) })
	defer func() {
		if r := fmt.Sprint(recover()); r != "sim: b releases lock l held by a since 0.000ns" {
			t.Errorf("panic %q", r)
		}
	}()
	_ = e.Run(Never)
}

func TestLockWaitsAllocateNothing(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	l := Lock{HandOff: 10}
	for range 4 {
		e.Go("p", func(p *Proc) {
			for {
				l.Wait(p)
				p.SleepUntil(p.Now() + 100)
				l.Unlock(p)
			}
		})
	}
	until := Microsecond
	run := func() { until += Microsecond; _ = e.Run(until) }
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 || l.Contended < 1000 {
		t.Errorf("%v allocations in a microsecond of contention (%d waits)", n, l.Contended)
	}
}

// One server that is always asked late is idle in between; asked early, it serves back to back.
func TestServer(t *testing.T) {
	s := Server{Name: "link"}
	for _, c := range []struct{ now, service, start, done Time }{
		{0, 10, 0, 10}, {9, 10, 10, 20}, {20, 5, 20, 25}, {100, 1, 100, 101}, {50, 1, 101, 102},
	} {
		if start, done := s.Serve(c.now, c.service); start != c.start || done != c.done {
			t.Errorf("request at %d: served %d to %d, want %d to %d", c.now, start, done, c.start, c.done)
		}
	}
	if s.Served != 5 || s.Busy != 27 || s.Waited != 1+51 {
		t.Errorf("statistics %+v", s)
	}
}

func TestServersAgreeWithOneServerAndWithASearch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "n")
		many, one := NewServers("walkers", n), Server{}
		free := make([]Time, n)
		now := Time(0)
		for range rapid.IntRange(1, 50).Draw(t, "requests") {
			now += Time(rapid.IntRange(0, 20).Draw(t, "gap"))
			service := Time(rapid.IntRange(0, 50).Draw(t, "service"))
			best := 0
			for i, f := range free {
				if max(f, now) < max(free[best], now) {
					best = i
				}
			}
			want := max(now, free[best])
			free[best] = want + service
			start, done := many.Serve(now, service)
			if start != want || done != want+service {
				t.Fatalf("at %d: served %d to %d, want from %d for %d", now, start, done, want, service)
			}
			if n == 1 {
				if s, d := one.Serve(now, service); s != start || d != done {
					t.Fatalf("one of many serves %d to %d, one alone %d to %d", start, done, s, d)
				}
			}
			busy := 0
			for _, f := range free {
				if f > now {
					busy++
				}
			}
			if many.InUse(now) != busy {
				t.Fatalf("%d in use at %d, want %d", many.InUse(now), now, busy)
			}
		}
	})
}

func TestServersTakeAndRelease(t *testing.T) {
	s := NewServers("tags", 2)
	i, at := s.Take(10)
	j, at2 := s.Take(11)
	if i != 0 || at != 10 || j != 1 || at2 != 11 || s.Free() != Never || s.InUse(11) != 2 {
		t.Fatalf("took %d at %d and %d at %d; %s", i, at, j, at2, s.Describe())
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a third of two was given out")
			}
		}()
		s.Take(12)
	}()
	s.Release(1, 11, 40)
	if k, at := s.Take(20); k != 1 || at != 40 {
		t.Errorf("took %d at %d, want 1 at 40", k, at)
	}
	if s.Waited != 20 || s.Busy != 29 || s.Served != 3 {
		t.Errorf("statistics %+v", s)
	}
}

func TestQueueKeepsOrderUnderBackPressure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := NewEngine()
		defer e.Close()
		q := NewBoundedQueue[int]("q", rapid.IntRange(1, 4).Draw(t, "cap"))
		const n = 40
		gaps := rapid.SliceOfN(rapid.IntRange(0, 10), 2*n, 2*n).Draw(t, "gaps")
		e.Go("producer", func(p *Proc) {
			for i := range n {
				p.SleepUntil(p.Now() + Time(gaps[i]))
				q.Put(p, i)
			}
		})
		var got []int
		e.Go("consumer", func(p *Proc) {
			for i := range n {
				p.SleepUntil(p.Now() + Time(gaps[n+i]))
				got = append(got, q.Get(p))
			}
		})
		if err := e.Run(Never); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if i != v {
				t.Fatalf("item %d came as number %d", v, i)
			}
		}
		if len(got) != n || q.Puts != n || q.Gets != n || q.Len() != 0 || q.MaxLen > q.Cap() {
			t.Fatalf("%d items through, %+v", len(got), q)
		}
	})
}

func TestQueueGivesWaitingConsumersTheirTurn(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	q := NewBoundedQueue[string]("q", 1)
	var log []string
	for _, name := range []string{"first", "second"} {
		e.Go(name, func(p *Proc) { log = append(log, name+" gets "+q.Get(p)) })
	}
	e.Go("producer", func(p *Proc) {
		p.SleepUntil(10)
		q.TryPut("a", p.Now())
		if _, ok := q.TryGet(p.Now()); ok {
			t.Error("TryGet took the item of a waiting consumer")
		}
		p.SleepUntil(20)
		q.TryPut("b", p.Now())
	})
	if err := e.Run(Never); err != nil || strings.Join(log, ", ") != "first gets a, second gets b" {
		t.Errorf("%v (%v)", log, err)
	}
}

// A large request is not starved by small ones that come later.
func TestCreditsAreGivenInOrder(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	c := NewCredits("headers", 4)
	var log []string
	take := func(name string, at Time, n int64, hold Time) {
		e.Go(name, func(p *Proc) {
			p.SleepUntil(at)
			c.Take(p, n)
			log = append(log, fmt.Sprintf("%s@%d", name, p.Now()))
			p.SleepUntil(p.Now() + hold)
			c.Give(n, p.Now())
		})
	}
	take("a", 0, 3, 100)
	take("large", 1, 4, 50)
	take("small", 2, 1, 10)
	take("small2", 3, 3, 10)
	if err := e.Run(Never); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, " "); got != "a@0 large@100 small@150 small2@150" {
		t.Error(got)
	}
	if c.Unused() != 4 || c.MinUnused != 0 || c.Taken != 11 || c.Waits != 3 || c.Waited != 99+148+147 {
		t.Errorf("statistics %+v", c)
	}
	if c.TryTake(4) != true || c.TryTake(1) != false {
		t.Error("4 of 4 credits, then 1 of 0")
	}
}

func TestSignalWakesAllInOrder(t *testing.T) {
	e := NewEngine()
	defer e.Close()
	s := Signal{Name: "s"}
	s.Fire(0) // nobody waits: lost
	var log []string
	for _, n := range []string{"a", "b", "c"} {
		e.Go(n, func(p *Proc) { s.Wait(p); log = append(log, fmt.Sprintf("%s@%d", n, p.Now())) })
	}
	e.Go("firer", func(p *Proc) { p.SleepUntil(10); s.Fire(p.Now() + 5) })
	if err := e.Run(Never); err != nil || strings.Join(log, " ") != "a@15 b@15 c@15" || s.Fired != 2 {
		t.Errorf("%v, fired %d (%v)", log, s.Fired, err)
	}
}

// poisson drives one server of constant service time with Poisson arrivals and returns the series of waiting times, the
// average number in the system and the mean time in the system, in picoseconds.
func poisson(seed uint64, load float64, n int) (wait *Series, inSystem, timeIn float64) {
	const service = 100 * Nanosecond
	e := NewEngine()
	r := NewRand(seed, fmt.Sprint("arrivals at ", load))
	s := Server{Name: "link"}
	wait = new(Series)
	var l Level
	var in Sample
	var arrive, leave Handler
	leave = e.Register("leave", func(uint64) { l.Add(e.Now(), -1) })
	arrive = e.Register("arrive", func(uint64) {
		l.Add(e.Now(), 1)
		start, done := s.Serve(e.Now(), service)
		wait.Add(int64(start - e.Now()))
		in.Add(int64(done - e.Now()))
		e.At(done, leave, 0)
		if s.Served < uint64(n) {
			e.At(e.Now()+Time(r.ExpFloat64()*float64(service)/load), arrive, 0)
		}
	})
	e.At(0, arrive, 0)
	if err := e.Run(Never); err != nil {
		panic(err)
	}
	rate := float64(n) / float64(e.Now())
	timeIn = in.Mean()
	inSystem = l.Mean(e.Now())
	if math.Abs(inSystem/(rate*timeIn)-1) > 1e-9 {
		panic(fmt.Sprintf("Little's law: %v in the system, rate x time is %v", inSystem, rate*timeIn))
	}
	return wait, inSystem, timeIn
}

// M/D/1: the mean waiting time is load/(2(1-load)) service times (Pollaczek-Khinchine), and what the simulation says must
// agree within its own confidence interval, which covers the truth in 95 of 100 runs. Little's law holds exactly, as nobody
// is left in the system at the end.
func TestPoissonArrivalsAtAConstantServerWaitAsTheFormulaSays(t *testing.T) {
	for _, load := range []float64{0.2, 0.5, 0.8} {
		want := load / (2 * (1 - load)) * float64(100*Nanosecond)
		wantIn := load * (1 + load/(2*(1-load)))
		const runs = 30
		covered, mean, in := 0, 0., 0.
		for seed := range uint64(runs) {
			wait, inSystem, _ := poisson(seed, load, 40_000)
			got := wait.Steady()
			if got.Low() <= want && want <= got.High() {
				covered++
			}
			if got.Warnings != nil || got.HalfWidth > 0.2*want {
				t.Errorf("load %v: half width %.0f of %.0f: %v", load, got.HalfWidth, want, got.Warnings)
			}
			mean += got.Mean / runs
			in += inSystem / runs
		}
		if covered < 25 {
			t.Errorf("load %v: the interval covers the formula in %d of %d runs", load, covered, runs)
		}
		if math.Abs(mean/want-1) > 0.02 {
			t.Errorf("load %v: waits %.0f ps on average, formula says %.0f", load, mean, want)
		}
		if math.Abs(in/wantIn-1) > 0.02 {
			t.Errorf("load %v: %v in the system, formula says %v", load, in, wantIn)
		}
	}
}

func TestStreamsAreNamedAndSeeded(t *testing.T) {
	first := func(seed uint64, name string) uint64 { return NewRand(seed, name).Uint64() }
	if once, again := first(1, "a"), first(1, "a"); once != again {
		t.Error("the same seed and name give different streams")
	}
	if first(1, "a") == first(2, "a") || first(1, "a") == first(1, "b") || first(1, "") == first(256, "") {
		t.Error("different seeds or names give the same stream")
	}
	if got := first(1, "nvme"); got != 15519351490524528356 { // pinned: old results can be had again from their seed
		t.Errorf("the stream nvme of seed 1 starts with %d", got)
	}
}
