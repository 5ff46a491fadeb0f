package sim

// waitList is a first-in-first-out list of parked processes. It is linked through the processes, each of which
// can wait for one thing only, so that waiting allocates nothing. The zero value is empty.
type waitList struct {
	head, tail *Proc
	n          int
}

// park adds p, which wants want units, and parks it for w. It returns once somebody has taken p off the list and
// woken it.
func (l *waitList) park(p *Proc, w Waitable, want int64) {
	p.queued, p.want, p.since = nil, want, p.e.now
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.queued = p
	}
	l.tail = p
	l.n++
	p.Park(w)
}

// take removes and returns the process that has waited longest; the list must not be empty.
func (l *waitList) take() *Proc {
	p := l.head
	l.head = p.queued
	if l.head == nil {
		l.tail = nil
	}
	p.queued = nil
	l.n--
	return p
}
