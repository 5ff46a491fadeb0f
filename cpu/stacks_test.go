package cpu

import "testing"

var (
	stackA = NewFunc("stack_a", "stacks_test.go", 64)
	stackB = NewFunc("stack_b", "stacks_test.go", 64)
	stackC = NewFunc("stack_c", "stacks_test.go", 64)
)

// names writes the stack of every op, functions that follow each other once.
func names(ops []Op) (list []string) {
	for _, o := range ops {
		s := ""
		for _, f := range FuncByID(o.Fn).Stack() {
			s += "/" + f.Name
		}
		if n := len(list); n == 0 || list[n-1] != s {
			list = append(list, s)
		}
	}
	return list
}

// A function called from two places is two entries with stacks; a tail call takes the place of its caller; without stacks
// the ops are the same but for the function that they are accounted to.
func TestStacks(t *testing.T) {
	for _, isa := range []ISA{X86, A64} {
		for _, mit := range []Mitigation{MitNone, MitRetpoline} {
			emit := func(stacks bool) []Op {
				s := NewStream(1<<30, mit)
				s.ISA, s.Stacks = isa, stacks
				s.Call(stackA)
				s.ALU(1, 0)
				s.Call(stackC)
				s.ALU(1, 0)
				s.Ret()
				s.Ret()
				s.CallInd(stackB, 0)
				s.ALU(1, 0)
				s.TailCall(stackC)
				s.ALU(1, 0)
				s.Ret()
				return s.Ops
			}
			with, without := emit(true), emit(false)
			if len(with) != len(without) {
				t.Fatalf("isa %d: %d ops with stacks, %d without", isa, len(with), len(without))
			}
			for i := range with {
				a, b := with[i], without[i]
				if FuncByID(a.Fn).Base().ID != b.Fn {
					t.Errorf("isa %d, op %d belongs to %s, without stacks to %s", isa, i, FuncByID(a.Fn).Name, FuncByID(b.Fn).Name)
				}
				if a.Fn = b.Fn; a != b {
					t.Errorf("isa %d, op %d differs: %+v, %+v", isa, i, a, b)
				}
			}
			seen := map[string]bool{}
			for _, n := range names(with) {
				seen[n] = true
			}
			for _, want := range []string{"/stack_a", "/stack_a/stack_c", "/stack_b", "/stack_c"} {
				if !seen[want] {
					t.Errorf("isa %d, mitigation %d: no ops on %s; there are %v", isa, mit, want, names(with))
				}
			}
			if seen["/stack_b/stack_c"] {
				t.Error("a tail call stands below its caller")
			}
		}
	}
}

// Functions that are defined later do not move because of stacks.
func TestTextEndsBehindTheLastFunction(t *testing.T) {
	s := NewStream(1<<30, MitNone)
	s.Stacks = true
	s.Call(stackA)
	s.Ret()
	f := NewFunc("stack_last", "stacks_test.go", 64)
	for id := range funcs {
		if g := funcs[id]; g != f && g.PC+g.Size > f.PC {
			t.Errorf("%s at %#x reaches into %s at %#x", g.Name, g.PC, f.Name, f.PC)
		}
	}
}
