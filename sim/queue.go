package sim

import "math/bits"

// event is one pending occurrence. It carries no sequence number: every part of the queue keeps events of equal time in
// the order in which they were pushed.
type event struct {
	at  Time
	arg uint64
	h   Handler
}

const (
	// digitBits is the width of the digits that times are cut into, except that of the leaves: the level whose buckets are meant
	// to hold leafEvents each. Its digit has at most leafBits.
	digitBits = 8
	digits    = 1 << digitBits
	leafBits  = 13
	leaves    = 1 << leafBits
	// leafLevel is the number of the leaves' level: there are at most as many below it as digits fit into a time, and as
	// many above it.
	leafLevel = 8
	maxLevels = 2*leafLevel + 1
	buckets   = leaves + (maxLevels-1)*digits

	// chunkLen is how many events a chunk holds. A bucket of one chunk is small enough to be sorted at once.
	chunkBits = 4
	chunkLen  = 1 << chunkBits
	// blockLen is how many chunks in a row the buckets above the leaves get at once: they are long, and are read from memory in
	// a row. Odd, so that blocks spread over the sets of a cache.
	blockLen = 7
	// nearLen is how many events the sorted array holds at most: two chunks, so that between two overflows there are
	// at least as many pushes as it takes moves to resolve the second.
	nearLen  = 2 * chunkLen
	nearRing = nearLen
	// fewEvents is how many events are gathered from all buckets at once, to leave the wheels when there is no need of them.
	fewEvents = chunkLen
	// leafEvents is how many events a leaf should hold when its turn comes, and from leafFewest to leafMost are left alone:
	// fewer, and finding the bucket costs more than sorting; more, and sorting does.
	leafEvents, leafFewest, leafMost = 8, 4, 10
	// leafBitsFewest is the narrowest digit that the leaves may shrink to.
	leafBitsFewest = 6
)

// queue holds pending events ordered by (time, order of pushing). A push or pop takes constant time when the events
// are spread as those that went before, and at worst moves each event once per digit of its time.
//
// The earliest events lie in near, a small sorted array. The others lie in the buckets of wheels: the level of an event
// is that of the highest digit in which its time differs from base, and the bucket that digit, as in a
// radix heap (Ahuja, Mehlhorn, Orlin, Tarjan: Faster algorithms for the shortest path problem, JACM 1990). When near is
// empty, the first bucket of the lowest level in use holds the next events. If they fill no more than one chunk they
// are sorted into near; otherwise base moves to the earliest of them and they spread over the levels below.
//
// One level, the leaves, has many buckets and a digit whose position follows the density of events (as the width in a
// calendar queue does: Brown, CACM 1988), so that most events are pushed into a leaf and sorted from there in groups of a few.
// A bad position costs moves to other levels, never order.
//
// Rejected: a heap (a cache miss per level at a million events, a mispredicted branch per comparison at any number); a calendar queue
// alone (one width for all, so that a heavy tail or a burst makes it linear); a ladder queue (it copies every event at least
// three times).
type queue struct {
	// near is a ring that holds the n earliest events in order, from index lo on: all those at or before limit.
	lo, n uint
	room  uint // how many near may hold: nearLen, or 0 while a run waits behind it
	limit Time
	near  [nearRing]event

	base         Time // at or before every event in the wheels and the present, so that levels never have to go back
	pushes, pops uint64

	// The wheels.
	digit   [64]digit        // by the number of the highest bit in which a time differs from base
	level   [maxLevels]digit // the same by level
	mask    uint64           // levels in use
	summary uint64           // pairs of words of bits in use that belong to leaves
	width   int              // a leaf spans 2^width picoseconds
	span    int              // all leaves together span 2^span picoseconds
	bits    [buckets / 64]uint64
	wheel   [buckets]bucket

	// run holds events of time base that found no place in near; all of them are earlier than those in the wheels.
	run bucket

	// Chunk i is slab[i*chunkLen:][:chunkLen]; link[i] is the one after it. Chunk 0 is not used.
	slab       []event
	link       []uint32
	spare      uint32 // first unused chunk, 0 if none
	spareBlock uint32 // first chunk of the first unused block, 0 if none

	// What the leaves held since they were last reviewed, and when they are reviewed again.
	gathers, gathered, sample uint64
	// earliest is the number of operations before which leaves are not laid out anew; patience lengthens that while
	// the layout goes back and forth, and widened is its last direction.
	earliest, earliestAll, patience uint64
	widened                         bool
	detached                        []bucket
}

// digit says where a time lies that differs from base in a given bit.
type digit struct {
	shift uint8
	level uint8
	mask  uint16
	first uint16
}

