package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

// refill12 gives the CPU a new slab: from its own partial list, from the node or from the page allocator.
func (c *Cache) refill12(t *cpu.Thread, this, s cpu.Val) {
	cs := &c.cpus[t.CPU]
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	none := len(cs.partial) == 0
	t.Branch(none, t.LoadOp(pc+24, this, 0))
	if none {
		c.refillNode12(t)
		cs.page.frozen = true
		cs.free, cs.page.free = cs.page.free, nil
		t.Store(pc+16, this, 0)
		locking.IrqSave(t)
		return
	}
	irq := locking.IrqSave(t)
	t.ALU(1, irq)
	t.Branch(false, t.LoadOp(pc+16, this, 0))
	page := t.Load(pc+24, this)
	t.Branch(false, t.ALU(1, page))
	p := cs.partial[len(cs.partial)-1]
	cs.partial = cs.partial[:len(cs.partial)-1]
	next := t.Load(p.page+16, page)
	t.Store(pc+24, this, next)
	t.Branch(true, t.ALU(1, s))
	t.Branch(false, t.ALU(1, t.Load(p.page, page)))
	t.Store(pc+16, this, page)
	t.ALU(1, 0)
	c.getFreelist12(t, p.page, page)
	cs.page = p
	cs.free, p.free = p.free, nil
	p.inuse = c.perSlab
}

// refillNode12 is get_partial_node and, when the node has nothing, new_slab. Neither is in the recordings; the
// instruction counts follow the source with the density of its recorded neighbours.
func (c *Cache) refillNode12(t *cpu.Thread) {
	v := kernel.V6_12
	cs := &c.cpus[t.CPU]
	t.ALU(6, 0)
	n := t.Load(c.node.lock.VA+8, 0) // nr_partial, looked at without the lock
	t.Branch(len(c.node.partial) == 0, t.ALU(1, n))
	if len(c.node.partial) > 0 {
		locking.SpinLockIrqsave(t, v, &c.node.lock)
		limit := max(c.cpuPartialSlabs()/2, 1)
		for i := 0; len(c.node.partial) > 0 && i <= limit; i++ {
			s := c.node.partial[0]
			c.node.unlist(s)
			page := t.Load(c.node.lock.VA+16, 0)
			t.ALU(4, page)
			t.Load(s.page, page)
			t.Load(s.page+40, page)
			t.ALU(4, page)
			t.Atomic(s.page+32, page, 0) // freeze
			t.Load(s.page+16, page)
			t.Load(s.page+24, page)
			t.ALU(6, page)
			t.Store(s.page+16, page, 0)
			t.Store(s.page+24, page, 0)
			t.RMW(c.node.lock.VA+8, 0, 0)
			t.Branch(false, t.Last())
			s.frozen = true
			if i == 0 {
				cs.page = s
				continue
			}
			cs.partial = append(cs.partial, s)
		}
		locking.SpinUnlockIrqrestore(t, v, &c.node.lock)
	}
	t.ALU(2, 0)
	if cs.page == nil {
		cs.page = c.newSlab12(t)
	}
	cs.page.inuse = c.perSlab
}

