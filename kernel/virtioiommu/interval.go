package virtioiommu

import "dmapath/cpu"

// node is struct viommu_mapping: a mapping and its place in the interval tree.
type node struct {
	va          uint64 // 64 bytes of kmalloc memory
	first, last uint64 // I/O addresses, both inclusive
	sub         uint64 // __subtree_last: the largest last below and at the node
	phys        uint64
	flags       uint32
	child       [2]*node
	parent      *node
	red         bool
}

// Sides of a node, in the order of the fields of struct rb_node.
const (
	right = 0
	left  = 1
)

// Offsets in struct viommu_mapping: paddr, struct interval_tree_node (rb_node, start, last, __subtree_last), flags.
const (
	offPhys  = 0
	offColor = 8
	offChild = 16
	offFirst = 32
	offLast  = 40
	offSub   = 48
	offFlags = 56
	nodeSize = 64
)

var (
	fnInsert      = cpu.NewFunc("interval_tree_insert", "lib/interval_tree.c", 160)
	fnRemove      = cpu.NewFunc("interval_tree_remove", "lib/interval_tree.c", 700)
	fnIterFirst   = cpu.NewFunc("interval_tree_iter_first", "lib/interval_tree.c", 150)
	fnIterNext    = cpu.NewFunc("interval_tree_iter_next", "lib/interval_tree.c", 160)
	fnInsertColor = cpu.NewFunc("__rb_insert_augmented", "lib/rbtree.c", 420)
	fnEraseColor  = cpu.NewFunc("__rb_erase_color", "lib/rbtree.c", 620)
)

// tree is struct rb_root_cached with the augmentation of include/linux/interval_tree_generic.h: every node knows the largest end below it.
// Its shape is the real one, and what a search touches with it.
type tree struct {
	va       uint64 // rb_root, rb_leftmost
	root     *node
	leftmost *node
}

func (n *node) at(side int) uint64 { return n.va + offChild + 8*uint64(side) }

// largest is compute_subtree_last: the augmented value of n from its own end and its children's.
func (n *node) largest(t *cpu.Thread, a cpu.Val) uint64 {
	m := n.last
	v := t.Load(n.va+offLast, a)
	for _, side := range [...]int{left, right} {
		c := n.child[side]
		p := t.Load(n.at(side), a)
		t.Branch(c == nil, t.ALU(1, p))
		if c == nil {
			continue
		}
		more := c.sub > m
		t.Branch(!more, t.ALU2(v, t.Load(c.va+offSub, p)))
		if more {
			m = c.sub
		}
	}
	return m
}

// insert is interval_tree_insert: down from the root, widening the ends on the way, then the colours.
func (r *tree) insert(t *cpu.Thread, n *node) {
	t.Call(fnInsert)
	t.Nop(2)
	t.ALU(3, 0)
	var parent *node
	side, leftmost := left, true
	p := t.Load(r.va, 0)
	top := t.Here()
	for at := r.root; ; {
		t.Branch(at == nil, t.ALU(1, p))
		if at == nil {
			break
		}
		parent = at
		s := t.Load(at.va+offSub, p)
		t.Branch(at.sub >= n.last, t.ALU(1, s))
		if at.sub < n.last {
			t.Store(at.va+offSub, p, 0)
			at.sub = n.last
		}
		f := t.Load(at.va+offFirst, p)
		side = left
		if n.first >= at.first {
			side, leftmost = right, false
		}
		t.Branch(side == right, t.ALU(1, f))
		p = t.Load(at.at(side), p)
		at = at.child[side]
		t.Back(top)
	}
	n.child, n.parent, n.red, n.sub = [2]*node{}, parent, true, n.last
	for _, off := range [...]uint64{offSub, offColor, offChild, offChild + 8} { // rb_link_node
		t.Store(n.va+off, 0, 0)
	}
	if parent == nil {
		r.root = n
		t.Store(r.va, 0, 0)
	} else {
		parent.child[side] = n
		t.Store(parent.at(side), 0, 0)
	}
	t.Branch(!leftmost, t.ALU(1, 0))
	if leftmost {
		r.leftmost = n
		t.Store(r.va+8, 0, 0)
	}
	r.insertColor(t, n)
	t.Ret()
}

