package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
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

// barnTakeFull is barn_replace_empty_sheaf: it exchanges the empty main sheaf for a full one.
func (c *Cache) barnTakeFull(t *cpu.Thread, s cpu.Val) bool {
	v := kernel.V7_3
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	numa := t.Mem(cpu.Load, kernel.NumaNode(t.CPU), 4, 0, 0)
	t.Branch(false, t.ALU(1, numa))
	b := t.Load(c.va+cacheNode73-8, t.ALU(1, numa)) // per-node barn
	t.Branch(false, t.ALU(1, b))
	allow := t.ALU(1, s)
	t.Load(pc+pcsMain, 0)
	t.ALU(1, b)
	t.Chain(3, allow)

	t.Call(barnReplaceEmpty)
	t.Nop(1)
	t.Push(6)
	n := t.Mem(cpu.Load, c.barn.lock.VA+40, 4, 0, 0)
	none := len(c.barn.full) == 0
	t.Branch(none, t.ALU(1, n))
	if none {
		ret := t.ALU(1, 0)
		t.Pop(1)
		t.ALU(1, ret)
		t.Pop(5)
		t.Ret()
	} else {
		locking.SpinLockIrqsave(t, v, &c.barn.lock)
		last := len(c.barn.full) - 1
		full := c.barn.full[last]
		c.barn.full = c.barn.full[:last]
		c.listDel(t, full.va)
		c.listAdd(t, cs.main.va, c.barn.lock.VA+24)
		t.Mem(cpu.RMW, c.barn.lock.VA+40, 4, 0, 0)
		t.Mem(cpu.RMW, c.barn.lock.VA+44, 4, 0, 0)
		c.barn.empty = append(c.barn.empty, cs.main)
		cs.main = full
		locking.SpinUnlockIrqrestore(t, v, &c.barn.lock)
		t.ALU(2, 0)
		t.Pop(6)
		t.Ret()
	}
	t.ALU(1, 0)
	t.Branch(none, t.ALU(1, 0))
	if none {
		return false
	}
	t.Load(pc+pcsMain, 0)
	t.Store(pc+pcsMain, 0, t.Last())
	t.Jump()
	return true
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

// refillObjects73 is refill_objects: objects of partly free slabs of the node first (__refill_objects_node), then new
// slabs. The zone list is walked to look for partial slabs of other nodes in between.
func (c *Cache) refillObjects73(t *cpu.Thread, f *sheaf, want int) {
	t.Call(refillObjects)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(3)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(72)
	t.StackStore(16, 0)
	numa := t.Mem(cpu.Load, kernel.NumaNode(t.CPU), 4, 0, 0)
	t.StackStore(28, numa)
	t.Branch(false, t.ALU(1, numa))
	idx := t.ALU(1, numa)
	t.ALU(3, 0)
	t.Load(c.va+cacheNode73, idx)
	t.StackStore(0, 0)
	t.ALU(1, 0)
	t.StackLoad(16)
	got := c.refillFromNode73(t, f, want)
	t.StackLoad(0)
	done := got >= want
	t.ALU(1, 0)
	t.Branch(!done, t.ALU(1, 0))
	if !done {
		c.otherNodes73(t)
	}
	for got < want {
		s := c.newSlab73(t)
		got += c.takeNew73(t, s, f, want-got)
	}
	t.ALU(1, 0)
	t.Branch(true, t.ALU(1, 0))
	t.ALU(1, 0)
	t.Jump()
	t.Frame(-72)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
}

// refillFromNode73 is __refill_objects_node: it detaches partial slabs from the node's list until they hold enough
// objects, and empties their free lists into the sheaf. It returns how many objects came.
func (c *Cache) refillFromNode73(t *cpu.Thread, f *sheaf, want int) int {
	v := kernel.V7_3
	t.Call(refillObjectsNode)
	t.Nop(1)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(4)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(128)
	t.StackStore(24, 0)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(120, guard)
	t.StackLoad(184)
	for _, o := range []int{88, 96, 104, 112, 92, 96} {
		t.StackStore(o, 0)
	}
	t.Branch(false, t.ALU(1, 0))
	none := len(c.node.partial) == 0
	t.Branch(none, t.LoadOp(c.node.lock.VA+8, 0, 0))
	got := 0
	if !none {
		t.ALU(1, 0)
		t.StackStore(16, 0)
		t.StackStore(104, t.Last()-1)
		t.StackStore(112, t.Last()-2)
		t.Branch(false, t.ALU(1, 0))
		t.ALU(1, 0)
		t.StackStore(40, 0)
		locking.SpinLockIrqsave(t, v, &c.node.lock)
		n := t.StackLoad(40)
		t.StackLoad(16)
		t.StackStore(32, 0)
		var taken []*slab
		have := 0
		for len(c.node.partial) > 0 && have < want {
			s := c.node.partial[0]
			if len(taken) > 0 && have+len(s.free) > want {
				break
			}
			c.node.unlist(s)
			taken = append(taken, s)
			have += len(s.free)
			page := t.Load(c.node.lock.VA+16, n)
			link := t.Load(s.page+16, page)
			t.ALU(2, page)
			t.Branch(false, t.ALU2(link, n))
			t.ALU(6, link)
			t.Branch(true, t.ALU(1, t.Load(s.page, page)))
			counters := t.Load(s.page+40, page)
			sum := t.ALU2(t.Chain(3, counters), counters)
			t.Branch(true, t.LoadOp(t.SP()+92, 0, sum))
			t.ALU(2, page)
			t.Mem(cpu.Atomic, s.page+1, 1, page, 0)
			t.RMW(c.node.lock.VA+8, n, 0)
			t.Branch(false, t.LoadOp(t.SP()+96, 0, sum))
			t.ALU(5, page)
			t.Branch(true, t.Last())
		}
		t.ALU(4, 0)
		t.StackLoad(8)
		t.StackLoad(16)
		t.Branch(false, t.Last())
		s := taken[0]
		prev := t.Load(s.page+24, 0)
		next := t.Load(s.page+16, 0)
		t.Store(c.node.lock.VA+16, prev, next)
		prev = t.Load(s.page+24, 0)
		t.Store(c.node.lock.VA+24, next, prev)
		t.StackLoad(112)
		t.StackStore(104, 0)
		t.StackLoad(112)
		t.Store(s.page+24, 0, t.Last())
		t.Store(s.page+16, 0, 0)
		t.StackStore(112, 0)
		t.StackLoad(32)
		t.StackStore(16, 0)
		t.StackStore(40, 0)
		locking.SpinUnlockIrqrestore(t, v, &c.node.lock)
		for _, s := range taken {
			got += c.drainSlab73(t, s, f, want-got)
		}
		t.Branch(false, t.ALU(1, 0))
		next = t.StackLoad(32)
		t.ALU(1, next)
		left := t.StackLoad(104)
		t.StackStore(40, left)
		t.ALU(1, left)
		t.Branch(true, t.ALU2(next, left))
		t.StackLoad(8)
		t.ALU(1, 0)
		t.Jump()
		left = t.StackLoad(104)
		t.Branch(true, t.ALU(2, left))
	}
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(120)))
	t.Frame(-128)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return got
}

