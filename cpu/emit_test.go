package cpu

import (
	"strings"
	"testing"

	"dmapath/sim"
)

var (
	outer = NewFunc("outer", "emit_test.go", 256)
	inner = NewFunc("inner", "emit_test.go", 256)
)

// loads and stores count as the recordings do: push, call and string writes are stores, pop and ret are loads.
func counts(ops []Op) (loads, stores int) {
	for _, op := range ops {
		if op.Class.Reads() {
			loads++
		}
		if op.Class.Writes() {
			stores++
		}
	}
	return loads, stores
}

func TestStreamCountsAsTheRecordingsDo(t *testing.T) {
	for _, tc := range []struct {
		name               string
		emit               func(s *Stream)
		ops, loads, stores int
	}{
		{"ALU run", func(s *Stream) { s.ALU(7, 0) }, 7, 0, 0},
		{"ALU run of nothing", func(s *Stream) { s.ALU(0, 0) }, 0, 0, 0},
		{"push and pop", func(s *Stream) { s.Push(6); s.Pop(6) }, 12, 6, 6},
		{"call and ret", func(s *Stream) { s.Call(inner); s.Ret() }, 2, 1, 1},
		{"tail call", func(s *Stream) { s.Call(inner); s.TailCall(outer); s.Ret() }, 3, 1, 1},
		{"rmw is both", func(s *Stream) { s.RMW(data, 0, 0) }, 1, 1, 1},
		{"atomic is both", func(s *Stream) { s.Atomic(data, 0, 0) }, 1, 1, 1},
		{"load_op", func(s *Stream) { s.LoadOp(data, 0, 0) }, 1, 1, 0},
		{"rep stos counts once", func(s *Stream) { s.StringSet(data, 48, 0) }, 1, 0, 1},
		{"plain indirect call", func(s *Stream) { s.CallInd(inner, 0); s.Ret() }, 2, 1, 1},
		{"locals", func(s *Stream) { s.Frame(32); s.StackStore(8, 0); s.StackLoad(8); s.Frame(-32) }, 4, 1, 1},
	} {
		s := NewStream(testStack, MitNone)
		s.Enter(outer)
		tc.emit(s)
		loads, stores := counts(s.Ops)
		if len(s.Ops) != tc.ops || loads != tc.loads || stores != tc.stores {
			t.Errorf("%s: %d ops, %d loads, %d stores, want %d, %d, %d", tc.name, len(s.Ops), loads, stores, tc.ops, tc.loads, tc.stores)
		}
		if s.Depth() != 1 {
			t.Errorf("%s: depth %d, want 1", tc.name, s.Depth())
		}
		s.Ret()
		if s.sp != testStack {
			t.Errorf("%s: the stack pointer is off by %d", tc.name, int64(s.sp-testStack))
		}
	}
}

// A retpoline is call, call, store over the return address, ret (arch/x86/lib/retpoline.S).
func TestRetpolineIsACallACallAStoreAndARet(t *testing.T) {
	s := NewStream(testStack, MitRetpoline)
	s.Enter(outer)
	v := s.Load(data, 0)
	s.CallInd(inner, v)
	var got []Class
	for _, op := range s.Ops[1:] {
		got = append(got, op.Class)
	}
	if want := [4]Class{Call, Call, Store, Ret}; len(got) != 4 || [4]Class(got) != want {
		t.Fatalf("a retpoline emits %v, want %v", got, want)
	}
	st, ret := s.Ops[3], s.Ops[4]
	if st.Addr != ret.Addr || st.Addr != s.Ops[2].Addr {
		t.Errorf("call, store and ret use stack slots %#x, %#x, %#x: want one", s.Ops[2].Addr, st.Addr, ret.Addr)
	}
	if ret.Src != TextBase+uint64(inner.PC) {
		t.Errorf("the ret goes to %#x, want the callee", ret.Src)
	}
	if st.Dep2 != 3 {
		t.Errorf("the store's data is %d ops back, want the load 3 ops back", st.Dep2)
	}
	s.ALU(1, 0)
	if s.Fn() != inner {
		t.Errorf("after the retpoline the stream is in %s", s.Fn().Name)
	}
	s.Ret()
	if s.Fn() != outer || s.Depth() != 1 {
		t.Errorf("the callee returned to %s, depth %d", s.Fn().Name, s.Depth())
	}
}

func TestLoopsRepeatTheirCode(t *testing.T) {
	s := NewStream(testStack, MitNone)
	s.Enter(outer)
	top := s.Here()
	for i := range 5 {
		v := s.Load(data, 0)
		s.ALU(2, v)
		s.Loop(top, i < 4, s.Last())
	}
	pcs := map[uint32]int{}
	taken := 0
	for _, op := range s.Ops {
		pcs[op.PC]++
		if op.Flag&Taken != 0 {
			taken++
		}
	}
	if len(pcs) != 4 || taken != 4 {
		t.Errorf("5 rounds of 4 ops use %d addresses and %d taken branches, want 4 and 4", len(pcs), taken)
	}
	if s.Here() != top+4*insnBytes {
		t.Errorf("the loop falls through to %#x, want %#x", s.Here(), top+4*insnBytes)
	}
}

func TestDistancesNameTheProducer(t *testing.T) {
	s := NewStream(testStack, MitNone)
	a := s.Load(data, 0)
	s.Nop(9)
	s.ALU2(a, s.Last())
	if op := s.Ops[10]; op.Dep1 != 10 || op.Dep2 != 1 {
		t.Errorf("distances %d and %d, want 10 and 1", op.Dep1, op.Dep2)
	}
	s.Nop(2000)
	s.ALU2(a, 0)
	if op := s.Ops[len(s.Ops)-1]; op.Dep1 != 0 {
		t.Errorf("a producer 2012 ops back is %d ops back; it should count as ready", op.Dep1)
	}
}