// newSlab12 is allocate_slab with shuffle_freelist.
func (c *Cache) newSlab12(t *cpu.Thread) *slab {
	v := kernel.V6_12
	t.Call(allocateSlab)
	t.Nop(1)
	t.Push(6)
	t.Frame(16)
	t.Mem(cpu.Load, c.va+48, 4, 0, 0)
	t.ALU(18, 0)
	t.Branch(false, t.Last())
	c.mempolicy12(t)
	s := c.newSlab(t)
	page := t.Load(s.page, 0)
	t.ALU(20, page)
	t.Store(s.page+40, 0, 0)
	t.Store(s.page+8, 0, 0)
	t.RMW(s.page+44, 0, 0)
	t.Branch(false, t.Last())
	t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.ALU(24, 0)
	c.m.randomBelow(t)
	top := t.Here()
	for i := range s.free { // link the objects in the order of random_seq
		obj := s.free[len(s.free)-1-i]
		// next_freelist_entry: take the next offset, wrap around
		pos := t.StackLoad(0)
		idx := t.Mem(cpu.Load, c.seqVA+uint64(i)*4, 4, 0, pos)
		t.StackStore(0, t.ALU(1, pos))
		t.Branch(false, t.ALU(1, pos))
		t.Branch(false, t.ALU(1, idx))
		t.ALU(3, idx)
		c.setupObject12(t)
		// set_freepointer of a hardened free list
		t.Branch(false, t.ALU(1, t.Mem(cpu.Load, c.va+40, 4, 0, 0)))
		swapped := t.Chain(2, idx)
		enc := t.ALU2(t.LoadOp(c.va+cacheRandom12, 0, swapped), idx)
		t.Store(obj+c.free, idx, enc)
		t.ALU(4, 0)
		t.Loop(top, i+1 < len(s.free), t.ALU(1, 0))
	}
	c.m.modNodePageState(t)
	t.Frame(-16)
	t.Pop(6)
	t.Ret()
	return s
}

// setupObject12 is setup_object of a cache without a constructor.
func (c *Cache) setupObject12(t *cpu.Thread) {
	t.Call(setupObject)
	t.Nop(1)
	t.Push(1)
	t.Branch(false, t.ALU(1, t.Mem(cpu.Load, c.va+8, 4, 0, 0)))
	t.ALU(2, 0)
	t.Branch(true, t.ALU(1, t.Load(c.va+80, 0)))
	t.ALU(1, 0)
	t.Pop(1)
	t.Ret()
}

// mempolicy12 is what lies between allocate_slab and the page allocator, and get_any_partial's look for another node's slabs:
// alloc_pages_noprof, alloc_pages_mpol_noprof, policy_nodemask, mempolicy_slab_node.
func (c *Cache) mempolicy12(t *cpu.Thread) {
	v := kernel.V6_12
	t.Call(mempolicySlabNode)
	t.Nop(2)
	count := t.Mem(cpu.Load, kernel.PreemptCount(v, t.CPU), 4, 0, 0)
	t.Branch(false, t.ALU(1, count))
	pol := t.Load(c.m.task(t.CPU)+24, t.Load(kernel.CurrentTask(v, t.CPU), 0))
	t.Branch(true, t.ALU(1, pol))
	t.ALU(1, 0)
	t.Ret()
	t.Call(allocNoprof)
	t.Nop(2)
	t.Push(2)
	task := t.Load(kernel.CurrentTask(v, t.CPU), 0)
	pol = t.Load(c.m.task(t.CPU)+24, task)
	t.Branch(true, t.ALU(1, pol))
	t.ALU(8, pol)
	t.Call(allocPagesMpol)
	t.Nop(2)
	t.Push(6)
	t.Frame(16)
	t.Load(kernel.StackGuard(v, t.CPU), 0)
	t.ALU(8, 0)
	t.StackStore(0, 0)
	t.Call(policyNodemask)
	t.Nop(2)
	mode := t.Mem(cpu.Load, c.m.task(t.CPU)+64, 2, 0, 0)
	t.Branch(false, t.ALU(1, mode))
	t.Branch(true, t.ALU(1, mode))
	t.ALU(5, mode)
	t.Ret()
	t.ALU(8, 0)
	t.Branch(false, t.Last())
	t.Frame(-16)
	t.Pop(6)
	t.Ret()
	t.Pop(2)
	t.Ret()
}

// cpuPartialSlabs is how many partial slabs a CPU keeps: cpu_partial objects (120 below 256 bytes, 52 below 1024, 24
// below a page, else 6), counted as half-full slabs.
func (c *Cache) cpuPartialSlabs() int {
	n := 120
	switch {
	case c.Size >= 4096:
		n = 6
	case c.Size >= 1024:
		n = 24
	case c.Size >= 256:
		n = 52
	}
	return (2*n + c.perSlab - 1) / c.perSlab
}

