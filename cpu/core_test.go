package cpu

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"dmapath/sim"
)

const data = DirectMapBase + 1<<30

// slope returns the cycles per repetition of an op sequence: the difference between n and 2n repetitions.
func slope(r *rig, n int, body func(n int)) float64 {
	one := r.cost(func() { body(n) })
	two := r.cost(func() { body(2 * n) })
	return float64(two-one) / float64(n)
}

// still emits body without moving through code, so that only its ops cost time.
func (r *rig) still(n int, body func(i int)) {
	pc := r.pc
	for i := range n {
		r.pc = pc
		body(i)
	}
}

func TestDependentALUOpsTakeOneCycleEach(t *testing.T) {
	r := newRig(t)
	if got := slope(r, 200, func(n int) { r.Chain(n, r.ALU(1, 0)) }); got != 1 {
		t.Errorf("%v cycles per op of a chain, want 1", got)
	}
}

func TestIndependentOpsRunAtTheNarrowestWidth(t *testing.T) {
	for _, tc := range []struct {
		name string
		tune func(*Config)
		op   Class
		want float64 // cycles per op
	}{
		{"four ALU ports", func(c *Config) {}, ALU, 1. / 4},
		{"dispatch of 5", func(c *Config) {}, Nop, 1. / 5},
		{"fetch of 2", func(c *Config) { c.FetchWidth = 2 }, ALU, 1. / 2},
		{"retirement of 2", func(c *Config) { c.RetireWidth = 2 }, ALU, 1. / 2},
		{"one multiplier, pipelined", func(c *Config) {}, Mul, 1},
		{"one divider, busy 6 cycles", func(c *Config) {}, Div, 6},
		{"ten slots at five per cycle", func(c *Config) { c.Slots[BitScan] = 10 }, BitScan, 2},
		{"pause holds dispatch", func(c *Config) {}, Pause, 140},
		{"atomics one after the other", func(c *Config) { c.AtomicDrains = true }, Atomic, 18},
		{"posted writes leave 200 cycles apart", func(c *Config) { c.StoreQueue = 1 }, MMIOWrite, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.tune)
			got := slope(r, 600, func(n int) {
				for range n {
					switch tc.op {
					case Atomic:
						r.Atomic(data, 0, 0)
					case MMIOWrite:
						r.Mem(MMIOWrite, MMIOBase, 4, 0, 0)
					default:
						r.Op(tc.op, 0)
					}
				}
			})
			if got != tc.want {
				t.Errorf("%v cycles per op, want %v", got, tc.want)
			}
		})
	}
}

func TestPointerChaseInL1TakesTheLoadLatencyPerLoad(t *testing.T) {
	for _, lat := range []int{4, 5} {
		r := newRig(t, func(c *Config) { c.Latency[Load] = lat })
		got := slope(r, 100, func(n int) {
			v := Val(0)
			for i := range n {
				v = r.Load(data+uint64(i%64)*64, v)
			}
		})
		if got != float64(lat) {
			t.Errorf("%v cycles per load, want %d", got, lat)
		}
	}
}

func TestLoadOpAddsItsALUCycle(t *testing.T) {
	r := newRig(t)
	got := slope(r, 100, func(n int) {
		v := Val(0)
		for range n {
			v = r.LoadOp(data, v, 0)
		}
	})
	if got != 6 {
		t.Errorf("%v cycles per load_op whose address depends on the last, want 5+1", got)
	}
	got = slope(r, 100, func(n int) {
		v := Val(0)
		for range n {
			v = r.LoadOp(data, 0, v)
		}
	})
	if got != 1 {
		t.Errorf("%v cycles per load_op whose operand depends on the last, want 1: the load itself is not on the chain", got)
	}
}

func TestIndependentLoadsRunAtTwoPerCycle(t *testing.T) {
	r := newRig(t)
	got := slope(r, 400, func(n int) {
		for i := range n {
			r.Load(data+uint64(i%64)*64, 0)
		}
	})
	if got != 0.5 {
		t.Errorf("%v cycles per load, want 1/2", got)
	}
}

