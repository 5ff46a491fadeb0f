package sim

import (
	"fmt"
	"testing"
)

// What was begun has its end reserved: whatever the budget, no slice is open at the end, no arrow has one end, and the budget is kept.
func TestTimelineBudget(t *testing.T) {
	for budget := range 40 {
		l := NewTimeline(budget)
		e := NewEngine()
		l.Begin(100)
		cpu, q := l.Track(Nested, "cpu", ""), l.Track(Apart, "queue", "")
		depth := l.Counter("depth", "items", 3)
		for i := range Time(5) {
			at := 100 + 10*i
			outer := l.Open(cpu, "outer", at)
			inner := l.Open(cpu, "inner", at+1)
			work := l.Slice(q, "work", at+2, at+8)
			l.Arrow("submitted", inner, at+1, work, at+2)
			l.Change(depth, at+2, 1)
			l.Close(inner, at+9)
			l.Close(outer, at+9)
		}
		l.Finish(e.Now())
		if l.Events() > budget || int64(l.Events())+l.LeftOut != 5*9 {
			t.Errorf("budget %d: %d events, %d left out, want 45 in all", budget, l.Events(), l.LeftOut)
		}
		if n := 2*(len(l.Slices)-1) + 2*len(l.Arrows) + len(l.Changes); n != l.Events() {
			t.Errorf("budget %d: Events is %d, there are %d", budget, l.Events(), n)
		}
		for _, s := range l.Slices[1:] {
			if s.End < s.Start {
				t.Errorf("budget %d: %+v", budget, s)
			}
		}
		for _, a := range l.Arrows {
			if a.From == 0 || a.To == 0 || a.Came < a.Left {
				t.Errorf("budget %d: %+v", budget, a)
			}
		}
		if (l.LeftOut > 0) != (l.Stopped != Never) {
			t.Errorf("budget %d: stopped at %v, %d left out", budget, l.Stopped, l.LeftOut)
		}
	}
}

func TestTimelineRecordsFromBeginToFinish(t *testing.T) {
	var none *Timeline
	if none.Begin(0); none.On() {
		t.Error("no timeline is on")
	}
	l := NewTimeline(100)
	if l.On() {
		t.Error("on before Begin")
	}
	l.Begin(5)
	l.Begin(9)
	if !l.On() || l.Start != 5 {
		t.Errorf("on %v since %v", l.On(), l.Start)
	}
	k := l.Track(Nested, "k", "")
	if l.Track(Nested, "k", "") != k || l.Track(Apart, "k", "") == k {
		t.Error("tracks are told apart by kind and name")
	}
	open := l.Open(k, "open", 7)
	nothing := l.Open(k, "nothing", 8)
	l.Close(nothing, 8) // took no time
	touched := l.Open(k, "touched", 8)
	l.Arrow("a", open, 7, touched, 8)
	l.Close(touched, 8) // took no time either, but an arrow leads to it
	l.Arrow("into the past", touched, 8, open, 7)
	l.Finish(20)
	l.Begin(21)
	if l.On() || len(l.Slices) != 3 || l.Slices[1].End != 20 || l.Slices[2].Name != "touched" || len(l.Arrows) != 1 || l.Events() != 6 {
		t.Errorf("on %v, %d events: %+v %+v", l.On(), l.Events(), l.Slices[1:], l.Arrows)
	}
}

// Owners of a lock follow each other on its track, for as long as it was held, and each wait ends with an arrow from the owner before.
func TestTimelineOfALock(t *testing.T) {
	e := NewEngine()
	l := NewTimeline(1 << 20)
	e.Timeline = l
	l.Begin(0)
	lock := Lock{Name: "k", HandOff: 7}
	r := NewRand(1, "lock")
	for i := range 3 {
		e.Go(fmt.Sprintf("cpu %d", i), func(p *Proc) {
			for range 50 {
				p.SleepUntil(p.Now() + 1 + Time(r.Int64N(40)))
				lock.Wait(p)
				p.SleepUntil(p.Now() + 1 + Time(r.Int64N(30)))
				lock.Unlock(p)
			}
		})
	}
	if err := e.Run(Never); err != nil {
		t.Fatal(err)
	}
	l.Finish(e.Now())
	var held, waited, last Time
	owners, waits := 0, 0
	for _, s := range l.Slices[1:] {
		switch l.Tracks[s.Track].Name {
		case "lock k":
			if s.Start < last {
				t.Fatalf("%s has the lock from %v, another until %v", s.Name, s.Start, last)
			}
			last = s.End
			held += s.End - s.Start
			owners++
		default:
			if s.Name != "waits for k" || s.Args[0].Key != "held by" || s.Args[0].Text == l.Tracks[s.Track].Name {
				t.Fatalf("%s: %+v", l.Tracks[s.Track].Name, s)
			}
			waited += s.End - s.Start
			waits++
		}
	}
	if held != lock.HeldFor || owners != int(lock.Acquired) || float64(waited) != lock.Waited.Sum() || waits != int(lock.Contended) || len(l.Arrows) != waits {
		t.Errorf("shown: held %v by %d, waited %v in %d waits, %d arrows; the lock: %v by %d, %v in %d", held, owners, waited, waits, len(l.Arrows),
			lock.HeldFor, lock.Acquired, lock.Waited.Sum(), lock.Contended)
	}
}

// Processes of one name have a track each while they live at once, and share one otherwise. One that runs on several CPUs has several.
func TestTimelineTracksOfProcesses(t *testing.T) {
	e := NewEngine()
	l := NewTimeline(1 << 20)
	l.Begin(0)
	at := map[string]TrackID{}
	start := func(what string, from, to Time) {
		e.Go("timer", func(p *Proc) {
			p.SleepUntil(from)
			at[what] = l.TrackOn(p, 2)
			p.SleepUntil(to)
			if l.TrackOn(p, 2) != at[what] || l.TrackOf(p) != at[what] {
				t.Errorf("%s changes its track", what)
			}
		})
	}
	start("first", 0, 10)
	start("beside it", 5, 30)
	start("after it", 20, 40)
	e.Go("replay", func(p *Proc) { at["cpu 0"], at["cpu 5"] = l.TrackOn(p, 0), l.TrackOn(p, 5) })
	if err := e.Run(Never); err != nil {
		t.Fatal(err)
	}
	if at["first"] != at["after it"] || at["first"] == at["beside it"] || at["cpu 0"] == at["cpu 5"] {
		t.Errorf("tracks %v", at)
	}
	for what, name := range map[string]string{"first": "cpu 2 timer", "beside it": "cpu 2 timer (2)", "cpu 0": "cpu 0 replay", "cpu 5": "cpu 5 replay"} {
		if got := l.Tracks[at[what]].Name; got != name {
			t.Errorf("%s is shown as %q, want %q", what, got, name)
		}
	}
}