// drainSlab73 takes a slab's whole free list with one cmpxchg16b and stores the objects in the sheaf: one dependent load
// through the previous object per object. What does not fit goes back to the slab.
func (c *Cache) drainSlab73(t *cpu.Thread, s *slab, f *sheaf, room int) int {
	first := t.StackLoad(104)
	page := t.Load(s.page+16, first)
	t.ALU(4, page)
	t.StackStore(32, page)
	t.Branch(false, t.ALU2(first, page))
	t.StackStore(8, 0)
	t.StackLoad(16)
	t.ALU(8, first)
	t.StackStore(40, 0)
	t.StackStore(16, 0)
	c.m.listDelValid(t, s.page+16)
	t.StackLoad(40)
	t.Branch(false, t.ALU(1, 0))
	a := t.Load(s.page+16, 0)
	b := t.Load(s.page+24, 0)
	t.StackStore(112, b)
	t.StackStore(104, a)
	t.ALU(3, 0)
	t.StackStore(40, 0)
	t.Store(s.page+16, 0, 0)
	t.Store(s.page+24, 0, 0)
	t.ALU(3, 0)
	head := t.Load(s.page+32, 0)
	t.Mem(cpu.Load, c.va+8, 4, 0, 0)
	t.StackStore(48, head)
	counters := t.Load(s.page+40, 0)
	t.StackStore(64, 0)
	t.StackStore(72, counters)
	t.StackStore(56, counters)
	t.ALU(4, counters)
	t.Mem(cpu.Store, t.SP()+72, 2, 0, t.Last())
	c.updateFreelist73(t, s)
	t.Branch(false, t.ALU(1, 0))
	t.Mem(cpu.Load, t.SP()+58, 2, 0, 0)
	t.Mem(cpu.Load, t.SP()+56, 2, 0, 0)
	t.ALU(2, 0)
	obj := t.StackLoad(48)
	t.ALU(1, 0)
	t.StackLoad(40)
	t.Branch(false, t.ALU(2, obj))
	t.StackLoad(24)
	t.ALU(2, obj)
	t.Jump()
	t.Branch(true, t.ALU2(obj, 0))
	got := 0
	top := t.Here()
	for len(s.free) > 0 && got < room {
		o := s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		s.inuse++
		t.Store(f.va+32+uint64(len(f.objs))*8, 0, obj)
		f.objs = append(f.objs, o)
		got++
		off := t.Mem(cpu.Load, c.va+cacheOffset, 4, 0, 0)
		t.ALU(1, off)
		addr := t.ALU2(off, obj)
		next := t.Load(o+c.free, addr)
		swab := t.ALU(1, addr)
		random := t.LoadOp(c.va+cacheRandom12, 0, next)
		obj = t.ALU2(t.ALU(1, swab), random)
		t.Nop(1)
		t.ALU(3, 0)
		t.Branch(len(s.free) == 0, obj)
		t.ALU(2, obj)
		t.Loop(top, len(s.free) > 0 && got < room, t.Last())
	}
	if len(s.free) > 0 { // more than fits: the rest goes back under the list lock
		c.relist73(t, s)
	}
	return got
}

