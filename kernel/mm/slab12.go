package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

// cpuSlab is struct kmem_cache_cpu of 6.12: freelist 0, tid 8, slab 16, partial 24 (32, 40, 48, 56 of the line in the
// recording's cache; here the struct has a line of its own).
type cpuSlab struct {
	page    *slab
	free    []uint64 // last is next
	partial []*slab  // last is next
}

var (
	kmemCacheAlloc = cpu.NewFunc("kmem_cache_alloc_noprof", "mm/slub.c", 720)
	kmemCacheFree  = cpu.NewFunc("kmem_cache_free", "mm/slub.c", 560)
	slabAllocSlow  = cpu.NewFunc("___slab_alloc", "mm/slub.c", 2100)
	slabFreeSlow   = cpu.NewFunc("__slab_free", "mm/slub.c", 720)
	putCPUPartial  = cpu.NewFunc("put_cpu_partial", "mm/slub.c", 260)
	putPartials    = cpu.NewFunc("__put_partials", "mm/slub.c", 360)
	allocateSlab   = cpu.NewFunc("allocate_slab", "mm/slub.c", 700)
	setupObject    = cpu.NewFunc("setup_object", "mm/slub.c", 100)
	allocNoprof    = cpu.NewFunc("alloc_pages_noprof", "mm/mempolicy.c", 160)
	allocPagesMpol = cpu.NewFunc("alloc_pages_mpol_noprof", "mm/mempolicy.c", 600)
	policyNodemask = cpu.NewFunc("policy_nodemask", "mm/mempolicy.c", 200)
)

// alloc12 is kmem_cache_alloc_noprof of 6.12, 81 instructions on the fast path.
func (c *Cache) alloc12(t *cpu.Thread) uint64 {
	v, g := kernel.V6_12, c.m.Env.Sym
	cs := &c.cpus[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	fast := cs.page != nil && len(cs.free) > 0

	t.Call(kmemCacheAlloc)
	t.Nop(2)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(1)
	s := t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(16)
	t.Mem(cpu.Load, c.va+cacheObjectSize, 4, 0, 0)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(8, guard)
	t.ALU(1, 0)
	gfp := t.ALU(1, t.Mem(cpu.Load, g.GfpAllowedMask, 4, 0, 0))
	t.StackLoad(64)
	t.StackStore(0, 0)
	t.Branch(false, t.ALU(1, gfp))
	t.Branch(false, t.ALU(1, s))
	t.Nop(1)
	t.StackStore(0, 0)
	this := t.LoadOp(kernel.ThisCPUOff(v, t.CPU), 0, t.Load(c.va, s))
	tid := t.Load(pc+8, this)
	page := t.LoadOp(pc+16, this, 0)
	obj := t.Load(pc, this)
	t.Branch(false, page)
	t.Branch(!fast, t.ALU(1, obj))

	var va uint64
	if fast {
		va = cs.free[len(cs.free)-1]
		cs.free = cs.free[:len(cs.free)-1]
		off := t.Mem(cpu.Load, c.va+cacheOffset, 4, s, 0)
		random := t.Load(c.va+cacheRandom12, s)
		ptr := t.Load(c.va, s)
		addr := t.ALU2(off, obj)
		next := t.LoadOp(va+c.free, addr, random)
		t.ALU(1, addr)
		t.ALU(1, obj)
		swab := t.ALU(1, addr)
		t.ALU2(swab, next)
		newTid := t.ALU(1, tid)
		done := t.Mem(cpu.RMW, pc, 16, ptr, newTid) // cmpxchg16b without lock, on this CPU's line
		t.Branch(false, done)
		t.Mem(cpu.Load, c.va+cacheOffset, 4, s, 0) // prefetch of the next object's pointer: address only
		t.ALU(1, 0)
		t.StackStore(0, obj)
	} else {
		c.Stats.AllocSlow++
		t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
		t.ALU(1, 0)
		ptr := t.Load(c.va, s)
		t.ALU(2, s)
		t.LoadOp(kernel.ThisCPUOff(v, t.CPU), ptr, 0)
		t.ALU(2, 0)
		va = c.slabAlloc12(t)
		obj = t.ALU(1, 0)
		t.Branch(false, t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0))
		t.Nop(1)
		t.Jump()
		t.StackStore(0, obj)
	}
	t.Nop(1)
	nonNull := t.Chain(2, obj)
	t.Nop(1)
	t.Branch(true, t.LoadOp(c.va+cacheCtor12, s, 0))
	t.Branch(true, t.Mem(cpu.LoadOp, c.va+8, 4, s, 0))
	t.Mem(cpu.Load, c.va+cacheObjectSize, 4, s, 0)
	t.Nop(2)
	t.Branch(false, t.ALU(1, nonNull))
	t.ALU(1, 0)
	c.m.memset(t, va, int(c.objSize))
	t.Jump()
	ret := t.StackLoad(0)
	t.StackLoad(64)
	t.Nop(1)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(8)))
	t.Frame(-16)
	t.ALU(1, ret)
	t.Pop(6)
	t.Ret()
	return va
}

