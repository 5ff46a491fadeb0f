package sim

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// increments returns how far ahead the next events are scheduled: exp is exponential; mixed is what a machine does, one
// tenth at the present time, most within nanoseconds, some as far as a device's latency or a timer.
func increments(dist string, mean float64) []Time {
	r := NewRand(1, "hold/"+dist)
	v := make([]Time, 1<<13)
	for i := range v {
		x := r.ExpFloat64() * mean
		if dist == "mixed" {
			switch u := r.Float64(); {
			case u < 0.1:
				x = 0
			case u < 0.7:
				x = mean * r.Float64()
			case u < 0.95:
				x = mean * 10 * (0.9 + 0.2*r.Float64())
			case u < 0.999:
				x *= 100
			default:
				x = mean * 1000 / math.Sqrt(1-r.Float64())
			}
		}
		v[i] = Time(x)
	}
	return v
}

// hold is the hold model: it pops the earliest event and pushes one at a random time after it, so that the number
// pending stays the same. The queue and the yardstick do the same operations, in turns.
type hold struct {
	inc        []Time
	heap       heap4
	queue      queue
	nh, nq     int
	heap4, own time.Duration
}

func newHold(dist string, pending int, mean float64) *hold {
	h := &hold{inc: increments(dist, mean)}
	h.queue.init()
	for i := range pending {
		t := h.inc[(i*7)%len(h.inc)] + Time(i/len(h.inc))
		h.heap.push(t, 0, 0)
		h.queue.push(0, t, 0, 0)
	}
	return h
}

func (h *hold) turn(n int) {
	t0 := time.Now()
	for range n {
		v := h.heap.pop()
		h.heap.push(v.at+h.inc[h.nh%(1<<13)], v.h, v.arg)
		h.nh++
	}
	t1 := time.Now()
	for range n {
		v := h.queue.pop()
		h.queue.push(v.at, v.at+h.inc[h.nq%(1<<13)], v.h, v.arg)
		h.nq++
	}
	h.heap4 += t1.Sub(t0)
	h.own += time.Since(t1)
}

// BenchmarkHold reports how many times faster than the yardstick the queue is as x-4ary, and its own time as ns/op.
func BenchmarkHold(b *testing.B) {
	for _, dist := range []string{"exp", "mixed"} {
		for _, pending := range []int{1, 64, 4096, 1_000_000} {
			var h *hold
			b.Run(fmt.Sprintf("queue=wheel/dist=%s/pending=%d", dist, pending), func(b *testing.B) {
				if h == nil { // once, not again for every b.N
					h = newHold(dist, pending, 1e6)
					for range 2 * pending / 8192 {
						h.turn(8192)
					}
				}
				h.heap4, h.own = 0, 0
				b.ReportAllocs()
				b.ResetTimer()
				turn := max(8192, pending/8) // long enough not to time mostly the refilling of the caches
				for left := b.N; left > 0; left -= turn {
					h.turn(min(left, turn))
				}
				b.ReportMetric(float64(h.heap4)/float64(h.own), "x-4ary")
				b.ReportMetric(float64(h.own)/float64(b.N), "ns/op")
				b.ReportMetric(float64(h.heap4)/float64(b.N), "4ary-ns/op")
			})
		}
	}
}