// updateFreelist73 is slab_update_freelist: lock cmpxchg16b of freelist and counters.
func (c *Cache) updateFreelist73(t *cpu.Thread, s *slab) {
	t.Call(slabUpdateFreelist)
	t.Push(1)
	t.ALU(2, 0)
	ok := t.ALU(1, 0)
	t.Push(1)
	t.Branch(false, t.ALU(1, ok))
	for _, o := range []int{72, 56, 80, 64} {
		t.StackLoad(o)
	}
	t.Branch(false, t.Mem(cpu.Atomic, s.page+32, 16, 0, t.Last()))
	t.ALU(1, 0)
	t.Pop(1)
	t.Pop(1)
	t.Ret()
}

// otherNodes73 is the part of refill_objects that looks at the zones of the zone list for partial slabs elsewhere; a
// machine with one node has four zones to pass.
func (c *Cache) otherNodes73(t *cpu.Thread) {
	v := kernel.V7_3
	ratio := t.Mem(cpu.Load, c.va+120, 4, 0, 0) // remote_node_defrag_ratio
	t.Branch(false, t.ALU(1, ratio))
	t.Nop(1)
	t.Branch(true, t.ALU(3, ratio))
	t.ALU(15, 0)
	t.StackLoad(16)
	for _, o := range []int{48, 24, 64, 52, 32, 40, 36} {
		t.StackStore(o, 0)
	}
	t.ALU(4, 0)
	t.Nop(1)
	t.Call(mempolicySlabNode)
	t.Nop(2)
	t.Push(1)
	count := t.Mem(cpu.Load, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	t.Mem(cpu.Load, kernel.NumaNode(t.CPU), 4, 0, 0)
	t.Branch(false, t.ALU(1, count))
	task := t.Load(kernel.CurrentTask(v, t.CPU), 0)
	pol := t.Load(c.m.task(t.CPU)+24, task)
	t.Branch(true, t.ALU(1, pol))
	t.ALU(1, 0)
	t.Pop(1)
	t.Ret()
	t.StackLoad(40)
	nd := t.Load(c.m.z.nodeData, t.ALU(1, 0))
	ref := t.ALU(2, nd)
	t.Branch(false, t.Mem(cpu.LoadOp, c.m.z.zonelist+8, 4, ref, 0))
	t.Branch(false, t.ALU(1, t.Load(c.m.z.zonelist, ref)))
	t.ALU(3, ref)
	t.StackStore(12, 0)
	t.Jump()
	top := t.Here()
	for i := 1; i <= 3; i++ {
		zr := c.m.z.zonelist + uint64(i)*16
		nid := t.Mem(cpu.Load, c.m.z.zone+32, 4, ref, 0)
		t.ALU(1, nid)
		t.Branch(false, t.ALU(1, nid))
		n := t.Load(c.va+cacheNode73, t.ALU(1, nid))
		t.Branch(false, t.ALU(1, n))
		t.Nop(1)
		np := t.Load(c.node.lock.VA+8, n)
		t.Branch(true, t.LoadOp(c.va+16, 0, np))
		ref = t.ALU(1, ref)
		t.Branch(true, t.Mem(cpu.LoadOp, zr+8, 4, ref, 0))
		z := t.Load(zr, t.ALU(1, ref))
		t.Branch(i == 3, t.ALU(1, z))
		if i < 3 {
			t.Back(top)
		}
	}
	for _, o := range []int{12, 48, 32, 52, 64} {
		t.StackLoad(o)
	}
	t.Nop(1)
	t.Branch(false, t.ALU(3, t.Last()))
	t.Jump()
	t.ALU(3, 0)
	t.Jump()
	t.Branch(true, t.ALU(2, 0))
	t.Branch(true, t.LoadOp(c.va+cacheCtor73, 0, 0))
	t.StackLoad(28)
	t.ALU(3, 0)
}

// newSlab73 is allocate_slab.
func (c *Cache) newSlab73(t *cpu.Thread) *slab {
	g := c.m.Env.Sym
	t.Call(allocateSlab73)
	t.Nop(1)
	t.Push(6)
	t.Frame(8)
	oo := t.Mem(cpu.Load, c.va+48, 4, 0, 0)
	t.Mem(cpu.LoadOp, g.GfpAllowedMask, 4, 0, 0)
	t.Mem(cpu.LoadOp, c.va+56, 4, 0, 0)
	t.StackStore(0, 0)
	t.ALU(10, oo)
	t.Branch(true, t.Last())
	t.ALU(2, 0)
	t.Branch(false, t.Last())
	t.Branch(false, t.ALU(1, 0))
	t.ALU(4, 0)
	t.StackStore(0, 0)
	s := c.newSlab(t)
	t.StackLoad(0)
	t.Branch(false, t.ALU(1, 0))
	t.Branch(false, t.Mem(cpu.LoadOp, s.page+51, 1, 0, 0))
	t.Mem(cpu.Store, s.page+48, 4, 0, 0)
	link := t.Load(s.page+8, 0)
	head := t.ALU(1, t.ALU2(t.Chain(3, link), link))
	t.Load(s.page+8, 0)
	h := t.ALU(1, head)
	t.ALU(1, h)
	t.Branch(false, t.Mem(cpu.LoadOp, s.page+51, 1, head, 0))
	t.Branch(false, t.ALU(1, h))
	t.Branch(false, t.ALU(1, h))
	objects := t.ALU(1, 0)
	t.Store(s.page+40, h, 0)
	t.Mem(cpu.Store, s.page+42, 2, h, objects)
	t.Branch(false, t.Mem(cpu.LoadOp, c.va+9, 1, 0, 0))
	t.Mem(cpu.RMW, s.page+44, 1, h, 0)
	t.Store(s.page+8, h, 0)
	t.Nop(1)
	t.Store(s.page+56, h, 0)
	t.Branch(true, t.ALU(1, t.Mem(cpu.Load, c.va+8, 4, 0, 0)))
	t.Jump()
	t.Jump()
	t.Branch(false, t.ALU(1, 0))
	flags := t.Load(s.page, h)
	t.ALU(4, 0)
	t.ALU(1, t.Mem(cpu.LoadOp, c.va+10, 1, 0, 0))
	t.Load(c.m.z.nodeData, t.ALU(1, flags))
	t.ALU(1, 0)
	c.m.modNodePageState(t)
	t.Frame(-8)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return s
}

// takeNew73 is alloc_from_new_slab: objects go from the fresh slab straight into the sheaf in random order, 21
// instructions each; if some remain they are threaded into a free list (build_slab_freelist, 33 each) and the slab joins
// the node's partial list.
func (c *Cache) takeNew73(t *cpu.Thread, s *slab, f *sheaf, want int) int {
	v, g := kernel.V7_3, c.m.Env.Sym
	n := min(want, len(s.free))
	t.Call(allocFromNewSlab)
	t.Nop(1)
	t.Push(4)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	t.ALU(1, 0)
	t.Frame(72)
	objects := t.Mem(cpu.Load, s.page+42, 2, 0, 0)
	t.StackStore(0, 0)
	t.ALU(3, objects)
	guard := t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.StackStore(64, guard)
	t.ALU(1, 0)
	t.StackStore(40, 0)
	t.StackStore(48, 0)
	t.StackStore(56, 0)
	t.Branch(false, t.ALU(1, objects))
	t.StackStore(8, 0)
	t.ALU(1, 0)
	t.StackStore(24, 0)
	pfn := t.LoadOp(g.VmemmapBase, 0, t.ALU(1, 0))
	base := t.LoadOp(g.PageOffsetBase, 0, t.Chain(2, pfn))
	t.Nop(1)
	t.StackStore(32, base)
	t.Branch(false, t.ALU(1, objects))
	t.Branch(false, t.LoadOp(c.va+192, 0, 0))
	t.Mem(cpu.LoadOp, c.va+24, 4, 0, 0)
	t.Mem(cpu.Load, c.va+48, 2, 0, 0)
	t.StackStore(56, 0)
	t.StackLoad(0)
	t.StackStore(40, 0)
	t.ALU(2, 0)
	t.StackStore(48, 0)
	t.Branch(false, t.ALU(1, 0))
	c.m.randomBelow(t)
	t.StackStore(24, 0)
	t.Branch(true, t.ALU(2, 0))
	t.ALU(3, 0)
	t.Branch(false, t.LoadOp(t.SP()+56, 0, 0))
	t.Jump()
	top := t.Here()
	for i := 0; i < n; i++ {
		o := s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		s.inuse++
		b := t.StackLoad(32)
		pos := t.StackLoad(24)
		seq := t.Load(c.va+192, 0)
		count := t.StackLoad(40)
		limit := t.StackLoad(48)
		idx := t.Mem(cpu.Load, c.seqVA+(o-s.base)/c.Size*4, 4, seq, 0)
		p := t.ALU(1, pos)
		p = t.ALU2(t.ALU2(p, count), p)
		t.Branch(false, t.ALU2(idx, limit))
		t.StackStore(24, p)
		obj := t.ALU2(idx, b)
		t.Nop(1)
		ctor := t.Load(c.va+cacheCtor73, 0)
		t.Branch(true, t.ALU(1, ctor))
		t.Store(f.va+32+uint64(len(f.objs))*8, 0, obj)
		f.objs = append(f.objs, o)
		k := t.ALU(1, 0)
		t.Loop(top, i+1 < n, t.ALU2(k, 0))
	}
	t.ALU(1, 0)
	t.Mem(cpu.Store, s.page+40, 2, 0, t.Last())
	t.ALU(3, 0)
	if len(s.free) > 0 {
		c.buildFreelist73(t, s)
		t.Branch(false, t.LoadOp(t.SP()+8, 0, 0))
		c.addPartial73(t, s)
		flags := t.Load(s.page, 0)
		t.Mem(cpu.Load, s.page+42, 2, 0, 0)
		t.ALU(3, flags)
		nd := t.Load(c.va+cacheNode73, t.Last())
		t.Atomic(c.node.lock.VA+32, nd, 0)
		t.Atomic(c.node.lock.VA+40, nd, t.ALU(1, nd))
	}
	t.Branch(false, t.LoadOp(kernel.StackGuard(v, t.CPU), 0, t.StackLoad(64)))
	t.Frame(-72)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
	return n
}

// buildFreelist73 is build_slab_freelist over the objects that remain in a fresh slab.
func (c *Cache) buildFreelist73(t *cpu.Thread, s *slab) {
	t.Call(buildSlabFreelist)
	t.Push(6)
	t.ALU(1, 0)
	t.Frame(8)
	a := t.Mem(cpu.Load, s.page+42, 2, 0, 0)
	b := t.Mem(cpu.Load, s.page+40, 2, 0, 0)
	t.Branch(true, t.ALU2(t.ALU(1, a), b))
	t.ALU(3, 0)
	t.Call(nextSlabObj)
	t.Push(1)
	t.ALU(1, 0)
	t.Push(1)
	c.nextObj73(t, 112)
	t.ALU(1, 0)
	t.Pop(2)
	t.Ret()
	t.Store(s.page+32, 0, 0)
	prev := t.ALU(1, 0)
	t.Branch(false, t.ALU(1, prev))
	t.ALU(2, 0)
	t.Jump()
	top := t.Here()
	for i := len(s.free) - 1; i > 0; i-- {
		obj := c.nextObj73(t, 88)
		off := t.Mem(cpu.Load, c.va+cacheOffset, 4, 0, 0)
		addr := t.ALU2(off, prev)
		t.Branch(false, t.ALU2(obj, prev))
		random := t.Load(c.va+cacheRandom12, 0)
		swab := t.ALU(1, addr)
		k := t.ALU(1, 0)
		t.ALU(1, obj)
		swab = t.ALU(1, swab)
		t.Store(s.free[i]+c.free, addr, t.ALU2(t.ALU2(random, obj), swab))
		t.Branch(i == 1, t.ALU2(k, 0))
		prev = t.ALU(1, obj)
		if i > 1 {
			t.Back(top)
		}
	}
	off := t.Mem(cpu.Load, c.va+cacheOffset, 4, 0, 0)
	addr := t.ALU2(off, prev)
	t.Branch(false, t.ALU(1, prev))
	t.Store(s.free[0]+c.free, addr, t.LoadOp(c.va+cacheRandom12, 0, t.Chain(2, addr)))
	t.Frame(-8)
	t.Pop(6)
	t.Ret()
}

// nextObj73 is next_slab_obj, inlined but for its first use: 17 instructions with its state on the caller's stack.
func (c *Cache) nextObj73(t *cpu.Thread, at int) cpu.Val {
	random := t.LoadOp(t.SP()+uint64(at)+32, 0, 0)
	pos := t.StackLoad(at)
	t.Branch(false, random)
	count := t.StackLoad(at + 16)
	limit := t.StackLoad(at + 24)
	seq := t.Load(c.va+192, 0)
	idx := t.Mem(cpu.Load, c.seqVA, 4, seq, 0)
	p := t.ALU(1, pos)
	p = t.ALU2(t.ALU2(p, count), p)
	t.StackStore(at, p)
	t.Branch(false, t.ALU2(idx, limit))
	obj := t.LoadOp(t.SP()+uint64(at)+8, 0, idx)
	t.Nop(1)
	ctor := t.Load(c.va+cacheCtor73, 0)
	t.Branch(false, t.ALU(1, ctor))
	return obj
}

// addPartial73 puts s at the head of the node's partial list under its lock.
func (c *Cache) addPartial73(t *cpu.Thread, s *slab) {
	flags := t.Load(s.page, 0)
	n := t.Load(c.va+cacheNode73, t.Chain(2, flags))
	t.Branch(false, t.StackLoad(0))
	t.ALU(1, n)
	locking.SpinLockIrqsave(t, kernel.V7_3, &c.node.lock)
	first := t.Load(c.node.lock.VA+16, n)
	t.ALU(5, n)
	t.StackStore(0, 0)
	t.StackStore(8, first)
	c.m.listAddValid(t, c.node.lock.VA+16)
	t.Branch(false, t.ALU(1, 0))
	first = t.StackLoad(8)
	head := t.StackLoad(0)
	t.Store(c.node.lock.VA+24, first, 0)
	t.Store(s.page+16, 0, first)
	t.Store(s.page+24, 0, head)
	t.Store(c.node.lock.VA+16, n, 0)
	t.Mem(cpu.Atomic, s.page+1, 1, 0, 0)
	t.RMW(c.node.lock.VA+8, n, 0)
	t.ALU(2, n)
	locking.SpinUnlockIrqrestore(t, kernel.V7_3, &c.node.lock)
	c.node.partial = append([]*slab{s}, c.node.partial...)
	s.listed = true
}

// relist73 returns a slab that still has free objects to the node's partial list.
func (c *Cache) relist73(t *cpu.Thread, s *slab) {
	c.updateFreelist73(t, s)
	c.addPartial73(t, s)
}

// replaceFull73 is __pcs_replace_full_main: the spare sheaf if it has room, an empty one in exchange with the barn, or,
// when the barn is full, the objects of the sheaf go back to their slabs. Not in the recordings.
func (c *Cache) replaceFull73(t *cpu.Thread) {
	v := kernel.V7_3
	cs := &c.sheaves[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	t.Call(replaceFullMain)
	t.Nop(1)
	t.Push(6)
	t.Frame(8)
	capacity := t.Mem(cpu.Load, c.va+cacheCapacity, 4, 0, 0)
	t.ALU(4, capacity)
	spare := t.Load(pc+pcsSpare, 0)
	t.Branch(cs.spare != nil, t.ALU(1, spare))
	var flush *sheaf
	switch {
	case cs.spare == nil:
		numa := t.Mem(cpu.Load, kernel.NumaNode(t.CPU), 4, 0, 0)
		t.Load(c.va+cacheNode73-8, numa)
		t.ALU(4, t.Last())
		f := c.emptySheaf(t)
		cs.spare, cs.main = cs.main, f
		t.Store(pc+pcsSpare, 0, 0)
		t.Store(pc+pcsMain, 0, 0)
	case len(cs.spare.objs) < c.capacity:
		t.Branch(false, t.ALU(1, t.Mem(cpu.Load, cs.spare.va+24, 4, spare, 0)))
		cs.main, cs.spare = cs.spare, cs.main
		t.Load(pc+pcsMain, 0)
		t.Store(pc+pcsMain, 0, spare)
		t.Store(pc+pcsSpare, 0, 0)
	default:
		t.Branch(false, t.ALU(1, t.Mem(cpu.Load, cs.spare.va+24, 4, spare, 0)))
		t.Call(barnReplaceFull)
		t.Nop(1)
		t.Push(6)
		n := t.Mem(cpu.Load, c.barn.lock.VA+40, 4, 0, 0)
		room := len(c.barn.full) < barnSheaves
		t.Branch(!room, t.ALU(1, n))
		if room {
			f := c.emptySheaf(t)
			locking.SpinLockIrqsave(t, v, &c.barn.lock)
			c.listAdd(t, cs.main.va, c.barn.lock.VA+8)
			t.Mem(cpu.RMW, c.barn.lock.VA+40, 4, 0, 0)
			c.barn.full = append(c.barn.full, cs.main)
			cs.main = f
			locking.SpinUnlockIrqrestore(t, v, &c.barn.lock)
		} else {
			flush = cs.main
		}
		t.Pop(6)
		t.Ret()
		t.Store(pc+pcsMain, 0, 0)
	}
	if flush != nil {
		c.flush73(t, flush)
	}
	t.Frame(-8)
	t.ALU(1, 0)
	t.Pop(6)
	t.Ret()
}

// emptySheaf takes an empty sheaf from the barn or allocates one.
func (c *Cache) emptySheaf(t *cpu.Thread) *sheaf {
	n := t.Mem(cpu.Load, c.barn.lock.VA+44, 4, 0, 0)
	have := len(c.barn.empty) > 0
	t.Branch(!have, t.ALU(1, n))
	if !have {
		t.ALU(60, 0) // kmalloc of the sheaf; how it is served is not modelled
		return c.newSheaf()
	}
	locking.SpinLockIrqsave(t, kernel.V7_3, &c.barn.lock)
	last := len(c.barn.empty) - 1
	f := c.barn.empty[last]
	c.barn.empty = c.barn.empty[:last]
	c.listDel(t, f.va)
	t.Mem(cpu.RMW, c.barn.lock.VA+44, 4, 0, 0)
	locking.SpinUnlockIrqrestore(t, kernel.V7_3, &c.barn.lock)
	return f
}

// flush73 is sheaf_flush_unused: every object goes back to its slab.
func (c *Cache) flush73(t *cpu.Thread, f *sheaf) {
	t.Call(sheafFlush)
	t.Push(5)
	for i := len(f.objs) - 1; i >= 0; i-- {
		obj := f.objs[i]
		s := c.slabOf(obj)
		t.Call(freeToSlab)
		t.Push(6)
		t.Load(f.va+32+uint64(i)*8, 0)
		prior := t.Load(s.page+32, t.Last())
		counters := t.Load(s.page+40, 0)
		t.ALU(10, counters)
		t.Store(obj+c.free, 0, t.LoadOp(c.va+cacheRandom12, 0, prior))
		t.Branch(false, t.Mem(cpu.Atomic, s.page+32, 16, 0, prior))
		s.free = append(s.free, obj)
		s.inuse--
		empty := s.inuse == 0 && len(c.node.partial) > c.minPartial()
		t.Branch(empty, t.ALU(3, counters))
		switch {
		case empty:
			if s.listed {
				locking.SpinLockIrqsave(t, kernel.V7_3, &c.node.lock)
				c.node.unlist(s)
				t.RMW(c.node.lock.VA+8, 0, 0)
				locking.SpinUnlockIrqrestore(t, kernel.V7_3, &c.node.lock)
			}
			c.dropSlab(t, s)
		case !s.listed:
			c.addPartial73(t, s)
		}
		t.Pop(6)
		t.Ret()
	}
	f.objs = f.objs[:0]
	t.Mem(cpu.Store, f.va+24, 4, 0, 0)
	t.Pop(5)
	t.Ret()
}

// listDel and listAdd move a sheaf between lists of the barn.
func (c *Cache) listDel(t *cpu.Thread, va uint64) {
	c.m.listDelValid(t, va)
	next := t.Load(va, 0)
	prev := t.Load(va+8, 0)
	t.Store(va, 0, prev)
	t.Store(va+8, 0, next)
}

func (c *Cache) listAdd(t *cpu.Thread, va, head uint64) {
	c.m.listAddValid(t, head)
	first := t.Load(head, 0)
	t.Store(head+8, first, 0)
	t.Store(va, 0, first)
	t.Store(va+8, 0, 0)
	t.Store(head, 0, 0)
}
