package workloads_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

func machine(t *testing.T, cpus int) *platform.Machine {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	m, err := platform.Build(s, platform.Options{Version: kernel.V7_3, Backend: platform.Direct, CPUs: cpus, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// on runs body on CPU 0 to its end.
func on(t *testing.T, m *platform.Machine, body func(t *cpu.Thread)) {
	t.Helper()
	m.Spawn(0, "test", func(th *cpu.Thread) { body(th); th.Sync(); m.Eng.Stop() })
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
}

var fnTest = cpu.NewFunc("test_function", "test", 4096)

// The series holds every call, distribution and account the second half.
func TestOpKeepsTheSecondHalf(t *testing.T) {
	m := machine(t, 1)
	o := workloads.NewOp(10)
	on(t, m, func(th *cpu.Thread) {
		for i := range 10 {
			wait := sim.Time(i+1) * 100 * sim.Nanosecond
			if err := o.Measure(th, func() error { th.WaitUntil(cpu.StallIdle, th.Now()+wait); return nil }); err != nil {
				t.Error(err)
			}
			th.Call(fnTest) // outside of the measurement
			th.ALU(50, 0)
			th.Ret()
		}
	})
	want := func(ns int64) int64 { return m.Cores[0].Cycles(sim.Time(ns) * sim.Nanosecond) }
	if o.Series.N != 10 || o.N != 5 || int64(o.Cycles.N) != 5 || o.Cycles.Min != want(600) || o.Cycles.Max != want(1000) {
		t.Errorf("series %d, distribution of %d (%d) from %d to %d; want 10, 5 from %d to %d", o.Series.N, o.N, o.Cycles.N, o.Cycles.Min, o.Cycles.Max, want(600), want(1000))
	}
	tot := o.Acct.Total()
	if sum := want(600) + want(700) + want(800) + want(900) + want(1000); tot.Instructions() != 0 || tot.Stall[cpu.StallIdle] != sum {
		t.Errorf("account has %d instructions and %d idle cycles, want 0 and %d", tot.Instructions(), tot.Stall[cpu.StallIdle], sum)
	}
}

// With calls of two CPUs that always overlap the second half starts all the same; the call that is under way then is in the series only.
func TestOpKeepsTheSecondHalfOfOverlappingCalls(t *testing.T) {
	m := machine(t, 2)
	o := workloads.NewOp(20)
	live := 2
	for c := range 2 {
		m.Spawn(c, "test", func(th *cpu.Thread) {
			th.WaitUntil(cpu.StallIdle, th.Now()+sim.Time(1+c)*50*sim.Nanosecond)
			for range 10 {
				o.Measure(th, func() error { th.WaitUntil(cpu.StallIdle, th.Now()+100*sim.Nanosecond); return nil })
			}
			if live--; live == 0 {
				m.Eng.Stop()
			}
		})
	}
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	each := m.Cores[0].Cycles(100 * sim.Nanosecond)
	if tot := o.Acct.Total(); o.Series.N != 20 || o.N != 9 || int64(o.Cycles.N) != 9 || tot.Stall[cpu.StallIdle] != 9*each || o.Total != 20*each {
		t.Errorf("series of %d, %d in the distribution, %d idle cycles; want 20, 9, %d", o.Series.N, o.N, tot.Stall[cpu.StallIdle], 9*each)
	}
}

// Cycles and instructions of an account are those of the call; its error comes through.
func TestOpMeasuresTheCallAlone(t *testing.T) {
	m := machine(t, 1)
	o := workloads.NewOp(0)
	failed := errors.New("refused")
	on(t, m, func(th *cpu.Thread) {
		th.Call(fnTest)
		th.ALU(500, 0)
		err := o.Measure(th, func() error { th.ALU(7, th.Last()); return failed })
		if err != failed {
			t.Errorf("error %v", err)
		}
		th.Ret()
	})
	tot := o.Acct.Total()
	if tot.Instructions() != 7 || tot.Cycles != int64(o.Cycles.Mean()) || o.N != 1 {
		t.Errorf("%d instructions, %d cycles in the account, %v in the distribution", tot.Instructions(), tot.Cycles, o.Cycles.Mean())
	}
}

// The share is the time of all calls, in the second half or not, over the CPUs' time.
// What is inlined into a driver is the same code in every call: once its lines and branches are known, twenty instructions with a jump
// every fourth take the same few cycles, whatever the driver executes in between.
func TestInlinedCodeStaysWhereItIs(t *testing.T) {
	m := machine(t, 1)
	up, down := workloads.NewOp(400), workloads.NewOp(400)
	sites := make(map[uint32]bool)
	on(t, m, func(t *cpu.Thread) {
		inlined := func() error {
			sites[t.Here()] = true
			for range 5 {
				t.ALU(3, 0)
				t.Jump()
			}
			return nil
		}
		for range 400 {
			t.ALU(100, 0)
			up.Measure(t, inlined)
			t.ALU(100, 0)
			down.Measure(t, inlined)
		}
	})
	if len(sites) != 2 {
		t.Errorf("two pieces of code were executed at %d places", len(sites))
	}
	for _, o := range []*workloads.Op{up, down} {
		if v := o.Cycles.Quantile(1); v > 20 {
			t.Errorf("%d cycles for 20 instructions that are in L1I", v)
		}
	}
}

func TestMapShare(t *testing.T) {
	m := machine(t, 1)
	r := workloads.Result{Map: workloads.NewOp(1000), Unmap: workloads.NewOp(0), Elapsed: sim.Millisecond, Busy: 500 * sim.Microsecond, CPUs: 2}
	sync := workloads.NewOp(0)
	on(t, m, func(th *cpu.Thread) {
		for _, c := range []struct {
			op *workloads.Op
			n  int
			d  sim.Time
		}{{r.Map, 1000, 100 * sim.Nanosecond}, {r.Unmap, 500, 200 * sim.Nanosecond}, {sync, 1000, 100 * sim.Nanosecond}} {
			for range c.n {
				c.op.Measure(th, func() error { th.WaitUntil(cpu.StallIdle, th.Now()+c.d); return nil })
			}
		}
	})
	near := func(got, want float64) bool { return math.Abs(got/want-1) < 0.005 } // a call is whole cycles
	if got := r.MapShare(m.Clock, false); !near(got, 0.1) {
		t.Errorf("0.2 of 2 ms of CPU time: %v, want 0.1", got)
	}
	if got := r.MapShare(m.Clock, true); !near(got, 0.4) {
		t.Errorf("0.2 of 0.5 ms busy: %v, want 0.4", got)
	}
	r.Sync = sync
	if got := r.MapShare(m.Clock, false); !near(got, 0.15) {
		t.Errorf("with syncs: %v, want 0.15", got)
	}
	if got := (&workloads.Result{Map: r.Map, Unmap: r.Unmap}).MapShare(m.Clock, true); got != 0 {
		t.Errorf("a run without time: %v, want 0", got)
	}
}

// Surroundings displace lines and take the time of their instructions at the calibrated rate, and nothing else.
func TestAmbience(t *testing.T) {
	m := machine(t, 1)
	sur := workloads.Surroundings{Name: "x", CodeLines: 400, DataLines: 1000, Instructions: 7500}
	stack, data := m.Env.Slab(4096, 4096)+4096, m.Env.Slab(1<<20, 4096)
	a, err := workloads.NewAmbience(sur, m.Cores[0], m.Hier, stack, data, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Between the widest the core retires and an instruction every 100 cycles.
	cycle := float64(sim.Second) / float64(m.Clock.Hz())
	if cpi := a.PicosPerInstruction() / cycle; cpi < 0.15 || cpi > 100 {
		t.Errorf("%.2f cycles per instruction", cpi)
	}
	again, err := workloads.NewAmbience(sur, machine(t, 1).Cores[0], m.Hier, stack, data, 1)
	if err != nil || math.Abs(again.PicosPerInstruction()/a.PicosPerInstruction()-1) > 0.5 {
		t.Errorf("calibrated again: %v instead of %v ps", again.PicosPerInstruction(), a.PicosPerInstruction())
	}
	probe := m.Env.Slab(64, 64)
	on(t, m, func(th *cpu.Thread) {
		load := func() sim.Time { th.Sync(); from := th.Now(); th.Load(probe, 0); th.Sync(); return th.Now() - from }
		load()
		hot := load()
		from := th.Now()
		a.Pass(th)
		if got, want := th.Now()-from, sim.Time(7500*a.PicosPerInstruction()); got < want-1 || got > want+1 {
			t.Errorf("surroundings took %v, want %v", got, want)
		}
		if cold := load(); cold <= hot { // 1000 lines are more than L1D has
			t.Errorf("a load after the surroundings takes %v, a hot one %v", cold, hot)
		}
		from = th.Now()
		(&workloads.Ambience{}).Pass(th)
		if th.Now() != from {
			t.Error("no surroundings took time")
		}
	})
	for _, bad := range []workloads.Surroundings{{CodeLines: -1}, {DataLines: -1}, {Instructions: -1}, {Instructions: 10_000_001}} {
		if _, err := workloads.NewAmbience(bad, m.Cores[0], m.Hier, stack, data, 1); err == nil || !strings.Contains(err.Error(), "allowed") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Code executes exactly as many instructions as it is told.
func TestCodeHasItsLength(t *testing.T) {
	for _, n := range []int{14, 46, 100, 250} {
		m := machine(t, 1)
		obj := m.Env.Slab(256, 64)
		o := workloads.NewOp(0)
		on(t, m, func(th *cpu.Thread) {
			o.Measure(th, func() error { workloads.Code(th, fnTest, n, obj, obj+64); return nil })
		})
		tot := o.Acct.Total()
		if got := tot.Instructions(); got != int64(n)+1 { // and the call
			t.Errorf("%d instructions with the call, want %d", got, n+1)
		}
		if n == 100 && (tot.Loads() < 20 || tot.Stores() < 8) {
			t.Errorf("%d loads, %d stores in 100 instructions", tot.Loads(), tot.Stores())
		}
	}
}

// All numbers out of range are listed at once.
func TestRanges(t *testing.T) {
	err := workloads.Ranges{{Key: "a", Value: 1, Lo: 1, Hi: 2}, {Key: "b", Value: 3, Lo: 1, Hi: 2}, {Key: "c", Value: 0, Lo: 1, Hi: 2}}.Check()
	if err == nil || err.Error() != "b is 3: allowed are 1 to 2\nc is 0: allowed are 1 to 2" {
		t.Errorf("%v", err)
	}
}

// Buffers are aligned, in RAM, and the same for the same stream.
func TestBuffers(t *testing.T) {
	m := machine(t, 1)
	a, b := workloads.NewBuffers(m, sim.NewRand(1, "x")), workloads.NewBuffers(m, sim.NewRand(1, "x"))
	for range 1000 {
		x, y := a.Next(128<<10), b.Next(128<<10)
		if x != y || x.Phys&4095 != 0 || x.Size != 128<<10 || x.Page != cpu.VmemmapBase+x.Phys>>12*64 || !m.MM.Valid(x.Phys>>12) || !m.MM.Valid((x.Phys+x.Size-1)>>12) {
			t.Fatalf("%+v and %+v", x, y)
		}
	}
}
