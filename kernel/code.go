package kernel

import "dmapath/cpu"

// Code emits the own instructions of a function whose body is not modelled step by step: n instructions, at least 5, with the
// mix of the recorded kernel paths, working on the lines of objs in turn.
func Code(t *cpu.Thread, f *cpu.Func, n int, objs ...uint64) {
	saved := 4
	if n < 20 {
		saved = 1 // a small function saves few registers
	}
	t.Call(f)
	t.Nop(2)
	t.Push(saved)
	body := n - 2 - 2*saved - 1
	for i := 0; i < body; i++ {
		switch i % 20 {
		case 0, 4, 8, 12, 16:
			if len(objs) > 0 {
				t.Load(objs[i/4%len(objs)]+uint64(i%8)*8, 0)
				continue
			}
		case 6, 14:
			if len(objs) > 0 {
				t.Store(objs[i/2%len(objs)]+uint64(i%8)*8, 0, t.Last())
				continue
			}
		case 3, 11, 18:
			t.Branch(i%20 == 18, t.Last())
			continue
		}
		t.ALU(1, t.Last()-1)
	}
	t.Pop(saved)
	t.Ret()
}
