package cpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"dmapath/sim"
)

// What a timeline shows of a thread is what its account says: the time of a function's slices without those inside of them is the function's
// cycles, on every stack, and segments follow each other. Showing it changes neither time nor account.
func TestShownFunctionsAreTheAccount(t *testing.T) {
	for seed := range uint64(8) {
		mit := Mitigation(seed % 4)
		perform := func(tl *sim.Timeline) (*rig, *Thread, sim.Time) {
			r := newRigMit(t, mit)
			e := sim.NewEngine()
			e.Timeline = tl
			var th *Thread
			e.Go("cpu 0", func(p *sim.Proc) {
				p.SleepUntil(r.c.clock.Edge(1000))
				tl.Begin(p.Now())
				th = NewThread(p, 0, r.c, NewStream(testStack, mit))
				th.Stacks, th.Acct = true, r.acct
				all := NewStream(testStack, mit)
				all.Stacks = true
				randomOps(all, 2000, seed)
				cut := rand.New(rand.NewPCG(seed, 1))
				for ops := all.Ops; len(ops) > 0; {
					n := min(1+cut.IntN(1+cut.IntN(300)), len(ops))
					th.Ops = append(th.Ops, ops[:n]...)
					th.Sync()
					ops = ops[n:]
				}
				if tl != nil {
					tl.Finish(p.Now())
				}
			})
			if err := e.Run(sim.Never); err != nil {
				t.Fatal(err)
			}
			return r, th, e.Now()
		}
		tl := sim.NewTimeline(1 << 30)
		with, _, end := perform(tl)
		without, _, plain := perform(sim.NewTimeline(0)) // begins, and finds no room: still in pieces
		off, _, never := perform(nil)
		if end != plain || end != never || !slices.Equal(with.acct.Fn, without.acct.Fn) || !slices.Equal(with.acct.Fn, off.acct.Fn) {
			t.Fatalf("seed %d: ends at %v when shown, %v without room, %v when not", seed, end, plain, never)
		}
		clock := with.c.clock
		cycles := func(s *sim.Slice) int64 { return clock.CeilCycle(s.End) - clock.CeilCycle(s.Start) }
		got := map[string]int64{} // by stack
		var stack []*sim.Slice
		path := func() (s string) {
			for _, x := range stack {
				s += "/" + x.Name
			}
			return s
		}
		var last sim.Time
		for i := range tl.Slices[1:] {
			s := &tl.Slices[i+1]
			if tl.Tracks[s.Track].Kind == sim.Apart {
				if s.Start < last {
					t.Fatalf("seed %d: a segment from %v begins before %v", seed, s.Start, last)
				}
				last = s.End
				continue
			}
			for len(stack) > 0 && stack[len(stack)-1].End <= s.Start {
				stack = stack[:len(stack)-1]
			}
			if len(stack) > 0 {
				if o := stack[len(stack)-1]; o.End < s.End {
					t.Fatalf("seed %d: %s from %v to %v overlaps %s until %v", seed, s.Name, s.Start, s.End, o.Name, o.End)
				}
				got[path()] -= cycles(s)
			}
			stack = append(stack, s)
			got[path()] += cycles(s)
		}
		want := map[string]int64{}
		for id := range with.acct.Fn[1:] {
			name := ""
			for _, f := range FuncByID(uint16(id + 1)).Stack() {
				name += "/" + f.Name
			}
			want[name] += with.acct.Fn[id+1].Cycles
		}
		for name, n := range want {
			if got[name] != n {
				t.Errorf("seed %d: %s is shown for %d cycles and has %d", seed, name, got[name], n)
			}
		}
	}
}

// A thread that nobody looks at allocates nothing for it.
func TestNotShownAllocatesNothing(t *testing.T) {
	r := newRig(t)
	e := sim.NewEngine()
	e.Go("cpu 0", func(p *sim.Proc) {
		th := NewThread(p, 0, r.c, r.Stream)
		th.Acct = r.acct
		if n := testing.AllocsPerRun(100, func() {
			depth := th.Show("call")
			th.ALU(20, 0)
			th.Sync()
			th.WaitUntil(StallIdle, p.Now()+1000)
			th.Sees("seen", 64)
			if depth != 0 {
				th.Hide(depth, sim.Num("cycles", 1))
			}
		}); n != 0 {
			t.Errorf("%v allocations per call", n)
		}
	})
	if err := e.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
}
