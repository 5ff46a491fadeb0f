package iova

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
)

var (
	fnAlloc  = cpu.NewFunc("alloc_iova", "drivers/iommu/iova.c", 0x2a0)
	fnFree   = cpu.NewFunc("free_iova", "drivers/iommu/iova.c", 0xa0)
	fnRemove = cpu.NewFunc("remove_iova", "drivers/iommu/iova.c", 0x80)
)

// allocTree is alloc_iova() with __alloc_and_insert_iova_range() inlined: the highest free range of size pages that
// ends at or below frame limit and is aligned to its size rounded up to a power of two. nil: none.
func (d *Domain) allocTree(e emitter, size, limit uint64) *Node {
	d.Stats.Tree++
	if e.arm() {
		return d.allocTreeArm(e, size, limit)
	}
	v7 := d.v == kernel.V7_3
	e.call(fnAlloc)
	e.nop(2)
	e.push(1)
	e.alu(1, 0)
	e.push(1)
	e.alu(1, 0)
	e.push(2)
	e.alu(1, 0)
	e.push(1)
	e.alu(1, 0)
	e.push(1)
	e.frame(64)
	cache := e.load(d.at.nodeCache, 0)
	e.stackStore(24, 0)
	e.alu(1, cache)
	n := d.newNode(e.t)
	e.stackStore(56, 0)
	e.branch(n == nil, e.test(0))
	if n != nil {
		mask := ^uint64(0) << bits.Len64(size-1)
		if v7 {
			e.stackStore(32, 0)
			e.load(d.at.start, 0)
			e.branch(false, e.alu(2, 0))
			b := e.op(cpu.BitScan, e.alu(2, 0))
			e.branch(false, e.alu(2, b))
			e.stackStore(32, e.alu(3, b))
		} else {
			e.alu(1, 0)
			e.load(d.at.start, 0)
			e.alu(1, 0)
			e.stackStore(32, 0)
			e.branch(false, e.alu(1, 0))
			b := e.op(cpu.BitScan, e.alu(2, 0))
			e.stackStore(32, e.alu(2, b))
		}
		e.alu(1, 0)
		d.lockTree(e)
		e.stackStore(0, 0)
		ok := d.allocRange(e, n, size, limit+1, mask)
		e.stackLoad(0)
		e.alu(1, 0)
		d.unlockTree(e)
		if ok {
			e.jump()
		} else {
			e.load(d.at.nodeCache, 0)
			e.stackLoad(56)
			d.nodes.Free(e.t, n.VA)
			d.recycle(n)
			n = nil
		}
	}
	e.stackLoad(56)
	e.frame(-64)
	e.pop(6)
	e.ret()
	return n
}