// Two loads that miss overlap when both fit into the window, and not when one op too many lies between them.
func TestMissesOverlapAsFarAsTheWindowReaches(t *testing.T) {
	line := uint64(data)
	miss := func(r *rig, between int) int64 {
		r.Load(data, 0)
		r.ALU(16, 0)
		r.run() // warm code and translation
		r.idle()
		pc := r.pc - 17*insnBytes
		r.pc = pc
		r.Load(line+1<<20, 0)
		r.still(between, func(int) { r.Op(ALU, 0) })
		r.pc = pc
		r.Load(line+5<<20, 0)
		return r.run()
	}
	for _, rob := range []int{64, 352, 512} {
		tune := func(c *Config) { c.ROB = rob; c.FetchQueue = 512 }
		alone := miss(newRig(t, tune), 0)
		fits := miss(newRig(t, tune), rob-2)
		beyond := miss(newRig(t, tune), rob-1)
		if fits > alone+int64(rob)/4+2 {
			t.Errorf("ROB %d: two misses %d ops apart take %d cycles, adjacent ones %d", rob, rob-1, fits, alone)
		}
		if beyond < 2*alone-40 {
			t.Errorf("ROB %d: two misses %d ops apart take %d cycles, less than two of %d", rob, rob, beyond, alone)
		}
	}
}

func TestMissesRunInParallelUpToTheMissRegisters(t *testing.T) {
	time := func(n int, chain bool) int64 {
		r := newRig(t)
		r.Load(data, 0)
		r.ALU(64, 0)
		r.run()
		r.idle()
		r.pc -= 65 * insnBytes
		v := Val(0)
		for i := range n {
			w := r.Load(data+uint64(i+1)*(1<<20)+uint64(i)*64*5, v)
			if chain {
				v = w
			}
		}
		return r.run()
	}
	one, eight := time(1, false), time(8, false)
	if eight > one*13/10 {
		t.Errorf("8 independent misses take %d cycles, one takes %d", eight, one)
	}
	if chain := time(8, true); chain < one*7 {
		t.Errorf("8 dependent misses take %d cycles, one takes %d", chain, one)
	}
	if many := time(36, false); many < one*2 {
		t.Errorf("36 misses through 12 registers take %d cycles, one takes %d", many, one)
	}
}

func TestMispredictionCostsTheRefill(t *testing.T) {
	for _, penalty := range []int{1, 13, 17} {
		r := newRig(t, func(c *Config) { c.Mispredict = penalty; c.FuseBranch = false })
		body := func() { r.Branch(true, r.Chain(20, 0)); r.ALU(1, 0) }
		right := r.cost(body)
		if r.acct.Total().Mispredicts != 1 { // the first, untrained time
			t.Fatalf("%d mispredictions, want 1", r.acct.Total().Mispredicts)
		}
		r.pc -= 25 * insnBytes
		r.c.pred.forget()
		r.idle()
		body()
		wrong := r.run()
		// The op behind the branch executes at once when predicted. Otherwise it is dispatched penalty cycles after the
		// branch resolves, starts one cycle later and takes one.
		if want := right + int64(penalty) + 2; wrong != want {
			t.Errorf("penalty %d: %d cycles when predicted, %d when not, want %d", penalty, right, wrong, want)
		}
		if got := r.acct.Total().Stall[StallBranch]; got < int64(penalty)-1 {
			t.Errorf("penalty %d: %d cycles charged to the misprediction", penalty, got)
		}
	}
}

