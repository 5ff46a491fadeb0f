package recorded

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"dmapath/cpu"
)

// Recording is one recorded call.
type Recording struct {
	Name string // file name without extension: kernel__backend__api__size
	Ops  []cpu.Op
	// MMIO is the indices of the ops that access a device register.
	MMIO []int
}

// MaxSteps bounds a recording: the longest call recorded has about 10,000 instructions.
const MaxSteps = 1 << 20

// MaxString is how many bytes a string instruction may move.
const MaxString = 1 << 24

// columns is the header of a steps file.
var columns = []string{"seq", "symbol", "class", "br", "mem", "obj", "addr_dep", "src_dep", "mem_dep"}

// classes maps the classes of the traces to those of the core.
var classes = map[string]cpu.Class{"alu": cpu.ALU, "mul": cpu.Mul, "div": cpu.Div, "bitscan": cpu.BitScan, "load": cpu.Load,
	"load_op": cpu.LoadOp, "store": cpu.Store, "rmw": cpu.RMW, "atomic": cpu.Atomic, "fence": cpu.Fence, "fence_lockadd": cpu.Fence,
	"flush": cpu.Flush, "string": cpu.String, "branch": cpu.Branch, "jmp": cpu.Jmp, "jmp_ind": cpu.JmpInd, "call": cpu.Call,
	"call_ind": cpu.CallInd, "ret": cpu.Ret, "nop": cpu.Nop, "pause": cpu.Pause, "irqflag": cpu.IrqFlag, "mmio_rd": cpu.MMIORead,
	"mmio_wr": cpu.MMIOWrite, "other": cpu.ALU, "load_pair": cpu.Load, "store_pair": cpu.Store, "load_acquire": cpu.Load,
	"store_release": cpu.Store, "sysreg": cpu.Sysreg, "zva": cpu.Store}

// Layout places what a recording touches: functions in kernel text, lines in memory.
type Layout struct {
	// Func returns the function of a symbol, nil if it has no place.
	Func func(symbol string) *cpu.Func
	// Where memory of each sort lies: virtual addresses of AreaBytes each, PerCPUBytes for per-CPU variables. A recording that needs more
	// wraps around.
	Static, Slab, Pages, PerCPU, Vmemmap uint64
	// Stack is the end of the stack, which grows down from there.
	Stack uint64
}

// AreaBytes and PerCPUBytes are room for the lines of one sort of memory in a recording.
const (
	AreaBytes   = 256 << 10
	PerCPUBytes = 16 << 10 // of the 256 KiB of a CPU's area
)

// packedStride is how many lines one variable lies behind the one used before it: odd, so that all lines of an area are used.
const packedStride = 5

// area is a sort of memory and what has been handed out of it. Static variables and per-CPU ones lie line by line, as linker and
// per-CPU allocator pack them; other objects each begin in a page of their own.
type area struct {
	va     uint64
	packed bool
	bytes  uint64
	used   uint64 // pages, or lines of a packed area
}

// areaOf returns the sort of memory that an object is in, by the label of the traces.
func (p *parser) areaOf(obj string) *area {
	kind, _, _ := strings.Cut(obj, ":")
	switch kind {
	case "percpu", "percpu_dyn":
		return &p.percpu
	case "data":
		return &p.static
	case "vmemmap":
		return &p.vmemmap
	case "pgtable_page", "page", "data_page", "qi_queue", "swiotlb_meta", "unreported":
		return &p.allPages
	}
	return &p.slab
}