// slabFree12 is __slab_free: the object goes back to its slab, which another CPU may be using, with a locked
// cmpxchg16b on the slab's struct page. Not in the recordings.
func (c *Cache) slabFree12(t *cpu.Thread, s *slab, obj uint64) {
	cs := &c.cpus[t.CPU]
	t.Call(slabFreeSlow)
	t.Nop(1)
	t.Push(6)
	t.Frame(40)
	t.ALU(6, 0)
	prior := t.Load(s.page+32, 0)
	counters := t.Load(s.page+40, 0)
	random := t.Load(c.va+cacheRandom12, 0)
	t.ALU(4, random)
	t.Store(obj+c.free, 0, t.ALU2(random, prior))
	t.ALU(8, counters)
	full := len(s.free) == 0 && !s.frozen
	t.Branch(full, t.ALU(1, prior))
	t.Branch(false, t.Mem(cpu.LoadOp, c.va+10, 1, 0, 0))
	t.Branch(false, t.Mem(cpu.Atomic, s.page+32, 16, 0, prior))
	s.free = append(s.free, obj)
	s.inuse--
	t.ALU(4, 0)
	t.Branch(false, t.Last())
	switch {
	case full: // first free object of a full slab: this CPU keeps the slab
		s.frozen = true
		c.putPartial12(t, cs, s)
	case s.inuse == 0 && s.listed && len(c.node.partial) > c.minPartial():
		c.dropIfEmpty(t, s)
	}
	t.Frame(-40)
	t.Pop(6)
	t.Ret()
}

// putPartial12 is put_cpu_partial; when the list is long enough its slabs go to the node (__put_partials).
func (c *Cache) putPartial12(t *cpu.Thread, cs *cpuSlab, s *slab) {
	pc := c.m.Env.Cpu(c.cpuOff, t.CPU)
	t.Call(putCPUPartial)
	t.Nop(1)
	t.Push(4)
	locking.IrqSave(t)
	old := t.Load(pc+24, 0)
	t.Branch(len(cs.partial) > 0, t.ALU(2, old))
	var drain []*slab
	if len(cs.partial) >= c.cpuPartialSlabs() {
		drain, cs.partial = cs.partial, nil
	}
	cs.partial = append(cs.partial, s)
	t.ALU(6, old)
	t.Mem(cpu.Store, s.page+24, 4, 0, 0)
	t.Store(s.page+16, 0, old)
	t.Store(pc+24, 0, 0)
	t.Op(cpu.IrqFlag, 0)
	t.Nop(1)
	t.Branch(len(drain) > 0, t.ALU(1, old))
	if len(drain) > 0 {
		c.putPartials12(t, drain)
	}
	t.Pop(4)
	t.Ret()
}

func (c *Cache) putPartials12(t *cpu.Thread, drain []*slab) {
	t.Call(putPartials)
	t.Push(6)
	t.Frame(24)
	locking.SpinLockIrqsave(t, kernel.V6_12, &c.node.lock)
	var empty []*slab
	for i := len(drain) - 1; i >= 0; i-- {
		s := drain[i]
		s.frozen = false
		page := t.Load(s.page+16, 0)
		t.Load(s.page+40, page)
		t.ALU(8, page)
		t.Branch(false, t.Mem(cpu.Atomic, s.page+32, 16, page, 0))
		if s.inuse == 0 && len(c.node.partial) >= c.minPartial() {
			empty = append(empty, s)
			continue
		}
		c.node.partial = append(c.node.partial, s)
		s.listed = true
		t.Load(c.node.lock.VA+24, 0)
		t.Store(c.node.lock.VA+24, 0, 0)
		t.Store(s.page+16, 0, 0)
		t.Store(s.page+24, 0, 0)
		t.RMW(c.node.lock.VA+8, 0, 0)
	}
	locking.SpinUnlockIrqrestore(t, kernel.V6_12, &c.node.lock)
	for _, s := range empty {
		c.dropSlab(t, s)
	}
	t.Frame(-24)
	t.Pop(6)
	t.Ret()
}