// slabAlloc12 is ___slab_alloc: first the objects that other CPUs freed into this CPU's slab, then the per-CPU
// partial slabs, then the node's, then fresh pages. 144 instructions when the slab is exhausted and a per-CPU
// partial slab takes its place, as recorded.
func (c *Cache) slabAlloc12(t *cpu.Thread) uint64 {
	v := kernel.V6_12
	cs := &c.cpus[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	t.Call(slabAllocSlow)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0) // rbp
	t.Push(2)
	this := t.ALU(1, 0)
	t.Push(1)
	s := t.ALU(1, 0)
	t.Push(2)
	t.ALU(2, 0)
	t.Frame(192)
	t.StackStore(84, 0)
	t.StackStore(64, 0)
	t.StackStore(72, 0)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(176, guard)
	t.ALU(1, 0)
	t.StackStore(88, 0)
	t.StackStore(96, 0)
	page := t.Load(pc+16, this)
	t.Branch(cs.page == nil, t.ALU(1, page))
	if p := cs.page; p != nil {
		t.Branch(true, t.ALU(1, s))
		flags := t.Load(p.page, page)
		t.ALU(1, 0)
		t.Branch(true, t.ALU(1, flags))
		irq := locking.IrqSave(t)
		t.ALU(1, irq)
		t.Branch(false, t.LoadOp(pc+16, this, page))
		free := t.Load(pc, this)
		t.Branch(false, t.ALU(1, free))
		t.ALU(1, 0)
		taken := c.getFreelist12(t, p.page, page)
		t.Branch(len(p.free) > 0, t.ALU(1, taken)) // something on the slab's own list?
		if len(p.free) > 0 {
			cs.free, p.free = p.free, nil
			p.inuse = c.perSlab
		} else {
			p.frozen, cs.page = false, nil
			tid := t.Load(pc+8, this)
			t.ALU(1, tid)
			t.Store(pc+16, this, 0)
			t.Store(pc+8, this, tid)
			c.irqRestore12(t, irq)
		}
	}
	if cs.page == nil {
		c.refill12(t, this, s)
	}
	va := cs.free[len(cs.free)-1]
	cs.free = cs.free[:len(cs.free)-1]
	off := t.Mem(cpu.Load, c.va+cacheOffset, 4, s, 0)
	addr := t.Chain(2, t.ALU(1, off))
	random := t.LoadOp(c.va+cacheRandom12, s, addr)
	next := t.LoadOp(va+c.free, addr, random)
	t.Store(pc, this, next)
	t.RMW(pc+8, this, 0)
	c.irqRestore12(t, 0)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(176)))
	t.ALU(1, 0)
	t.Frame(-192)
	t.Pop(6)
	t.Ret()
	return va
}

// getFreelist12 is get_freelist, inlined: it reads freelist and counters of the struct slab and exchanges both with a
// cmpxchg16b. It returns the freelist it found.
func (c *Cache) getFreelist12(t *cpu.Thread, slabVA uint64, page cpu.Val) cpu.Val {
	counters := t.Load(slabVA+40, page)
	free := t.Load(slabVA+32, page)
	t.StackStore(136, counters)
	objects := t.ALU(1, t.Mem(cpu.Load, slabVA+42, 2, page, 0))
	empty := t.ALU(1, free)
	t.Mem(cpu.Store, t.SP()+136, 2, 0, objects)
	bits := t.Mem(cpu.Load, t.SP()+139, 1, 0, 0)
	e2 := t.Chain(2, empty)
	m := t.ALU2(t.ALU(1, bits), e2)
	t.Mem(cpu.Store, t.SP()+139, 1, 0, m)
	t.StackLoad(136)
	t.Branch(false, t.Mem(cpu.LoadOp, c.va+10, 1, 0, 0)) // flags: cmpxchg usable
	t.ALU(1, free)
	done := t.Chain(2, t.Mem(cpu.Atomic, slabVA+32, 16, page, free))
	t.Branch(false, done)
	return free
}

