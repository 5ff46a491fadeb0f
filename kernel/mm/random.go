package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

// randomBelow emits __get_random_u32_below with its get_random_u32, served from the CPU's batch of random words. The
// value itself comes from the cache's own random stream.
func (m *MM) randomBelow(t *cpu.Thread) {
	v := m.Env.Version
	t.Call(getRandomBelow)
	t.Nop(2)
	t.Push(2)
	t.ALU(1, 0)
	t.ALU(1, 0)
	t.Call(getRandom)
	t.Nop(2)
	t.Push(4)
	t.Frame(24)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(16, guard)
	t.ALU(1, 0)
	t.Mem(cpu.Store, t.SP()+12, 4, 0, 0)
	t.Nop(1)
	flags := locking.IrqSave(t)
	this := t.Load(kernel.ThisCPUOff(v, t.CPU), 0)
	gen := t.Load(m.z.baseCrng, 0)
	batch := m.Env.Cpu(m.z.batchOff, t.CPU)
	p := t.ALU(1, this)
	pos := t.Mem(cpu.Load, batch+8, 4, p, 0)
	t.Branch(false, t.ALU(1, pos))
	next := t.ALU(1, pos)
	t.Branch(true, t.LoadOp(batch, p, gen))
	idx := t.ALU(1, pos)
	t.Branch(false, t.ALU(1, pos))
	word := t.Mem(cpu.Load, batch+64+24, 4, idx, 0)
	t.Mem(cpu.Store, t.SP()+12, 4, 0, word)
	t.Branch(false, t.ALU(1, idx))
	t.Mem(cpu.Store, batch+64+24, 4, idx, 0)
	t.Mem(cpu.Store, batch+8, 4, p, next)
	t.Branch(true, t.ALU(1, flags))
	t.Op(cpu.IrqFlag, 0)
	t.Nop(1)
	t.Jump()
	t.StackLoad(12)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(16)))
	t.Frame(-24)
	t.Pop(4)
	t.Ret()
	t.Branch(false, t.ALU(1, 0))
	t.ALU(2, 0)
	prod := t.Op(cpu.Mul, t.Last())
	hi := t.ALU(1, prod)
	t.Branch(false, t.ALU(1, prod))
	t.Chain(2, hi)
	t.ALU(1, 0)
	t.Pop(2)
	t.Ret()
}