// allocRange is __alloc_and_insert_iova_range() with the lock held. limit is the first frame that must stay free.
func (d *Domain) allocRange(e emitter, n *Node, size, limit, mask uint64) bool {
	below := limit <= d.dma32PFN
	e.branch(below, e.loadOp(d.at.dma32, 0, 0))
	var c cpu.Val
	curr := d.cached
	if below {
		s := e.stackLoad(24)
		full := size >= d.max32
		e.branch(full, e.loadOp(d.at.max32, 0, s))
		if full {
			return false
		}
		c = e.load(d.at.cached32, 0)
		curr = d.cached32
		e.jump()
	} else {
		c = e.load(d.at.cached, 0)
	}
	hi := e.load(curr.VA+offHi, c)
	e.alu(1, c)
	e.stackStore(40, hi)
	e.alu(1, hi)
	e.stackStore(48, hi)
	if d.v == kernel.V7_3 {
		e.alu(1, hi)
	}
	retryPFN := curr.Hi
	high, low := limit, uint64(StartPFN)
	var fresh uint64
	var at *Node
	for {
		for {
			d.Stats.Visited++
			high = min(high, curr.Lo)
			fresh = (high - size) & mask
			at = curr
			lo := e.load(curr.VA+offLo, c)
			e.alu(3, lo)
			sz := e.stackLoad(24)
			e.alu(2, sz)
			e.alu(1, e.stackLoadOp(32))
			p := curr
			curr = prev(e, p, c)
			nc := e.alu(1, 0)
			e.branch(curr == nil, nc)
			if curr == nil {
				break
			}
			again := fresh <= curr.Hi
			h := e.loadOp(curr.VA+offHi, nc, 0)
			e.branch(!again, h)
			if !again {
				break
			}
			again = fresh >= low
			e.branch(again, e.alu(1, 0))
			if !again {
				break
			}
			c = nc
		}
		s := e.stackLoad(24)
		e.branch(high < size, e.alu(1, s))
		if high >= size {
			e.branch(fresh >= low, e.alu(1, 0))
		}
		if high >= size && fresh >= low {
			break
		}
		// No room below the cached node: try once from the limit down to where this search started.
		e.branch(low != StartPFN, e.loadOp(d.at.start, 0, 0))
		if low == StartPFN {
			again := retryPFN < limit
			e.branch(!again, e.stackLoadOp(40))
			if again {
				d.Stats.Retries++
				high, low = limit, retryPFN+1
				curr, c = d.findLimit(e, limit)
				e.alu(3, 0)
				e.jump()
				continue
			}
		}
		d.max32 = size
		e.store(d.at.max32, 0, s)
		return false
	}
	n.Lo, n.Hi = fresh, fresh+size-1
	e.stackLoad(24)
	nv := e.stackLoad(56)
	e.store(n.VA+offLo, nv, 0)
	e.store(n.VA+offHi, nv, e.alu(2, 0))
	d.insert(e, n, at, nv)
	nh := e.load(n.VA+offHi, 0)
	e.stackLoad(56)
	low32 := n.Hi < d.dma32PFN
	if v7 := d.v == kernel.V7_3; v7 {
		e.branch(low32, e.loadOp(d.at.dma32, 0, nh))
		if low32 {
			e.store(d.at.cached32, 0, nv)
			e.jump()
		} else {
			e.store(d.at.cached, 0, nv)
		}
	} else {
		e.branch(!low32, e.loadOp(d.at.dma32, 0, nh))
		if low32 {
			e.store(d.at.cached32, 0, nv)
		} else {
			e.store(d.at.cached, 0, nv)
			e.jump()
		}
	}
	if low32 {
		d.cached32 = n
	} else {
		d.cached = n
	}
	return true
}

// insert is iova_insert_rbtree(): link n below start, the node above it, and rebalance.
func (d *Domain) insert(e emitter, n, start *Node, nv cpu.Val) {
	if e.arm() {
		d.insertArm(e, n, start, nv)
		return
	}
	e.branch(start != nil, e.alu(1, 0))
	p, a := start, cpu.Val(0)
	var s int
	for {
		lo := e.load(p.VA+offLo, a)
		e.alu(1, a)
		less := n.Lo < p.Lo
		e.branch(less, e.alu(1, lo))
		s = left
		if !less {
			s = right
			if n.Lo == p.Lo {
				panic("iova: range inserted twice")
			}
			e.branch(false, lo)
			e.alu(1, a)
		}
		l := e.load(p.at(s), a)
		more := p.child[s] != nil
		e.branch(more, e.alu(1, l))
		if !more {
			break
		}
		p, a = p.child[s], l
	}
	e.alu(1, a)
	e.stackLoad(56)
	e.alu(1, a)
	e.store(n.VA+offColor, nv, a)
	e.alu(1, 0)
	e.store(n.at(right), nv, 0)
	e.store(n.at(left), nv, 0)
	e.store(p.at(s), a, nv)
	p.child[s] = n
	n.parent, n.red = p, true
	d.tree.insertColor(e, n, nv)
}

// findLimit is iova_find_limit(): the lowest node that starts at or above limit; a search for room below limit starts
// there.
func (d *Domain) findLimit(e emitter, limit uint64) (*Node, cpu.Val) {
	over := limit > d.dma32PFN
	e.branch(over, e.loadOp(d.at.dma32, 0, 0))
	if over {
		return &d.anchor, e.alu(1, 0)
	}
	n := d.tree.root
	v := e.load(d.tree.VA, 0)
	for n.Hi < limit {
		e.branch(true, e.loadOp(n.VA+offHi, v, 0))
		v = e.load(n.at(right), v)
		n = n.child[right]
	}
	e.branch(false, e.loadOp(n.VA+offHi, v, 0))
	for {
		l := e.load(n.at(left), v)
		x := n.child[left]
		for x != nil && x.Lo >= limit {
			e.branch(false, e.alu(1, l))
			e.branch(true, e.loadOp(x.VA+offLo, l, 0))
			n, v = x, l
			l = e.load(n.at(left), v)
			x = n.child[left]
		}
		e.branch(x == nil, e.alu(1, l))
		if x == nil {
			return n, v
		}
		e.branch(false, e.loadOp(x.VA+offLo, l, 0))
		again := false
		for x.child[right] != nil {
			l = e.load(x.at(right), l)
			e.branch(false, e.alu(1, l))
			x = x.child[right]
			again = x.Lo >= limit
			e.branch(again, e.loadOp(x.VA+offLo, l, 0))
			if again {
				n, v = x, l
				break
			}
		}
		if !again {
			e.branch(true, e.load(x.at(right), l))
			return n, v
		}
	}
}