// insertColor recolours and rotates from a new red leaf upwards.
func (r *tree) insertColor(t *cpu.Thread, n *node) {
	t.Call(fnInsertColor)
	t.Nop(1)
	t.Push(5)
	top := t.Here()
	p := t.Load(n.va+offColor, 0)
	for {
		parent := n.parent
		t.Branch(parent == nil, t.ALU(1, p))
		if parent == nil {
			n.red = false
			t.Store(n.va+offColor, p, 0)
			break
		}
		g := t.Load(parent.va+offColor, p)
		t.Branch(!parent.red, t.ALU(1, g))
		if !parent.red {
			break
		}
		gp := parent.parent
		side := right
		if gp.child[left] == parent {
			side = left
		}
		uncle := gp.child[1-side]
		u := t.Load(gp.at(1-side), g)
		t.Branch(side == left, t.ALU(1, u))
		red := uncle != nil && uncle.red
		if uncle != nil {
			u = t.Mem(cpu.LoadOp, uncle.va+offColor, 1, u, 0)
		}
		t.Branch(red, u)
		if red {
			for _, x := range [...]*node{uncle, parent, gp} {
				t.Store(x.va+offColor, g, t.ALU(1, g))
			}
			uncle.red, parent.red, gp.red = false, false, true
			n = gp
			p = t.Load(gp.va+offColor, g)
			t.Loop(top, true, p)
			continue
		}
		inner := parent.child[1-side] == n
		t.Branch(inner, t.ALU(1, t.Load(parent.at(1-side), p)))
		if inner {
			r.rotate(t, parent, side)
			parent = n
		}
		r.rotate(t, gp, 1-side)
		parent.red, gp.red = false, true
		break
	}
	t.Pop(5)
	t.Ret()
}

// rotate turns n down to the given side: its child on the other side takes its place. The ends are corrected by augment_rotate.
func (r *tree) rotate(t *cpu.Thread, n *node, side int) {
	up := n.child[1-side]
	p := t.Load(n.at(1-side), 0)
	mid := up.child[side]
	m := t.Load(up.at(side), p)
	n.child[1-side] = mid
	t.Store(n.at(1-side), 0, m)
	t.Branch(mid == nil, t.ALU(1, m))
	if mid != nil {
		mid.parent = n
		t.Store(mid.va+offColor, m, 0)
	}
	up.child[side] = n
	t.Store(up.at(side), p, 0)
	r.replace(t, n, up)
	n.parent = up
	t.Store(up.va+offColor, p, t.Load(n.va+offColor, 0))
	t.Store(n.va+offColor, 0, p)
	t.Store(up.va+offSub, p, t.Load(n.va+offSub, 0))
	up.sub = n.sub
	n.sub = n.largest(t, 0)
	t.Store(n.va+offSub, 0, t.Last())
}

// replace makes what pointed to old point to n, nil for nothing: __rb_change_child.
func (r *tree) replace(t *cpu.Thread, old, n *node) {
	parent := old.parent
	t.Branch(parent == nil, t.ALU(1, 0))
	switch {
	case parent == nil:
		r.root = n
		t.Store(r.va, 0, 0)
	default:
		side := right
		if parent.child[left] == old {
			side = left
		}
		t.Branch(side == left, t.LoadOp(parent.at(left), 0, 0))
		parent.child[side] = n
		t.Store(parent.at(side), 0, 0)
	}
	if n != nil {
		n.parent = parent
	}
}

// widen is augment_propagate: from n upwards ends are corrected until one does not change.
func widen(t *cpu.Thread, n *node) {
	top := t.Here()
	for n != nil {
		m := n.largest(t, 0)
		same := m == n.sub
		t.Branch(same, t.ALU(1, t.Load(n.va+offSub, 0)))
		if same {
			return
		}
		t.Store(n.va+offSub, 0, 0)
		n.sub = m
		t.Load(n.va+offColor, 0)
		n = n.parent
		t.Loop(top, n != nil, t.ALU(1, t.Last()))
	}
}