func TestUnbalancedStackPanics(t *testing.T) {
	defer func() {
		if e, _ := recover().(string); !strings.Contains(e, "outer returns with an unbalanced stack") {
			t.Errorf("panic says %q", e)
		}
	}()
	s := NewStream(testStack, MitNone)
	s.Enter(outer)
	s.Push(1)
	s.Ret()
}

// bell is a device register: it notes when writes leave and answers reads a microsecond later.
type bell struct{ writes []sim.Time }

func (b *bell) WriteReg(addr, val uint64, now sim.Time) { b.writes = append(b.writes, now) }
func (b *bell) ReadReg(addr uint64, now sim.Time) (uint64, sim.Time) {
	return addr, now + sim.Microsecond
}

func thread(e *sim.Engine, r *rig, body func(t *Thread)) {
	e.Go("thread", func(p *sim.Proc) {
		t := NewThread(p, r.c.id, r.c, r.Stream)
		t.Acct = r.acct
		t.Enter(outer)
		body(t)
		t.Sync()
	})
}

func TestDoorbellLeavesBehindOlderStores(t *testing.T) {
	e, r, b := sim.NewEngine(), newRig(t), &bell{}
	thread(e, r, func(t *Thread) {
		t.Store(data+5<<20, 0, 0) // misses
		t.MMIOWrite(b, MMIOBase, 1, 0, 0)
		if t.Now() >= b.writes[0] {
			panic("the doorbell left before its thread went on")
		}
	})
	if err := e.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
	if len(b.writes) != 1 || b.writes[0] < 60*sim.Nanosecond {
		t.Errorf("the doorbell left at %v, before the store that missed memory", b.writes)
	}
}

func TestRegisterReadIsWaitedForAndCharged(t *testing.T) {
	e, r, b := sim.NewEngine(), newRig(t), &bell{}
	thread(e, r, func(t *Thread) {
		t.ALU(10, 0)
		t.Sync()
		before := t.Now()
		t.MMIORead(b, MMIOBase, 0)
		if d := t.Now() - before; d < sim.Microsecond || d > sim.Microsecond+20*sim.Nanosecond {
			panic("a read of a microsecond takes " + d.String())
		}
	})
	if err := e.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
	f := r.acct.Fn[outer.ID]
	if f.Stall[StallMMIO] < 3000 || f.Stall[StallMMIO] > 3010 {
		t.Errorf("%d cycles charged to the register, want 3000", f.Stall[StallMMIO])
	}
}

func TestContendedLockIsHandedOverAndCharged(t *testing.T) {
	e, r := sim.NewEngine(), newRig(t)
	c1, err := NewCore(1, testConfig(), r.h, testSpace())
	if err != nil {
		t.Fatal(err)
	}
	l := &LockWord{VA: data}
	l.Name = "test"
	var order []int
	accts := [2]*Account{NewAccount(), NewAccount()}
	for i, c := range []*Core{r.c, c1} {
		e.Go("thread", func(p *sim.Proc) {
			th := NewThread(p, i, c, NewStream(testStack+uint64(i)<<16, MitNone))
			th.Acct = accts[i]
			th.Enter(outer)
			th.Acquire(l, 0)
			order = append(order, i)
			for range 3000 { // one op that depends on itself, executed 3000 times
				th.Back(outer.PC)
				th.ALU(1, th.Last())
			}
			th.Sync()
			order = append(order, i)
			th.Release(l, 0)
			th.Sync()
		})
	}
	if err := e.Run(sim.Never); err != nil {
		t.Fatal(err)
	}
	if len(order) != 4 || order[0] != order[1] || order[2] != order[3] {
		t.Errorf("critical sections interleave: %v", order)
	}
	wait := accts[0].Fn[outer.ID].Stall[StallLock] + accts[1].Fn[outer.ID].Stall[StallLock]
	if wait < 2500 || wait > 4000 {
		t.Errorf("%d cycles charged to the lock, want about the 3000 of the other critical section", wait)
	}
}

// A64 code calls through the link register and saves registers in pairs, so that the same path touches less of the stack.
func TestStreamOfA64(t *testing.T) {
	for _, tc := range []struct {
		name               string
		emit               func(s *Stream)
		ops, loads, stores int
	}{
		{"bl and ret touch no memory", func(s *Stream) { s.Call(inner); s.Ret() }, 2, 0, 0},
		{"blr", func(s *Stream) { s.CallInd(inner, 0); s.Ret() }, 2, 0, 0},
		{"six registers are three pairs", func(s *Stream) { s.Push(6); s.Pop(6) }, 6, 3, 3},
		{"an odd one is alone", func(s *Stream) { s.Push(5); s.Pop(5) }, 6, 3, 3},
		{"a barrier is no access", func(s *Stream) { s.FenceLockAdd() }, 1, 0, 0},
		{"tail call", func(s *Stream) { s.Call(inner); s.TailCallInd(outer, 0); s.Ret() }, 3, 0, 0},
	} {
		s := NewStream(testStack, MitNone)
		s.ISA = A64
		s.Enter(outer)
		tc.emit(s)
		loads, stores := counts(s.Ops)
		if len(s.Ops) != tc.ops || loads != tc.loads || stores != tc.stores {
			t.Errorf("%s: %d ops, %d loads, %d stores, want %d, %d, %d", tc.name, len(s.Ops), loads, stores, tc.ops, tc.loads, tc.stores)
		}
		s.Ret()
		if s.sp != testStack || s.Depth() != 0 {
			t.Errorf("%s: the stack pointer is off by %d, %d functions are active", tc.name, int64(s.sp-testStack), s.Depth())
		}
	}
}
