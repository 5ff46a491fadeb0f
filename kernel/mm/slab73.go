package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
)

// cpuSheaf is struct slub_percpu_sheaves of 7.3: a lock byte at 24, main 32, spare 40 (in a line of its own here).
type cpuSheaf struct{ main, spare *sheaf }

// Offsets within struct slub_percpu_sheaves.
const (
	pcsLock  = 24
	pcsMain  = 32
	pcsSpare = 40
)

// sheaf is struct slab_sheaf: an array of free objects, size at 24, objects from 32 on. The last is handed out first.
type sheaf struct {
	va   uint64
	objs []uint64
}

// barn is struct node_barn: full and empty sheaves of a node that CPUs exchange.
type barn struct {
	lock        cpu.LockWord
	full, empty []*sheaf
}

// barnSheaves is MAX_FULL_SHEAVES and MAX_EMPTY_SHEAVES.
const barnSheaves = 10

// sheafCapacity is calculate_sheaf_capacity: the fewer objects, the larger they are.
func sheafCapacity(size uint64) int {
	switch {
	case size >= 4096:
		return 4
	case size >= 1024:
		return 12
	case size >= 256:
		return 26
	}
	return 60
}

var (
	kmemCacheAlloc73   = cpu.NewFunc("kmem_cache_alloc_noprof", "mm/slub.c", 980)
	kmemCacheFree73    = cpu.NewFunc("kmem_cache_free", "mm/slub.c", 640)
	replaceEmptyMain   = cpu.NewFunc("__pcs_replace_empty_main", "mm/slub.c", 760)
	replaceFullMain    = cpu.NewFunc("__pcs_replace_full_main", "mm/slub.c", 680)
	barnReplaceEmpty   = cpu.NewFunc("barn_replace_empty_sheaf", "mm/slub.c", 256)
	barnReplaceFull    = cpu.NewFunc("barn_replace_full_sheaf", "mm/slub.c", 300)
	refillObjects      = cpu.NewFunc("refill_objects", "mm/slub.c", 660)
	refillObjectsNode  = cpu.NewFunc("__refill_objects_node", "mm/slub.c", 1400)
	slabUpdateFreelist = cpu.NewFunc("slab_update_freelist.isra.0", "mm/slub.c", 140)
	allocateSlab73     = cpu.NewFunc("allocate_slab", "mm/slub.c", 520)
	allocFromNewSlab   = cpu.NewFunc("alloc_from_new_slab", "mm/slub.c", 640)
	buildSlabFreelist  = cpu.NewFunc("build_slab_freelist", "mm/slub.c", 410)
	nextSlabObj        = cpu.NewFunc("next_slab_obj", "mm/slub.c", 80)
	sheafFlush         = cpu.NewFunc("sheaf_flush_unused", "mm/slub.c", 200)
	freeToSlab         = cpu.NewFunc("__slab_free", "mm/slub.c", 640)
	mempolicySlabNode  = cpu.NewFunc("mempolicy_slab_node", "mm/mempolicy.c", 200)
	getRandomBelow     = cpu.NewFunc("__get_random_u32_below", "drivers/char/random.c", 120)
	getRandom          = cpu.NewFunc("get_random_u32", "drivers/char/random.c", 260)
)

func (c *Cache) newSheaf() *sheaf {
	return &sheaf{va: c.m.Env.Slab(32+8*c.capacity, 64), objs: make([]uint64, 0, c.capacity)}
}

// lockSheaves emits local_trylock of the CPU's sheaves and returns the address of main as it depends on it.
func (c *Cache) lockSheaves(t *cpu.Thread, pc uint64, s cpu.Val) cpu.Val {
	t.Mem(cpu.RMW, kernel.PreemptCount(kernel.V7_3, t.CPU), 4, 0, 0)
	return c.tryLock(t, pc, s)
}

func (c *Cache) tryLock(t *cpu.Thread, pc uint64, s cpu.Val) cpu.Val {
	p := t.LoadOp(kernel.ThisCPUOff(kernel.V7_3, t.CPU), 0, t.Load(c.va, s))
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, pc+pcsLock, 1, p, 0)))
	t.Mem(cpu.Store, pc+pcsLock, 1, p, 0)
	t.Branch(false, t.ALU(1, p))
	return p
}

// unlockSheaves emits local_unlock.
func (c *Cache) unlockSheaves(t *cpu.Thread, pc uint64, s, off cpu.Val) {
	p := t.LoadOp(c.va, s, off)
	t.Mem(cpu.Store, pc+pcsLock, 1, p, 0)
	t.Branch(false, t.Mem(cpu.RMW, kernel.PreemptCount(kernel.V7_3, t.CPU), 4, 0, 0))
}

