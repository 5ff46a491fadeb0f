package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// The fast paths of mm/slub.c of 6.12 on arm64. Of their functions only the counts are recorded. The slow paths
// (___slab_alloc, __slab_free and behind) run the same Go functions as on x86.

var (
	cpuOffset      = cpu.NewFunc("__kern_my_cpu_offset", "arch/arm64/include/asm/percpu.h", 8)
	updateFreelist = cpu.NewFunc("__update_cpu_freelist_fast", "mm/slub.c", 64)
	setFreepointer = cpu.NewFunc("set_freepointer", "mm/slub.c", 48)
	kmemAllocArm12 = cpu.NewFunc("kmem_cache_alloc_noprof", "mm/slub.c", 640)
	kmemFreeArm12  = cpu.NewFunc("kmem_cache_free", "mm/slub.c", 560)
)

// myCPUOffset emits __kern_my_cpu_offset, a function of 2 instructions where the compiler did not inline it.
func myCPUOffset(t *cpu.Thread) cpu.Val {
	t.Call(cpuOffset)
	v := t.Op(cpu.Sysreg, 0)
	t.Ret()
	return v
}

// updateFreelistArm emits __update_cpu_freelist_fast: casp of freelist and transaction id, 16 instructions.
func (c *Cache) updateFreelistArm(t *cpu.Thread, pc uint64, s, next cpu.Val) cpu.Val {
	t.Call(updateFreelist)
	t.ALU(1, 0)
	t.Nop(1)
	ptr := t.Load(c.va, s)
	p := t.ALU2(t.Op(cpu.Sysreg, 0), ptr)
	t.ALU(6, next)
	got := t.Mem(cpu.Atomic, pc, 16, p, next)
	ok := t.ALU(3, got)
	t.Ret()
	return ok
}

