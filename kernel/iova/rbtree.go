package iova

import "dmapath/cpu"

// Node is a struct iova: an allocated range of IOVA page frames [Lo, Hi], and its place in the red-black tree.
type Node struct {
	VA     uint64 // struct iova in simulated memory, 64 bytes
	Lo, Hi uint64 // first and last page frame, both included
	child  [2]*Node
	parent *Node
	red    bool
}

// Sides of a node, in the order of the fields of struct rb_node.
const (
	right = 0
	left  = 1
)

// Offsets in struct iova: struct rb_node, then the two frame numbers (BTF, 6.12 and 7.3).
const (
	offColor = 0 // rb_node.__rb_parent_color
	offChild = 8 // rb_right; rb_left follows
	offHi    = 24
	offLo    = 32
)

var (
	fnInsertColor = cpu.NewFunc("rb_insert_color", "lib/rbtree.c", 0x140)
	fnErase       = cpu.NewFunc("rb_erase", "lib/rbtree.c", 0x2e0)
	fnNext        = cpu.NewFunc("rb_next", "lib/rbtree.c", 0x70)
	fnPrev        = cpu.NewFunc("rb_prev", "lib/rbtree.c", 0x70)
)

// tree is a struct rb_root: the address of its only word and the root node. Its operations are those of lib/rbtree.c,
// rotation by rotation, so that the shape of the tree, and with it what a walk touches, is the real one. Dependences
// follow the pointers: a node's address is the result of the load that fetched it.
type tree struct {
	VA   uint64
	root *Node
	v7   bool // 7.3's compiler laid rb_erase out differently
}

// at returns the address of the link to n's child on side s.
func (n *Node) at(s int) uint64 { return n.VA + offChild + 8*uint64(s) }

// next is rb_next(): the in-order successor (lib/rbtree.c, 6.12 and 7.3).
func next(e emitter, n *Node, a cpu.Val) *Node { return step(e, fnNext, n, a, right) }

// prev is rb_prev(): the in-order predecessor.
func prev(e emitter, n *Node, a cpu.Val) *Node { return step(e, fnPrev, n, a, left) }

// step walks one node towards side s: down to that side and then to the other side's end, or, without a child there,
// up until it comes from the other side.
func step(e emitter, fn *cpu.Func, n *Node, a cpu.Val, s int) *Node {
	e.call(fn)
	if e.arm() {
		return e.stepArm(n, a, s)
	}
	e.nop(1)
	pc := e.load(n.VA+offColor, a)
	e.branch(false, e.alu(1, pc)) // RB_EMPTY_NODE
	c := e.load(n.at(s), a)
	m := n.child[s]
	e.branch(m == nil, e.test(c))
	if m != nil {
		top := e.here()
		for {
			e.alu(1, c)
			c = e.load(m.at(1-s), c)
			more := m.child[1-s] != nil
			e.loop(top, more, e.test(c))
			if !more {
				break
			}
			m = m.child[1-s]
		}
		e.ret()
		return m
	}
	for {
		e.alu(1, pc)
		p := e.alu(1, pc) // parent: the colour bits masked off
		e.alu(1, p)
		m = n.parent
		e.branch(m != nil, p)
		if m == nil {
			break
		}
		v := e.loadOp(m.at(s), p, 0)
		from := m.child[s] == n
		e.branch(!from, v)
		if !from {
			break
		}
		pc = e.load(m.VA+offColor, p)
		e.alu(1, p)
		n = m
	}
	e.ret()
	return m
}

// stepArm is step on arm64 after the function was entered.
func (e emitter) stepArm(n *Node, a cpu.Val, s int) *Node {
	pc := e.load(n.VA+offColor, a)
	e.branch(false, e.alu(1, pc)) // RB_EMPTY_NODE
	c := e.load(n.at(s), a)
	m := n.child[s]
	e.branch(m == nil, c)
	if m != nil {
		top := e.here()
		for {
			e.alu(1, c)
			c = e.load(m.at(1-s), c)
			more := m.child[1-s] != nil
			e.loop(top, more, c)
			if !more {
				break
			}
			m = m.child[1-s]
		}
		e.alu(1, c)
		e.ret()
		return m
	}
	top := e.here()
	for {
		p := e.alu(2, pc) // parent: the colour bits masked off
		m = n.parent
		e.branch(m == nil, p)
		if m == nil {
			break
		}
		v := e.load(m.at(s), p)
		from := m.child[s] == n
		e.branch(!from, e.alu(1, v))
		if !from {
			break
		}
		pc = e.load(m.VA+offColor, p)
		e.loop(top, true, pc)
		n = m
	}
	e.alu(1, a)
	e.ret()
	return m
}