// remove is interval_tree_remove.
func (r *tree) remove(t *cpu.Thread, n *node) {
	t.Call(fnRemove)
	t.Nop(2)
	t.Push(5)
	t.Branch(r.leftmost == n, t.LoadOp(r.va+8, 0, 0))
	if r.leftmost == n {
		r.leftmost = r.after(t, n)
		t.Store(r.va+8, 0, t.Last())
	}
	l, rt := t.Load(n.at(left), 0), t.Load(n.at(right), 0)
	t.Branch(n.child[left] == nil, t.ALU(1, l))
	t.Branch(n.child[right] == nil, t.ALU(1, rt))
	var short, from *node // where a black node is missing, and from where ends change
	side := left
	switch {
	case n.child[left] == nil || n.child[right] == nil:
		c := n.child[left]
		if c == nil {
			c = n.child[right]
		}
		t.Load(n.va+offColor, 0)
		from = n.parent
		if from != nil && from.child[right] == n {
			side = right
		}
		r.replace(t, n, c)
		if c != nil {
			c.red = n.red
			t.Store(c.va+offColor, 0, 0)
		} else if !n.red {
			short = from
		}
	default:
		short, from, side = r.removeInner(t, n)
	}
	widen(t, from)
	t.Branch(short != nil, t.ALU(1, 0))
	if short != nil {
		r.eraseColor(t, short, side)
	}
	n.child, n.parent = [2]*node{}, nil
	t.Pop(5)
	t.Ret()
}

// after is rb_next of the leftmost node.
func (r *tree) after(t *cpu.Thread, n *node) *node {
	c := n.child[right]
	p := t.Load(n.at(right), 0)
	t.Branch(c == nil, t.ALU(1, p))
	if c == nil {
		t.Load(n.va+offColor, 0)
		return n.parent // the leftmost node is a left child
	}
	for top := t.Here(); ; c = c.child[left] {
		p = t.Load(c.at(left), p)
		t.Loop(top, c.child[left] != nil, t.ALU(1, p))
		if c.child[left] == nil {
			return c
		}
	}
}

// removeInner takes out a node with two children: its successor takes its place.
func (r *tree) removeInner(t *cpu.Thread, n *node) (short, from *node, side int) {
	s := n.child[right]
	p := t.Load(s.at(left), 0)
	for top := t.Here(); s.child[left] != nil; s = s.child[left] {
		p = t.Load(s.child[left].at(left), p)
		t.Loop(top, s.child[left].child[left] != nil, t.ALU(1, p))
	}
	c := s.child[right]
	t.Load(s.at(right), p)
	from, side = s, right
	if s != n.child[right] {
		from, side = s.parent, left
		s.parent.child[left] = c
		t.Store(s.parent.at(left), p, 0)
		s.child[right] = n.child[right]
		t.Store(s.at(right), p, 0)
		n.child[right].parent = s
		t.Store(n.child[right].va+offColor, 0, 0)
	}
	t.Store(s.va+offSub, p, t.Load(n.va+offSub, 0)) // augment_copy
	s.sub = n.sub
	s.child[left] = n.child[left]
	t.Store(s.at(left), p, 0)
	n.child[left].parent = s
	t.Store(n.child[left].va+offColor, 0, 0)
	lost := !s.red
	if c != nil {
		c.parent = from
		c.red, lost = false, false
		t.Store(c.va+offColor, 0, 0)
	}
	r.replace(t, n, s)
	s.red = n.red
	t.Store(s.va+offColor, p, t.Load(n.va+offColor, 0))
	if lost {
		short = from
	}
	if from != s { // ends change from the successor's old place upwards, and at its new one in any case
		widen(t, from)
	}
	s.sub = s.largest(t, 0)
	t.Store(s.va+offSub, 0, 0)
	return short, s.parent, side
}

// eraseColor repairs a subtree of parent, on the given side, that is one black node short.
func (r *tree) eraseColor(t *cpu.Thread, parent *node, side int) {
	t.Call(fnEraseColor)
	t.Nop(1)
	t.Push(5)
	top := t.Here()
	for {
		sib := parent.child[1-side]
		v := t.Load(parent.at(1-side), 0)
		t.Branch(sib.red, t.Mem(cpu.LoadOp, sib.va+offColor, 1, v, 0))
		if sib.red {
			r.rotate(t, parent, side)
			sib.red, parent.red = false, true
			sib = parent.child[1-side]
			v = t.Load(parent.at(1-side), 0)
		}
		far, near := sib.child[1-side], sib.child[side]
		farRed, nearRed := far != nil && far.red, near != nil && near.red
		t.Branch(farRed, t.ALU(1, t.Load(sib.at(1-side), v)))
		if !farRed {
			t.Branch(nearRed, t.ALU(1, t.Load(sib.at(side), v)))
			if !nearRed {
				sib.red = true
				t.Store(sib.va+offColor, v, 0)
				up := t.Load(parent.va+offColor, 0)
				stop := parent.red || parent.parent == nil
				parent.red = false
				t.Loop(top, !stop, t.ALU(1, up))
				if stop {
					t.Store(parent.va+offColor, 0, up)
					break
				}
				side = right
				if parent.parent.child[left] == parent {
					side = left
				}
				parent = parent.parent
				continue
			}
			r.rotate(t, sib, 1-side)
			near.red, sib.red = false, true
			sib, far = near, sib
		}
		r.rotate(t, parent, side)
		sib.red, parent.red, far.red = parent.red, false, false
		t.Store(far.va+offColor, 0, 0)
		break
	}
	t.Pop(5)
	t.Ret()
}

