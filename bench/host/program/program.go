package program

import (
	"fmt"

	"dmapath/cpu"
)

// Reg is a register of a program.
type Reg uint8

// Registers. R0, R2, R3, R4 and R5 are those that amd64's string instructions and counter use.
const (
	R0 Reg = iota
	R1
	R2
	R3
	R4
	R5
	R6
	R7
	R8
	R9
	R10
	R11
	R12
	NumRegs
)

// State is what a program starts from and leaves: its registers, and the counter before and after the body.
type State struct {
	R           [NumRegs]uint64
	Start, Stop uint64 // ticks of the cycle counter
}

// Op is what an instruction does. D is the destination and mostly the first source, A and B are sources.
type Op uint8

// Instructions.
const (
	Mov     Op = iota // D = A
	MovI              // D = Imm
	Add               // D += A
	AddI              // D += Imm
	Sub               // D -= A
	And               // D &= A
	AndI              // D &= Imm; Imm is a run of ones, at most 31 bits
	Or                // D |= A
	OrI               // D |= Imm; Imm is a run of ones
	Xor               // D ^= A
	ShlI              // D <<= Imm
	ShrI              // D >>= Imm
	Shr               // D >>= A & 63
	Lea8              // D = A + B*8
	Mul               // D *= A
	Tz                // D = number of trailing zeros of A, which is not 0; two instructions on arm64
	Ld                // D = 8 bytes at A + Imm
	LdX               // D = 8 bytes at A + B*8
	St                // 8 bytes at A + Imm = B
	StX               // 8 bytes at A + D*8 = B
	Br                // if A Cond B goto Imm
	BrI               // if A Cond Imm2 goto Imm
	BrBit             // if A & Imm2 Cond 0 goto Imm (EQ: none of the bits set)
	Dec               // D -= 1; if D != 0 goto Imm
	Jmp               // goto Imm
	Xadd              // D, 8 bytes at A = 8 bytes at A, their sum with D
	Full              // mfence, dmb ish
	Serial            // lfence, isb
	StFence           // sfence, dmb ishst
	Flush             // write the line at A back and drop it: clflushopt, dc civac
	Counter           // R0 and R3 = cycle counter, unordered: rdtsc
	Pause             // pause, yield
	Copy              // rep movsb: R2 bytes from R4 to R5
	Nop
)

// Cond is when a branch is taken; comparisons are unsigned.
type Cond uint8

// Conditions.
const (
	EQ Cond = iota
	NE
	LO // below
	HS // not below
)

// Insn is one instruction.
type Insn struct {
	Op      Op
	Cond    Cond
	D, A, B Reg
	Imm     int64 // immediate or displacement; index of the target of a branch
	Imm2    int64 // what a branch compares with
}

// Program is a body that can run natively and simulated.
type Program struct {
	Name   string // lower case, of the assembly symbol
	Code   []Insn
	AMD64  bool // it has instructions of amd64 alone
	fn     *cpu.Func
	labels map[string]int
	fixups map[int]string
}

// newProgram starts a program; call it only in package-level declarations, since it places the code in simulated text.
func newProgram(name string, build func(p *Program)) *Program {
	p := &Program{Name: name, labels: map[string]int{}, fixups: map[int]string{}}
	build(p)
	for at, label := range p.fixups {
		to, ok := p.labels[label]
		if !ok {
			panic("program: " + name + " has no label " + label)
		}
		p.Code[at].Imm = int64(to)
	}
	p.fn = cpu.NewFunc("twin_"+name, "bench/host/program", uint32(len(p.Code)*8+128))
	all = append(all, p)
	return p
}

var all []*Program

// All returns every program, in the order of definition.
func All() []*Program { return all }

// ByName returns the program of that name; it panics when there is none.
func ByName(name string) *Program {
	for _, p := range all {
		if p.Name == name {
			return p
		}
	}
	panic("program: there is no program " + name)
}

func (p *Program) put(i Insn) { p.Code = append(p.Code, i) }

// label names the place of the next instruction.
func (p *Program) label(s string) { p.labels[s] = len(p.Code) }

func (p *Program) op(o Op, d, a Reg)          { p.put(Insn{Op: o, D: d, A: a}) }
func (p *Program) imm(o Op, d Reg, v int64)   { p.put(Insn{Op: o, D: d, Imm: v}) }
func (p *Program) ld(d, a Reg, off int64)     { p.put(Insn{Op: Ld, D: d, A: a, Imm: off}) }
func (p *Program) ldx(d, a, b Reg)            { p.put(Insn{Op: LdX, D: d, A: a, B: b}) }
func (p *Program) st(a Reg, off int64, b Reg) { p.put(Insn{Op: St, A: a, B: b, Imm: off}) }
func (p *Program) stx(a, idx, b Reg)          { p.put(Insn{Op: StX, A: a, D: idx, B: b}) }
func (p *Program) jump(label string)          { p.to(label); p.put(Insn{Op: Jmp}) }
func (p *Program) dec(d Reg, label string)    { p.to(label); p.put(Insn{Op: Dec, D: d}) }
func (p *Program) to(label string)            { p.fixups[len(p.Code)] = label }
func (p *Program) br(a Reg, c Cond, b Reg, l string) {
	p.to(l)
	p.put(Insn{Op: Br, Cond: c, A: a, B: b})
}

func (p *Program) brI(a Reg, c Cond, v int64, l string) {
	p.to(l)
	p.put(Insn{Op: BrI, Cond: c, A: a, Imm2: v})
}

func (p *Program) brBit(a Reg, c Cond, mask int64, l string) {
	p.to(l)
	p.put(Insn{Op: BrBit, Cond: c, A: a, Imm2: mask})
}

// Instructions is how many machine instructions an Insn is.
func (i *Insn) Instructions() int {
	switch i.Op {
	case Br, BrI, BrBit, Dec:
		return 2
	}
	return 1
}

func (c Cond) holds(a, b uint64) bool {
	switch c {
	case EQ:
		return a == b
	case NE:
		return a != b
	case LO:
		return a < b
	case HS:
		return a >= b
	}
	panic(fmt.Sprintf("program: condition %d", c))
}