// freeTree is free_iova(): find the range of frame pfn, take it out of the tree, free its node. It was entered by a tail
// call.
func (d *Domain) freeTree(e emitter, pfn uint64) {
	e.nop(2)
	e.push(2)
	e.alu(1, 0)
	e.push(1)
	e.alu(1, 0)
	e.push(1)
	d.lockTree(e)
	n, v := d.find(e, pfn)
	e.alu(1, v)
	if n == nil {
		d.unlockTree(e)
		e.pop(4)
		e.ret()
		return
	}
	d.remove(e, n, v)
	e.alu(2, 0)
	d.unlockTree(e)
	e.branch(true, e.loadOp(n.VA+offLo, v, 0))
	e.load(d.at.nodeCache, 0)
	e.alu(1, v)
	e.pop(4)
	if s, ok := d.nodes.(tailSlab); ok {
		s.TailFree(e.t, n.VA)
	} else {
		d.nodes.Free(e.t, n.VA)
		e.ret()
	}
	d.recycle(n)
}

// find is private_find_iova().
func (d *Domain) find(e emitter, pfn uint64) (*Node, cpu.Val) {
	v := e.load(d.tree.VA, 0)
	e.alu(1, 0)
	e.mem(cpu.Load, d.at.lock, 4, 0, 0)
	e.branch(false, e.alu(1, 0)) // WARN unless the lock is held
	e.branch(false, e.alu(1, v))
	n := d.tree.root
	for n != nil {
		less := pfn < n.Lo
		e.branch(!less, e.loadOp(n.VA+offLo, v, 0))
		if less {
			v = e.load(n.at(left), v)
			n = n.child[left]
			e.branch(n != nil, e.alu(1, v))
			continue
		}
		in := pfn <= n.Hi
		e.branch(in, e.loadOp(n.VA+offHi, v, 0))
		if in {
			break
		}
		v = e.load(n.at(right), v)
		n = n.child[right]
		e.jump()
		e.branch(n == nil, e.alu(1, v))
	}
	return n, v
}

// remove is remove_iova() with __cached_rbnode_delete_update() inlined; it ends in a tail call of rb_erase. The lock is
// held.
func (d *Domain) remove(e emitter, n *Node, v cpu.Val) {
	d.Stats.TreeFrees++
	e.alu(1, v)
	e.call(fnRemove)
	e.nop(1)
	e.mem(cpu.Load, d.at.lock, 4, 0, 0)
	e.branch(false, e.alu(1, 0)) // WARN unless the lock is held
	e.push(1)
	e.alu(1, 0)
	e.push(1)
	c := e.load(d.at.cached32, 0)
	e.alu(1, v)
	same := n == d.cached32
	e.branch(same, e.alu(1, c))
	above := same
	if !same {
		low := n.Hi < d.dma32PFN
		h := e.load(n.VA+offHi, v)
		e.branch(!low, e.loadOp(d.at.dma32, 0, h))
		if low {
			above = n.Lo >= d.cached32.Lo
			lo := e.load(n.VA+offLo, v)
			e.branch(!above, e.loadOp(d.cached32.VA+offLo, c, lo))
		}
	}
	var dma32 cpu.Val
	if above {
		e.alu(1, v)
		d.cached32 = next(e, n, v)
		dma32 = e.load(d.at.dma32, 0)
		e.store(d.at.cached32, 0, 0)
	} else {
		dma32 = e.load(d.at.dma32, 0)
	}
	lo := e.load(n.VA+offLo, v)
	low := n.Lo < d.dma32PFN
	e.branch(low, e.alu(1, lo))
	if low {
		e.store(d.at.max32, 0, dma32)
		d.max32 = d.dma32PFN
	}
	c = e.load(d.at.cached, 0)
	lo = e.load(n.VA+offLo, v)
	below := n.Lo < d.cached.Lo
	e.branch(below, e.loadOp(d.cached.VA+offLo, c, lo))
	if !below {
		e.alu(1, v)
		d.cached = next(e, n, v)
		e.store(d.at.cached, 0, 0)
	}
	e.alu(2, v)
	e.pop(2)
	d.tree.erase(e, n, v)
}
