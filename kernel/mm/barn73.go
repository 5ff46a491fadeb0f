package mm

import (
	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
)

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
		none = len(c.barn.full) == 0 // another CPU may have been faster
		if !none {
			last := len(c.barn.full) - 1
			full := c.barn.full[last]
			c.barn.full = c.barn.full[:last]
			c.listDel(t, full.va)
			c.listAdd(t, cs.main.va, c.barn.lock.VA+24)
			t.Mem(cpu.RMW, c.barn.lock.VA+40, 4, 0, 0)
			t.Mem(cpu.RMW, c.barn.lock.VA+44, 4, 0, 0)
			c.barn.empty = append(c.barn.empty, cs.main)
			cs.main = full
		}
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
	var f *sheaf
	if last := len(c.barn.empty) - 1; last >= 0 {
		f = c.barn.empty[last]
		c.barn.empty = c.barn.empty[:last]
		c.listDel(t, f.va)
		t.Mem(cpu.RMW, c.barn.lock.VA+44, 4, 0, 0)
	}
	locking.SpinUnlockIrqrestore(t, kernel.V7_3, &c.barn.lock)
	if f == nil { // another CPU was faster
		f = c.newSheaf()
	}
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
		empty := s.inuse == 0 && !s.frozen && len(c.node.partial) > c.minPartial()
		t.Branch(empty, t.ALU(3, counters))
		switch {
		case s.frozen: // whoever takes its objects out will list it again
		case empty:
			c.dropIfEmpty(t, s)
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
