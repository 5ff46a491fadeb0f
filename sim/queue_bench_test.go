package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// increments returns how far ahead the next events are scheduled: exp is exponential; mixed is what a machine does, one
// tenth at the present time, most within nanoseconds, some as far as a device's latency or a timer.
func increments(dist string, mean float64) []Time {
	r := NewRand(1, "hold/"+dist)
	v := make([]Time, 1<<16)
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
				x = mean * 1000 / math.Pow(1-r.Float64(), 0.5)
			}
		}
		v[i] = Time(x)
	}
	return v
}

// BenchmarkHold pops the earliest event and pushes one at a random time after it, with a constant number pending. It times
// the yardstick and the queue in turns and reports the ratio as x-4ary: how many times faster the queue is.
func BenchmarkHold(b *testing.B) {
	for _, dist := range []string{"exp", "mixed"} {
		for _, pending := range []int{1, 64, 4096, 1_000_000} {
			b.Run(fmt.Sprintf("queue=wheel/dist=%s/pending=%d", dist, pending), func(b *testing.B) { hold(b, dist, pending, 1e5) })
		}
	}
}

func hold(b *testing.B, dist string, pending int, mean float64) {
	inc := increments(dist, mean)
	var h heap4
	q := new(queue)
	q.init()
	r := rand.New(rand.NewPCG(1, 2))
	for range pending {
		t := inc[r.IntN(len(inc))]
		h.push(t, 0, 0)
		q.push(0, t, 0, 0)
	}
	const turn = 4096
	ih, iq := 0, 0
	heapTurn := func() {
		for range turn {
			v := h.pop()
			h.push(v.at+inc[ih&(1<<16-1)], v.h, v.arg)
			ih++
		}
	}
	queueTurn := func() {
		for range turn {
			v := q.pop()
			q.push(v.at, v.at+inc[iq&(1<<16-1)], v.h, v.arg)
			iq++
		}
	}
	for range max(1, 3*pending/turn) {
		heapTurn()
		queueTurn()
	}
	var th, tq time.Duration
	n := 0
	b.ReportAllocs()
	b.ResetTimer()
	for ; n < b.N; n += turn {
		t0 := time.Now()
		heapTurn()
		t1 := time.Now()
		queueTurn()
		th += t1.Sub(t0)
		tq += time.Since(t1)
	}
	b.ReportMetric(float64(th)/float64(tq), "x-4ary")
	b.ReportMetric(float64(tq)/float64(n), "ns/op")
	b.ReportMetric(float64(th)/float64(n), "4ary-ns/op")
}
