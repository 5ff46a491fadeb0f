package iova

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"dmapath/cache"
	"dmapath/kernel"
)

func newDomain(tb testing.TB, v kernel.Version, cpus int) *Domain {
	tb.Helper()
	d, err := New(Config{Version: v, CPUs: cpus, Shift: 12})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// checkTree verifies the invariants of a red-black tree, the order of its ranges, and that both cached nodes are in it.
func checkTree(t *testing.T, d *Domain) {
	t.Helper()
	var walk func(n *Node) int
	seen := map[*Node]bool{}
	walk = func(n *Node) int {
		if n == nil {
			return 1
		}
		seen[n] = true
		for _, c := range n.child {
			if c != nil && c.parent != n {
				t.Fatalf("node %#x: child's parent link is wrong", n.Lo)
			}
			if n.red && c != nil && c.red {
				t.Fatalf("node %#x and its child %#x are red", n.Lo, c.Lo)
			}
		}
		l, r := walk(n.child[left]), walk(n.child[right])
		if l != r {
			t.Fatalf("node %#x: black heights %d and %d", n.Lo, l, r)
		}
		if !n.red {
			l++
		}
		return l
	}
	walk(d.tree.root)
	if d.tree.root.red || d.tree.root.parent != nil {
		t.Fatal("root is red or has a parent")
	}
	if !seen[d.cached] || !seen[d.cached32] {
		t.Fatal("a cached node is not in the tree")
	}
	last := uint64(0)
	for n := d.first(); n != nil; n = next(emitter{}, n, 0) {
		if n.Lo <= last && last != 0 || n.Hi < n.Lo {
			t.Fatalf("ranges out of order at %#x", n.Lo)
		}
		last = n.Hi
	}
	back := 0
	for n := &d.anchor; n != nil; n = prev(emitter{}, n, 0) {
		back++
	}
	if back != len(seen) {
		t.Fatalf("%d nodes backwards, %d in the tree", back, len(seen))
	}
}

// twin is the obvious allocator: a set of taken frames and a search from the top, with the kernel's two search starts.
type twin struct {
	taken map[uint64]uint64 // first frame to last
	d     *Domain
}

func (w *twin) free(lo, hi uint64) bool {
	for a, b := range w.taken {
		if lo <= b && hi >= a {
			return false
		}
	}
	return true
}

// best returns the highest aligned free range of size frames at or below limit, by trying every aligned frame.
func (w *twin) best(size, limit uint64) (uint64, bool) {
	align := uint64(1) << bits.Len64(size-1)
	for pfn := (limit + 1 - size) &^ (align - 1); pfn >= StartPFN; pfn -= align {
		if w.free(pfn, pfn+size-1) {
			return pfn, true
		}
		if pfn < align {
			break
		}
	}
	return 0, false
}

// Ranges above 32 pages come from the tree. The kernel's search starts at a cached node, so it may overlook a hole
// above it, but only then; after a retry from the limit it finds one whenever there is one.
func TestTreeAllocationAgreesWithTheObviousSearch(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		rng := rand.New(rand.NewPCG(1, uint64(v)))
		d := newDomain(t, v, 1)
		w := &twin{taken: map[uint64]uint64{}, d: d}
		const limit = 0x3fff // a small space, so that it fills up
		type live struct{ pfn, size uint64 }
		var lives []live
		failed := 0
		for i := 0; i < 6000; i++ {
			if rng.IntN(100) < 55 || len(lives) == 0 {
				size := uint64(33 + rng.IntN(300))
				best, room := w.best(size, limit)
				wasMax := d.max32
				pfn, ok := d.AllocFast(nil, 0, size, limit, true)
				if ok != room && size < wasMax {
					t.Fatalf("step %d: %d pages: allocator says %v, search says %v", i, size, ok, room)
				}
				if !ok {
					failed++
					continue
				}
				if pfn > best {
					t.Fatalf("step %d: %d pages at %#x, highest free is %#x", i, size, pfn, best)
				}
				if !w.free(pfn, pfn+size-1) {
					t.Fatalf("step %d: %#x overlaps a live range", i, pfn)
				}
				if a := uint64(1) << bits.Len64(size-1); pfn%a != 0 {
					t.Fatalf("step %d: %#x not aligned to %#x", i, pfn, a)
				}
				w.taken[pfn] = pfn + size - 1
				lives = append(lives, live{pfn, size})
			} else {
				k := rng.IntN(len(lives))
				l := lives[k]
				lives[k] = lives[len(lives)-1]
				lives = lives[:len(lives)-1]
				delete(w.taken, l.pfn)
				d.FreeFast(nil, 0, l.pfn, l.size)
			}
			if i%50 == 0 {
				checkTree(t, d)
			}
		}
		if failed == 0 {
			t.Error("the space never filled up: nothing was tested at exhaustion")
		}
	}
}

