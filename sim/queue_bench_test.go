package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
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
	heap4, own []float64 // ns per operation of each turn
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
	t2 := time.Now()
	h.heap4 = append(h.heap4, float64(t1.Sub(t0))/float64(n))
	h.own = append(h.own, float64(t2.Sub(t1))/float64(n))
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
				turn := max(8192, pending/16) // long enough not to time mostly the refilling of the caches
				h.heap4 = make([]float64, 0, b.N/turn+1)
				h.own = make([]float64, 0, b.N/turn+1)
				b.ReportAllocs()
				b.ResetTimer()
				for left := b.N; left > 0; left -= turn {
					h.turn(min(left, turn))
				}
				heap4, own := median(h.heap4), median(h.own) // others use the machine, too
				b.ReportMetric(heap4/own, "x-4ary")
				b.ReportMetric(own, "ns/op")
				b.ReportMetric(heap4, "4ary-ns/op")
			})
		}
	}
}

// BenchmarkPatterns compares the queue with the yardstick under the loads that make priority queues go wrong. The times are
// drawn while timing, which takes up to 20 ns of both and brings the ratio nearer to 1.
func BenchmarkPatterns(b *testing.B) {
	for _, p := range patterns {
		if p.name == "far future and near" {
			continue // ends with nothing but the far future
		}
		for _, pending := range []int{24, 4096, 100_000} {
			b.Run(fmt.Sprintf("queue=wheel/pattern=%s/pending=%d", strings.ReplaceAll(p.name, " ", "-"), pending), func(b *testing.B) {
				var heap heap4
				q := new(queue)
				q.init()
				rh, rq := NewRand(1, p.name), NewRand(1, p.name)
				for i := range pending {
					heap.push(p.next(rh, 0, i), 0, 0)
					q.push(0, p.next(rq, 0, i), 0, 0)
				}
				var th, tq time.Duration
				for i := pending; i < pending+b.N; {
					t0 := time.Now()
					j := min(i+8192, pending+b.N)
					for k := i; k < j; k++ {
						v := heap.pop()
						heap.push(p.next(rh, v.at, k), v.h, v.arg)
					}
					t1 := time.Now()
					for ; i < j; i++ {
						v := q.pop()
						q.push(v.at, p.next(rq, v.at, i), v.h, v.arg)
					}
					th += t1.Sub(t0)
					tq += time.Since(t1)
				}
				b.ReportMetric(float64(th)/float64(tq), "x-4ary")
				b.ReportMetric(float64(tq)/float64(b.N), "ns/op")
			})
		}
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