// irqRestore12 emits local_irq_restore as 6.12 compiles it: a test, sti and a jump back.
func (c *Cache) irqRestore12(t *cpu.Thread, irq cpu.Val) {
	t.Branch(true, t.ALU(1, irq))
	t.Op(cpu.IrqFlag, 0)
	t.Nop(1)
	t.Jump()
}

// free12 is kmem_cache_free of 6.12 after it was entered, 99 instructions when the object belongs to the CPU's slab.
func (c *Cache) free12(t *cpu.Thread, obj uint64) {
	v, g := kernel.V6_12, c.m.Env.Sym
	cs := &c.cpus[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	sl := c.slabOf(obj)
	page := sl.page

	t.Nop(2)
	t.Push(1)
	s := t.ALU(1, 0)
	t.ALU(1, 0)
	t.Push(4)
	base := t.ALU(1, 0)
	t.Push(1)
	x := t.ALU(1, 0)
	t.ALU(1, 0)
	t.Frame(24)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(8, guard)
	t.ALU(1, 0)
	sum := t.ALU(1, base)
	t.Branch(false, sum)
	t.ALU(1, 0)
	head := c.virtToHead12(t, sum)
	link := t.Load(page+8, head)
	t.Branch(false, t.ALU(1, link))
	t.Nop(1)
	t.Branch(false, t.Mem(cpu.LoadOp, page+51, 1, head, 0)) // page type
	t.Branch(false, t.ALU(1, head))
	cache := t.Load(page+8, head) // slab->slab_cache
	t.Branch(false, t.ALU(1, cache))
	t.Branch(false, t.ALU2(cache, s))
	t.Branch(false, t.ALU(1, cache))
	t.StackLoad(72)
	t.Nop(1)
	t.Load(g.PhysBase, 0)
	t.Branch(false, t.ALU(1, 0))
	head = c.virtToHead12(t, sum)
	link = t.Load(page+8, head)
	h2 := t.ALU(1, head)
	t.Branch(false, t.ALU(1, link))
	t.Nop(1)
	one := t.ALU(1, 0)
	typ := t.Mem(cpu.LoadOp, page+51, 1, h2, 0)
	t.StackStore(0, x)
	slabVal := t.ALU2(typ, one)
	t.Jump()
	t.Nop(1)
	pool := t.Load(g.KfencePool, 0)
	t.Branch(false, t.ALU(1, t.ALU2(t.ALU(1, x), pool)))
	this := t.LoadOp(kernel.ThisCPUOff(v, t.CPU), 0, t.Load(c.va, cache))
	tid := t.Load(pc+8, this)
	mine := t.LoadOp(pc+16, this, slabVal)
	t.Branch(sl != cs.page, mine)
	if sl == cs.page {
		cs.free = append(cs.free, obj)
		off := t.Mem(cpu.Load, c.va+cacheOffset, 4, cache, 0)
		next := t.Load(pc, this)
		addr := t.ALU2(off, x)
		t.Branch(false, t.ALU2(next, x))
		random := t.Load(c.va+cacheRandom12, cache)
		swab := t.Chain(2, addr)
		enc := t.ALU2(t.ALU2(random, next), swab)
		t.Store(obj+c.free, addr, enc)
		newTid := t.ALU(1, tid)
		ptr := t.Load(c.va, cache)
		t.Branch(false, t.Mem(cpu.RMW, pc, 16, ptr, newTid))
	} else {
		c.Stats.FreeSlow++
		t.ALU(6, slabVal)
		c.slabFree12(t, sl, obj)
		t.Jump()
	}
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(8)))
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
}

// virtToHead12 is virt_to_page as kmem_cache_free inlines it.
func (c *Cache) virtToHead12(t *cpu.Thread, sum cpu.Val) cpu.Val {
	g := c.m.Env.Sym
	big := t.ALU(1, 0)
	off := t.LoadOp(g.PageOffsetBase, 0, big)
	return t.LoadOp(g.VmemmapBase, 0, t.Chain(2, t.ALU2(off, sum)))
}