// Live ranges of any size never overlap and never vanish; what is not live is in the magazines, the depots or free.
func TestMagazinesConserveFrames(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		rng := rand.New(rand.NewPCG(2, uint64(v)))
		const cpus = 3
		d := newDomain(t, v, cpus)
		live := map[uint64]uint64{} // pfn -> size asked for
		var order []uint64
		for i := 0; i < 60000; i++ {
			c := rng.IntN(cpus)
			grow := 50
			if i/4000%2 == 0 {
				grow = 65 // bursts, so that depots fill and drain
			} else {
				grow = 35
			}
			if rng.IntN(100) < grow || len(order) == 0 {
				size := uint64(1 + rng.IntN(40))
				pfn, ok := d.AllocFast(nil, c, size, 0xfffff, true)
				if !ok {
					t.Fatal("allocation failed in a nearly empty space")
				}
				if _, dup := live[pfn]; dup {
					t.Fatalf("frame %#x handed out twice", pfn)
				}
				live[pfn] = size
				order = append(order, pfn)
			} else {
				k := rng.IntN(len(order))
				pfn := order[k]
				order[k] = order[len(order)-1]
				order = order[:len(order)-1]
				d.FreeFast(nil, rng.IntN(cpus), pfn, live[pfn])
				delete(live, pfn)
			}
			if i%5000 == 0 {
				account(t, d, live)
			}
		}
		account(t, d, live)
		if d.Stats.DepotPuts == 0 || d.Stats.DepotGets == 0 || d.Stats.Swaps == 0 {
			t.Errorf("%v: depots or swaps unused: %+v", v, d.Stats)
		}
		for i := 0; i < 3; i++ {
			for o := 0; o < len(d.rcaches); o++ {
				d.Trim(nil, o)
			}
			account(t, d, live)
		}
		d.flushCaches(emitter{})
		n := 0
		d.Allocated(func(lo, hi uint64) { n++ })
		if n != len(live) {
			t.Errorf("after a flush the tree holds %d ranges, %d are live", n, len(live))
		}
		checkTree(t, d)
	}
}

// account checks that tree = live + cached, without overlap.
func account(t *testing.T, d *Domain, live map[uint64]uint64) {
	t.Helper()
	cached := map[uint64]int{}
	d.EachCached(func(o int, pfn uint64) {
		if _, dup := cached[pfn]; dup {
			t.Fatalf("frame %#x is cached twice", pfn)
		}
		if _, l := live[pfn]; l {
			t.Fatalf("frame %#x is cached and live", pfn)
		}
		cached[pfn] = o
	})
	n := 0
	last := uint64(0)
	d.Allocated(func(lo, hi uint64) {
		if lo <= last && n > 0 {
			t.Fatalf("range %#x overlaps the one before", lo)
		}
		last = hi
		n++
		size := hi - lo + 1
		if asked, ok := live[lo]; ok {
			if asked < 32 && size != 1<<bits.Len64(asked-1) || asked >= 32 && size != asked {
				t.Fatalf("%#x: %d pages asked, %d taken", lo, asked, size)
			}
		} else if o, ok := cached[lo]; !ok || size != 1<<o {
			t.Fatalf("range %#x of %d pages is neither live nor cached", lo, size)
		}
	})
	if n != len(live)+len(cached) {
		t.Fatalf("tree holds %d ranges; %d live and %d cached", n, len(live), len(cached))
	}
	checkTree(t, d)
}

// Without caches every allocation and every free is the tree's, and nothing is rounded; with ten orders 256 pages are cached.
func TestCacheOrders(t *testing.T) {
	for _, c := range []struct {
		orders  int
		size    uint64
		cached  bool
		rounded uint64
	}{
		{-1, 1, false, 1}, {-1, 3, false, 3}, {0, 3, true, 4}, {0, 33, false, 33}, {10, 200, true, 256}, {10, 513, false, 513},
	} {
		env := kernel.NewEnv(kernel.Config{Version: kernel.V7_3, CPUs: 1, IOVAOrders: c.orders}, cache.NewMemory(), 1<<32)
		d, err := New(Config{Env: env, Version: kernel.V7_3, CPUs: 1, Shift: 12})
		if err != nil {
			t.Fatal(err)
		}
		pfn, ok := d.AllocFast(nil, 0, c.size, 1<<20, false)
		if !ok {
			t.Fatalf("%d orders: no %d pages", c.orders, c.size)
		}
		d.Allocated(func(lo, hi uint64) {
			if hi-lo+1 != c.rounded {
				t.Errorf("%d orders: %d pages take %d, want %d", c.orders, c.size, hi-lo+1, c.rounded)
			}
		})
		d.FreeFast(nil, 0, pfn, c.rounded)
		if cached := d.Stats.Frees == 1 && d.Stats.TreeFrees == 0; cached != c.cached {
			t.Errorf("%d orders: %d pages cached: %v, want %v", c.orders, c.size, cached, c.cached)
		}
	}
}
