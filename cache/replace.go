package cache

import "math/bits"

// touch records a use of way i of set.
func (a *array) touch(set uint64, i int) {
	switch {
	case a.policy == LRU && a.level1:
		a.clock++
		a.row[uint64(i)+a.ways] = a.clock
	case a.policy == LRU:
		a.toFront(set, uint64(i)-a.base(set))
	case a.policy == TreePLRU:
		w := &a.away[uint64(i)-a.base(set)]
		p := &a.row[set*a.stride+a.marks]
		*p = *p&^w.mask | w.val
	default:
		a.row[set*a.stride+a.marks] &^= 3 << (2 * (uint64(i) - a.base(set)))
	}
}

// admit records that way i of set received a new line: a use, except to SRRIP, which expects a long time until the next one.
func (a *array) admit(set uint64, i int) {
	if a.policy == SRRIP {
		w := 2 * (uint64(i) - a.base(set))
		p := &a.row[set*a.stride+a.marks]
		*p = *p&^(3<<w) | 2<<w
		return
	}
	a.touch(set, i)
}

// toFront makes way the most recently used in the LRU order of set.
func (a *array) toFront(set, way uint64) {
	o := a.state(set)
	in := way
	for k, x := range o {
		z := zeroBytes(x ^ way*everyByte)
		if z == 0 {
			o[k] = x<<8 | in
			in = x >> 56
			continue
		}
		at := uint(bits.TrailingZeros64(z)) &^ 7 // bytes below move up over the way's old place
		below := uint64(1)<<at - 1
		o[k] = x&^(below<<8|0xff) | x&below<<8 | in
		return
	}
	panic("cache: way missing in its LRU order")
}

// sink moves way i, just admitted to set, behind the n used most recently before it. Policies without an order leave it.
func (a *array) sink(set uint64, i, n int) {
	if a.policy != LRU || a.level1 {
		return
	}
	full := -1
	for _, t := range a.tagsOf(set) {
		if t != 0 {
			full++
		}
	}
	n = min(n, full) // empty ways stay the oldest
	o := a.state(set)
	for range n { // rotate the first n+1
		a.toFront(set, o[n/8]>>(n%8*8)&0xff)
	}
}

// oldest makes way i of set the least recently used.
func (a *array) oldest(set uint64, i int) {
	if a.level1 {
		a.row[uint64(i)+a.ways] = 0
		return
	}
	o := a.state(set)
	way := uint64(i) - a.base(set)
	last := a.ways - 1
	if o[last/8]>>(last%8*8)&0xff == way { // a victim is, most often
		return
	}
	in := way
	for k := len(o) - 1; k >= 0; k-- {
		x := o[k]
		top := uint64(56) // place of the oldest in this word
		if k == len(o)-1 {
			top = last % 8 * 8
		}
		z := zeroBytes(x ^ way*everyByte)
		at := uint64(0)
		if z != 0 {
			at = uint64(bits.TrailingZeros64(z)) &^ 7
		}
		// The bytes above at, up to top, move down one place; in takes the top.
		above := ^uint64(0) << at << 8 & (^uint64(0) >> (56 - top))
		keep := uint64(1)<<at - 1 | ^(^uint64(0) >> (56 - top))
		out := x >> at & 0xff
		o[k] = x&keep | x&above>>8 | in<<top
		if z != 0 {
			return
		}
		in = out
	}
	panic("cache: way missing in its LRU order")
}

// victim returns the index of the way of set, among the first n, that the next line takes: an empty one if there is.
func (a *array) victim(set uint64, n uint64) int {
	base := a.base(set)
	switch {
	case a.policy == LRU && a.level1:
		// Stamp and way in one word: a minimum without branches, which would be mispredicted.
		s := a.row[base+a.ways : base+a.ways+n]
		best, other := s[0]<<5, ^uint64(0)
		for w := 1; w+1 < len(s); w += 2 {
			best = min(best, s[w]<<5|uint64(w))
			other = min(other, s[w+1]<<5|uint64(w+1))
		}
		if w := len(s) - 1; w&1 == 1 {
			best = min(best, s[w]<<5|uint64(w))
		}
		return int(base + min(best, other)&31)
	case a.policy == LRU:
		o := a.state(set)
		for k := a.ways - 1; ; k-- {
			if w := o[k/8] >> (k % 8 * 8) & 0xff; w < n {
				return int(base + w)
			}
		}
	}
	for w, t := range a.row[base : base+n] {
		if t == 0 {
			return int(base) + w
		}
	}
	p := &a.row[set*a.stride+a.marks]
	if a.policy == TreePLRU {
		return int(base) + a.treeVictim(*p, uint(n))
	}
	within := ^uint64(0) >> (64 - 2*n)
	for {
		if far := *p & (*p >> 1) & 0x5555555555555555 & within; far != 0 {
			return int(base) + bits.TrailingZeros64(far)/2
		}
		*p += 0x5555555555555555 & within // none of them is 3: no carry
	}
}

// treeVictim follows the tree to the way that was not used, staying within the first n ways.
func (a *array) treeVictim(tree uint64, n uint) int {
	node, half := uint(1), a.leafs
	first := uint(0) // first leaf under node
	for node < a.leafs {
		half /= 2
		right := tree>>node&1 == 1 && first+half < n
		node *= 2
		if right {
			node++
			first += half
		}
	}
	return int(first)
}

// before reports whether way i of set was used before way j, as far as the policy knows.
func (a *array) before(set uint64, i, j int) bool {
	switch {
	case a.policy != LRU:
		return false
	case a.level1:
		return a.row[uint64(i)+a.ways] < a.row[uint64(j)+a.ways]
	}
	return a.age(set, i) > a.age(set, j)
}

// age returns the place of way i in the LRU order of set, 0 for the most recently used.
func (a *array) age(set uint64, i int) int {
	way := uint64(i) - a.base(set)
	for k, x := range a.state(set) {
		if z := zeroBytes(x ^ way*everyByte); z != 0 {
			return 8*k + bits.TrailingZeros64(z)/8
		}
	}
	panic("cache: way missing in its LRU order")
}
