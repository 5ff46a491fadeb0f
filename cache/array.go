package cache

import (
	"math/bits"

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

// predSlots is the number of way predictors of a first-level array: direct mapped by line number, one byte each. "No
// prediction" is the number of ways: it leads to a word behind the tags, a time, which looks like no tag.
const predSlots = 1024

// array is a set-associative array of tags with its replacement state. What belongs to a set lies together in one row of
// words, because for all but small arrays the host's own cache misses are what a lookup costs:
//
//	marks   a hash byte per way, 0 for an empty or junk way; eight are compared at once
//	state   replacement: LRU order as a permutation of way numbers, one byte each, or tree bits, or RRPVs
//	tags    one word per way; an index i of an array is that of a tag
//	stamps  first level with LRU, instead of the permutation: time of last use, one store on a hit
//	ready   private caches: when a line in flight arrives
//	asked   L2: when the core asked for the line
type array struct {
	row    []uint64 // all rows
	mask   uint64   // sets-1 where that is a mask
	stride uint64   // words of a row
	first  uint64   // words before the tags of a row
	ways   uint64
	clock  uint64 // first level: time of the last use
	fast   uint64 // hits counted by the fast paths
	policy Policy
	level1 bool
	pred   [predSlots]uint8
	blank  *[predSlots]uint8 // pred without predictions

	sets    int
	marks   uint64 // words of marks
	readyAt uint64 // distance from a tag to its ready time
	askedAt uint64
	leafs   uint
	away    [32]struct{ mask, val uint64 } // tree-PLRU: bits on the path to a way, and their values pointing away from it

	lat   sim.Time // load-to-use latency of a hit
	mshr  mshrs
	stats LevelStats
	foot  footprint
}

// newArray returns an empty array of the given level.
func newArray(bytes, ways int, p Policy, l Level) array {
	a := array{sets: bytes / (LineBytes * ways), ways: uint64(ways), policy: p, level1: l == L1}
	a.mask = uint64(a.sets - 1)
	a.marks = uint64(ways+7) / 8
	a.first = a.marks + 1
	if p == LRU {
		a.first = 2 * a.marks
		if a.level1 {
			a.first = a.marks
		}
	}
	a.stride = a.first + a.ways
	if p == LRU && a.level1 {
		a.stride += a.ways
	}
	if l != LLC {
		a.readyAt = a.stride - a.first
		a.stride += a.ways
	}
	if l == L2 {
		a.askedAt = a.stride - a.first
		a.stride += a.ways
	}
	a.row = make([]uint64, a.sets*int(a.stride)+8) // find may look behind the ways of the last set
	a.foot.applied = make([]uint32, a.sets)
	if a.level1 {
		a.blank = new([predSlots]uint8)
		for k := range a.blank {
			a.blank[k] = uint8(ways)
		}
		a.pred = *a.blank
	}
	switch {
	case p == LRU && !a.level1:
		for set := range uint64(a.sets) {
			o := a.state(set)
			for k := range 8 * uint64(len(o)) {
				w := uint64(0xff) // padding, matches no way
				if k < a.ways {
					w = a.ways - 1 - k
				}
				o[k/8] |= w << (k % 8 * 8)
			}
		}
	case p == TreePLRU:
		a.leafs = 1
		for a.leafs < uint(ways) {
			a.leafs *= 2
		}
		for w := range uint(ways) {
			for n := a.leafs + w; n > 1; n /= 2 {
				a.away[w].mask |= 1 << (n / 2)
				a.away[w].val |= uint64(^n&1) << (n / 2)
			}
		}
	}
	return a
}

// set returns the set of pa in an array whose number of sets is a power of two.
func (a *array) set(pa uint64) uint64 { return pa >> 6 & a.mask }

// base returns the index of the first way of set.
func (a *array) base(set uint64) uint64 { return set*a.stride + a.first }

// tagsOf returns the tags of set.
func (a *array) tagsOf(set uint64) []uint64 { b := a.base(set); return a.row[b : b+a.ways] }

// state returns the replacement words of set.
func (a *array) state(set uint64) []uint64 {
	b := set * a.stride
	return a.row[b+a.marks : b+a.first]
}

func (a *array) ready(i int) sim.Time { return sim.Time(a.row[uint64(i)+a.readyAt]) }
func (a *array) asked(i int) sim.Time { return sim.Time(a.row[uint64(i)+a.askedAt]) }

func (a *array) setReady(i int, t sim.Time) { a.row[uint64(i)+a.readyAt] = uint64(t) }
func (a *array) setAsked(i int, t sim.Time) { a.row[uint64(i)+a.askedAt] = uint64(t) }

// mark returns the hash of a line that is compared before its tag.
func mark(pa uint64) uint64 { return pa>>6*0x9e3779b97f4a7c15>>56 | 1 }

const (
	everyByte = 0x0101010101010101
	everyTop  = 0x8080808080808080
)

// zeroBytes returns a word with the top bit set in each byte of x that is zero. A borrow can raise a flag above a zero
// byte: the lowest flag is always right, the others need a second look, and may even lie behind the last way.
func zeroBytes(x uint64) uint64 { return (x - everyByte) &^ x & everyTop }

// find returns the index of pa's line in set, or -1.
func (a *array) find(set, pa uint64) int {
	key := pa&tagAddr | tagValid
	pattern := mark(pa) * everyByte
	b := set * a.stride
	i := b + a.first
	end := i + a.ways
	for _, m := range a.row[b : b+a.marks] {
		for z := zeroBytes(m ^ pattern); z != 0; z &= z - 1 {
			if j := i + uint64(bits.TrailingZeros64(z))/8; j < end && (a.row[j]^key)&tagMatch == 0 {
				return int(j)
			}
		}
		i += 8
	}
	return -1
}

// setMark records the hash byte of way i of set.
func (a *array) setMark(set uint64, i int, m uint64) {
	w := uint64(i) - a.base(set)
	p := &a.row[set*a.stride+w/8]
	*p = *p&^(0xff<<(w%8*8)) | m<<(w%8*8)
}

// drop empties way i of set.
func (a *array) drop(set uint64, i int) {
	a.row[i] = 0
	a.setMark(set, i, 0)
	if a.policy == LRU {
		a.oldest(set, i)
	}
}

// junk gives way i of set to a displaced line.
func (a *array) junk(set uint64, i int) {
	a.row[i] = tagJunk
	a.setMark(set, i, 0)
}

// place puts a line with the given flags into way i of set.
func (a *array) place(set uint64, i int, pa, flags uint64) {
	a.row[i] = pa&^63 | tagValid | flags
	a.setMark(set, i, mark(pa))
	a.admit(set, i)
}
