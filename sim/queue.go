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
	// digitBits is the width of a digit of a time, and with it how many buckets a level has.
	digitBits = 8
	digits    = 1 << digitBits
	levels    = (63 + digitBits - 1) / digitBits
	// chunkLen is how many events a chunk holds: with the link, 512 bytes. A bucket of one chunk is small enough
	// to be sorted by insertion.
	chunkLen = 21
	// nearLen is how many events the sorted array in front of the wheels holds at most.
	nearLen = 32
	// fewEvents is how many events are gathered from all buckets at once, to leave the wheels when there is no need of them.
	fewEvents = 8
)

type queue struct {
	// near holds the n earliest events, latest first: all those at or before limit.
	n     int
	room  int
	limit Time
	near  [nearLen]event

	base    Time // not after any event or the present
	size    int
	inWheel int
	mask    uint64
	run     bucket
	runHead int

	spare *chunk
	bits  [levels][digits / 64]uint64
	wheel [levels][digits]bucket
}

// bucket is a first-in-first-out list of events in chunks.
type bucket struct {
	tail *chunk
	n    int // events in tail; chunkLen when there is no chunk
	min  Time
	head *chunk
}

type chunk struct {
	ev   [chunkLen]event
	next *chunk
}

var levelOf = func() (t [64]uint8) {
	for i := range t {
		t[i] = uint8(i / digitBits)
	}
	return t
}()

var noBucket = bucket{n: chunkLen, min: Never}

func (q *queue) init() {
	for k := range q.wheel {
		for d := range q.wheel[k] {
			q.wheel[k][d] = noBucket
		}
	}
	q.run = noBucket
	q.room, q.limit = nearLen, Never
}

// next returns the time of the earliest event, or Never.
func (q *queue) next() Time {
	if q.n > 0 {
		return q.near[q.n-1].at
	}
	return q.nextFar()
}

func (q *queue) nextFar() Time {
	if q.run.tail != nil {
		return q.base
	}
	if q.mask == 0 {
		return Never
	}
	k, d := q.first()
	return q.wheel[k][d].min
}

// first returns the bucket of the earliest events in the wheels, which are not empty.
func (q *queue) first() (k, d int) {
	k = bits.TrailingZeros64(q.mask)
	for i, w := range &q.bits[k] {
		if w != 0 {
			return k, i*64 + bits.TrailingZeros64(w)
		}
	}
	panic("sim: event queue: empty level")
}

// push adds an event at at >= now.
func (q *queue) push(now, at Time, h Handler, arg uint64) {
	q.size++
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
	i := uint(n)
	for i > 0 && i < nearLen && q.near[i-1].at <= at {
		q.near[i] = q.near[i-1]
		i--
	}
	if i < nearLen {
		v := &q.near[i]
		v.at, v.arg, v.h = at, arg, h
	}
}

func (q *queue) place(at Time, h Handler, arg uint64) {
	top := bits.Len64(uint64(at^q.base)) - 1
	k := uint(levelOf[top&63])
	d := uint(at>>(k*digitBits)) % digits
	b := &q.wheel[k&7][d]
	if b.n >= chunkLen {
		if b.tail == nil {
			q.mask |= 1 << k
			q.bits[k&7][d/64] |= 1 << (d % 64)
		}
		q.extend(b)
	}
	if at < b.min {
		b.min = at
	}
	v := &b.tail.ev[b.n]
	b.n++
	v.at, v.arg, v.h = at, arg, h
	q.inWheel++
}

func (q *queue) extend(b *bucket) {
	c := q.spare
	if c == nil {
		q.grow()
		c = q.spare
	}
	q.spare = c.next
	c.next = nil
	if b.tail == nil {
		b.head = c
	} else {
		b.tail.next = c
	}
	b.tail, b.n = c, 0
}

func (q *queue) grow() {
	slab := make([]chunk, 64)
	for i := range slab {
		slab[i].next = q.spare
		q.spare = &slab[i]
	}
}

