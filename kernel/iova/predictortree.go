package iova

import "dmapath/kernel"

// predictorTree is what a replay knows of the red-black tree: everything above the lowest frame seen is taken, except
// what depots and large frees gave back during the trace. It is a Domain whose magazines are not used.
type predictorTree struct {
	d        *Domain
	frontier uint64 // lowest frame known to be taken; 0: nothing known
}

func (t *predictorTree) init(cpus int) {
	d, err := New(Config{Version: kernel.V7_3, CPUs: cpus, Shift: 12})
	if err != nil {
		panic("iova: " + err.Error())
	}
	t.d = d
}

// guess returns the frame that the tree would give now, 0 when nothing is known of it yet.
func (t *predictorTree) guess(pages uint64) uint64 {
	if t.frontier == 0 {
		return 0
	}
	d := t.d
	cached, cached32, max32 := d.cached, d.cached32, d.max32
	var pfn uint64
	if n := d.allocTree(emitter{}, pages, d.dma32PFN-1); n != nil {
		pfn = n.Lo
		d.tree.erase(emitter{}, n, 0)
		d.recycle(n)
	}
	d.cached, d.cached32, d.max32 = cached, cached32, max32
	return pfn
}

// take records that pages from pfn on were handed out. Below all that is known it must have come from the tree, which
// puts the search's start there; above it may have come from a magazine filled before the trace began.
func (t *predictorTree) take(pfn, pages uint64) {
	d := t.d
	if t.frontier != 0 && pfn >= t.frontier {
		if t.vacant(pfn, pages) {
			t.insert(pfn, pfn+pages-1)
		}
		return
	}
	top := d.dma32PFN
	if t.frontier != 0 {
		top = t.frontier
	}
	if pfn >= d.dma32PFN {
		return // above 4 GiB: the search there is another one
	}
	// Holes that alignment left are part of the unknown; nothing was known to be free there.
	if t.frontier == 0 && pfn+pages < top {
		t.insert(pfn+pages, top-1)
	}
	t.frontier = pfn
	t.insert(pfn, pfn+pages-1)
}

func (t *predictorTree) insert(lo, hi uint64) {
	n := t.d.newNode(nil)
	n.Lo, n.Hi = lo, hi
	t.d.insert(emitter{}, n, t.d.tree.root, 0)
	t.d.cached32 = n
}

func (t *predictorTree) vacant(pfn, pages uint64) bool {
	for n := t.d.tree.root; n != nil; {
		switch {
		case pfn+pages <= n.Lo:
			n = n.child[left]
		case pfn > n.Hi:
			n = n.child[right]
		default:
			return false
		}
	}
	return true
}

// free gives a range back to the tree. It may be part of the unknown.
func (t *predictorTree) free(pfn, pages uint64) {
	d := t.d
	n, _ := d.find(emitter{}, pfn)
	if n == nil || n.Hi < pfn+pages-1 {
		return
	}
	if n.Lo < pfn || n.Hi > pfn+pages-1 { // carve it out of a block of unknown allocations
		lo, hi := n.Lo, n.Hi
		start := d.cached32
		n.Lo, n.Hi = pfn, pfn+pages-1
		if lo < pfn {
			t.insert(lo, pfn-1)
			if start == n {
				start = d.cached32
			}
		}
		if hi > pfn+pages-1 {
			t.insert(pfn+pages, hi)
		}
		d.cached32 = start
	}
	d.remove(emitter{}, n, 0)
	d.recycle(n)
}