// alloc73 is kmem_cache_alloc_noprof of 7.3: 102 instructions when the CPU's main sheaf has an object.
func (c *Cache) alloc73(t *cpu.Thread) uint64 {
	v, g := kernel.V7_3, c.m.Env.Sym
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	off := kernel.ThisCPUOff(v, t.CPU)

	t.Call(kmemCacheAlloc73)
	t.Nop(2)
	t.Push(4)
	s := t.ALU(1, 0)
	t.Frame(48)
	task := t.Load(kernel.CurrentTask(v, t.CPU), 0)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(40, guard)
	gfp := t.ALU(1, 0)
	caller := t.StackLoad(80)
	t.StackStore(24, 0)
	t.StackStore(32, 0)
	t.StackStore(8, caller)
	size := t.Mem(cpu.Load, c.va+cacheObjectSize, 4, 0, 0)
	t.StackStore(0, 0)
	t.StackStore(16, size)
	t.Branch(false, t.Mem(cpu.LoadOp, c.m.task(t.CPU)+45, 1, task, 0))
	allowed := t.Mem(cpu.Load, g.GfpAllowedMask, 4, 0, 0)
	t.Branch(false, t.ALU(1, t.ALU2(allowed, gfp)))
	t.Branch(false, t.ALU(1, s))
	t.Nop(1)
	t.StackStore(0, 0)
	t.Nop(1)
	t.StackLoad(24)
	node := t.ALU(1, 0)
	c.lockSheaves(t, pc, s)
	this := t.Load(off, 0)
	p := t.ALU2(t.Load(c.va, s), this)
	main := t.Load(pc+pcsMain, p)
	n := t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
	empty := len(cs.main.objs) == 0
	t.Branch(empty, t.ALU(1, n))
	if empty {
		c.Stats.AllocSlow++
		t.ALU(3, 0)
		c.replaceEmpty73(t)
		t.Branch(false, t.ALU(1, 0))
		main = t.Load(pc+pcsMain, 0)
		this = t.Load(off, 0)
		n = t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
		t.Jump()
	}
	last := len(cs.main.objs) - 1
	va := cs.main.objs[last]
	cs.main.objs = cs.main.objs[:last]
	idx := t.ALU(1, n)
	left := t.ALU(1, idx)
	obj := t.Load(cs.main.va+32+uint64(last)*8, idx)
	t.Branch(false, t.ALU(1, node))
	t.Mem(cpu.Store, cs.main.va+24, 4, main, left)
	c.unlockSheaves(t, pc, s, this)
	t.StackStore(0, obj)
	t.Branch(false, t.ALU(1, obj))
	t.Nop(2)
	t.ALU(1, 0)
	t.Branch(false, t.LoadOp(c.va+cacheCtor73, s, 0))
	g1 := t.ALU(1, gfp)
	t.ALU(1, 0)
	g2 := t.Chain(2, g1)
	flags := t.Mem(cpu.LoadOp, c.va+8, 2, s, 0)
	init := t.ALU2(flags, g2)
	t.Mem(cpu.Load, c.va+cacheObjectSize, 4, s, 0)
	t.Nop(1)
	obj = t.StackLoad(0)
	t.Branch(true, t.ALU(1, init))
	t.Branch(false, t.ALU(1, obj))
	pool := t.Load(g.KfencePool, 0)
	x := t.ALU(1, obj)
	t.Branch(true, t.ALU(1, t.ALU2(pool, x)))
	t.ALU(1, obj)
	t.ALU(1, 0)
	c.m.memset(t, va, int(c.objSize))
	ret := t.StackLoad(0)
	t.Jump()
	t.Jump()
	t.StackLoad(80)
	t.Nop(1)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(40)))
	t.Frame(-48)
	t.ALU(1, ret)
	t.Pop(4)
	t.Ret()
	return va
}

// free73 is kmem_cache_free of 7.3: 87 instructions when the CPU's main sheaf has room. Which slab the object belongs to
// does not matter.
func (c *Cache) free73(t *cpu.Thread, obj uint64) {
	v, g := kernel.V7_3, c.m.Env.Sym
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	off := kernel.ThisCPUOff(v, t.CPU)
	page := c.slabOf(obj).page

	t.Nop(2)
	t.Push(1)
	big := t.ALU(1, 0)
	t.Push(4)
	s := t.ALU(1, 0)
	t.Push(1)
	t.Frame(16)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(8, guard)
	x := t.ALU(1, 0)
	sum := t.ALU(1, big)
	t.Branch(false, sum)
	base := t.LoadOp(g.PageOffsetBase, 0, t.ALU(1, 0))
	head := t.LoadOp(g.VmemmapBase, 0, t.Chain(2, t.ALU2(base, sum)))
	link := t.Load(page+8, head)
	head = t.ALU2(t.ALU2(t.Chain(3, link), link), head) // compound_head without a branch
	t.Branch(false, t.Mem(cpu.LoadOp, page+51, 1, head, 0))
	t.Branch(false, t.ALU(1, head))
	t.Branch(false, t.LoadOp(page+8, head, s)) // slab->slab_cache is the cache
	t.StackLoad(64)
	t.Nop(1)
	t.StackStore(0, x)
	t.Jump()
	t.Nop(1)
	pool := t.Load(g.KfencePool, 0)
	t.Branch(false, t.ALU(1, t.ALU2(t.ALU(1, x), pool)))
	flags := t.Load(page, head)
	node := t.Mem(cpu.Load, kernel.NumaNode(t.CPU), 4, 0, 0)
	t.Branch(false, t.ALU2(t.ALU(1, flags), node))
	flags = t.Load(page, head)
	x = t.StackLoad(0)
	t.Branch(false, t.ALU(1, flags))
	c.lockSheaves(t, pc, s)
	this := t.Load(off, 0)
	p := t.ALU2(t.Load(c.va, s), this)
	main := t.Load(pc+pcsMain, p)
	n := t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
	full := len(cs.main.objs) == c.capacity
	t.Branch(full, t.Mem(cpu.LoadOp, c.va+cacheCapacity, 4, s, n))
	if full {
		c.Stats.FreeSlow++
		t.ALU(3, 0)
		c.replaceFull73(t)
		t.Branch(false, t.ALU(1, 0))
		main = t.Load(pc+pcsMain, 0)
		this = t.Load(off, 0)
		n = t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)
		t.Jump()
	}
	more := t.ALU(1, n)
	t.Mem(cpu.Store, cs.main.va+24, 4, main, more)
	t.Store(cs.main.va+32+uint64(len(cs.main.objs))*8, n, x)
	cs.main.objs = append(cs.main.objs, obj)
	c.unlockSheaves(t, pc, s, this)
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(8)))
	t.Frame(-16)
	t.Pop(6)
	t.Ret()
}