// bucket is a first-in-first-out list of events in chunks. The zero value is empty.
type bucket struct {
	head uint32 // first chunk
	tail uint32 // slot after the last event; a multiple of chunkLen when the last chunk is full
	min  Time   // earliest event
}

// next returns the time of the earliest event, or Never.
func (q *queue) next() Time {
	if q.n > 0 {
		return q.near[q.lo%nearRing].at
	}
	return q.nextFar()
}

func (q *queue) nextFar() Time {
	if q.run.head != 0 {
		return q.base
	}
	if q.mask == 0 {
		return Never
	}
	i, _ := q.first()
	return q.wheel[i].min
}

func (q *queue) len() int { return int(q.pushes - q.pops) }

// push adds an event at at >= now.
func (q *queue) push(now, at Time, h Handler, arg uint64) {
	q.pushes++
	if at > q.limit {
		q.place(at, h, arg)
		return
	}
	n := q.n
	if n >= q.room {
		q.pushFull(now, at, h, arg)
		return
	}
	q.n = n + 1
	if n == 0 {
		v := &q.near[q.lo%nearRing]
		v.at, v.arg, v.h = at, arg, h
		return
	}
	// Make way towards the end that is nearer.
	var i uint
	if q.near[(q.lo+n/2)%nearRing].at <= at {
		for i = q.lo + n; q.near[(i-1)%nearRing].at > at; i-- {
			q.near[i%nearRing] = q.near[(i-1)%nearRing]
		}
	} else {
		q.lo--
		for i = q.lo; q.near[(i+1)%nearRing].at <= at; i++ {
			q.near[i%nearRing] = q.near[(i+1)%nearRing]
		}
	}
	v := &q.near[i%nearRing]
	v.at, v.arg, v.h = at, arg, h
}

// place puts an event later than base into its wheel.
func (q *queue) place(at Time, h Handler, arg uint64) {
	d := &q.digit[bits.Len64(uint64(at^q.base)>>1)&63]
	i := uint(d.first) + uint(at>>(d.shift&63))&uint(d.mask)
	b := &q.wheel[i]
	s := b.tail
	if s%chunkLen == 0 {
		if b.head == 0 {
			q.bits[i/64] |= 1 << (i % 64)
			q.mask |= 1 << d.level
			if i < leaves {
				q.summary |= 1 << (i / 128)
			}
			b.min = at
		}
		s = q.extend(b, d.level > leafLevel)
	}
	b.tail = s + 1
	b.min = min(b.min, at)
	v := &q.slab[s]
	v.at, v.arg, v.h = at, arg, h
}

// pushFull adds an event for near, which is full or has a run behind it.
func (q *queue) pushFull(now, at Time, h Handler, arg uint64) {
	if q.run.head != 0 {
		q.append(&q.run, &event{at, arg, h})
		return
	}
	var old [nearLen]event
	for i := range old {
		old[i] = q.near[(q.lo+uint(i))%nearRing]
	}
	if q.mask == 0 {
		// The wheels are empty: lay the leaves out for the density of the nearer half.
		span := uint64(old[nearLen/2].at-now) / (nearLen / 2) * leafEvents
		w := bits.Len64(span)
		q.layOut(w, w+leafBits-2)
	}
	// What is kept in near is emptied out of the bucket that near came from, and the present lies in that bucket, so base can
	// move to the present.
	q.n, q.base, q.limit = 0, now, now
	if old[nearLen-1].at == now {
		for i := range old {
			q.append(&q.run, &old[i])
		}
		q.room = 0
		q.push(now, at, h, arg)
		q.pushes--
		return
	}
	for i := range old {
		q.push(now, old[i].at, old[i].h, old[i].arg)
	}
	q.push(now, at, h, arg)
	q.pushes -= nearLen + 1
}

// pop removes and returns the earliest event; there must be one.
func (q *queue) pop() event {
	if q.n == 0 {
		q.advance()
	}
	v := &q.near[q.lo%nearRing]
	q.lo++
	q.n--
	q.pops++
	return *v
}

// advance fills near, which is empty.
func (q *queue) advance() {
	if q.run.head != 0 {
		q.advanceRun()
		return
	}
	if q.len() <= fewEvents {
		q.gatherAll()
		return
	}
	i, d := q.first()
	b := q.take(i, d)
	q.base = b.min
	if q.link[b.head] == 0 {
		q.limit = b.min | (1<<d.shift - 1)
		q.gather(&b)
		q.releaseOnly(&b, d)
		switch {
		case d.level == leafLevel:
			q.gathers++
			q.gathered += uint64(q.n)
		case d.level > leafLevel:
			q.gathers += uint64(q.n) // each would have had a leaf of its own
			q.gathered += uint64(q.n)
		}
	} else {
		q.limit = b.min
		n := q.spread(&b, d.level > leafLevel)
		q.advanceRun()
		if d.level == leafLevel {
			q.gathers++
			q.gathered += n
		}
	}
	if q.mask == 0 && q.run.head == 0 {
		q.limit = Never // near holds all there is
	} else if q.gathered >= q.sample {
		q.review()
	}
}