// find is interval_tree_iter_first: the node with the lowest start that has an address from first to last.
func (r *tree) find(t *cpu.Thread, first, last uint64) *node {
	t.Call(fnIterFirst)
	t.Nop(2)
	p := t.Load(r.va, 0)
	n := r.root
	t.Branch(n == nil, t.ALU(1, p))
	if n == nil {
		t.Ret()
		return nil
	}
	s := t.Load(n.va+offSub, p)
	t.Branch(n.sub < first, t.ALU(1, s))
	ok := n.sub >= first
	if ok {
		lm := t.Load(r.va+8, 0)
		t.Branch(r.leftmost.first > last, t.ALU(1, t.Load(r.leftmost.va+offFirst, lm)))
		ok = r.leftmost.first <= last
	}
	if !ok {
		t.Ret()
		return nil
	}
	n = search(t, n, p, first, last)
	t.Ret()
	return n
}

// search is interval_tree_subtree_search, inlined: n's subtree reaches first.
func search(t *cpu.Thread, n *node, p cpu.Val, first, last uint64) *node {
	top := t.Here()
	for {
		c := t.Load(n.at(left), p)
		down := n.child[left] != nil && n.child[left].sub >= first
		t.Branch(n.child[left] == nil, t.ALU(1, c))
		if n.child[left] != nil {
			t.Branch(down, t.ALU(1, t.Load(n.child[left].va+offSub, c)))
		}
		if down {
			n, p = n.child[left], c
			t.Back(top)
			continue
		}
		f := t.Load(n.va+offFirst, p)
		t.Branch(n.first > last, t.ALU(1, f))
		if n.first > last {
			return nil
		}
		e := t.Load(n.va+offLast, p)
		t.Branch(n.last >= first, t.ALU(1, e))
		if n.last >= first {
			return n
		}
		c = t.Load(n.at(right), p)
		down = n.child[right] != nil && n.child[right].sub >= first
		t.Branch(!down, t.ALU(2, c))
		if !down {
			return nil
		}
		n, p = n.child[right], t.Load(n.child[right].va+offSub, c)
		t.Back(top)
	}
}

// next is interval_tree_iter_next: the one after n that has an address from first to last.
func (r *tree) next(t *cpu.Thread, n *node, first, last uint64) *node {
	t.Call(fnIterNext)
	t.Nop(2)
	c := t.Load(n.at(right), 0)
	rb := n.child[right]
	top := t.Here()
	for {
		t.Branch(rb == nil, t.ALU(1, c))
		if rb != nil {
			s := t.Load(rb.va+offSub, c)
			t.Branch(rb.sub >= first, t.ALU(1, s))
			if rb.sub >= first {
				n = search(t, rb, c, first, last)
				t.Ret()
				return n
			}
		}
		for { // up, until we come from a left child
			p := t.Load(n.va+offColor, 0)
			up := n.parent
			t.Branch(up == nil, t.ALU(1, p))
			if up == nil {
				t.Ret()
				return nil
			}
			rb = n
			n = up
			c = t.Load(n.at(right), p)
			again := n.child[right] == rb
			t.Loop(top, again, t.ALU(1, c))
			if !again {
				break
			}
		}
		f := t.Load(n.va+offFirst, 0)
		t.Branch(n.first > last, t.ALU(1, f))
		if n.first > last {
			t.Ret()
			return nil
		}
		hit := n.last >= first
		t.Branch(hit, t.ALU(1, t.Load(n.va+offLast, 0)))
		if hit {
			t.Ret()
			return n
		}
		rb = n.child[right]
		t.Back(top)
	}
}
