package cache

import (
	"math/bits"
	"slices"

	"dmapath/sim"
)

// A tag is the line's address with flags around it. Zero is an empty way; a junk way is held by a line of the displaced
// footprint that nobody looks up. Bits 61 and 62 take part in the comparison of the fast paths, so that a line in flight
// or a prefetched one not used yet goes through the slow path once, where the time is known.
const (
	tagValid    = 1 << 63
	tagPrefetch = 1 << 62 // brought by a prefetcher, not used yet
	tagFlight   = 1 << 61 // may still be in flight: see ready
	tagInI      = 1 << 60 // L2 only: L1I may hold the line
	tagInD      = 1 << 59 // L2 only: L1D may hold the line
	tagAddr     = 1<<59 - 1<<6
	tagMatch    = tagValid | tagAddr
	tagState    = 3      // State
	tagLevel    = 7 << 2 // private caches: Level that the line came from
	tagJunk     = 1 << 5 // with tagValid clear
)

// predSlots is the number of way predictors of an array: direct mapped by line number, one byte each.
const predSlots = 1024

// array is a set-associative array of tags with its replacement state. Sets are contiguous, so that one set's
// tags are one to four host cache lines.
type array struct {
	tags   []uint64
	stamp  []uint32 // LRU: time of last use, 0 for an empty way
	ready  []sim.Time
	mask   uint64 // sets-1 where that is a mask
	ways   uint64
	clock  uint32
	policy Policy
	fast   uint64 // hits counted by the fast paths
	pred   [predSlots]uint8

	sets  int
	tree  []uint32 // TreePLRU: bit n is node n of the heap-ordered tree; 1 points to the right half
	rrpv  []uint64 // SRRIP: two bits per way
	leafs uint
	away  [32]struct{ mask, val uint32 } // TreePLRU: bits on the path to a way, and their values pointing away from it

	lat   sim.Time // load-to-use latency of a hit
	mshr  mshrs
	stats LevelStats
	foot  footprint
}

func newArray(bytes, ways int, p Policy, ready bool) array {
	sets := bytes / (LineBytes * ways)
	n := sets * ways
	a := array{sets: sets, ways: uint64(ways), mask: uint64(sets - 1), policy: p, tags: make([]uint64, n)}
	if ready {
		a.ready = make([]sim.Time, n)
	}
	switch p {
	case LRU:
		a.stamp = make([]uint32, n)
	case TreePLRU:
		a.tree = make([]uint32, sets)
		a.leafs = 1
		for a.leafs < uint(ways) {
			a.leafs *= 2
		}
		for w := range uint(ways) {
			for n := a.leafs + w; n > 1; n /= 2 {
				a.away[w].mask |= 1 << (n / 2)
				a.away[w].val |= uint32(^n&1) << (n / 2)
			}
		}
	case SRRIP:
		a.rrpv = make([]uint64, sets)
	}
	return a
}

// set returns the first index of the set of pa in an array whose number of sets is a power of two.
func (a *array) set(pa uint64) uint64 { return pa >> 6 & a.mask }

// find returns the index of pa's line in set, or -1.
func (a *array) find(set, pa uint64) int {
	key := pa&tagAddr | tagValid
	base := set * a.ways
	s := a.tags[base : base+a.ways]
	for w := range s {
		if (s[w]^key)&tagMatch == 0 {
			return int(base) + w
		}
	}
	return -1
}

// touch records a use of way i of set.
func (a *array) touch(set uint64, i int) {
	switch a.policy {
	case LRU:
		if a.clock++; a.clock == 0 {
			a.renumber()
		}
		a.stamp[i] = a.clock
	case TreePLRU:
		w := uint64(i) - set*a.ways
		a.tree[set] = a.tree[set]&^a.away[w].mask | a.away[w].val
	case SRRIP:
		w := uint64(i) - set*a.ways
		a.rrpv[set] &^= 3 << (2 * w)
	}
}

// admit records that way i of set received a new line.
func (a *array) admit(set uint64, i int) {
	if a.policy == SRRIP {
		w := uint64(i) - set*a.ways
		a.rrpv[set] = a.rrpv[set]&^(3<<(2*w)) | 2<<(2*w)
		return
	}
	a.touch(set, i)
}

// drop empties way i.
func (a *array) drop(i int) {
	a.tags[i] = 0
	if a.policy == LRU {
		a.stamp[i] = 0
	}
}

// victim returns the index of the way of set, among the first n, that the next line takes: an empty one if there is.
func (a *array) victim(set uint64, n uint64) int {
	base := set * a.ways
	if a.policy == LRU {
		s := a.stamp[base : base+n]
		best, at := s[0], 0
		for w := 1; w < len(s); w++ {
			if s[w] < best {
				best, at = s[w], w
			}
		}
		return int(base) + at
	}
	for w, t := range a.tags[base : base+n] {
		if t == 0 {
			return int(base) + w
		}
	}
	if a.policy == TreePLRU {
		return int(base) + a.treeVictim(set, uint(n))
	}
	within := ^uint64(0) >> (64 - 2*n)
	for {
		r := a.rrpv[set]
		if far := r & (r >> 1) & 0x5555555555555555 & within; far != 0 {
			return int(base) + bits.TrailingZeros64(far)/2
		}
		a.rrpv[set] += 0x5555555555555555 & within // none of them is 3: no carry
	}
}

// treeVictim follows the tree to the way that was not used, staying within the first n ways.
func (a *array) treeVictim(set uint64, n uint) int {
	node, half := uint(1), a.leafs
	first := uint(0) // first leaf under node
	for node < a.leafs {
		half /= 2
		node *= 2
		if a.tree[set]>>(node/2)&1 == 1 && first+half < n {
			node++
			first += half
		}
	}
	return int(first)
}

// renumber makes room for the LRU clock: stamps become ranks within their set. It happens once in 2^32 uses.
func (a *array) renumber() {
	var order [32]int
	for set := range a.sets {
		s := a.stamp[set*int(a.ways):][:a.ways]
		o := order[:0]
		for w, v := range s {
			if v != 0 {
				o = append(o, w)
			}
		}
		slices.SortFunc(o, func(x, y int) int { return int(int64(s[x]) - int64(s[y])) })
		for r, w := range o {
			s[w] = uint32(r + 1)
		}
	}
	a.clock = uint32(a.ways) + 1
}

// place puts a line with the given flags into way i of set.
func (a *array) place(set uint64, i int, pa, flags uint64, ready sim.Time) {
	a.tags[i] = pa&^63 | tagValid | flags
	a.ready[i] = ready
	a.admit(set, i)
}