func TestIndirectCallsUnderTheMitigations(t *testing.T) {
	f := NewFunc("callee", "core_test.go", 64)
	cost := map[Mitigation]float64{}
	for _, mit := range []Mitigation{MitNone, MitIBRS, MitLFENCE, MitRetpoline} {
		r := newRigMit(t, mit)
		caller := NewFunc("caller", "core_test.go", 4096)
		r.Enter(caller)
		body := func(n int) {
			for range n {
				r.CallInd(f, r.Load(data, 0))
				r.Ret()
			}
		}
		cost[mit] = slope(r, 40, body)
		before := r.acct.Total().Mispredicts
		r.pc = caller.PC
		body(40)
		r.run()
		wrong := r.acct.Total().Mispredicts - before
		if want := map[bool]int64{true: 40}[mit == MitRetpoline]; wrong != want {
			t.Errorf("mitigation %d: %d of 40 calls of a known target mispredicted, want %d", mit, wrong, want)
		}
	}
	if cost[MitNone] != cost[MitIBRS] {
		t.Errorf("a plain call costs %v cycles, with eIBRS %v", cost[MitNone], cost[MitIBRS])
	}
	if cost[MitLFENCE] < cost[MitNone]+5 {
		t.Errorf("lfence before the jump costs %v cycles, without %v", cost[MitLFENCE], cost[MitNone])
	}
	if cost[MitRetpoline] < 17 || cost[MitRetpoline] > 45 {
		t.Errorf("a retpoline costs %v cycles; a misprediction is 17, COST-retp says 30 to 40", cost[MitRetpoline])
	}
}

func TestIndirectTargetsAreLearned(t *testing.T) {
	fs := []*Func{NewFunc("t0", "core_test.go", 64), NewFunc("t1", "core_test.go", 64)}
	r := newRig(t)
	r.Enter(NewFunc("caller", "core_test.go", 4096))
	pc := r.pc
	var wrong int64
	for i := range 60 { // alternating targets: the history tells them apart
		r.pc = pc
		r.CallInd(fs[i&1], 0)
		r.Ret()
		before := r.acct.Total().Mispredicts
		r.run()
		if i >= 40 {
			wrong += r.acct.Total().Mispredicts - before
		}
	}
	if wrong != 0 {
		t.Errorf("%d of 20 calls with alternating targets mispredicted", wrong)
	}
}

func TestReturnStackDepth(t *testing.T) {
	f := NewFunc("nested", "core_test.go", 4096)
	for _, tc := range []struct {
		depth int
		wrong int64
	}{{16, 0}, {17, 1}, {20, 4}} {
		r := newRig(t)
		r.Enter(f)
		at := make([]uint32, tc.depth)
		once := func() int64 {
			before := r.acct.Total().Mispredicts
			for i := range tc.depth { // each level calls from its own place
				r.Nop(i % 3)
				at[i] = r.pc
				r.Call(f)
			}
			for range tc.depth {
				r.Ret()
			}
			r.run()
			clear(r.c.pred.ind)
			clear(r.c.pred.indBase)
			return r.acct.Total().Mispredicts - before
		}
		once()
		if got := once(); got != tc.wrong {
			t.Errorf("%d nested returns on a stack of 16: %d mispredicted, want %d", tc.depth, got, tc.wrong)
		}
	}
}

func TestPredictorLearnsPatterns(t *testing.T) {
	for _, tc := range []struct {
		name    string
		outcome func(i int) bool
		atMost  int64 // mispredictions in the last 1000 of 4000
	}{
		{"always taken", func(int) bool { return true }, 0},
		{"loop of 7", func(i int) bool { return i%7 != 0 }, 0},
		{"loop of 30", func(i int) bool { return i%30 != 0 }, 34},
		{"period 12", func(i int) bool { return "110100111010"[i%12] == '1' }, 10},
	} {
		p := newPredictor(testConfig().Predictor)
		var wrong int64
		for i := range 4000 {
			if p.conditional(0x1000, tc.outcome(i)) && i >= 3000 {
				wrong++
			}
		}
		if wrong > tc.atMost {
			t.Errorf("%s: %d of 1000 mispredicted, want at most %d", tc.name, wrong, tc.atMost)
		}
	}
	p := newPredictor(testConfig().Predictor)
	rnd := rand.New(rand.NewPCG(1, 2))
	wrong := 0
	for range 10_000 {
		if p.conditional(0x1000, rnd.IntN(2) == 0) {
			wrong++
		}
	}
	if wrong < 4500 || wrong > 5500 {
		t.Errorf("%d of 10000 fair coin flips mispredicted", wrong)
	}
}

