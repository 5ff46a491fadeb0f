package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	listDelReport = cpu.NewFunc("__list_del_entry_valid_or_report", "lib/list_debug.c", 100)
	listAddReport = cpu.NewFunc("__list_add_valid_or_report", "lib/list_debug.c", 80)
)

// listDelValid emits __list_del_entry_valid_or_report of the entry at va (LIST_HARDENED): it reads both neighbours before
// the entry is unlinked. 21 instructions on 6.12, 26 on 7.3.
func (m *MM) listDelValid(t *cpu.Thread, va uint64) {
	t.Call(listDelReport)
	t.Nop(1)
	if m.Env.Version == kernel.V7_3 {
		t.Push(3)
	}
	next := t.Load(va, 0)
	if m.Env.Version == kernel.V7_3 {
		t.ALU(1, 0)
	}
	prev := t.Load(va+8, 0)
	t.Branch(false, t.ALU(1, next))
	t.Branch(false, t.ALU(1, prev))
	t.Branch(false, t.ALU2(t.ALU(1, 0), next))
	t.Branch(false, t.ALU2(t.ALU(1, 0), prev))
	if m.Env.Version == kernel.V7_3 {
		t.Branch(false, t.LoadOp(va, prev, 0))
		t.Branch(false, t.LoadOp(va+8, next, 0))
		t.Pop(1)
		t.ALU(1, 0)
		t.Pop(2)
	} else {
		t.Branch(false, t.ALU(1, t.Load(va, prev)))
		t.Branch(false, t.ALU(1, t.Load(va+8, next)))
		t.ALU(1, 0)
	}
	t.Ret()
}

// listAddValid emits __list_add_valid_or_report of an insertion after the list head at va: 20 instructions.
func (m *MM) listAddValid(t *cpu.Thread, head uint64) {
	t.Call(listAddReport)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Branch(false, t.ALU(1, 0))
	t.ALU(1, 0)
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.LoadOp(head+8, 0, 0))
	t.Branch(false, t.LoadOp(head, 0, 0))
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.ALU(1, 0))
	t.ALU(2, 0)
	t.Pop(1)
	t.Ret()
}
