package sim

import "fmt"

// BoundedQueue holds at most a given number of items in the order in which they were put. Producers wait for room and
// consumers for items, both in the order in which they came.
type BoundedQueue[T any] struct {
	Name string
	// Producer and Consumer name who puts and who takes, for the report of who waits for whom; may be empty.
	Producer, Consumer string

	Puts, Gets  uint64
	FullWaits   uint64 // puts that had to wait or were refused by TryPut
	EmptyWaits  uint64 // gets that had to wait
	MaxLen      int
	WaitedFull  Time // total time that producers waited for room
	WaitedEmpty Time // total time that consumers waited for items

	items       []T
	head, n     int
	full, empty waitList
	room        queueRoom[T]
	any         queueItem[T]
}

// NewBoundedQueue returns an empty queue for at most capacity >= 1 items.
func NewBoundedQueue[T any](name string, capacity int) *BoundedQueue[T] {
	if capacity < 1 {
		panic(fmt.Sprintf("sim: queue %s of capacity %d: at least 1", name, capacity))
	}
	q := &BoundedQueue[T]{Name: name, items: make([]T, capacity)}
	q.room.q, q.any.q = q, q
	return q
}

// Len returns how many items are queued.
func (q *BoundedQueue[T]) Len() int { return q.n }

// Cap returns how many items fit.
func (q *BoundedQueue[T]) Cap() int { return len(q.items) }

// TryPut appends v and returns true if there is room and no producer waits for it.
func (q *BoundedQueue[T]) TryPut(v T, now Time) bool {
	if q.n == len(q.items) || q.full.n > 0 {
		q.FullWaits++
		return false
	}
	q.put(v, now)
	return true
}

// Put appends v, after waiting for room if the queue is full.
func (q *BoundedQueue[T]) Put(p *Proc, v T) {
	if q.n == len(q.items) || q.full.n > 0 {
		q.FullWaits++
		q.full.park(p, &q.room, 0)
		q.WaitedFull += p.e.now - p.since
	}
	q.put(v, p.e.now)
}

// TryGet removes and returns the oldest item if there is one that no waiting consumer is about to get.
func (q *BoundedQueue[T]) TryGet(now Time) (v T, ok bool) {
	if q.n == 0 || q.empty.n > 0 {
		return v, false
	}
	return q.get(now), true
}

// Get removes and returns the oldest item, after waiting for one if the queue is empty.
func (q *BoundedQueue[T]) Get(p *Proc) T {
	if q.n == 0 || q.empty.n > 0 {
		q.EmptyWaits++
		q.empty.park(p, &q.any, 0)
		q.WaitedEmpty += p.e.now - p.since
	}
	return q.get(p.e.now)
}

// Describe says how full the queue is.
func (q *BoundedQueue[T]) Describe() string {
	return fmt.Sprintf("queue %s (%d of %d)", named(q.Name), q.n, len(q.items))
}

func (q *BoundedQueue[T]) put(v T, now Time) {
	if q.n == len(q.items) {
		panic("sim: put into full " + q.Describe())
	}
	i := q.head + q.n
	if i >= len(q.items) {
		i -= len(q.items)
	}
	q.items[i] = v
	q.n++
	q.Puts++
	q.MaxLen = max(q.MaxLen, q.n)
	if q.empty.n > 0 {
		q.empty.take().Wake(now)
	}
}

func (q *BoundedQueue[T]) get(now Time) T {
	if q.n == 0 {
		panic("sim: get from empty " + q.Describe())
	}
	v := q.items[q.head]
	var zero T
	q.items[q.head] = zero
	if q.head++; q.head == len(q.items) {
		q.head = 0
	}
	q.n--
	q.Gets++
	if q.full.n > 0 {
		q.full.take().Wake(now)
	}
	return v
}

// queueRoom is what producers of a full queue wait for.
type queueRoom[T any] struct{ q *BoundedQueue[T] }

func (r *queueRoom[T]) Describe() string { return "room in " + r.q.Describe() + by(r.q.Consumer) }

// queueItem is what consumers of an empty queue wait for.
type queueItem[T any] struct{ q *BoundedQueue[T] }

func (i *queueItem[T]) Describe() string { return "an item in " + i.q.Describe() + by(i.q.Producer) }

// by says who has to act.
func by(owner string) string {
	if owner == "" {
		return ""
	}
	return ", up to " + owner
}