// alloc12arm is kmem_cache_alloc_noprof of 6.12 on arm64, 95 instructions on the fast path and 46 in what it calls.
func (c *Cache) alloc12arm(t *cpu.Thread) uint64 {
	v, g := kernel.V6_12, c.m.Env.Sym
	cs := &c.cpus[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	fast := cs.page != nil && len(cs.free) > 0

	t.Call(kmemAllocArm12)
	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(16)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Push(2)
	s := t.ALU(2, 0)
	t.Push(2)
	size := t.Mem(cpu.Load, c.va+cacheObjectSize, 4, s, 0)
	t.StackStore(64+8, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	t.StackStore(64, 0)
	gfp := t.Mem(cpu.Load, g.GfpAllowedMask, 4, t.ALU(2, 0), 0)
	t.StackStore(64, gfp)
	t.Branch(false, t.ALU(3, gfp))
	t.Branch(false, t.ALU(1, size))
	t.Nop(2)
	t.StackStore(64, 0)
	this := t.ALU2(myCPUOffset(t), t.Load(c.va, s))
	t.Op(cpu.Nop, 0)
	tid := t.Load(pc+8, this)
	page := t.Load(pc+16, this)
	obj := t.Load(pc, this)
	t.Branch(false, page)
	t.Branch(!fast, obj)

	var va uint64
	if fast {
		va = cs.free[len(cs.free)-1]
		cs.free = cs.free[:len(cs.free)-1]
		off := t.Mem(cpu.Load, c.va+cacheOffset, 4, s, 0)
		random := t.Load(c.va+cacheRandom12, s)
		addr := t.ALU2(off, obj)
		next := t.ALU2(t.Load(va+c.free, addr), random)
		next = t.ALU2(t.ALU(4, addr), next)
		done := c.updateFreelistArm(t, pc, s, t.ALU2(next, tid))
		t.Branch(false, t.ALU(1, done))
		t.ALU(2, t.Mem(cpu.Load, c.va+cacheOffset, 4, s, 0)) // prefetch of the next object's pointer
		t.StackStore(64, obj)
	} else {
		c.Stats.AllocSlow++
		t.ALU(6, s)
		va = c.slabAlloc12(t)
		obj = t.ALU(1, 0)
		t.Jump()
		t.StackStore(64, obj)
	}
	t.Nop(2)
	t.Branch(true, t.ALU(1, obj))
	t.Branch(true, t.Load(c.va+cacheCtor12, s))
	flags := t.Mem(cpu.Load, c.va+8, 4, s, 0)
	t.Branch(true, t.ALU(4, flags))
	t.Mem(cpu.Load, c.va+cacheObjectSize, 4, s, 0)
	t.Nop(1)
	t.ALU(3, obj)
	MemsetArm(t, v, va, int(c.objSize))
	t.StackLoad(64)
	t.Nop(1)
	ret := t.ALU(1, 0)
	kernel.CheckGuard(t, v, 64+8)
	t.StackLoad(64)
	t.ALU(1, ret)
	t.Pop(8)
	t.Frame(-16)
	t.Nop(1)
	t.Ret()
	return va
}

// free12arm is kmem_cache_free of 6.12 on arm64 after it was entered: 88 instructions and 28 in what it calls when the object
// belongs to the CPU's slab.
func (c *Cache) free12arm(t *cpu.Thread, obj uint64) {
	v, g := kernel.V6_12, c.m.Env.Sym
	cs := &c.cpus[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	sl := c.slabOf(obj)
	page := sl.page

	t.ALU(1, 0)
	t.Nop(2)
	t.Frame(16)
	task := t.Op(cpu.Sysreg, 0)
	t.Push(2)
	t.ALU(1, 0)
	t.Push(2)
	s := t.ALU(2, 0)
	t.Push(2)
	x := t.ALU(1, 0)
	t.Push(2)
	t.StackStore(64+8, t.Load(kernel.TaskGuard(v, t.CPU), task))
	t.ALU(1, 0)
	t.StackStore(64, x)
	head := virtToPageArm(t, x)
	link := t.Load(page+8, head)
	t.Branch(false, link)
	t.Nop(1)
	t.Branch(false, t.ALU(2, t.Mem(cpu.Load, page+48, 4, head, 0))) // page type
	t.Branch(false, head)
	cache := t.Load(page+8, head) // slab->slab_cache
	t.Branch(false, cache)
	t.Branch(false, t.ALU2(cache, s))
	t.Nop(2)
	head = virtToPageArm(t, x)
	t.Branch(false, t.Load(page+8, head))
	t.Nop(1)
	slabVal := t.ALU(2, head)
	t.Jump()
	pool := t.Load(g.KfencePool, t.ALU(1, 0))
	t.Branch(false, t.ALU(2, pool))
	this := t.ALU2(myCPUOffset(t), t.Load(c.va, cache))
	tid := t.Load(pc+8, this)
	mine := t.Load(pc+16, this)
	x = t.StackLoad(64)
	t.Branch(sl != cs.page, t.ALU2(mine, slabVal))
	if sl == cs.page {
		cs.free = append(cs.free, obj)
		next := t.Load(pc, this)
		t.ALU(6, next)
		t.Call(setFreepointer)
		off := t.Mem(cpu.Load, c.va+cacheOffset, 4, cache, 0)
		addr := t.ALU2(off, x)
		t.Branch(false, t.ALU2(next, addr))
		random := t.Load(c.va+cacheRandom12, cache)
		t.Store(obj+c.free, addr, t.ALU2(t.ALU2(random, next), t.ALU(1, addr)))
		t.Ret()
		t.ALU(3, tid)
		t.Branch(false, c.updateFreelistArm(t, pc, cache, next))
	} else {
		c.Stats.FreeSlow++
		t.ALU(6, slabVal)
		c.slabFree12(t, sl, obj)
		t.Jump()
	}
	kernel.CheckGuard(t, v, 64+8)
	t.Pop(8)
	t.Frame(-16)
	t.Nop(1)
	t.Ret()
}
