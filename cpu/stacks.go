package cpu

import "slices"

// A Stream with Stacks set tells the calls of one function from different callers apart: each function on each call stack is a Func of its
// own, with the same name and place in kernel text, and what is accounted by function is then accounted by stack. Nothing is timed
// differently.
//
// The Funcs of stacks are shared by all streams and not guarded: streams with stacks run one after the other.

// stack names a function and the stack that it is called on.
type stack struct{ caller, fn uint16 }

var stacks = map[stack]*Func{}

// maxStacks leaves room in a uint16; what is called on more stacks than that is accounted without one.
const maxStacks = 60_000

// on returns f as called by caller.
func (f *Func) on(caller *Func) *Func {
	f = f.Base()
	key := stack{caller.ID, f.ID}
	if s := stacks[key]; s != nil {
		return s
	}
	if len(funcs) >= maxStacks {
		return f
	}
	s := &Func{ID: uint16(len(funcs)), Name: f.Name, File: f.File, Size: f.Size, PC: f.PC, base: f, caller: caller}
	funcs = append(funcs, s)
	stacks[key] = s
	return s
}

// Base is the function without its stack.
func (f *Func) Base() *Func {
	if f.base != nil {
		return f.base
	}
	return f
}

// Stack lists the functions from the outermost to f; f alone when its stack is not known.
func (f *Func) Stack() []*Func {
	var list []*Func
	for ; f != nil && f.ID != 0; f = f.caller {
		list = append(list, f)
	}
	slices.Reverse(list)
	return list
}
