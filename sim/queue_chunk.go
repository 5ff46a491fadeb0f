package sim

// append adds an event at the end of b, which is not in a wheel.
func (q *queue) append(b *bucket, v *event) {
	s := b.tail
	if s%chunkLen == 0 {
		s = q.extend(b, false)
	}
	b.tail = s + 1
	q.slab[s] = *v
}

// extend adds a chunk to b and returns its first slot. The chunks of far buckets, those above the leaves, come in blocks.
func (q *queue) extend(b *bucket, far bool) uint32 {
	if b.head != 0 && far && b.tail/chunkLen%blockLen != 0 {
		c := b.tail / chunkLen
		q.link[c-1], q.link[c] = c, 0
		return b.tail
	}
	c := q.spareBlock
	if far || q.spare == 0 {
		if c == 0 {
			q.grow()
			c = q.spareBlock
		}
		q.spareBlock = q.link[c]
		if !far {
			for i := range uint32(blockLen) {
				q.release(c + blockLen - 1 - i)
			}
		}
	}
	if !far {
		c = q.spare
		q.spare = q.link[c]
	}
	q.link[c] = 0
	if b.head == 0 {
		b.head = c
	} else {
		q.link[(b.tail-1)/chunkLen] = c
	}
	return c * chunkLen
}

// grow doubles the memory for events, all of whose blocks are in use.
func (q *queue) grow() {
	old := max(len(q.link), blockLen)
	n := 2 * old
	if n > 1<<(32-chunkBits) {
		panic("sim: more than 2^31 pending events")
	}
	slab, link := make([]event, n*chunkLen), make([]uint32, n)
	copy(slab, q.slab)
	copy(link, q.link)
	q.slab, q.link = slab, link
	for c := n - blockLen; c >= old; c -= blockLen {
		q.releaseBlock(uint32(c))
	}
}

func (q *queue) release(c uint32) {
	q.link[c] = q.spare
	q.spare = c
}

func (q *queue) releaseBlock(c uint32) {
	q.link[c] = q.spareBlock
	q.spareBlock = c
}

// releaseOnly frees the only chunk of b, which comes from a bucket of digit d.
func (q *queue) releaseOnly(b *bucket, d *digit) {
	if d.level > leafLevel {
		q.releaseBlock(b.head)
	} else {
		q.release(b.head)
	}
}
