package program

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"dmapath/cpu"
)

// Arena is the memory of a program: bytes that begin at a virtual address and are mapped by pages of one size. Data structures are
// built in an arena with absolute pointers, so the same builder fills one for the interpreter and one that is mapped memory.
type Arena struct {
	Base      uint64 // virtual address of the first byte
	Bytes     []byte
	PageShift uint8 // log2 of the page size that maps it: 12 or 21
	used      uint64
}

// Alloc takes size zeroed bytes aligned to align, a power of two, and returns their address.
func (a *Arena) Alloc(size, align uint64) uint64 {
	at := (a.Base+a.used+align-1)&^(align-1) - a.Base
	if at+size > uint64(len(a.Bytes)) {
		panic(fmt.Sprintf("program: arena of %d bytes has no room for %d more at %d", len(a.Bytes), size, at))
	}
	a.used = at + size
	return a.Base + at
}

// Used is how many bytes are allocated.
func (a *Arena) Used() uint64 { return a.used }

// Reset gives everything back; the bytes stay as they are.
func (a *Arena) Reset() { a.used = 0 }

// Get and Put access the 8 bytes at an address; they panic outside of the arena, as an access would fault.
func (a *Arena) Get(va uint64) uint64 { return binary.LittleEndian.Uint64(a.Bytes[va-a.Base:]) }

// Put stores 8 bytes at va.
func (a *Arena) Put(va, v uint64) { binary.LittleEndian.PutUint64(a.Bytes[va-a.Base:], v) }

// Machine interprets a program and hands the instructions executed to a sink.
type Machine struct {
	Mem  *Arena
	Sink func(ops []cpu.Op)

	ops    []cpu.Op
	seq    int64
	writer [NumRegs]int64 // sequence number of the last writer of each register
}

// chunk is how many ops are collected before the sink gets them.
const chunk = 2048

// maxDep is the largest distance of a dependence that matters: the core forgets results older than its largest window.
const maxDep = 500

// Run executes p on s. s.Start and s.Stop are left alone.
func (m *Machine) Run(p *Program, s *State) {
	m.writer = [NumRegs]int64{}
	base := (p.fn.PC + 63) &^ 63
	pc := make([]uint32, len(p.Code))
	for i, at := 0, base; i < len(p.Code); i++ {
		pc[i] = at
		at += uint32(4 * p.Code[i].Instructions())
	}
	r := &s.R
	for at := 0; at < len(p.Code); {
		i := &p.Code[at]
		next := at + 1
		o := cpu.Op{PC: pc[at], Fn: p.fn.ID}
		switch i.Op {
		case MovI:
			r[i.D] = uint64(i.Imm)
			m.emit(o, i.D)
		case Mov:
			o.Class = cpu.Nop // renamed, not executed: whoever reads D waits for what A waits for
			r[i.D] = r[i.A]
			m.emit(o, NumRegs)
			m.writer[i.D] = m.writer[i.A]
		case Add, Sub, And, Or, Xor, Shr, Mul:
			if i.Op == Mul {
				o.Class = cpu.Mul
			}
			r[i.D] = two(i.Op, r[i.D], r[i.A])
			m.emit(o, i.D, i.D, i.A)
		case AddI, AndI, OrI, ShlI, ShrI:
			r[i.D] = immediate(i.Op, r[i.D], uint64(i.Imm))
			m.emit(o, i.D, i.D)
		case Lea8:
			r[i.D] = r[i.A] + r[i.B]*8
			m.emit(o, i.D, i.A, i.B)
		case Tz:
			o.Class = cpu.BitScan
			r[i.D] = uint64(bits.TrailingZeros64(r[i.A]))
			m.emit(o, i.D, i.A)
		case Ld:
			o.Class, o.Addr, o.Size = cpu.Load, r[i.A]+uint64(i.Imm), 8
			r[i.D] = m.Mem.Get(o.Addr)
			m.emit(o, i.D, i.A)
		case LdX:
			o.Class, o.Addr, o.Size = cpu.Load, r[i.A]+r[i.B]*8, 8
			r[i.D] = m.Mem.Get(o.Addr)
			m.emit(o, i.D, i.A, i.B)
		case St:
			o.Class, o.Addr, o.Size = cpu.Store, r[i.A]+uint64(i.Imm), 8
			m.Mem.Put(o.Addr, r[i.B])
			m.emit(o, NumRegs, i.A, i.B)
		case StX:
			o.Class, o.Addr, o.Size = cpu.Store, r[i.A]+r[i.D]*8, 8
			m.Mem.Put(o.Addr, r[i.B])
			m.emit(o, NumRegs, m.later(i.A, i.D), i.B)
		case Br, BrI, BrBit, Dec:
			next = m.branch(i, o, at, r)
		case Jmp:
			o.Class = cpu.Jmp
			m.emit(o, NumRegs)
			next = int(i.Imm)
		case Xadd:
			o.Class, o.Addr, o.Size = cpu.Atomic, r[i.A], 8
			old := m.Mem.Get(o.Addr)
			m.Mem.Put(o.Addr, old+r[i.D])
			r[i.D] = old
			m.emit(o, i.D, i.A, i.D)
		case Full:
			o.Class = cpu.Fence
			m.emit(o, NumRegs)
		case Serial:
			o.Class, o.Flag = cpu.Fence, cpu.Serialize
			m.emit(o, NumRegs)
		case StFence, Nop: // stores are in order on x86: sfence orders only what is not modelled
			o.Class = cpu.Nop
			m.emit(o, NumRegs)
		case Flush:
			o.Class, o.Addr, o.Size = cpu.Flush, r[i.A]&^63, 64
			m.emit(o, NumRegs, i.A)
		case Counter:
			o.Class = cpu.Sysreg
			m.emit(o, R0, R0) // one after the other: the counter is read once at a time
			m.writer[R3] = m.seq
		case Pause:
			o.Class = cpu.Pause
			m.emit(o, NumRegs)
		case Copy:
			o.Class, o.Addr, o.Src, o.Size, o.Flag = cpu.String, r[R5], r[R4], uint32(r[R2]), cpu.Copy
			d, s := r[R5]-m.Mem.Base, r[R4]-m.Mem.Base
			copy(m.Mem.Bytes[d:d+r[R2]], m.Mem.Bytes[s:s+r[R2]])
			r[R5], r[R4], r[R2] = r[R5]+r[R2], r[R4]+r[R2], 0
			m.emit(o, R5, R4, R5)
			m.writer[R4], m.writer[R2] = m.seq, m.seq
		default:
			panic(fmt.Sprintf("program: instruction %d of %s is unknown", at, p.Name))
		}
		at = next
	}
	m.flush()
}

