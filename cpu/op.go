package cpu

// Class is what a micro-op does; it selects ports and latency.
type Class uint8

// Micro-op classes. They are the classes of the recorded kernel traces, so that a recording, a modelled path and a
// described path are the same thing to the core.
const (
	ALU Class = iota // one-cycle integer operation
	Mul
	Div
	BitScan // bsf, bsr, tzcnt, popcnt
	Load
	LoadOp // ALU operation with a memory source: load, then one cycle
	Store
	RMW    // non-atomic read-modify-write of memory
	Atomic // lock-prefixed or exclusive read-modify-write; drains the store buffer on x86
	Fence  // mfence, lfence, sfence, dmb, dsb, or a locked add to the stack
	Flush  // clflush, clflushopt, dc c(i)vac of one line
	String // rep movs / rep stos: Size bytes, destination Addr
	Branch // conditional; Taken says which way
	Jmp
	JmpInd
	Call
	CallInd
	Ret
	Nop
	Pause
	IrqFlag // cli, sti, pushf, popf
	MMIORead
	MMIOWrite
	Sysreg // mrs, msr, other slow register moves
	// Link, LinkInd and LinkRet are calls and returns through a link register: bl, blr, ret. They touch no memory.
	Link
	LinkInd
	LinkRet
	NumClasses
)

var classNames = [NumClasses]string{"alu", "mul", "div", "bitscan", "load", "load_op", "store", "rmw", "atomic",
	"fence", "flush", "string", "branch", "jmp", "jmp_ind", "call", "call_ind", "ret", "nop", "pause", "irqflag",
	"mmio_rd", "mmio_wr", "sysreg", "link", "link_ind", "link_ret"}

func (c Class) String() string { return classNames[c] }

// Reads and Writes say whether the class accesses memory through the caches. Call and Ret access the stack.
func (c Class) Reads() bool {
	return c == Load || c == LoadOp || c == RMW || c == Atomic || c == Ret
}

// Writes reports whether the class writes memory.
func (c Class) Writes() bool {
	return c == Store || c == RMW || c == Atomic || c == String || c == Call || c == CallInd
}

// Flag bits of an Op.
type Flag uint8

const (
	// Taken: a conditional branch that is taken.
	Taken Flag = 1 << iota
	// Stack: push, pop, call or ret; the stack engine removes the dependence on the stack pointer.
	Stack
	// Copy: a String op that reads Size bytes at Src before it writes them (rep movs).
	Copy
	// Serialize: the op waits for all older ops and holds all younger ones (lfence, cpuid, dsb).
	Serialize
	// KeepLine: a Flush op that writes the line back but keeps it (clwb, dc cvac).
	KeepLine
	// Zva: a Store that is one dc zva, which zeroes a line without a source register.
	Zva
	// Discard: a Flush op that drops the line without writing it back (dc ivac).
	Discard
)

// Op is one instruction of a simulated stream (a "micro-op" in the design's words: instructions with one memory
// operand are one Op). 32 bytes.
type Op struct {
	Addr uint64 // virtual address of the memory operand; of the stack slot for calls and returns
	Src  uint64 // String with Copy: virtual address of the source; JmpInd, CallInd, Ret: where it goes (0: to the next op)
	PC   uint32 // virtual address of the instruction minus TextBase
	Size uint32 // bytes accessed
	Dep1 uint16 // distance back, in ops of the stream, to the producer of an address or source; 0: ready
	Dep2 uint16 // second source
	Fn   uint16 // index of the kernel function, see Func
	Class
	Flag Flag
}

// TextBase is the virtual address of kernel text; Op.PC is relative to it (x86-64 __START_KERNEL_map + 16 MiB).
const TextBase = 0xffffffff81000000
