package iova

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
)

// The tree's side of the allocator on arm64. Of these functions only the counts are recorded. The search itself (allocRange) and the
// rotations of lib/rbtree.c are those of x86 in A64 instructions.

var (
	fnFind   = cpu.NewFunc("private_find_iova", "drivers/iommu/iova.c", 0x60)
	fnInsert = cpu.NewFunc("iova_insert_rbtree", "drivers/iommu/iova.c", 0xa0)
)

// allocTreeArm is alloc_iova() on arm64: 90 instructions of its own when the first place fits.
func (d *Domain) allocTreeArm(e emitter, size, limit uint64) *Node {
	v7 := d.v == kernel.V7_3
	e.call(fnAlloc)
	e.alu(1, 0)
	e.nop(2)
	e.push(2)
	e.alu(1, 0)
	e.push(10)
	e.t.Reserve(32)
	if !v7 {
		e.t.StackStorePair(0, 0)
	}
	e.t.StackStore(16, 0)
	e.alu(2, 0)
	e.load(d.at.nodeCache, 0)
	e.alu(2, 0)
	n := d.newNode(e.t)
	e.branch(n == nil, 0)
	if n != nil {
		mask := ^uint64(0) << bits.Len64(size-1)
		e.load(d.at.start, 0)
		e.branch(false, e.alu(2, 0))
		b := e.op(cpu.BitScan, e.alu(1, 0))
		e.alu(2, b)
		if v7 {
			e.branch(false, e.alu(2, b)) // UBSAN_SHIFT
			e.alu(1, b)
		}
		d.lockTree(e)
		e.t.StackLoad(16)
		e.alu(1, 0)
		ok := d.allocRange(e, n, size, limit+1, mask)
		d.unlockTree(e)
		if !ok {
			e.load(d.at.nodeCache, 0)
			e.alu(2, 0)
			d.nodes.Free(e.t, n.VA)
			d.recycle(n)
			n = nil
		}
	}
	e.t.StackLoad(24)
	if v7 {
		e.alu(2, 0)
	}
	e.t.StackLoadPair(0)
	e.t.Reserve(-32)
	e.pop(12)
	e.nop(1)
	e.ret()
	return n
}

// insertArm is iova_insert_rbtree(), a function on arm64: 24 instructions and 9 more for every further level below start.
func (d *Domain) insertArm(e emitter, n, start *Node, nv cpu.Val) {
	e.alu(3, 0)
	e.call(fnInsert)
	e.alu(2, 0)
	e.nop(2)
	lo := e.load(n.VA+offLo, nv)
	e.branch(start != nil, 0)
	p, a := start, cpu.Val(0)
	var s int
	for {
		v := e.load(p.VA+offLo, a)
		less := n.Lo < p.Lo
		e.branch(less, e.alu(1, v))
		s = left
		if !less {
			s = right
			if n.Lo == p.Lo {
				panic("iova: range inserted twice")
			}
			e.branch(false, lo)
		}
		e.alu(2, a)
		l := e.load(p.at(s), e.alu(1, a))
		more := p.child[s] != nil
		e.branch(more, l)
		if !more {
			break
		}
		p, a = p.child[s], l
	}
	e.push(2)
	e.alu(2, a)
	e.store(n.VA+offColor, nv, a)
	e.storePair(n.at(right), nv, 0)
	e.store(p.at(s), a, nv)
	p.child[s] = n
	n.parent, n.red = p, true
	d.tree.insertColor(e, n, nv)
	e.pop(2)
	e.nop(1)
	e.ret()
}

// freeTreeArm is free_iova() on arm64 after it was entered: 38 instructions of its own on 6.12, 34 on 7.3. Only counts of the functions
// below are recorded.
func (d *Domain) freeTreeArm(e emitter, pfn uint64) {
	e.alu(1, 0)
	e.nop(2)
	e.push(2)
	e.alu(1, 0)
	e.push(3)
	e.alu(1, 0)
	d.lockTree(e)
	e.alu(3, 0)
	if d.v == kernel.V7_3 {
		e.alu(3, 0)
	}
	e.call(fnFind)
	n, v := d.findArm(e, pfn)
	e.branch(n == nil, v)
	if n != nil {
		e.alu(3, v)
		e.call(fnRemove)
		d.removeArm(e, n, v)
		d.unlockTree(e)
		e.branch(true, e.load(n.VA+offLo, v))
		e.load(d.at.nodeCache, e.alu(1, 0))
		e.alu(2, v)
		d.nodes.Free(e.t, n.VA)
		d.recycle(n)
	} else {
		d.unlockTree(e)
	}
	e.pop(3)
	e.pop(2)
	e.nop(1)
	e.ret()
}

// findArm is private_find_iova(), a function on arm64.
func (d *Domain) findArm(e emitter, pfn uint64) (*Node, cpu.Val) {
	e.alu(1, 0)
	e.nop(2)
	held := e.mem(cpu.Load, d.at.lock, 4, 0, 0)
	v := e.load(d.tree.VA, 0)
	e.branch(false, held) // WARN unless the lock is held
	e.branch(false, v)
	n := d.tree.root
	for n != nil {
		less := pfn < n.Lo
		e.branch(less, e.alu(1, e.load(n.VA+offLo, v)))
		if less {
			v = e.load(n.at(left), v)
			n = n.child[left]
			e.branch(n != nil, v)
			continue
		}
		in := pfn <= n.Hi
		e.branch(in, e.alu(1, e.load(n.VA+offHi, v)))
		if in {
			break
		}
		v = e.load(n.at(right), v)
		n = n.child[right]
		e.branch(n != nil, v)
	}
	e.alu(1, v)
	e.ret()
	return n, v
}

// removeArm is remove_iova() on arm64 with __cached_rbnode_delete_update() inlined; the lock is held.
func (d *Domain) removeArm(e emitter, n *Node, v cpu.Val) {
	d.Stats.TreeFrees++
	e.alu(1, 0)
	e.nop(2)
	e.branch(false, e.mem(cpu.Load, d.at.lock, 4, 0, 0))
	e.push(2)
	e.alu(1, 0)
	e.push(2)
	c := e.load(d.at.cached32, 0)
	e.alu(1, v)
	same := n == d.cached32
	e.branch(same, e.alu(1, c))
	above := same
	if !same {
		low := n.Hi < d.dma32PFN
		h := e.load(n.VA+offHi, v)
		e.branch(!low, e.alu(1, h))
		if low {
			above = n.Lo >= d.cached32.Lo
			e.branch(!above, e.alu(1, e.load(d.cached32.VA+offLo, c)))
		}
	}
	dma32 := e.load(d.at.dma32, 0)
	if above {
		d.cached32 = next(e, n, v)
		e.store(d.at.cached32, 0, 0)
	}
	lo := e.load(n.VA+offLo, v)
	low := n.Lo < d.dma32PFN
	e.branch(!low, e.alu(1, lo))
	if low {
		e.store(d.at.max32, 0, dma32)
		d.max32 = d.dma32PFN
	}
	c = e.load(d.at.cached, 0)
	e.alu(2, e.load(n.VA+offLo, v))
	below := n.Lo < d.cached.Lo
	e.branch(below, e.alu(1, e.load(d.cached.VA+offLo, c)))
	if !below {
		d.cached = next(e, n, v)
		e.store(d.at.cached, 0, 0)
	}
	e.alu(2, v)
	d.tree.erase(e, n, v)
	e.pop(4)
	e.nop(1)
	e.ret()
}
