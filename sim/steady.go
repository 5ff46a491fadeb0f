package sim

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// seriesFirst is how many operations the first batches hold: the 5 of MSER-5.
	seriesFirst = 5
	// seriesBatches is the most batches that are kept: 2048 x 8 bytes. When they are used up, neighbours are joined, so
	// that there are at least half as many from then on.
	seriesBatches = 2048
	// groupsMost and groupsFewest bound into how many groups the batches after the warm-up are combined for the interval:
	// few enough to be nearly independent, enough for a t quantile that is not much larger than the normal one.
	groupsMost, groupsFewest = 32, 8
)

// Series records a quantity per operation, in the order of the operations, in constant memory: as sums over batches of
// equal size, which doubles whenever the memory is used up. The zero value is empty.
type Series struct {
	N uint64 // operations recorded

	size    int64 // operations per batch; 0 before the first
	sums    []int64
	partial int64 // sum of the batch that is being filled
	filled  int64 // operations in it
}

// Add records the next operation's value, such as its cycles.
func (s *Series) Add(v int64) {
	if s.size == 0 {
		s.size, s.sums = seriesFirst, make([]int64, 0, seriesBatches)
	}
	s.N++
	s.partial += v
	if s.filled++; s.filled < s.size {
		return
	}
	s.sums = append(s.sums, s.partial)
	s.partial, s.filled = 0, 0
	if len(s.sums) == seriesBatches {
		s.sums = join(s.sums, s.sums[:0])
		s.size *= 2
	}
}

// Batches returns the sums over complete batches of size operations each, in order. The slice is the series' own: it is not to be changed,
// and the next Add may.
func (s *Series) Batches() (sums []int64, size int64) { return s.sums, s.size }

// join appends the sums of neighbouring pairs to into, which may be the start of sums; an odd last one is dropped.
func join(sums, into []int64) []int64 {
	for i := 0; i+1 < len(sums); i += 2 {
		into = append(into, sums[i]+sums[i+1])
	}
	return into
}

// Estimate is what a series says about the steady state.
type Estimate struct {
	Warmup    uint64  // operations cut off at the start
	N         uint64  // operations that the mean is over; Warmup + N may leave out a last incomplete batch
	Mean      float64 // per operation
	HalfWidth float64 // of the 95 % confidence interval; +Inf if there are too few operations to tell
	Groups    int     // groups of batches that the interval is from
	Lag1      float64 // correlation between neighbouring groups; near 0 if they are independent
	Warnings  []error // doubts, for the reader of the figure
}

// Low and High return the ends of the 95 % confidence interval.
func (e Estimate) Low() float64  { return e.Mean - e.HalfWidth }
func (e Estimate) High() float64 { return e.Mean + e.HalfWidth }

// Significant reports whether the interval leaves out 0: for a difference, whether there is one.
func (e Estimate) Significant() bool { return e.Low() > 0 || e.High() < 0 }

// Steady finds the end of the warm-up and estimates the mean after it.
func (s *Series) Steady() Estimate {
	cut, ok := mser(s.sums)
	return estimate(s.sums, s.size, cut, ok)
}

// Difference estimates the mean of b minus a, operation by operation. Both series must have been driven by the same
// sequence of operations (common random numbers): then what both have in common cancels and the interval is that of the
// paired difference. The warm-up is the longer of the two.
func Difference(a, b *Series) Estimate {
	d, size, cut, ok := paired(a, b)
	e := estimate(d, size, cut, ok)
	return e.pairedWarning(a, b)
}

// paired returns the batches of b minus a, operation by operation, with the longer of their warm-ups.
func paired(a, b *Series) (d []int64, size int64, cut int, ok bool) {
	size = max(a.size, b.size)
	x, y := a.batches(size), b.batches(size)
	cx, okx := mser(x)
	cy, oky := mser(y)
	d = make([]int64, min(len(x), len(y)))
	for i := range d {
		d[i] = y[i] - x[i]
	}
	return d, size, max(cx, cy), okx && oky
}

// pairedWarning adds the doubt that a and b are not equally long.
func (e Estimate) pairedWarning(a, b *Series) Estimate {
	if a.N != b.N {
		e.Warnings = append(e.Warnings, fmt.Errorf("the series differ in length (%d and %d operations): only the common part is compared", a.N, b.N))
	}
	return e
}

// batches returns the sums over batches of size operations, a doubling of the series' own.
func (s *Series) batches(size int64) []int64 {
	sums := s.sums
	for m := s.size; 0 < m && m < size; m *= 2 {
		sums = join(sums, nil)
	}
	return sums
}

// mser returns how many batches at the start belong to the warm-up: those without which the standard error of the mean
// of the rest is smallest (White, Cobb, Spratt: A comparison of five steady-state truncation heuristics, WSC 2000). It is
// not ok if even half of the batches is not enough.
func mser(sums []int64) (cut int, ok bool) {
	n := len(sums)
	if n < 2 {
		return 0, false
	}
	// Deviations from the last batch keep the squares small; the mean of the rest does not depend on the origin.
	origin := float64(sums[n-1])
	best := math.Inf(1)
	var sum, square float64
	for d := n - 1; d >= 0; d-- {
		x := float64(sums[d]) - origin
		sum += x
		square += x * x
		k := float64(n - d)
		if d > n/2 {
			continue // too few left to judge by
		}
		if e := (square - sum*sum/k) / (k * k); e <= best {
			best, cut = e, d
		}
	}
	return cut, cut < n/2
}

