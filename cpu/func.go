package cpu

// Func is a function of the simulated kernel: a name, where the real one lives, and a place in kernel text.
type Func struct {
	ID   uint16
	Name string // symbol, as in /proc/kallsyms
	File string // source file of the kernel, for profiles
	Size uint32 // bytes of text
	PC   uint32 // first byte, relative to TextBase
}

// funcs is filled by NewFunc while packages initialise and is read-only afterwards.
var funcs = []*Func{{Name: "(none)"}}

// NewFunc defines a function of size bytes of text; call it only in package-level var declarations. Functions are laid
// out in the order of definition, 16-byte aligned, with a gap so that a function starts as often in the middle of
// a line as at its start.
func NewFunc(name, file string, size uint32) *Func {
	last := funcs[len(funcs)-1]
	f := &Func{ID: uint16(len(funcs)), Name: name, File: file, Size: size, PC: (last.PC+last.Size+15)&^15 + 4096}
	funcs = append(funcs, f)
	return f
}

// FuncByID returns the function of an Op.Fn.
func FuncByID(id uint16) *Func { return funcs[id] }

// NumFuncs returns the number of functions defined.
func NumFuncs() int { return len(funcs) }