// branch executes a compare and a branch, two ops.
func (m *Machine) branch(i *Insn, o cpu.Op, at int, r *[NumRegs]uint64) (next int) {
	var taken bool
	switch i.Op {
	case Br:
		taken = i.Cond.holds(r[i.A], r[i.B])
		m.emit(o, NumRegs, i.A, i.B)
	case BrI:
		taken = i.Cond.holds(r[i.A], uint64(i.Imm2))
		m.emit(o, NumRegs, i.A)
	case BrBit:
		taken = i.Cond.holds(r[i.A]&uint64(i.Imm2), 0)
		m.emit(o, NumRegs, i.A)
	case Dec:
		r[i.D]--
		taken = r[i.D] != 0
		m.emit(o, i.D, i.D)
	}
	b := cpu.Op{Class: cpu.Branch, PC: o.PC + 4, Fn: o.Fn, Dep1: 1}
	if taken {
		b.Flag |= cpu.Taken
	}
	m.emit(b, NumRegs)
	if taken {
		return int(i.Imm)
	}
	return at + 1
}

func two(o Op, d, a uint64) uint64 {
	switch o {
	case Add:
		return d + a
	case Sub:
		return d - a
	case And:
		return d & a
	case Or:
		return d | a
	case Xor:
		return d ^ a
	case Shr:
		return d >> (a & 63)
	}
	return d * a
}

func immediate(o Op, d, v uint64) uint64 {
	switch o {
	case AddI:
		return d + v
	case AndI:
		return d & v
	case OrI:
		return d | v
	case ShlI:
		return d << v
	}
	return d >> v
}

// emit appends an op that reads the sources and writes d (NumRegs: nothing).
func (m *Machine) emit(o cpu.Op, d Reg, sources ...Reg) {
	if o.Dep1 == 0 && len(sources) > 0 {
		o.Dep1 = m.dep(m.writer[sources[0]])
		if len(sources) > 1 {
			o.Dep2 = m.dep(m.writer[sources[1]])
		}
	}
	m.seq++
	if d < NumRegs {
		m.writer[d] = m.seq
	}
	m.ops = append(m.ops, o)
	if len(m.ops) >= chunk {
		m.flush()
	}
}

// later returns the register of the two that was written last: an address is ready with it, as far as one dependence can say.
func (m *Machine) later(a, b Reg) Reg {
	if m.writer[b] > m.writer[a] {
		return b
	}
	return a
}

func (m *Machine) dep(writer int64) uint16 {
	if d := m.seq + 1 - writer; writer != 0 && d < maxDep {
		return uint16(d)
	}
	return 0
}

func (m *Machine) flush() {
	if len(m.ops) > 0 && m.Sink != nil {
		m.Sink(m.ops)
	}
	m.ops = m.ops[:0]
}
