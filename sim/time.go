package sim

import (
	"fmt"
	"math"
	"math/bits"
)

// Time is a point in, or a span of, simulated time in integer picoseconds.
type Time int64

// Spans of simulated time.
const (
	Picosecond  Time = 1
	Nanosecond       = 1000 * Picosecond
	Microsecond      = 1000 * Nanosecond
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond
)

// Never is later than every event.
const Never Time = math.MaxInt64

// Nanoseconds returns t in nanoseconds; for reports, never for arithmetic that feeds back into a run.
func (t Time) Nanoseconds() float64 { return float64(t) / float64(Nanosecond) }

// String prints t in nanoseconds with all three decimals, exactly.
func (t Time) String() string {
	if t == Never {
		return "never"
	}
	s := ""
	if t < 0 {
		s, t = "-", -t
	}
	return fmt.Sprintf("%s%d.%03dns", s, t/Nanosecond, t%Nanosecond)
}

// Clock is a clock domain: a frequency whose edges are computed from the edge number, never by adding a
// rounded period, so that they do not drift. Edge 0 is at time 0.
type Clock struct{ hz uint64 }

// NewClock returns a clock of hz hertz, 1 Hz to 1 THz.
func NewClock(hz int64) (Clock, error) {
	if hz < 1 || hz > 1_000_000_000_000 {
		return Clock{}, fmt.Errorf("clock frequency %d Hz: allowed are 1 Hz to 1 THz", hz)
	}
	return Clock{uint64(hz)}, nil
}

// Hz returns the frequency in hertz.
func (c Clock) Hz() int64 { return int64(c.hz) }

// Edge returns the time of edge n >= 0, rounded up to a whole picosecond: ceil(n * 10^12 / hz).
func (c Clock) Edge(n int64) Time {
	hi, lo := bits.Mul64(uint64(n), 1_000_000_000_000)
	q, r := bits.Div64(hi, lo, c.hz)
	if r > 0 {
		q++
	}
	return Time(q)
}

// CeilCycle returns the number of the first edge at or after t >= 0; Edge(CeilCycle(t)) >= t.
func (c Clock) CeilCycle(t Time) int64 {
	n := c.FloorCycle(t)
	if c.Edge(n) < t {
		n++
	}
	return n
}

// FloorCycle returns the number of the last edge at or before t >= 0.
func (c Clock) FloorCycle(t Time) int64 {
	hi, lo := bits.Mul64(uint64(t), c.hz)
	q, _ := bits.Div64(hi, lo, 1_000_000_000_000)
	return int64(q)
}