func TestUnknownTakenBranchLosesTheDecodeResteer(t *testing.T) {
	r := newRig(t)
	body := func() { r.Nop(1); r.Jump(); r.Nop(1) }
	known := r.cost(body)
	clear(r.c.pred.btb)
	r.pc -= 6 * insnBytes
	r.idle()
	body()
	// The nop behind the jump is fetched in cycle 1 or 1+8 and retires as soon as the jump and itself are dispatched.
	if got := r.run(); known != 2 || got != 1+8 {
		t.Errorf("%d cycles with an unknown jump, want 1+8; %d with a known one, want 2 (execution of the jump)", got, known)
	}
}

// A split into segments does not change any time or count.
func TestSegmentsDoNotChangeTime(t *testing.T) {
	for seed := range uint64(30) {
		s := NewStream(testStack, Mitigation(seed%4))
		randomOps(s, 3000, seed)
		whole, parts := newRig(t), newRig(t)
		end := whole.c.Run(s.Ops, whole.now, whole.acct)
		rnd := rand.New(rand.NewPCG(seed, 1))
		at := parts.now
		for ops := s.Ops; len(ops) > 0; {
			n := min(1+rnd.IntN(1+rnd.IntN(300)), len(ops))
			at = parts.c.Run(ops[:n], at, parts.acct)
			ops = ops[n:]
		}
		if at != end {
			t.Fatalf("seed %d: %v in one segment, %v in many", seed, end, at)
		}
		if whole.acct.Cycles != parts.acct.Cycles || !slices.Equal(whole.acct.Fn, parts.acct.Fn) {
			t.Fatalf("seed %d: the account depends on the segments", seed)
		}
		if whole.c.Drained() != parts.c.Drained() {
			t.Fatalf("seed %d: stores drain at %v and %v", seed, whole.c.Drained(), parts.c.Drained())
		}
	}
}

var randomFns = []*Func{NewFunc("r0", "core_test.go", 900), NewFunc("r1", "core_test.go", 900), NewFunc("r2", "core_test.go", 900)}

// randomOps emits ops of all classes with random dependences, addresses and control flow.
func randomOps(s *Stream, n int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 99))
	addr := func() uint64 {
		switch r.IntN(4) {
		case 0:
			return PerCPUBase + 0x40000 + r.Uint64N(64)<<12 + r.Uint64N(512)*8
		case 1:
			return VmemmapBase + r.Uint64N(1<<14)*64
		default:
			return data + r.Uint64N(600)*8
		}
	}
	val := func() Val { return max(0, s.Last()-Val(r.IntN(12))) }
	s.Enter(randomFns[0])
	sizes := []int{1, 2, 4, 8, 16, 32}
	for len(s.Ops) < n {
		if s.pc > s.fn.PC+700 {
			s.Back(s.fn.PC)
		}
		size := sizes[r.IntN(len(sizes))]
		switch x := r.IntN(100); {
		case x < 30:
			s.ALU(1+r.IntN(4), val())
		case x < 48:
			s.Mem(Load, addr(), size, val(), 0)
		case x < 60:
			s.Mem(Store, addr(), size, val(), val())
		case x < 64:
			s.LoadOp(addr(), val(), val())
		case x < 67:
			s.RMW(addr(), val(), val())
		case x < 76:
			s.Branch(r.IntN(3) == 0, val())
		case x < 79:
			s.Jump()
		case x < 82 && s.Depth() < 40:
			s.Call(randomFns[r.IntN(3)])
		case x < 84 && s.Depth() < 40:
			s.CallInd(randomFns[r.IntN(3)], val())
		case x < 89 && s.Depth() > 1:
			s.Ret()
		case x < 91:
			s.Nop(2)
		default:
			switch r.IntN(14) {
			case 0:
				s.Atomic(addr(), val(), val())
			case 1:
				s.FenceLockAdd()
			case 2:
				s.Op(Fence, 0)
			case 3:
				s.emit(Fence, 0, 0, 0, 0, Serialize)
			case 4:
				s.StringSet(addr(), 8+r.IntN(200), val())
			case 5:
				s.StringCopy(addr(), addr(), 8+r.IntN(200), val(), val())
			case 6:
				s.Mem(Flush, addr(), 64, val(), 0)
			case 7:
				s.Op(Div, val())
			case 8:
				s.Op(Mul, val())
			case 9:
				s.Op(BitScan, val())
			case 10:
				s.Op(IrqFlag, 0)
			case 11:
				s.Op(Sysreg, val())
			case 12:
				s.Op(Pause, 0)
			case 13:
				s.Mem(MMIOWrite, MMIOBase+8, 4, val(), 0)
			}
		}
	}
	for s.Depth() > 1 {
		s.Ret()
	}
}