// changeChild is __rb_change_child(): parent's link (or the root) to old becomes one to n.
func (r *tree) changeChild(old, n, parent *Node) {
	switch {
	case parent == nil:
		r.root = n
	case parent.child[left] == old:
		parent.child[left] = n
	default:
		parent.child[right] = n
	}
}

// link stores n into parent's link to old, or into the root, as compiled into rb_insert_color and rb_erase.
func (r *tree) link(e emitter, old, n, parent *Node, p, v cpu.Val) {
	if parent == nil {
		e.branch(true, p)
		e.store(r.VA, 0, v)
	} else {
		e.branch(false, p)
		e.alu(1, v)
		isLeft := parent.child[left] == old
		e.branch(isLeft, e.loadOp(parent.at(left), p, v))
		if isLeft {
			e.store(parent.at(left), p, v)
		} else {
			e.store(parent.at(right), p, v)
		}
	}
	r.changeChild(old, n, parent)
}

// insertColor is rb_insert_color(): n has been linked as a red leaf; recolour and rotate until no red node has a red
// parent.
func (r *tree) insertColor(e emitter, n *Node, a cpu.Val) {
	e.call(fnInsertColor)
	if !e.arm() {
		e.nop(1)
	}
	p := e.load(n.VA+offColor, a)
	parent := n.parent
	e.branch(parent == nil, e.test(p))
	top := e.here()
	for {
		if parent == nil { // n is the root
			n.red = false
			e.store(n.VA+offColor, p, 0)
			break
		}
		g := e.load(parent.VA+offColor, p)
		e.branch(!parent.red, e.test(g))
		if !parent.red {
			break
		}
		gp := parent.parent
		s := right // the side of gp that parent is on
		if gp.child[left] == parent {
			s = left
		}
		u := e.load(gp.at(right), g)
		e.branch(s == right, e.alu(1, u))
		if s == right {
			u = e.load(gp.at(left), g)
		}
		uncle := gp.child[1-s]
		e.branch(uncle == nil, e.test(u))
		if uncle != nil {
			red := e.mem(cpu.LoadOp, uncle.VA+offColor, 1, u, 0)
			e.branch(uncle.red, red)
			if uncle.red {
				// Case 1: recolour and go on from the grandparent.
				v := e.alu(1, g)
				e.store(uncle.VA+offColor, u, v)
				e.store(parent.VA+offColor, p, v)
				n = gp
				up := e.load(gp.VA+offColor, g)
				e.alu(1, g)
				p = e.alu(1, up)
				e.store(gp.VA+offColor, g, p)
				e.alu(1, p)
				uncle.red, parent.red, gp.red = false, false, true
				parent = gp.parent
				e.loop(top, parent != nil, e.test(p))
				continue
			}
		}
		// Case 2: n is the inner grandchild; rotate it to the outside first.
		t := e.load(parent.at(1-s), p)
		inner := parent.child[1-s] == n
		e.branch(inner, e.alu(1, t))
		if inner {
			x := e.load(n.at(s), t)
			m := n.child[s]
			e.alu(1, p)
			e.store(parent.at(1-s), p, x)
			e.store(n.at(s), t, p)
			e.branch(m != nil, e.test(x))
			if m != nil {
				e.alu(1, p)
				e.store(m.VA+offColor, x, p)
				m.parent, m.red = parent, false
			}
			e.store(parent.VA+offColor, p, t)
			e.load(n.at(1-s), t)
			e.alu(1, t)
			e.jump()
			parent.child[1-s] = m
			n.child[s] = parent
			parent.parent, parent.red = n, true
			parent, p = n, t
			t = e.load(parent.at(1-s), p)
		}
		// Case 3: rotate at the grandparent.
		m := parent.child[1-s]
		e.alu(1, p)
		e.store(gp.at(s), g, t)
		e.store(parent.at(1-s), p, g)
		e.branch(m == nil, e.test(t))
		if m != nil {
			v := e.alu(1, g)
			e.store(m.VA+offColor, t, v)
			m.parent, m.red = gp, false
			if s == right {
				e.jump() // the mirrored code shares the tail
			}
		}
		gp.child[s], parent.child[1-s] = m, gp
		gg := e.load(gp.VA+offColor, g)
		e.store(parent.VA+offColor, p, gg)
		e.store(gp.VA+offColor, g, p)
		r.link(e, gp, parent, gp.parent, e.alu(1, gg), p)
		parent.parent, parent.red = gp.parent, gp.red
		gp.parent, gp.red = parent, true
		break
	}
	e.ret()
}

