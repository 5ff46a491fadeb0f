package sim

import (
	"math"
	"math/big"
	"math/bits"
)

// Sample accumulates integers (picoseconds, cycles, bytes) without storing them. Its sums are exact, so the result does
// not depend on the order of Add and Merge. The zero value is empty.
type Sample struct {
	N        uint64
	Min, Max int64 // 0 while N is 0

	sum    [2]uint64 // two's complement, low word first
	square [3]uint64 // unsigned, low word first
}

// Add counts v.
func (s *Sample) Add(v int64) {
	if s.N == 0 {
		s.Min, s.Max = v, v
	}
	s.N++
	s.Min, s.Max = min(s.Min, v), max(s.Max, v)
	var c uint64
	s.sum[0], c = bits.Add64(s.sum[0], uint64(v), 0)
	s.sum[1], _ = bits.Add64(s.sum[1], uint64(v>>63), c)
	u := uint64(v)
	if v < 0 {
		u = -u
	}
	hi, lo := bits.Mul64(u, u)
	s.square[0], c = bits.Add64(s.square[0], lo, 0)
	s.square[1], c = bits.Add64(s.square[1], hi, c)
	s.square[2] += c
}

// Merge adds what o has counted.
func (s *Sample) Merge(o *Sample) {
	if o.N == 0 {
		return
	}
	if s.N == 0 {
		*s = *o
		return
	}
	s.N += o.N
	s.Min, s.Max = min(s.Min, o.Min), max(s.Max, o.Max)
	var c uint64
	s.sum[0], c = bits.Add64(s.sum[0], o.sum[0], 0)
	s.sum[1], _ = bits.Add64(s.sum[1], o.sum[1], c)
	s.square[0], c = bits.Add64(s.square[0], o.square[0], 0)
	s.square[1], c = bits.Add64(s.square[1], o.square[1], c)
	s.square[2], _ = bits.Add64(s.square[2], o.square[2], c)
}

// Sum returns the total, nearest float64.
func (s *Sample) Sum() float64 { f, _ := new(big.Float).SetInt(s.bigSum()).Float64(); return f }

// Mean returns the arithmetic mean; NaN when empty.
func (s *Sample) Mean() float64 {
	if s.N == 0 {
		return math.NaN()
	}
	f, _ := new(big.Rat).SetFrac(s.bigSum(), new(big.Int).SetUint64(s.N)).Float64()
	return f
}

// Variance returns the unbiased variance; NaN below two values.
func (s *Sample) Variance() float64 {
	if s.N < 2 {
		return math.NaN()
	}
	n := new(big.Int).SetUint64(s.N)
	sum := s.bigSum()
	d := words(s.square[:])
	d.Mul(d, n).Sub(d, sum.Mul(sum, sum))
	n1 := new(big.Int).SetUint64(s.N - 1)
	f, _ := new(big.Rat).SetFrac(d, n.Mul(n, n1)).Float64()
	return f
}

// StdDev returns the square root of Variance.
func (s *Sample) StdDev() float64 { return math.Sqrt(s.Variance()) }

func (s *Sample) bigSum() *big.Int {
	v := words(s.sum[:])
	if int64(s.sum[1]) < 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	return v
}

func words(w []uint64) *big.Int {
	v := new(big.Int)
	for i := len(w) - 1; i >= 0; i-- {
		v.Lsh(v, 64).Or(v, new(big.Int).SetUint64(w[i]))
	}
	return v
}

// Level follows a quantity that stays the same between events, such as how many requests are in flight, and integrates it
// over time. The zero value is level 0 since time 0.
type Level struct {
	Now, Max int64

	since Time
	area  [2]uint64 // level x picoseconds, two's complement, low word first
	start Time
}

// Add changes the level by d at time now, which must not be earlier than that of the call before.
func (l *Level) Add(now Time, d int64) {
	l.integrate(now)
	l.Now += d
	l.Max = max(l.Max, l.Now)
}

// Restart forgets the past, for the end of a warm-up; the level itself stays.
func (l *Level) Restart(now Time) { *l = Level{Now: l.Now, Max: l.Now, since: now, start: now} }

// Mean returns the time average from the start, or Restart, to now; NaN for an empty span.
func (l *Level) Mean(now Time) float64 {
	c := *l
	c.integrate(now)
	if now == c.start {
		return math.NaN()
	}
	s := Sample{sum: c.area}
	return s.Sum() / float64(now-c.start)
}

func (l *Level) integrate(now Time) {
	if now < l.since {
		panic("sim: level changed in the past")
	}
	hi, lo := bits.Mul64(uint64(l.Now), uint64(now-l.since))
	if l.Now < 0 {
		hi -= uint64(now - l.since)
	}
	var c uint64
	l.area[0], c = bits.Add64(l.area[0], lo, 0)
	l.area[1], _ = bits.Add64(l.area[1], hi, c)
	l.since = now
}
