package sim

// review changes the width of leaves that have held too few or too many events. If the levels above can stay, that moves
// what is in the leaves, else everything, which pays only in the long run: the levels below catch what is too dense, and at a million
// events they are nearly as fast. So the operations until the next time are counted by the events moved, and moving all takes
// as long an observation.
func (q *queue) review() {
	n := float64(q.gathered) / float64(q.gathers)
	ops := q.pushes + q.pops
	w := q.width
	for m := n; m < leafFewest && w < 63; m *= 2 {
		w++
	}
	for m := n; m > leafMost && w > 0; m /= 2 {
		w--
	}
	more := uint64(min(max(256, q.len()/4), 4096))
	if ops < q.earliest && w != q.width {
		q.sample += more
		return
	}
	top, span := leafLevel, q.span
	if w < q.span-leafBits || w > q.span-leafBitsFewest {
		if ops < q.earliestAll || q.gathered < uint64(q.len()) && n < 100*leafMost {
			q.sample += more
			return
		}
		top, span = maxLevels, w+leafBits-2
	}
	q.gathers, q.gathered, q.sample = 0, 0, more
	if w == q.width {
		return
	}
	if q.widened == (w > q.width) {
		q.patience = 1
	} else {
		q.patience = min(2*q.patience, 64)
	}
	q.widened = w > q.width

	q.detached = q.detached[:0]
	near := 0
	for q.mask&(1<<(top+1)-1) != 0 {
		i, d := q.first()
		q.detached = append(q.detached, q.take(i, d))
		if d.level <= leafLevel {
			near++
		}
	}
	q.layOut(w, span)
	moved := uint64(0)
	for i := range q.detached {
		moved += q.spread(&q.detached[i], i >= near)
	}
	q.earliest = ops + moved*q.patience
	if top == maxLevels {
		q.earliestAll = ops + 4*moved*q.patience
	}
}

// layOut makes leaves span 2^width picoseconds each and 2^span together. The wheels must be empty or, if span stays, the leaves and
// what is below.
func (q *queue) layOut(width, span int) {
	q.span = min(span, 63)
	q.width = min(width, q.span)
	for top := range q.digit {
		d := digit{mask: digits - 1}
		switch {
		case top < q.width:
			below := (q.width - 1 - top) / digitBits
			d.shift = uint8(max(0, q.width-(below+1)*digitBits))
			d.level = uint8(leafLevel - 1 - below)
			d.first = uint16(leaves + int(d.level)*digits)
		case top < q.span:
			d = digit{shift: uint8(q.width), level: leafLevel, mask: 1<<(q.span-q.width) - 1}
		default:
			above := (top - q.span) / digitBits
			d.shift = uint8(q.span + above*digitBits)
			d.level = uint8(leafLevel + 1 + above)
			d.first = uint16(leaves + (int(d.level)-1)*digits)
		}
		q.digit[top] = d
		q.level[d.level] = d
	}
}

func (q *queue) init() {
	q.room, q.limit = nearLen, Never
	q.layOut(16, 16+leafBits-2)
	q.sample, q.patience = 256, 1
}
