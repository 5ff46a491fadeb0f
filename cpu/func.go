package cpu

// Func is a function of the simulated kernel: a name, where the real one lives, and a place in kernel text.
type Func struct {
	ID   uint16
	Name string // symbol, as in /proc/kallsyms
	File string // source file of the kernel, for profiles
	Size uint32 // bytes of text
	PC   uint32 // first byte, relative to TextBase

	base, caller *Func // of a function on a stack; see Stream.Stacks
}

// funcs is filled by NewFunc while packages initialise, and by what a user describes before machines are built; it is read-only
// while one runs.
var funcs = []*Func{{Name: "(none)"}}

// textEnd is where the text defined so far ends.
var textEnd uint32

// NewFunc defines a function of size bytes of text; call it only in package-level var declarations, or before any
// machine is built. Functions are laid
// out in the order of definition, 16-byte aligned, with a gap so that a function starts as often in the middle of
// a line as at its start.
func NewFunc(name, file string, size uint32) *Func {
	f := &Func{ID: uint16(len(funcs)), Name: name, File: file, Size: size, PC: (textEnd+15)&^15 + 4096}
	funcs, textEnd = append(funcs, f), f.PC+f.Size
	return f
}

// FuncByID returns the function of an Op.Fn.
func FuncByID(id uint16) *Func { return funcs[id] }

// NumFuncs returns the number of functions defined.
func NumFuncs() int { return len(funcs) }