// first returns the bucket of the earliest events in the wheels, which are not empty, and its digit.
func (q *queue) first() (i uint, d *digit) {
	k := bits.TrailingZeros64(q.mask)
	d = &q.level[k%maxLevels]
	if k == leafLevel {
		w := uint(bits.TrailingZeros64(q.summary)) % (leaves / 128) * 2
		if q.bits[w] == 0 {
			w++
		}
		return w*64 + uint(bits.TrailingZeros64(q.bits[w])), d
	}
	w := uint(d.first) / 64
	for q.bits[w] == 0 {
		w++
	}
	return w*64 + uint(bits.TrailingZeros64(q.bits[w])), d
}

// take empties a bucket and returns what it held.
func (q *queue) take(i uint, d *digit) bucket {
	b := q.wheel[i]
	q.wheel[i] = bucket{}
	w := i / 64
	q.bits[w] &^= 1 << (i % 64)
	if q.bits[w] != 0 {
		return b
	}
	if i < leaves {
		if q.bits[w^1] != 0 {
			return b
		}
		q.summary &^= 1 << (w / 2)
		if q.summary != 0 {
			return b
		}
	} else {
		w = uint(d.first) / 64
		for _, v := range q.bits[w : w+digits/64] {
			if v != 0 {
				return b
			}
		}
	}
	q.mask &^= 1 << d.level
	return b
}

// gather sorts the only chunk of b into near, which is empty. It counts for each event how many come before it, without a
// branch on the outcome of a comparison.
func (q *queue) gather(b *bucket) {
	c := q.slab[b.head*chunkLen:][:chunkLen]
	n := uint(b.tail - b.head*chunkLen)
	q.lo, q.n = 0, n
	if n == 1 {
		q.near[0] = c[0]
		return
	}
	var rank [chunkLen]uint
	for i := uint(1); i < n && i < chunkLen; i++ {
		at := c[i].at
		r := uint(0)
		for j := uint(0); j < i; j++ {
			earlier := uint((at-c[j].at)>>63) & 1 // 1 if event i is earlier than j, else 0
			r += 1 - earlier
			rank[j] += earlier
		}
		rank[i] = r
	}
	for i := uint(0); i < n && i < chunkLen; i++ {
		q.near[rank[i]%nearRing] = c[i]
	}
}

// gatherAll sorts the few events of all buckets into near, which is empty.
func (q *queue) gatherAll() {
	q.limit, q.lo = Never, 0
	for first := true; q.mask != 0; first = false {
		i, d := q.first()
		b := q.take(i, d)
		if first {
			q.base = b.min
		}
		for s := b.head * chunkLen; s < b.tail; s++ {
			v := q.slab[s]
			j := q.n
			for j > 0 && q.near[j-1].at > v.at {
				q.near[j] = q.near[j-1]
				j--
			}
			q.near[j] = v
			q.n++
		}
		q.releaseOnly(&b, d)
	}
}

// spread moves the events of b, of which base is the earliest, to the run and the levels below.
func (q *queue) spread(b *bucket, far bool) (moved uint64) {
	for c := b.head; c != 0; {
		next := q.link[c]
		n := uint32(chunkLen)
		if next == 0 {
			n = b.tail - c*chunkLen
		}
		for i := range n {
			v := q.slab[c*chunkLen+i]
			if v.at == q.base {
				q.append(&q.run, &v)
			} else {
				q.place(v.at, v.h, v.arg)
				moved++
			}
		}
		if !far {
			q.release(c)
		} else if next == 0 || c%blockLen == blockLen-1 {
			q.releaseBlock(c - c%blockLen)
		}
		c = next
	}
	return moved
}

// advanceRun moves the oldest chunk of the run to near, which is empty.
func (q *queue) advanceRun() {
	c := q.run.head
	next := q.link[c]
	n := uint32(chunkLen)
	if next == 0 {
		n = q.run.tail - c*chunkLen
	}
	q.lo, q.n = 0, uint(n)
	copy(q.near[:], q.slab[c*chunkLen:][:n])
	q.release(c)
	q.run.head, q.room = next, 0
	if next == 0 {
		q.run, q.room = bucket{}, nearLen
	}
}
