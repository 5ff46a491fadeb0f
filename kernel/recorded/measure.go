package recorded

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// StackTop is the top of the stack on which Run executes; Measure takes the 16 KiB below it for the stack.
const StackTop = cpu.PerCPUBase + 0x4000 + 40

const stackBytes = 0x4000

// RunOn is Run, and RunWarmOn RunWarm, for the code of an architecture.
func RunOn(arch kernel.Arch, body func(t *cpu.Thread)) []cpu.Op { return RunWarmOn(arch, nil, body) }

// Run executes body on CPU 0 as the only process of an engine, on a thread without a core, and returns what it
// emitted.
func Run(body func(t *cpu.Thread)) []cpu.Op { return RunWarm(nil, body) }

// RunWarm executes warm and then body, and returns what body emitted. Warm brings the state to where the recordings
// were made: 1000 calls before the recorded one.
func RunWarm(warm, body func(t *cpu.Thread)) []cpu.Op { return RunWarmOn(kernel.X86_64, warm, body) }

// RunWarmOn is RunWarm for the code of an architecture.
func RunWarmOn(arch kernel.Arch, warm, body func(t *cpu.Thread)) []cpu.Op {
	var ops []cpu.Op
	e := sim.NewEngine()
	e.Go("recorded", func(p *sim.Proc) {
		s := cpu.NewStream(StackTop, cpu.MitNone)
		s.ISA = arch.ISA()
		t := cpu.NewThread(p, 0, nil, s)
		if warm != nil {
			warm(t)
			t.Sync()
		}
		t.Tap = func(segment []cpu.Op) { ops = append(ops, segment...) }
		body(t)
		t.Sync()
	})
	if err := e.Run(sim.Never); err != nil {
		panic(err)
	}
	e.Close()
	return ops
}

// Measure counts what a stream that Run made executed, function by function.
func Measure(ops []cpu.Op) *Call { return MeasureStack(ops, StackTop) }

// MeasureStack is Measure for a stream whose stack is the 16 KiB below top.
func MeasureStack(ops []cpu.Op, top uint64) *Call {
	c := &Call{Key: "modelled"}
	index := make(map[uint16]int, 32)
	lines := make(map[uint64]bool, 64)
	last := uint16(0)
	for i := range ops {
		o := &ops[i]
		fn := cpu.FuncByID(o.Fn)
		k, ok := index[o.Fn]
		if !ok {
			k = c.entry(Plain(fn.Name))
			index[o.Fn] = k
		}
		f := &c.Functions[k]
		if o.PC == fn.PC && (o.Fn != last || i > 0 && transfers(ops[i-1].Class)) {
			f.Calls++
		}
		last = o.Fn
		f.count(o)
		c.count(o)
		touch(lines, o)
	}
	c.Lines = len(lines)
	for l := range lines {
		if l < (top-stackBytes)>>6 || l > top>>6 {
			c.LinesNoStack++
		}
	}
	return c
}

func (c *Call) entry(name string) int {
	for i := range c.Functions {
		if c.Functions[i].Name == name {
			return i
		}
	}
	c.Functions = append(c.Functions, Function{Name: name})
	return len(c.Functions) - 1
}

func transfers(k cpu.Class) bool {
	return k == cpu.Call || k == cpu.CallInd || k == cpu.Jmp || k == cpu.JmpInd ||
		k == cpu.Link || k == cpu.LinkInd
}

func (c *Counts) count(o *cpu.Op) {
	c.Instructions++
	if o.Flag&cpu.Zva != 0 {
		return // the recordings do not know the address of dc zva, and count no store
	}
	mmio := o.Class == cpu.MMIORead || o.Class == cpu.MMIOWrite
	onStack := (o.Class == cpu.Fence || o.Class == cpu.IrqFlag) && o.Size > 0 // lock add, pushf
	if o.Class.Reads() || o.Class == cpu.MMIORead || o.Class == cpu.Fence && onStack ||
		o.Class == cpu.String && o.Flag&cpu.Copy != 0 || o.Class == cpu.JmpInd && o.Size > 0 {
		c.Loads++
	}
	if o.Class.Writes() || o.Class == cpu.MMIOWrite || onStack {
		c.Stores++
	}
	for _, n := range []struct {
		p  *int
		is bool
	}{
		{&c.Branches, o.Class == cpu.Branch}, {&c.Atomics, o.Class == cpu.Atomic}, {&c.Fences, o.Class == cpu.Fence},
		{&c.IrqFlags, o.Class == cpu.IrqFlag}, {&c.Flushes, o.Class == cpu.Flush}, {&c.Strings, o.Class == cpu.String},
		{&c.MMIO, mmio},
	} {
		if n.is {
			*n.p++
		}
	}
}

func touch(lines map[uint64]bool, o *cpu.Op) {
	if o.Size == 0 || o.Flag&cpu.Zva != 0 || o.Class == cpu.MMIORead || o.Class == cpu.MMIOWrite {
		return
	}
	for l := o.Addr >> 6; l <= (o.Addr+uint64(o.Size)-1)>>6; l++ {
		lines[l] = true
	}
	if o.Flag&cpu.Copy != 0 {
		for l := o.Src >> 6; l <= (o.Src+uint64(o.Size)-1)>>6; l++ {
			lines[l] = true
		}
	}
}
