package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// slowQueue is the queue's obvious twin: a slice kept sorted by (at, seq).
type slowQueue struct {
	ev  []heapEvent
	seq uint64
}

func (s *slowQueue) push(at Time, h Handler, arg uint64) {
	s.seq++
	v := heapEvent{at, s.seq, arg, h}
	i, _ := slices.BinarySearchFunc(s.ev, v, func(a, b heapEvent) int {
		if a.before(&b) {
			return -1
		}
		return 1
	})
	s.ev = slices.Insert(s.ev, i, v)
}

func (s *slowQueue) pop() heapEvent {
	v := s.ev[0]
	s.ev = s.ev[1:]
	return v
}

// twins drives a queue and its slow twin with the same operations and compares every answer.
type twins struct {
	fast  *queue
	slow  slowQueue
	now   Time
	count uint64
	fail  func(format string, args ...any)
}

func newTwins(fail func(string, ...any)) *twins {
	t := &twins{fast: new(queue), fail: fail}
	t.fast.init()
	return t
}

func (t *twins) push(at Time) {
	t.count++
	t.fast.push(t.now, at, Handler(t.count%7), t.count)
	t.slow.push(at, Handler(t.count%7), t.count)
	t.compare()
}

func (t *twins) pop() {
	if len(t.slow.ev) == 0 {
		return
	}
	got, want := t.fast.pop(), t.slow.pop()
	if got.at != want.at || got.arg != want.arg || got.h != want.h {
		t.fail("pop: got event %d at %d, want event %d at %d", got.arg, got.at, want.arg, want.at)
	}
	t.now = got.at
	t.compare()
}

// skip moves the present forward without an event, as a process that sleeps past nothing does.
func (t *twins) skip(to Time) {
	if to > t.now && to <= t.fast.next() {
		t.now = to
	}
}

func (t *twins) compare() {
	want := Never
	if len(t.slow.ev) > 0 {
		want = t.slow.ev[0].at
	}
	if got := t.fast.next(); got != want {
		t.fail("next: got %d, want %d", got, want)
	}
	if t.fast.len() != len(t.slow.ev) {
		t.fail("size: got %d, want %d", t.fast.len(), len(t.slow.ev))
	}
}

func (t *twins) drain() {
	for len(t.slow.ev) > 0 {
		t.pop()
	}
}

// ahead saturates.
func ahead(now, d Time) Time {
	if d > Never-now {
		return Never
	}
	return now + d
}

func TestQueueAgreesWithSortedSlice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newTwins(rt.Fatalf)
		span := rapid.Int64Range(0, int64(Never)).Draw(rt, "span")
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(rt *rapid.T) { w.push(ahead(w.now, Time(rapid.Int64Range(0, span).Draw(rt, "d")))) },
			"burst": func(rt *rapid.T) {
				at := ahead(w.now, Time(rapid.Int64Range(0, span).Draw(rt, "at")))
				step := Time(rapid.Int64Range(0, 3).Draw(rt, "step"))
				for range rapid.IntRange(1, 100).Draw(rt, "n") {
					w.push(at)
					at = ahead(at, step)
				}
			},
			"pop": func(rt *rapid.T) {
				for range rapid.IntRange(1, 50).Draw(rt, "n") {
					w.pop()
				}
			},
			"skip":  func(rt *rapid.T) { w.skip(ahead(w.now, Time(rapid.Int64Range(0, span).Draw(rt, "d")))) },
			"drain": func(*rapid.T) { w.drain() },
		})
		w.drain()
	})
}

// patterns are the shapes of load under which priority queues go wrong.
var patterns = []struct {
	name string
	next func(r *rand.Rand, now Time, i int) Time
}{
	{"all equal", func(_ *rand.Rand, now Time, _ int) Time { return max(now, 1000) }},
	{"always now", func(_ *rand.Rand, now Time, _ int) Time { return now }},
	{"few values", func(r *rand.Rand, now Time, _ int) Time { return now + Time(r.IntN(4)) }},
	{"increasing", func(_ *rand.Rand, now Time, i int) Time { return max(now, Time(i)*37) }},
	{"decreasing", func(_ *rand.Rand, now Time, i int) Time { return max(now, 1<<40-Time(i)*37) }},
	{"exponential", func(r *rand.Rand, now Time, _ int) Time { return now + Time(r.ExpFloat64()*1e5) }},
	{"heavy tail", func(r *rand.Rand, now Time, _ int) Time { return now + Time(1)<<r.IntN(50) }},
	{"far future and near", func(r *rand.Rand, now Time, i int) Time {
		if i%3 == 0 {
			return Never - Time(r.IntN(3))
		}
		return now + Time(r.IntN(1000))
	}},
	{"clusters", func(r *rand.Rand, now Time, _ int) Time { return (now>>30+1+Time(r.IntN(2)))<<30 + Time(r.IntN(5)) }},
	{"powers of the digit", func(r *rand.Rand, now Time, _ int) Time {
		return (now>>digitBits+Time(r.IntN(2)))<<digitBits + max(now%digits, Time(digits-r.IntN(2)))
	}},
	{"changing density", func(r *rand.Rand, now Time, i int) Time {
		return now + Time(r.ExpFloat64()*float64(int64(1)<<(i/700%4*9)))
	}},
	{"shrinking gaps", func(_ *rand.Rand, now Time, i int) Time { return now + Time(1)<<(40-i%40) }},
}

func TestQueueOrderUnderPatterns(t *testing.T) {
	for _, p := range patterns {
		for _, pending := range []int{1, 5, nearLen - 1, nearLen, nearLen + 1, 300, 3000} {
			t.Run(fmt.Sprintf("%s/%d", p.name, pending), func(t *testing.T) {
				w := newTwins(t.Fatalf)
				r := rand.New(rand.NewPCG(uint64(pending), 1))
				for i := range pending {
					w.push(p.next(r, w.now, i))
				}
				for i := range 2 * pending {
					w.pop()
					if w.now < Never/2 {
						w.push(p.next(r, w.now, pending+i))
					}
				}
				for i := range 5 * pending { // grow and shrink
					if r.IntN(2) == 0 && w.now < Never/2 {
						w.push(p.next(r, w.now, i))
					} else {
						w.pop()
					}
				}
				w.drain()
				w.push(Never) // usable after it was empty
				w.pop()
			})
		}
	}
}

// FuzzQueue reads operations from bytes: two of control, up to eight of a distance.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.Add([]byte{0xff, 0x80, 0, 0, 0x3f, 0x12, 0x80, 0x40, 0xc1, 0xee})
	f.Fuzz(func(t *testing.T, in []byte) {
		w := newTwins(t.Fatalf)
		for len(in) >= 2 {
			op, n := in[0], int(in[1])
			in = in[2:]
			var d Time
			for range min(int(op>>5), len(in)) {
				d = d<<8 | Time(in[0])
				in = in[1:]
			}
			switch op & 3 {
			case 0, 1:
				at := ahead(w.now, d)
				for range n%64 + 1 {
					w.push(at)
					at = ahead(at, Time(op>>2&7))
				}
			case 2:
				for range n {
					w.pop()
				}
			case 3:
				w.skip(ahead(w.now, d))
			}
		}
		w.drain()
	})
}