// Parse reads a steps file. Errors name file, line and column.
func Parse(r io.Reader, name string, at Layout) (*Recording, error) {
	cr := csv.NewReader(r)
	cr.FieldsPerRecord = len(columns)
	head, err := cr.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, c := range columns {
		if head[i] != c {
			return nil, fmt.Errorf("%s:1: column %d is %q, want %q", name, i+1, head[i], c)
		}
	}
	p := parser{rec: &Recording{Name: name}, at: at, lines: map[int]uint64{}, pages: map[string]*page{},
		static: area{at.Static, true, AreaBytes, 0}, percpu: area{at.PerCPU, true, PerCPUBytes, 0}, slab: area{at.Slab, false, AreaBytes, 0},
		allPages: area{at.Pages, false, AreaBytes, 0}, vmemmap: area{at.Vmemmap, false, AreaBytes, 0}}
	for {
		row, err := cr.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := p.row(row); err != nil {
			line, _ := cr.FieldPos(0)
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
	if len(p.rec.Ops) == 0 {
		return nil, fmt.Errorf("%s: no instructions in it", name)
	}
	p.link()
	return p.rec, nil
}

type parser struct {
	rec   *Recording
	at    Layout
	fn    *cpu.Func
	lines map[int]uint64
	pages map[string]*page
	stack uint64 // stack lines handed out

	static, slab, allPages, percpu, vmemmap area

	stored uint64 // where the last store outside the stack went
}

// page is where the lines of one object go.
type page struct {
	va    uint64
	first uint64 // line that the object starts at
	used  uint64 // lines handed out
}

func (p *parser) row(f []string) error {
	n := len(p.rec.Ops)
	if seq, err := strconv.Atoi(f[0]); err != nil || seq != n {
		return fmt.Errorf("seq is %q, want %d", f[0], n)
	}
	if n >= MaxSteps {
		return fmt.Errorf("more than %d instructions", MaxSteps)
	}
	i := strings.LastIndexByte(f[1], '+')
	if i < 0 || i == 0 && p.fn == nil {
		return fmt.Errorf("symbol is %q, want function+offset", f[1])
	}
	off, err := strconv.ParseUint(f[1][i+1:], 16, 24)
	if err != nil {
		return fmt.Errorf("symbol is %q: the offset is not a hexadecimal number below 16 Mi", f[1])
	}
	if i > 0 {
		if p.fn = p.at.Func(f[1][:i]); p.fn == nil {
			return fmt.Errorf("function %q has no place in kernel text", f[1][:i])
		}
	}
	class, ok := classes[f[2]]
	if !ok {
		return fmt.Errorf("class is %q, which is not one of the kernel traces' classes", f[2])
	}
	if f[4] == "" { // a transfer of control that touches no stack: arm64's, which keep the return address in a register
		switch class {
		case cpu.Call:
			class = cpu.Link
		case cpu.CallInd:
			class = cpu.LinkInd
		case cpu.Ret:
			class = cpu.LinkRet
		}
	}
	op := cpu.Op{PC: p.fn.PC + uint32(off), Fn: p.fn.ID, Class: class}
	if f[3] == "T" {
		op.Flag |= cpu.Taken
	}
	if f[4] != "" {
		if err := p.mem(&op, f[4], f[5]); err != nil {
			return err
		}
	} else if class == cpu.Flush {
		// The emulator reports no access: what is flushed is what was just written, an entry of a page table or a descriptor.
		if p.stored == 0 {
			return errors.New("a cache line is flushed and none was written before")
		}
		op.Addr, op.Size = p.stored&^63, 64
	} else if class.Reads() || class.Writes() {
		// A line the emulator did not report (cache zeroing on arm64): a line of its own.
		op.Addr, op.Size = p.line(-1-n, "unreported"), 8
		if f[2] == "zva" {
			op.Size, op.Flag = 64, op.Flag|cpu.Zva
		}
	}
	if f[5] == "stack" {
		switch class {
		case cpu.Load, cpu.Store, cpu.Call, cpu.CallInd, cpu.Ret:
			op.Flag |= cpu.Stack
		case cpu.Fence: // a locked add to the stack
			op.Flag |= cpu.Stack
		}
	} else if class.Writes() {
		p.stored = op.Addr
	}
	if op.Dep1, err = distance(f[6], n); err == nil {
		op.Dep2, err = distance(f[7], n)
	}
	if err != nil {
		return err
	}
	if op.Flag&cpu.Stack != 0 {
		op.Dep1 = 0
	}
	if class == cpu.MMIORead || class == cpu.MMIOWrite {
		op.Addr = cpu.MMIOBase
		p.rec.MMIO = append(p.rec.MMIO, n)
	}
	p.rec.Ops = append(p.rec.Ops, op)
	return nil
}

// mem reads "r12+40:8", several accesses of one instruction separated by spaces, and " x6" after the first accesses of a
// string instruction with 6 iterations. The first access gives the address; a second one right behind it is the other half
// of a pair.
func (p *parser) mem(op *cpu.Op, s, obj string) error {
	bad := func() error { return fmt.Errorf("mem is %q, want r or w, line, + byte, : size", s) }
	first, rest0, _ := strings.Cut(s, " ")
	reps, repeated := "", false
	if i := strings.LastIndexByte(rest0, 'x'); i >= 0 {
		reps, repeated = rest0[i+1:], true
	}
	if len(first) < 2 || first[0] != 'r' && first[0] != 'w' {
		return bad()
	}
	line, rest, ok := strings.Cut(first[1:], "+")
	byteIn, size, ok2 := strings.Cut(rest, ":")
	ln, err1 := strconv.ParseUint(line, 10, 20)
	b, err2 := strconv.ParseUint(byteIn, 10, 6)
	sz, err3 := strconv.ParseUint(size, 10, 16)
	if !ok || !ok2 || err1 != nil || err2 != nil || err3 != nil || sz == 0 {
		return bad()
	}
	op.Addr, op.Size = p.line(int(ln), obj)+b, uint32(sz)
	if rest0 == fmt.Sprintf("%c%d+%d:%d", first[0], ln, b+sz, sz) {
		op.Size *= 2
	}
	if repeated {
		n, err := strconv.ParseUint(reps, 10, 20)
		if err != nil || n*sz > MaxString {
			return bad()
		}
		op.Size *= uint32(n)
	}
	return nil
}

// line returns the address of the trace's line n, which belongs to obj.
func (p *parser) line(n int, obj string) uint64 {
	if a, ok := p.lines[n]; ok {
		return a
	}
	var a uint64
	ar := p.areaOf(obj)
	switch {
	case obj == "stack":
		p.stack++
		a = p.at.Stack - p.stack*64
	case ar.packed:
		// Which variables are neighbours is not recorded. In the order of their first use they would be a prefetcher's delight.
		a = ar.va + ar.used*packedStride*64%ar.bytes
		ar.used++
	default:
		pg := p.pages[obj]
		if pg == nil || pg.used == 64 {
			// Objects start at different lines of their pages, so that they do not all fall into the same cache sets.
			pg = &page{va: ar.va + ar.used*4096%ar.bytes, first: 7 * (ar.used + 1)}
			p.pages[obj] = pg
			ar.used++
		}
		a = pg.va + (pg.first+pg.used)%64*64
		pg.used++
	}
	p.lines[n] = a
	return a
}

// distance reads "12;7" (sequence numbers of producers, -1 for a live-in) and returns how far back the latest is.
func distance(s string, n int) (uint16, error) {
	best := -1
	for s != "" {
		var item string
		item, s, _ = strings.Cut(s, ";")
		v, err := strconv.Atoi(item)
		if err != nil || v >= n || v < -1 {
			return 0, fmt.Errorf("dependence %q of instruction %d: want earlier sequence numbers or -1", item, n)
		}
		best = max(best, v)
	}
	if best < 0 || n-best > 1000 {
		return 0, nil
	}
	return uint16(n - best), nil
}

// link fills in where indirect transfers went: to the instruction that follows in the trace.
func (p *parser) link() {
	ops := p.rec.Ops
	for i := range ops[:len(ops)-1] {
		switch ops[i].Class {
		case cpu.Ret, cpu.CallInd, cpu.JmpInd, cpu.LinkRet, cpu.LinkInd:
			ops[i].Src = cpu.TextBase + uint64(ops[i+1].PC)
		}
	}
}