func TestAccountSumsToTheElapsedCycles(t *testing.T) {
	for seed := range uint64(10) {
		r := newRig(t)
		randomOps(r.Stream, 4000, seed)
		var want [NumClasses]int64
		for _, op := range r.Ops {
			want[op.Class]++
		}
		cycles := r.run()
		var sum int64
		for i := range r.acct.Fn {
			f := &r.acct.Fn[i]
			sum += f.Cycles
			if f.Retiring() < 0 {
				t.Errorf("seed %d: %s: stalls exceed its %d cycles", seed, FuncByID(uint16(i)).Name, f.Cycles)
			}
			if f.Instructions() == 0 && f.Cycles != 0 {
				t.Errorf("seed %d: function %d has cycles but no instructions", seed, i)
			}
		}
		if sum != cycles || r.acct.Cycles != cycles {
			t.Errorf("seed %d: functions sum to %d, total %d, elapsed %d", seed, sum, r.acct.Cycles, cycles)
		}
		if got := r.acct.Total().Ops; got != want {
			t.Errorf("seed %d: counted %v, want %v", seed, got, want)
		}
		r.acct.Wait(3, StallLock, 1000)
		other := NewAccount()
		other.Add(r.acct)
		if tot := other.Total(); tot.Cycles != cycles+1000 || tot.Stall[StallLock] != 1000 || other.Cycles != cycles+1000 {
			t.Errorf("seed %d: Wait and Add: %d cycles", seed, tot.Cycles)
		}
		other.Reset()
		if tot := other.Total(); tot != (FnCount{}) || other.Cycles != 0 {
			t.Errorf("seed %d: Reset leaves %+v", seed, tot)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	r := newRig(t)
	randomOps(r.Stream, 2000, 7)
	ops, now := r.Ops, r.now
	for range 3 {
		now = r.c.Run(ops, now, r.acct)
	}
	if n := testing.AllocsPerRun(50, func() {
		now = r.c.Run(ops, now, r.acct)
		r.c.DisturbBy(100, 10, 10)
		r.c.Disturb(0.5)
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

func TestSameOpsSameTime(t *testing.T) {
	a, b := newRig(t), newRig(t)
	randomOps(a.Stream, 3000, 5)
	randomOps(b.Stream, 3000, 5)
	if x, y := a.run(), b.run(); x != y {
		t.Errorf("two identical machines take %d and %d cycles", x, y)
	}
}

// Scaling the clock leaves counts in cycles alone when nothing outside the core's clock domain is touched.
func TestCyclesDoNotDependOnTheFrequency(t *testing.T) {
	var last int64
	for _, hz := range []int64{1_000_000_000, 2_999_999_999, 3_000_000_000, 3_700_000_000} {
		r := newRig(t, func(c *Config) { c.Hz = hz })
		n := r.cost(func() {
			for i := range 200 {
				r.Load(data+uint64(i)*64, r.ALU(2, r.Load(data, 0)))
				r.Store(data+uint64(i)*8, 0, r.Last())
			}
		})
		if last != 0 && n != last {
			t.Errorf("%d cycles at %d Hz, %d before", n, hz, last)
		}
		last = n
	}
}

func TestFastConversionsStayWithinTheirSlack(t *testing.T) {
	for _, hz := range []int64{1_000_000_000, 2_600_000_000, 2_999_999_999, 3_000_000_000, 10_000_000_000} {
		r := newRig(t, func(c *Config) { c.Hz = hz })
		rnd := rand.New(rand.NewPCG(1, uint64(hz)))
		for range 10_000 {
			n := rnd.Int64N(1 << rnd.IntN(46))
			exact := r.c.clock.Edge(n)
			if d := r.c.edge(n) - exact; d < -1 || d > 1 {
				t.Fatalf("%d Hz: edge %d is off by %d ps", hz, n, d)
			}
			// A time reached from an edge by spans rounded up is not a cycle later.
			for late := range sim.Time(4) {
				if got := r.c.cyc(exact + late); got != n && n > 0 {
					t.Fatalf("%d Hz: %d ps behind edge %d is cycle %d", hz, late, n, got)
				}
			}
			if got := r.c.cyc(exact + 8); got != n+1 {
				t.Fatalf("%d Hz: 8 ps behind edge %d is cycle %d", hz, n, got)
			}
		}
	}
}

func TestColdStateCostsMoreAndDisturbLiesBetween(t *testing.T) {
	r := newRig(t)
	randomOps(r.Stream, 3000, 3)
	ops := slices.Clone(r.Ops)
	time := func(prepare func()) int64 {
		for range 3 {
			r.idle()
			r.Ops = append(r.Ops[:0], ops...)
			r.run()
		}
		prepare()
		r.idle()
		r.Ops = append(r.Ops[:0], ops...)
		return r.run()
	}
	hot := time(func() {})
	third := time(func() { r.c.Disturb(0.3) })
	cold := time(r.c.Forget)
	if !(hot < third && third < cold) {
		t.Errorf("hot %d, disturbed by 0.3 %d, cold %d cycles", hot, third, cold)
	}
	if some := time(func() { r.c.DisturbBy(3000, 100, 100) }); !(hot < some && some < cold) {
		t.Errorf("hot %d, disturbed by 3000 branches and 100 pages %d, cold %d cycles", hot, some, cold)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	c := testConfig()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.Hz, c.ROB, c.Ports[Mul], c.Mispredict, c.Predictor.BTB, c.TextShift, c.DTLB = 1, 5000, 0, 0, 99, 13, nil
	err := c.Validate()
	for _, want := range []string{"Hz is 1", "ROB is 5000: allowed are 1 to 512", "Ports[mul] is empty", "Mispredict is 0", "Predictor.BTB is 99", "TextShift is 13", "DTLB is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
}

func TestAccessOutsideTheMapPanicsWithTheFunction(t *testing.T) {
	r := newRig(t)
	r.Enter(randomFns[1])
	r.Load(0x1000, 0)
	defer func() {
		if e, _ := recover().(string); !strings.Contains(e, "r1 accesses 0x1000") {
			t.Errorf("panic says %q", e)
		}
	}()
	r.run()
}

// Spans that adjoin add up in cycles whatever instants divide them, and each is what instructions at its ends are apart.
func TestBetweenAddsUp(t *testing.T) {
	clock, err := sim.NewClock(3_700_000_001)
	if err != nil {
		t.Fatal(err)
	}
	c := &Core{clock: clock}
	r := sim.NewRand(1, "spans")
	at, sum := sim.Time(0), int64(0)
	for range 1000 {
		next := at + sim.Time(r.Int64N(5000))
		sum += c.Between(at, next)
		at = next
	}
	if want := c.Between(0, at); sum != want {
		t.Errorf("%d cycles in parts, %d in one", sum, want)
	}
	if got := c.Between(clock.Edge(10), clock.Edge(10)+1); got != 1 {
		t.Errorf("what is ready a picosecond after an edge begins %d cycles later, not at the next", got)
	}
}