// erase is rb_erase(): takes n out of the tree and rebalances it. remove_iova, its only user here, jumps to it; on arm64 it calls.
func (r *tree) erase(e emitter, n *Node, a cpu.Val) {
	var l, c cpu.Val
	if e.arm() {
		e.call(fnErase)
		l = e.loadPair(n.at(right), a)
		c = l
	} else {
		e.tail(fnErase)
		e.nop(1)
		l = e.load(n.at(left), a)
		e.alu(1, a)
		c = e.load(n.at(right), a)
	}
	noLeft := n.child[left] == nil
	e.branch(noLeft, e.test(l))
	var rebalance *Node
	var rb cpu.Val
	switch {
	case noLeft:
		pc := e.load(n.VA+offColor, a)
		p := e.alu(1, pc)
		ch := n.child[right]
		r.eraseLink(e, n, ch, n.parent, p, c)
		e.branch(ch != nil, e.test(c))
		if ch != nil {
			e.store(ch.VA+offColor, c, pc)
			ch.parent, ch.red = n.parent, n.red
		} else {
			e.branch(!n.red && n.parent != nil, e.test(pc))
			if !n.red {
				rebalance, rb = n.parent, p
			}
		}
	case n.child[right] == nil:
		e.branch(true, e.test(c))
		pc := e.load(n.VA+offColor, a)
		e.store(n.child[left].VA+offColor, l, pc)
		p := e.alu(1, pc)
		r.eraseLink(e, n, n.child[left], n.parent, p, l)
		n.child[left].parent, n.child[left].red = n.parent, n.red
	default:
		e.branch(false, e.test(c))
		rebalance, rb = r.eraseInner(e, n, a, l, c)
	}
	if rebalance != nil {
		r.eraseColor(e, rebalance, rb)
	}
	n.child, n.parent = [2]*Node{}, nil
	e.ret()
}

// eraseLink is __rb_change_child() as rb_erase is compiled: the store lies out of line and jumps back.
func (r *tree) eraseLink(e emitter, old, n, parent *Node, p, v cpu.Val) {
	e.branch(parent == nil, p)
	if parent == nil {
		e.store(r.VA, 0, v)
	} else {
		if e.arm() {
			e.alu(1, p)
		} else {
			e.alu(2, p)
		}
		isLeft := parent.child[left] == old
		e.branch(isLeft, e.loadOp(parent.at(left), p, 0))
		if isLeft {
			e.store(parent.at(left), p, v)
			if !r.v7 && !e.arm() {
				e.jump()
			}
		} else {
			e.store(parent.at(right), p, v)
		}
	}
	r.changeChild(old, n, parent)
}

// eraseInner removes a node with two children: its successor takes its place.
func (r *tree) eraseInner(e emitter, n *Node, a, l, c cpu.Val) (*Node, cpu.Val) {
	child := n.child[right]
	succ, sv := child, c
	t := e.load(child.at(left), c)
	parent, pv := succ, sv
	var child2 *Node
	var c2 cpu.Val
	e.branch(child.child[left] == nil, e.test(t))
	if child.child[left] == nil {
		child2 = succ.child[right]
		c2 = e.load(succ.at(right), sv)
	} else {
		top := e.here()
		for succ.child[left] != nil {
			parent, pv = succ, sv
			succ, sv = succ.child[left], t
			e.alu(2, t)
			t = e.load(succ.at(left), sv)
			e.loop(top, succ.child[left] != nil, e.alu(1, t))
		}
		child2 = succ.child[right]
		c2 = e.load(succ.at(right), sv)
		e.store(parent.at(left), pv, c2)
		e.store(succ.at(right), sv, c)
		x := e.load(child.VA+offColor, c)
		e.store(child.VA+offColor, c, e.alu(2, x))
		parent.child[left] = child2
		succ.child[right] = child
		child.parent = succ
	}
	lv := e.load(n.at(left), a)
	e.store(succ.at(left), sv, lv)
	x := e.load(n.child[left].VA+offColor, l)
	e.store(n.child[left].VA+offColor, l, e.alu(2, x))
	succ.child[left] = n.child[left]
	succ.child[left].parent = succ
	pc := e.load(n.VA+offColor, a)
	p := e.alu(1, pc)
	r.eraseLink(e, n, succ, n.parent, p, sv)
	e.branch(child2 != nil, e.alu(1, c2))
	var rebalance *Node
	if child2 != nil {
		e.store(child2.VA+offColor, c2, e.alu(1, pv))
		child2.parent, child2.red = parent, false
	} else {
		e.branch(!succ.red, e.mem(cpu.LoadOp, succ.VA+offColor, 1, sv, 0))
		if !succ.red {
			rebalance = parent
		}
	}
	e.store(succ.VA+offColor, sv, pc)
	succ.parent, succ.red = n.parent, n.red
	return rebalance, pv
}

