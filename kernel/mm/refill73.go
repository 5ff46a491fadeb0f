package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

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
			s.frozen = true
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
		if len(taken) > 0 {
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
		}
		t.StackLoad(32)
		t.StackStore(16, 0)
		t.StackStore(40, 0)
		locking.SpinUnlockIrqrestore(t, v, &c.node.lock)
		for _, s := range taken {
			got += c.drainSlab73(t, s, f, want-got)
		}
		t.Branch(false, t.ALU(1, 0))
		next := t.StackLoad(32)
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
	s.frozen = false
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
	if !s.listed {
		c.node.partial = append([]*slab{s}, c.node.partial...)
		s.listed = true
	}
	locking.SpinUnlockIrqrestore(t, kernel.V7_3, &c.node.lock)
}

// relist73 returns a slab that still has free objects to the node's partial list.
func (c *Cache) relist73(t *cpu.Thread, s *slab) {
	c.updateFreelist73(t, s)
	c.addPartial73(t, s)
}
