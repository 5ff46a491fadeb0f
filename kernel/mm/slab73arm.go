package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// The fast paths of mm/slub.c of 7.3 on arm64. Of their functions only the counts are recorded. What comes when a sheaf is
// empty or full (__pcs_replace_empty_main and behind) runs the same Go functions as on x86.

var (
	kmemAllocArm73 = cpu.NewFunc("kmem_cache_alloc_noprof", "mm/slub.c", 760)
	kmemFreeArm73  = cpu.NewFunc("kmem_cache_free", "mm/slub.c", 720)
)

// lockSheavesArm emits local_trylock of the CPU's sheaves: preemption off, the flag tested and set. 10 instructions.
func (c *Cache) lockSheavesArm(t *cpu.Thread, pc uint64, s cpu.Val) cpu.Val {
	kernel.PreemptDisableArm(t)
	p := t.ALU2(t.Op(cpu.Sysreg, 0), t.Load(c.va, s))
	t.Branch(false, t.Mem(cpu.Load, pc+pcsLock, 1, p, 0))
	t.Mem(cpu.Store, pc+pcsLock, 1, p, 0)
	return p
}

// unlockSheavesArm emits local_unlock and preempt_enable: 10 instructions and the CPU's offset.
func (c *Cache) unlockSheavesArm(t *cpu.Thread, pc uint64, s cpu.Val) {
	va := kernel.TaskPreempt(t.CPU)
	p := t.ALU2(myCPUOffset(t), t.Load(c.va, s))
	t.Mem(cpu.Store, pc+pcsLock, 1, p, 0)
	task := t.Op(cpu.Sysreg, 0)
	n := t.ALU(1, t.Load(va, task))
	t.Mem(cpu.Store, va, 4, task, n)
	t.Branch(false, n)
	t.Branch(true, t.Load(va, task))
}

// alloc73arm is kmem_cache_alloc_noprof of 7.3 on arm64: 113 instructions when the CPU's main sheaf has an object, and 34 in what it
// calls.
func (c *Cache) alloc73arm(t *cpu.Thread) uint64 {
	v, g := kernel.V7_3, c.m.Env.Sym
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)

	t.Call(kmemAllocArm73)
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(64)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	s := t.ALU(2, 0)
	t.StackStore(48+56, t.Load(kernel.TaskGuard(v, t.CPU), task))
	gfp := t.ALU(2, 0)
	size := t.Mem(cpu.Load, c.va+cacheObjectSize, 4, s, 0)
	t.StackStorePair(48+24, 0)
	t.StackStorePair(48+8, size)
	t.StackStore(48, 0)
	t.StackStore(48+40, gfp)
	allowed := t.Mem(cpu.Load, g.GfpAllowedMask, 4, t.ALU(1, 0), 0)
	t.Branch(false, t.ALU2(t.ALU(1, gfp), allowed))
	t.Branch(false, t.ALU(1, s))
	t.Nop(2)
	t.StackStore(48, 0)
	c.lockSheavesArm(t, pc, s)
	p := t.ALU2(myCPUOffset(t), t.Load(c.va, s))
	main := t.Load(pc+pcsMain, p)
	n := t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
	empty := len(cs.main.objs) == 0
	t.Branch(empty, n)
	if empty {
		c.Stats.AllocSlow++
		t.ALU(3, 0)
		c.replaceEmpty73(t)
		t.Branch(false, t.ALU(1, 0))
		main = t.Load(pc+pcsMain, 0)
		n = t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
		t.Jump()
	}
	last := len(cs.main.objs) - 1
	va := cs.main.objs[last]
	cs.main.objs = cs.main.objs[:last]
	left := t.ALU(2, n)
	obj := t.Load(cs.main.va+32+uint64(last)*8, t.ALU(1, left))
	t.Branch(false, t.ALU(2, 0))
	t.Mem(cpu.Store, cs.main.va+24, 4, main, left)
	c.unlockSheavesArm(t, pc, s)
	t.StackStore(48, obj)
	t.Branch(false, obj)
	t.Nop(2)
	t.Branch(false, t.Load(c.va+cacheCtor73, s))
	flags := t.Mem(cpu.Load, c.va+8, 4, s, 0)
	init := t.ALU2(t.ALU(6, gfp), flags)
	t.Mem(cpu.Load, c.va+cacheObjectSize, 4, s, 0)
	t.Nop(1)
	t.Branch(true, init)
	obj = t.StackLoad(48)
	t.Branch(false, obj)
	pool := t.Load(g.KfencePool, t.ALU(1, 0))
	t.Branch(true, t.ALU(3, pool))
	t.ALU(3, obj)
	MemsetArm(t, v, va, int(c.objSize))
	ret := t.StackLoad(48)
	t.Jump()
	t.Nop(1)
	kernel.CheckGuard(t, v, 48+56)
	t.StackLoad(48)
	t.ALU(1, ret)
	t.Pop(6)
	t.Frame(-64)
	t.Nop(1)
	t.Ret()
	return va
}

// free73arm is kmem_cache_free of 7.3 on arm64 after it was entered: 109 instructions when the CPU's main sheaf has room.
func (c *Cache) free73arm(t *cpu.Thread, obj uint64) {
	v, g := kernel.V7_3, c.m.Env.Sym
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	page := c.slabOf(obj).page

	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(16)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	s := t.ALU(2, 0)
	t.Push(2)
	x := t.ALU(2, 0)
	t.StackStore(48+8, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	t.StackStore(48, 0)
	head := virtToPageArm(t, x)
	link := t.Load(page+8, head)
	head = t.ALU2(t.ALU(3, link), head) // compound_head without a branch
	t.Branch(false, t.ALU(3, t.Mem(cpu.Load, page+48, 4, head, 0)))
	t.Branch(false, t.ALU(1, head))
	t.Branch(false, t.ALU2(t.Load(page+8, head), s)) // slab->slab_cache is the cache
	t.ALU(2, s)
	t.Nop(2)
	t.StackStore(48, x)
	t.Jump()
	pool := t.Load(g.KfencePool, t.ALU(1, 0))
	t.Branch(false, t.ALU(3, pool))
	flags := t.Load(page, head)
	node := t.Mem(cpu.Load, kernel.NumaNode(t.CPU), 4, myCPUOffset(t), 0)
	t.Branch(false, t.ALU2(t.ALU(4, flags), node))
	t.Branch(false, t.ALU(2, t.Load(page, head)))
	x = t.StackLoad(48)
	c.lockSheavesArm(t, pc, s)
	p := t.ALU2(myCPUOffset(t), t.Load(c.va, s))
	main := t.Load(pc+pcsMain, p)
	n := t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
	capacity := t.Mem(cpu.Load, c.va+cacheCapacity, 4, s, 0)
	full := len(cs.main.objs) == c.capacity
	t.Branch(full, t.ALU2(n, capacity))
	if full {
		c.Stats.FreeSlow++
		t.ALU(3, 0)
		c.replaceFull73(t)
		t.Branch(false, t.ALU(1, 0))
		main = t.Load(pc+pcsMain, 0)
		n = t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
		t.Jump()
	}
	t.Mem(cpu.Store, cs.main.va+24, 4, main, t.ALU(1, n))
	t.Store(cs.main.va+32+uint64(len(cs.main.objs))*8, t.ALU(1, n), x)
	cs.main.objs = append(cs.main.objs, obj)
	c.unlockSheavesArm(t, pc, s)
	kernel.CheckGuard(t, v, 48+8)
	t.Pop(6)
	t.Frame(-16)
	t.Nop(1)
	t.Ret()
}