// estimate returns the mean of the batches from cut on and its confidence interval by the method of batch means: the
// largest number of groups whose means pass for independent, and the t quantile for that number.
func estimate(sums []int64, size int64, cut int, ok bool) Estimate {
	rest := sums[min(cut, len(sums)):]
	e := Estimate{Warmup: uint64(int64(cut) * size), HalfWidth: math.Inf(1), Mean: math.NaN(), Lag1: math.NaN()}
	if len(rest) < groupsFewest {
		e.Warnings = append(e.Warnings, fmt.Errorf("%d operations are too few for a confidence interval: at least %d after the warm-up",
			int64(len(rest))*size, groupsFewest*seriesFirst))
		if len(rest) > 0 {
			e.N, e.Mean = uint64(int64(len(rest))*size), mean(rest)/float64(size)
		}
		return e
	}
	if !ok {
		e.Warnings = append(e.Warnings, fmt.Errorf("no end of the warm-up within the first half of the run: it is too short, or not stationary"))
	}
	for k := min(groupsMost, len(rest)); ; k /= 2 {
		g, per := group(rest, k)
		m := mean(g)
		e.Groups, e.Lag1 = len(g), lag1(g, m)
		e.N = uint64(int64(len(g)) * per * size)
		e.Warmup = uint64((int64(len(sums)) - int64(len(g))*per) * size)
		e.Mean = m / float64(per*size)
		t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(len(g) - 1)}.Quantile(0.975)
		e.HalfWidth = t * stderr(g, m) / float64(per*size)
		// Of n independent values the correlation is about normal with mean -1/n and standard deviation 1/sqrt(n).
		n := float64(len(g))
		independent := e.Lag1+1/n < 1.645/math.Sqrt(n)
		if independent {
			return e
		}
		if k/2 < groupsFewest {
			e.Warnings = append(e.Warnings, fmt.Errorf("neighbouring groups of %d operations are correlated (%.2f): the interval is too narrow, a longer run is needed", per*size, e.Lag1))
			return e
		}
	}
}

// HalfWidth95 returns half of the 95 % confidence interval of the mean of independent values, Student's t; NaN for fewer than
// 8 of them.
func HalfWidth95(v []float64) float64 {
	if len(v) < groupsFewest {
		return math.NaN()
	}
	n := float64(len(v))
	var sum, square float64 // of the differences to the first, so that equal values have no spread at all
	for _, x := range v {
		d := x - v[0]
		sum += d
		square += d * d
	}
	q := max(square-sum*sum/n, 0)
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) * math.Sqrt(q/(n-1)/n)
}

// group combines the batches into k groups of equal size; batches that are left over at the start are dropped, as if they
// belonged to the warm-up.
func group(sums []int64, k int) (g []int64, per int64) {
	n := len(sums) / k
	sums = sums[len(sums)-n*k:]
	g = make([]int64, k)
	for i := range g {
		for _, v := range sums[i*n : (i+1)*n] {
			g[i] += v
		}
	}
	return g, int64(n)
}

func mean(v []int64) float64 {
	var s Sample
	for _, x := range v {
		s.Add(x)
	}
	return s.Mean()
}

// stderr returns the standard error of the mean m of independent values.
func stderr(v []int64, m float64) float64 {
	var q float64
	for _, x := range v {
		d := float64(x) - m
		q += d * d
	}
	n := float64(len(v))
	return math.Sqrt(q / (n - 1) / n)
}

// lag1 returns the correlation of neighbours; 0 if all values are equal.
func lag1(v []int64, m float64) float64 {
	var num, den float64
	for i, x := range v {
		d := float64(x) - m
		den += d * d
		if i > 0 {
			num += d * (float64(v[i-1]) - m)
		}
	}
	if den == 0 {
		return 0
	}
	return num / den
}

// SecondHalf estimates the mean over the second half of the operations, the window that distributions collected beside a
// series can keep to without knowing the end of the warm-up in advance. Warmup is the end that was found; it never lies
// in the second half unless there is a warning that none was found.
func (s *Series) SecondHalf() Estimate {
	cut, ok := mser(s.sums)
	return secondHalf(s.sums, s.size, cut, ok)
}

// SecondHalfDifference estimates the mean of b minus a over the second half of the operations: exactly the difference of their
// means over that window when both are equally long. See Difference.
func SecondHalfDifference(a, b *Series) Estimate {
	d, size, cut, ok := paired(a, b)
	e := secondHalf(d, size, cut, ok)
	return e.pairedWarning(a, b)
}

func secondHalf(sums []int64, size int64, cut int, ok bool) Estimate {
	half := len(sums) / 2
	e := estimate(sums, size, half, ok)
	if rest := sums[half:]; len(rest) >= groupsFewest {
		e.Mean, e.N = mean(rest)/float64(size), uint64(int64(len(rest))*size)
	}
	e.Warmup = uint64(int64(cut) * size)
	return e
}
