package virtioiommu

import (
	"math/rand/v2"
	"sort"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel/recorded"
)

// valid checks everything that must hold of a tree: order, colours, equal black heights, parents, and the augmented ends.
func valid(t *testing.T, r *tree) (nodes []*node) {
	var walk func(n *node) (black int, last uint64)
	walk = func(n *node) (int, uint64) {
		if n == nil {
			return 0, 0
		}
		for _, c := range n.child {
			if c != nil && (c.parent != n || n.red && c.red) {
				t.Fatalf("node %#x: parent %v, red under red %v", c.first, c.parent == n, n.red && c.red)
			}
		}
		lb, ll := walk(n.child[left])
		nodes = append(nodes, n)
		rb, rl := walk(n.child[right])
		if lb != rb {
			t.Fatalf("node %#x: black heights %d and %d", n.first, lb, rb)
		}
		if want := max(n.last, ll, rl); n.sub != want {
			t.Fatalf("node %#x: subtree ends at %#x, says %#x", n.first, want, n.sub)
		}
		if !n.red {
			lb++
		}
		return lb, max(n.last, ll, rl)
	}
	if r.root != nil && r.root.red {
		t.Fatal("the root is red")
	}
	walk(r.root)
	if !sort.SliceIsSorted(nodes, func(i, j int) bool { return nodes[i].first < nodes[j].first }) {
		t.Fatal("out of order")
	}
	if len(nodes) > 0 && r.leftmost != nodes[0] || len(nodes) == 0 && r.leftmost != nil {
		t.Fatal("the leftmost node is another")
	}
	return nodes
}

// After any inserts and removes the tree is a valid red-black tree with correct ends, and a search over any range visits exactly the
// intervals that overlap it, in order, as a scan of a sorted list does.
func TestTreeEqualsAList(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	recorded.Run(func(th *cpu.Thread) {
		r := &tree{va: cpu.DirectMapBase + 1<<20}
		var list []*node
		for step := range 4000 {
			if grow := step/500%2 == 0; len(list) == 0 || rng.IntN(10) < 7 == grow {
				first := uint64(rng.IntN(4096)) << 16 // disjoint: intervals are within 64 KiB
				i := sort.Search(len(list), func(i int) bool { return list[i].first>>16 >= first>>16 })
				if i < len(list) && list[i].first>>16 == first>>16 {
					continue
				}
				first += uint64(rng.IntN(8)) << 12
				n := &node{va: cpu.DirectMapBase + 1<<21 + uint64(step)*64, first: first, last: first + uint64(1+rng.IntN(8))<<12 - 1}
				r.insert(th, n)
				list = append(list, nil)
				copy(list[i+1:], list[i:])
				list[i] = n
			} else {
				i := rng.IntN(len(list))
				r.remove(th, list[i])
				list = append(list[:i], list[i+1:]...)
			}
			nodes := valid(t, r)
			if len(nodes) != len(list) {
				t.Fatalf("step %d: %d nodes, want %d", step, len(nodes), len(list))
			}
			first := uint64(rng.IntN(4096)) << 16
			last := first + uint64(rng.IntN(64))<<12
			n := r.find(th, first, last)
			for _, want := range list {
				if want.last < first || want.first > last {
					continue
				}
				if n != want {
					t.Fatalf("step %d: search %#x-%#x finds another than %#x", step, first, last, want.first)
				}
				n = r.next(th, n, first, last)
			}
			if n != nil {
				t.Fatalf("step %d: search %#x-%#x goes on to %#x", step, first, last, n.first)
			}
			th.Sync()
		}
	})
}