func (q *queue) release(c *chunk) {
	c.next = q.spare
	q.spare = c
}

func (q *queue) append(b *bucket, at Time, h Handler, arg uint64) {
	if b.n >= chunkLen {
		q.extend(b)
	}
	v := &b.tail.ev[b.n]
	v.at, v.arg, v.h = at, arg, h
	b.n++
}

// pushFull adds an event for near, which is full.
func (q *queue) pushFull(now, at Time, h Handler, arg uint64) {
	if q.run.tail != nil {
		q.append(&q.run, at, h, arg)
		return
	}
	old := q.near
	q.n = 0
	q.base, q.limit = now, now
	if old[0].at == now {
		for i := nearLen - 1; i >= 0; i-- {
			q.append(&q.run, old[i].at, old[i].h, old[i].arg)
		}
		q.room = 0
	} else {
		q.size -= nearLen
		for i := nearLen - 1; i >= 0; i-- {
			q.push(now, old[i].at, old[i].h, old[i].arg)
		}
	}
	q.size--
	q.push(now, at, h, arg)
}

// pop removes and returns the earliest event; there must be one.
func (q *queue) pop() event {
	if q.n == 0 {
		q.advance()
	}
	q.n--
	q.size--
	return q.near[uint(q.n)%nearLen]
}

// advance fills near, which is empty.
func (q *queue) advance() {
	if q.run.tail != nil {
		q.advanceRun()
		return
	}
	if q.inWheel <= fewEvents {
		q.gatherAll()
		return
	}
	k, d := q.first()
	b := q.take(k, d)
	q.base = b.min
	if b.head == b.tail {
		q.inWheel -= b.n
		q.gather(&b)
		q.limit = b.min | (1<<(uint(k)*digitBits) - 1)
		return
	}
	q.limit = b.min
	if k == 0 {
		q.run = b
		for c := b.head; c != b.tail; c = c.next {
			q.inWheel -= chunkLen
		}
		q.inWheel -= b.n
		q.advanceRun()
		return
	}
	for c := b.head; c != nil; {
		n := chunkLen
		if c == b.tail {
			n = b.n
		}
		q.inWheel -= n
		for i := range c.ev[:n] {
			v := &c.ev[i]
			if v.at == b.min {
				q.append(&q.run, v.at, v.h, v.arg)
			} else {
				q.place(v.at, v.h, v.arg)
			}
		}
		next := c.next
		q.release(c)
		c = next
	}
	q.advanceRun()
}

func (q *queue) take(k, d int) bucket {
	b := q.wheel[k][d]
	q.wheel[k][d] = noBucket
	q.bits[k][d/64] &^= 1 << (d % 64)
	if q.bits[k] == [digits / 64]uint64{} {
		q.mask &^= 1 << k
	}
	return b
}

// gather sorts the one chunk of b into near.
func (q *queue) gather(b *bucket) {
	for i := range b.tail.ev[:b.n] {
		v := &b.tail.ev[i]
		j := uint(q.n)
		for j > 0 && j < nearLen && q.near[j-1].at <= v.at {
			q.near[j] = q.near[j-1]
			j--
		}
		if j < nearLen {
			q.near[j] = *v
		}
		q.n++
	}
	q.release(b.tail)
}

func (q *queue) gatherAll() {
	for q.mask != 0 {
		k, d := q.first()
		b := q.take(k, d)
		if q.n == 0 {
			q.base = b.min
		}
		q.gather(&b)
	}
	q.inWheel = 0
	q.limit = Never
}

// advanceRun moves the oldest events of the run to near.
func (q *queue) advanceRun() {
	c := q.run.head
	end := chunkLen
	if c == q.run.tail {
		end = q.run.n
	}
	for i := end - 1; i >= q.runHead; i-- {
		q.near[q.n] = c.ev[i]
		q.n++
	}
	if q.run.head = c.next; q.run.head == nil {
		q.run = noBucket
		q.room = nearLen
	} else {
		q.room = 0
	}
	q.release(c)
}
