package sim

// Curve is a quantity over simulated time, such as how many walkers are busy, as its time-weighted mean in bins of equal width. When a
// run outgrows them, neighbouring bins are joined, so memory does not grow and at least half of the bins are in use. Sums are exact
// integers, and changes may come in any order of time: who runs ahead books what will be.
type Curve struct {
	start, last Time
	shift       uint    // the width of a bin is 1<<shift ps
	area        []int64 // by bin: what its own changes add to the integral over it, quantity x ps
	step        []int64 // by bin: sum of its changes, which the bins behind it have as a whole
}

// firstShift makes the first bins about a nanosecond wide.
const firstShift = 10

// NewCurve returns a curve that is 0 from start on, of an even number of bins.
func NewCurve(start Time, bins int) *Curve {
	return &Curve{start: start, last: start, shift: firstShift, area: make([]int64, bins&^1), step: make([]int64, bins&^1)}
}

// Add changes the quantity by d from a time on. What is before the start counts from the start.
func (c *Curve) Add(at Time, d int64) {
	at = max(at, c.start)
	c.last = max(c.last, at)
	i := uint64(at-c.start) >> c.shift
	for i >= uint64(len(c.area)) {
		c.join()
		i >>= 1
	}
	c.area[i] += d * (int64(i+1)<<c.shift - int64(at-c.start))
	c.step[i] += d
}

// Span adds 1 from start to end.
func (c *Curve) Span(start, end Time) {
	c.Add(start, 1)
	c.Add(end, -1)
}

// join makes bins twice as wide.
func (c *Curve) join() {
	n := len(c.area) / 2
	for i := range n {
		c.area[i] = c.area[2*i] + c.area[2*i+1] + c.step[2*i]<<c.shift
		c.step[i] = c.step[2*i] + c.step[2*i+1]
	}
	clear(c.area[n:])
	clear(c.step[n:])
	c.shift++
}

// Restart forgets the past, for the end of a warm-up. The quantity keeps the value that all changes so far come to.
func (c *Curve) Restart(now Time) {
	var level int64
	for _, d := range c.step {
		level += d
	}
	clear(c.area)
	clear(c.step)
	c.start, c.last, c.shift = now, now, firstShift
	c.Add(now, level)
}

// Means returns the mean in each bin of the width given, from the start to end or to the last change, whichever is later. The last bin may
// reach beyond that; its mean is over the part before.
func (c *Curve) Means(end Time) (start, width Time, means []float64) {
	end = max(end, c.last)
	for uint64(end-c.start)>>c.shift >= uint64(len(c.area)) {
		c.join()
	}
	width = 1 << c.shift
	var level int64 // at the start of the bin
	for i := 0; i < len(c.area); i++ {
		from := c.start + Time(i)<<c.shift
		if from >= end {
			break
		}
		covered := min(width, end-from)
		area := float64(level)*float64(covered) + float64(c.area[i]-c.step[i]*int64(width-covered))
		means = append(means, area/float64(covered))
		level += c.step[i]
	}
	return c.start, width, means
}
