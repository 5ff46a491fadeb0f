package program

import (
	"testing"

	"dmapath/cpu"
)

// trace interprets a program and returns its ops.
func trace(t *testing.T, p *Program, s *State) (ops []cpu.Op) {
	t.Helper()
	a := &Arena{Base: 1 << 40, Bytes: make([]byte, 4096)}
	a.Put(1<<40, 1<<40)
	m := Machine{Mem: a, Sink: func(o []cpu.Op) { ops = append(ops, o...) }}
	m.Run(p, s)
	return ops
}

// TestChaseIsAChain: every load waits for the one before and for nothing else; the branch at the end for the count alone.
func TestChaseIsAChain(t *testing.T) {
	s := State{}
	s.R[1], s.R[2] = 2, 1<<40
	ops := trace(t, Chase, &s)
	if len(ops) != 2*(16+2) {
		t.Fatalf("%d ops, want %d", len(ops), 2*(16+2))
	}
	for i, o := range ops {
		want := cpu.Op{Class: cpu.Load, Addr: 1 << 40, Size: 8, Dep1: 1}
		switch i % 18 {
		case 0:
			want.Dep1 = 3 // over the count and its branch
		case 16:
			want = cpu.Op{Class: cpu.ALU, Dep1: 18}
		case 17:
			want = cpu.Op{Class: cpu.Branch, Dep1: 1}
			if i == 17 {
				want.Flag = cpu.Taken
			}
		}
		if i == 0 || i == 16 {
			want.Dep1 = 0 // registers were there at the start
		}
		want.PC, want.Fn = o.PC, o.Fn
		if o != want {
			t.Errorf("op %d: %+v, want %+v", i, o, want)
		}
		if first := ops[i%18]; o.PC != first.PC {
			t.Errorf("op %d lies at %#x, in the first round at %#x", i, o.PC, first.PC)
		}
	}
}

// TestMovesTakeNoTime: who reads a moved register waits for what was moved.
func TestMovesTakeNoTime(t *testing.T) {
	a := &Arena{Base: 1 << 40, Bytes: make([]byte, 4096)}
	q := a.Alloc(64, 64)
	a.Put(q, 0xffffea0000000040)
	var ops []cpu.Op
	m := Machine{Mem: a, Sink: func(o []cpu.Op) { ops = append(ops, o...) }}
	s := State{}
	s.R[0], s.R[1], s.R[2], s.R[3] = q, 1, q, 0
	m.Run(Memblock, &s)
	for i, o := range ops {
		if o.Class == cpu.Nop && (o.Dep1 != 0 || o.Dep2 != 0) {
			t.Errorf("op %d, a move, waits", i)
		}
	}
	// R6 = R3, before the search: the comparison behind it depends on nothing of the program.
	if s.R[12] != 0 {
		t.Errorf("an empty table has an answer: %d", s.R[12])
	}
}

// TestArena: room is bounded, aligned and given back.
func TestArena(t *testing.T) {
	a := &Arena{Base: 0x1008, Bytes: make([]byte, 256)}
	if at := a.Alloc(8, 64); at != 0x1040 {
		t.Errorf("at %#x, want 0x1040", at)
	}
	a.Reset()
	if at := a.Alloc(8, 8); at != 0x1008 || a.Used() != 8 {
		t.Errorf("at %#x with %d used", at, a.Used())
	}
	defer func() {
		if recover() == nil {
			t.Error("more than there is was given")
		}
	}()
	a.Alloc(256, 8)
}
