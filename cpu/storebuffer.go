package cpu

// storeBuffer remembers recent stores by the 8-byte words they touch, so that a load finds the youngest older store
// that overlaps it. Its capacity is not the store queue's (that is a limit on dispatch): it only has to
// remember every store that is not in L1 yet.
type storeBuffer struct {
	bucket [256]storeBucket
	nodes  [nodeMask + 1]storeNode // ring
	n      int64                   // nodes made
}

type storeBucket struct {
	newest int64 // number of the newest node; 0 none
	commit int64 // when the last of its stores is in L1
}

type storeNode struct {
	addr   uint64
	end    uint64 // first byte behind
	prev   int64  // next older node of the bucket
	data   int64  // address and data known
	commit int64  // in L1
}

// nodeMask bounds the ring of nodes: twice the largest store queue, so that stores that touch two words fit.
const nodeMask = 255

func (b *storeBuffer) init() { b.n = nodeMask + 1 }

func bucketOf(word uint64) uint64 { return (word ^ word>>8) & 255 }

// add notes a store of size bytes.
func (b *storeBuffer) add(addr uint64, size uint32, data, commit int64) {
	if size == 0 {
		size = 1
	}
	end := addr + uint64(size)
	for w := addr >> 3; w <= (end-1)>>3; w++ {
		h := &b.bucket[bucketOf(w)]
		b.nodes[b.n&nodeMask] = storeNode{addr, end, h.newest, data, commit}
		h.newest, h.commit = b.n, max(h.commit, commit)
		b.n++
	}
}

// pending reports whether a store that is not in L1 at t may share a word with addr.
func (b *storeBuffer) pending(addr uint64, t int64) bool {
	return b.bucket[bucketOf(addr>>3)].commit > t
}

// find returns what a load of size bytes that looks at t meets. When one store supplies all bytes, hit is true and when
// is the cycle its data is known. When the youngest overlapping store supplies only some, blocked is true
// and when is the cycle it is in L1.
func (b *storeBuffer) find(addr uint64, size uint32, t int64) (when int64, hit, blocked bool) {
	if size == 0 {
		size = 1
	}
	end := addr + uint64(size)
	for w := addr >> 3; w <= (end-1)>>3; w++ {
		h := &b.bucket[bucketOf(w)]
		if h.commit <= t {
			continue
		}
		for k := h.newest; k > b.n-nodeMask; {
			n := &b.nodes[k&nodeMask]
			if n.commit > t && n.addr < end && addr < n.end && (n.addr>>3 <= w && w <= (n.end-1)>>3) {
				if n.addr <= addr && end <= n.end {
					if !blocked {
						hit, when = true, max(when, n.data)
					}
				} else {
					if hit {
						hit, when = false, 0
					}
					blocked, when = true, max(when, n.commit)
				}
				break
			}
			k = n.prev
		}
	}
	return when, hit, blocked
}
