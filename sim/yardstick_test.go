package sim

// heap4 is the yardstick of the queue's benchmarks: a 4-ary heap of plain 32-byte values, ordered by (at, seq).
type heap4 struct {
	q   []heapEvent
	seq uint64
}

type heapEvent struct {
	at  Time
	seq uint64
	arg uint64
	h   Handler
}

func (a *heapEvent) before(b *heapEvent) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (e *heap4) push(at Time, h Handler, arg uint64) {
	e.seq++
	v := heapEvent{at, e.seq, arg, h}
	e.q = append(e.q, v)
	i := len(e.q) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !v.before(&e.q[p]) {
			break
		}
		e.q[i] = e.q[p]
		i = p
	}
	e.q[i] = v
}

func (e *heap4) pop() heapEvent {
	top := e.q[0]
	n := len(e.q) - 1
	v := e.q[n]
	e.q = e.q[:n]
	if n == 0 {
		return top
	}
	i := 0
	for {
		c := 4*i + 1
		if c >= n {
			break
		}
		m := c
		for j := c + 1; j < c+4 && j < n; j++ {
			if e.q[j].before(&e.q[m]) {
				m = j
			}
		}
		if !e.q[m].before(&v) {
			break
		}
		e.q[i] = e.q[m]
		i = m
	}
	e.q[i] = v
	return top
}