// replaceEmpty73 is __pcs_replace_empty_main: the spare sheaf if it has objects, else a full one of the barn, else the
// spare (or a new one) filled from slabs.
func (c *Cache) replaceEmpty73(t *cpu.Thread) {
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	t.Call(replaceEmptyMain)
	t.Nop(1)
	t.Push(6)
	s := t.ALU(1, 0)
	t.Frame(8)
	capacity := t.Mem(cpu.Load, c.va+cacheCapacity, 4, 0, 0)
	t.Mem(cpu.Store, t.SP(), 4, 0, 0)
	t.Branch(false, t.ALU(1, capacity))
	spare := t.Load(pc+pcsSpare, 0)
	t.ALU(2, 0)
	t.Branch(cs.spare == nil, t.ALU(1, spare))
	swap := false
	if cs.spare != nil {
		n := t.Mem(cpu.Load, cs.spare.va+24, 4, spare, 0)
		swap = len(cs.spare.objs) > 0
		t.Branch(swap, t.ALU(1, n))
	}
	switch {
	case swap:
		cs.main, cs.spare = cs.spare, cs.main
		t.Load(pc+pcsMain, 0)
		t.Store(pc+pcsMain, 0, spare)
		t.Store(pc+pcsSpare, 0, t.Last()-1)
	case c.barnTakeFull(t, s):
	default:
		c.refillSpare73(t, s)
	}
	t.Frame(-8)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
}

// refillSpare73 fills the spare sheaf (or a new one) from slabs, outside of the lock, and makes it the main sheaf.
func (c *Cache) refillSpare73(t *cpu.Thread, s cpu.Val) {
	v := kernel.V7_3
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	off := kernel.ThisCPUOff(v, t.CPU)
	t.ALU(1, 0)
	t.Branch(true, t.ALU(1, 0))
	f := cs.spare
	cs.spare = nil
	if f == nil {
		f = c.newSheaf()
	}
	spare := t.Load(pc+pcsSpare, 0)
	t.Branch(false, t.ALU(1, spare))
	t.Store(pc+pcsSpare, 0, 0)
	t.Jump()
	p := t.LoadOp(off, 0, t.Load(c.va, 0))
	t.Mem(cpu.Store, pc+pcsLock, 1, p, 0)
	t.Branch(false, t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0))
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.ALU(1, spare))
	n := t.Mem(cpu.Load, f.va+24, 4, spare, 0)
	capacity := t.Mem(cpu.Load, c.va+cacheCapacity, 4, 0, 0)
	room := t.ALU2(capacity, n)
	t.Branch(true, room)
	t.StackLoad(0)
	t.ALU2(n, spare)
	t.ALU(2, room)
	t.ALU(1, 0)
	t.StackStore(0, spare)
	t.ALU(1, 0)
	c.refillObjects73(t, f, c.capacity-len(f.objs))
	spare = t.StackLoad(0)
	got := t.ALU(1, 0)
	n = t.Mem(cpu.LoadOp, f.va+24, 4, spare, got)
	t.Mem(cpu.Store, f.va+24, 4, spare, n)
	t.Branch(true, t.ALU(1, 0))
	t.Mem(cpu.RMW, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	c.tryLock(t, pc, s)
	p = t.LoadOp(off, 0, t.Load(c.va, 0))
	main := t.Load(pc+pcsMain, p)
	sp := t.Load(pc+pcsSpare, p)
	t.Branch(true, t.ALU(1, t.Mem(cpu.Load, cs.main.va+24, 4, main, 0)))
	t.Branch(true, t.ALU(1, sp))
	t.Store(pc+pcsSpare, p, main)
	t.Jump()
	t.Store(pc+pcsMain, p, spare)
	t.Jump()
	cs.spare, cs.main = cs.main, f
}
