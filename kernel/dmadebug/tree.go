package dmadebug

import (
	"math/bits"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/locking"
	"dmapath/kernel/mm"
)

// tree is dma_active_cacheline: a radix tree of the first cache lines of all buffers that a device may write, by line number. Nodes have 64
// slots and come from a slab cache.
type tree struct {
	nodes  []radixNode
	free   []int32
	root   int32
	height int // levels; 0 when the tree is empty
	n      int
	head   uint64
	cache  *mm.Cache
	lock   cpu.LockWord // radix_lock
}

// radixNode is struct radix_tree_node: slots hold children, or in the lowest level how many mappings the line has.
type radixNode struct {
	va    uint64
	count int
	slot  [64]int32 // child + 1, or mappings
}

// radixBytes is the size of a node, levels how many a 64-bit key has.
const (
	radixBytes = 576
	levels     = 11
)

var (
	fnLineInsert = cpu.NewFunc("active_cacheline_insert", file, 200)
	fnLineRemove = cpu.NewFunc("active_cacheline_remove", file, 180)
	fnRadixIns   = cpu.NewFunc("radix_tree_insert", "lib/radix-tree.c", 480)
	fnRadixDel   = cpu.NewFunc("radix_tree_delete_item", "lib/radix-tree.c", 420)
)

func (r *tree) init(e *kernel.Env, m *mm.MM) {
	r.head, r.root, r.cache = e.Data(64), -1, m.NewCache("radix_tree_node", radixBytes, 64)
	r.lock.VA, r.lock.Name = r.head+32, "radix_lock"
}

func (r *tree) node(t *cpu.Thread) int32 {
	var i int32
	if n := len(r.free); n > 0 {
		i, r.free = r.free[n-1], r.free[:n-1]
	} else {
		r.nodes = append(r.nodes, radixNode{})
		i = int32(len(r.nodes) - 1)
	}
	r.nodes[i] = radixNode{va: r.cache.Alloc(t)}
	return i
}

func (r *tree) drop(t *cpu.Thread, i int32) {
	r.cache.Free(t, r.nodes[i].va)
	r.free = append(r.free, i)
}

// step emits the descent from node i to a slot of it.
func (r *tree) step(t *cpu.Thread, i int32, slot uint64, p cpu.Val) cpu.Val {
	shift := t.Mem(cpu.Load, r.nodes[i].va, 1, p, 0)
	v := t.Load(r.nodes[i].va+40+slot*8, t.Chain(3, shift))
	t.Branch(false, t.ALU(1, v))
	return v
}

// insert is active_cacheline_insert: false when the line was there already.
func (r *tree) insert(t *cpu.Thread, v kernel.Version, key uint64) bool {
	t.Call(fnLineInsert)
	t.Nop(1)
	t.Push(3)
	t.ALU(4, 0)
	locking.SpinLockIrqsave(t, v, &r.lock)
	t.Call(fnRadixIns)
	t.Nop(1)
	t.Push(5)
	p := t.Load(r.head, t.ALU(3, 0))
	if r.height == 0 {
		r.root, r.height = r.node(t), max(1, (bits.Len64(key)+5)/6)
		t.Store(r.head, 0, t.ALU(6, 0))
	}
	for r.height < levels && key>>(6*r.height) != 0 { // one level more on top
		i := r.node(t)
		r.nodes[i].slot[0], r.nodes[i].count = r.root+1, 1
		t.Store(r.nodes[i].va+40, 0, p)
		r.root = i
		r.height++
		t.Store(r.head, 0, t.ALU(3, 0))
	}
	at := r.root
	for l := r.height - 1; l > 0; l-- {
		s := key >> (6 * l) & 63
		p = r.step(t, at, s, p)
		if r.nodes[at].slot[s] == 0 {
			child := r.node(t)
			r.nodes[at].slot[s] = child + 1
			r.nodes[at].count++
			t.Store(r.nodes[at].va+40+s*8, 0, 0)
			t.Mem(cpu.RMW, r.nodes[at].va+2, 1, 0, 0)
		}
		at = r.nodes[at].slot[s] - 1
	}
	s := key & 63
	r.step(t, at, s, p)
	fresh := r.nodes[at].slot[s] == 0
	t.Branch(!fresh, t.Last())
	if fresh {
		r.nodes[at].count++
		r.n++
		t.Store(r.nodes[at].va+40+s*8, 0, 0)
		t.Mem(cpu.RMW, r.nodes[at].va+2, 1, 0, 0)
	}
	r.nodes[at].slot[s]++
	t.Pop(5)
	t.Ret()
	if !fresh {
		r.overlap(t, at, s)
	}
	locking.SpinUnlockIrqrestore(t, v, &r.lock)
	t.Pop(3)
	t.Ret()
	return fresh
}

// overlap reads and writes the tags that count how often a line is mapped.
func (r *tree) overlap(t *cpu.Thread, at int32, s uint64) {
	for k := range uint64(3) {
		t.Branch(true, t.ALU(2, t.Load(r.nodes[at].va+552+k*8, 0)))
		t.Mem(cpu.RMW, r.nodes[at].va+552+k*8, 8, 0, 0)
	}
}

// remove is active_cacheline_remove.
func (r *tree) remove(t *cpu.Thread, v kernel.Version, key uint64) {
	t.Call(fnLineRemove)
	t.Nop(1)
	t.Push(3)
	t.ALU(4, 0)
	locking.SpinLockIrqsave(t, v, &r.lock)
	var path [levels]int32
	at, p := r.root, t.Load(r.head, 0)
	for l := r.height - 1; l > 0; l-- {
		path[l] = at
		s := key >> (6 * l) & 63
		p = r.step(t, at, s, p)
		at = r.nodes[at].slot[s] - 1
	}
	path[0] = at
	s := key & 63
	r.step(t, at, s, p)
	more := r.nodes[at].slot[s] > 1
	t.Branch(more, t.Last())
	r.nodes[at].slot[s]--
	if more {
		r.overlap(t, at, s)
	} else {
		t.Call(fnRadixDel)
		t.Nop(1)
		t.Push(4)
		r.n--
		for l := 0; l < r.height; l++ {
			i := path[l]
			s := key >> (6 * l) & 63
			r.nodes[i].slot[s] = 0
			r.nodes[i].count--
			t.Store(r.nodes[i].va+40+s*8, 0, 0)
			t.Mem(cpu.RMW, r.nodes[i].va+2, 1, 0, 0)
			t.Branch(r.nodes[i].count > 0, t.Last())
			if r.nodes[i].count > 0 {
				break
			}
			r.drop(t, i)
			if l == r.height-1 {
				r.height, r.root = 0, -1
				t.Store(r.head, 0, 0)
			}
		}
		t.Pop(4)
		t.Ret()
	}
	locking.SpinUnlockIrqrestore(t, v, &r.lock)
	t.Pop(3)
	t.Ret()
}