// eraseColor is ____rb_erase_color(), inlined in rb_erase: the subtree of parent on one side is one black node short.
func (r *tree) eraseColor(e emitter, parent *Node, p cpu.Val) {
	var n *Node
	top := e.here()
	for {
		// The short side is the one n hangs on; a nil n is on the right only if the right child is nil.
		v := e.load(parent.at(right), p)
		s := right // the sibling's side
		onRight := parent.child[right] == n
		if onRight {
			s = left
		}
		e.branch(onRight, e.alu(1, v))
		if onRight {
			v = e.load(parent.at(left), p)
		}
		sib := parent.child[s]
		e.branch(sib.red, e.mem(cpu.LoadOp, sib.VA+offColor, 1, v, 0))
		if sib.red {
			// Case 1: a red sibling; rotate so that a black one takes its place.
			t := e.load(sib.at(1-s), v)
			m := sib.child[1-s]
			e.alu(1, p)
			e.store(parent.at(s), p, t)
			e.store(sib.at(1-s), v, p)
			e.store(m.VA+offColor, t, p)
			parent.child[s], sib.child[1-s] = m, parent
			m.parent, m.red = parent, false
			r.rotateParents(e, parent, sib, true, p, v)
			sib, v = m, t
		}
		far := e.load(sib.at(s), v)
		f := sib.child[s]
		e.branch(f == nil, e.test(far))
		if f != nil {
			e.branch(!f.red, e.mem(cpu.LoadOp, f.VA+offColor, 1, far, 0))
		}
		if f == nil || !f.red {
			nv := e.load(sib.at(1-s), v)
			m := sib.child[1-s]
			e.branch(m == nil, e.test(nv))
			if m != nil {
				e.branch(!m.red, e.mem(cpu.LoadOp, m.VA+offColor, 1, nv, 0))
			}
			if m == nil || !m.red {
				// Case 2: recolour; done if the parent was red.
				e.store(sib.VA+offColor, v, p)
				sib.red = true
				pc := e.load(parent.VA+offColor, p)
				e.branch(parent.red, e.test(pc))
				if parent.red {
					e.store(parent.VA+offColor, p, e.alu(1, pc))
					parent.red = false
					return
				}
				n = parent
				parent = n.parent
				e.alu(1, p)
				p = e.alu(1, pc)
				e.loop(top, parent != nil, p)
				if parent == nil {
					return
				}
				continue
			}
			// Case 3: the near nephew is red; rotate it to the far side.
			t := e.load(m.at(s), nv)
			k := m.child[s]
			e.store(sib.at(1-s), v, t)
			e.store(m.at(s), nv, v)
			e.store(parent.at(s), p, nv)
			e.branch(k != nil, e.test(t))
			if k != nil {
				e.store(k.VA+offColor, t, e.alu(1, v))
				k.parent, k.red = sib, false
			}
			e.alu(2, v)
			sib.child[1-s] = k
			m.child[s] = sib
			parent.child[s] = m
			// The colours and parents of m and sib are set in case 4.
			f, far = sib, v
			sib, v = m, nv
		}
		// Case 4: rotate at the parent; the far nephew becomes black.
		t := e.load(sib.at(1-s), v)
		k := sib.child[1-s]
		e.store(parent.at(s), p, t)
		e.store(sib.at(1-s), v, p)
		e.store(f.VA+offColor, far, e.alu(1, v))
		e.branch(k != nil, e.test(t))
		parent.child[s], sib.child[1-s] = k, parent
		f.parent, f.red = sib, false
		if k != nil {
			x := e.load(k.VA+offColor, t)
			e.store(k.VA+offColor, t, e.alu(2, x))
			k.parent = parent
		}
		r.rotateParents(e, parent, sib, false, p, v)
		return
	}
}

// rotateParents is __rb_rotate_set_parents(): n takes old's parent and colour, old becomes n's child of colour red.
func (r *tree) rotateParents(e emitter, old, n *Node, red bool, o, v cpu.Val) {
	pc := e.load(old.VA+offColor, o)
	e.store(n.VA+offColor, v, pc)
	e.store(old.VA+offColor, o, v)
	r.link(e, old, n, old.parent, e.alu(1, pc), v)
	n.parent, n.red = old.parent, old.red
	old.parent, old.red = n, red
}
