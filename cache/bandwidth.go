package cache

import "dmapath/sim"

// bandwidth is a resource that serves one transfer at a time, such as a channel's data bus: first come, first served,
// as long as requests come no earlier than the busy time that the last of them ended began. Cores run ahead of each
// other by a segment, so a request may also be earlier than that; it takes what its time bucket has left, and is
// not delayed by traffic of its future. Capacity is not exceeded over a bucket.
type bandwidth struct {
	number [slots]int64 // bucket that the slot stands for
	used   [slots]sim.Time
	begin  sim.Time // the last busy time began here
	end    sim.Time // and ends here
	lo, hi int64    // buckets lo to hi-1 are full
}

const (
	slots       = 64
	bucketShift = 16 // buckets of 65.5 ns: 26 transfers of DDR4-3200; 64 of them reach back 4.2 us
	bucketWidth = sim.Time(1) << bucketShift
)

// reserve returns the start of a transfer of length d asked for at t.
func (b *bandwidth) reserve(t, d sim.Time) sim.Time {
	start := t
	inOrder := t >= b.begin
	if inOrder {
		start = max(t, b.end)
	}
	n := int64(start >> bucketShift)
	if n >= b.lo && n < b.hi {
		n = b.hi
		start = sim.Time(n) << bucketShift
	}
	i := n & (slots - 1)
	for {
		if b.number[i] < n {
			b.number[i], b.used[i] = n, 0
		}
		if b.number[i] > n || b.used[i] < bucketWidth {
			break
		}
		if n == b.hi {
			b.hi++
		} else {
			b.lo, b.hi = n, n+1
		}
		n++
		i = n & (slots - 1)
		start = sim.Time(n) << bucketShift
	}
	if b.number[i] == n { // else older than all that is remembered
		if !inOrder {
			start = max(start, sim.Time(n)<<bucketShift+b.used[i])
		}
		if b.used[i] += d; b.used[i] > bucketWidth {
			b.spill(n+1, b.used[i]-bucketWidth)
			b.used[i] = bucketWidth
		}
	}
	if inOrder {
		if start > b.end {
			b.begin = start
		}
		b.end = start + d
	}
	return start
}

// spill charges d, the part of a transfer that did not fit its bucket, to bucket n.
func (b *bandwidth) spill(n int64, d sim.Time) {
	i := n & (slots - 1)
	if b.number[i] < n {
		b.number[i], b.used[i] = n, 0
	}
	if b.number[i] == n {
		b.used[i] += d
	}
}
