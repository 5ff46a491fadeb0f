package sim

import (
	"math"
	"testing"
)

// A square wave of amplitude a, high for the first of every four units, has a mean of a/4 over every whole period, however wide the bins
// have become.
func TestCurveOfASquareWave(t *testing.T) {
	const start, unit, high = 5_000_000, 1 << 16, 12
	c := NewCurve(start, 128)
	for i := range Time(1 << 14) {
		at := start + 4*i*unit
		c.Add(at, high)
		c.Add(at+unit, -high)
	}
	end := Time(start + 4*(1<<14)*unit)
	from, width, means := c.Means(end)
	if from != start || width%(4*unit) != 0 || Time(len(means))*width != end-start {
		t.Fatalf("%d bins of %d from %d: want whole periods of %d from %d to %d", len(means), width, from, 4*unit, start, end)
	}
	if len(means) < 64 || len(means) > 128 {
		t.Errorf("%d bins, want 64 to 128", len(means))
	}
	for i, m := range means {
		if m != high/4. {
			t.Fatalf("bin %d has mean %v, want %v", i, m, high/4.)
		}
	}
}

// Whatever the order of the changes, the sum of the bins is the integral, exactly, and each bin is what a list of all changes says.
func TestCurveAgainstAListOfChanges(t *testing.T) {
	r := NewRand(1, "curve")
	for trial := range 50 {
		c := NewCurve(100, 16)
		type change struct {
			at Time
			d  int64
		}
		var list []change
		var spans Time
		span := Time(1) << r.IntN(40)
		last := Time(100)
		for range 1 + r.IntN(200) {
			from := 100 + Time(r.Int64N(int64(span)))
			to := from + Time(r.Int64N(int64(span)))
			c.Span(from, to)
			list = append(list, change{from, 1}, change{to, -1})
			spans += to - from
			last = max(last, to)
		}
		end := last + Time(r.Int64N(3))*span/2
		start, width, means := c.Means(end)
		sum := 0.0
		for i, m := range means {
			lo := start + Time(i)*width
			hi := min(lo+width, end)
			sum += m * float64(hi-lo)
			var area float64
			for _, x := range list {
				area += float64(x.d) * float64(max(0, hi-max(lo, x.at)))
			}
			if want := area / float64(hi-lo); math.Abs(m-want) > 1e-9*(1+want) {
				t.Fatalf("trial %d: bin %d of %d is %v, want %v", trial, i, len(means), m, want)
			}
		}
		if math.Abs(sum-float64(spans)) > 1e-9*float64(spans) {
			t.Fatalf("trial %d: the bins sum to %v, the spans to %v", trial, sum, spans)
		}
	}
}

func TestCurveRestartKeepsTheLevel(t *testing.T) {
	c := NewCurve(0, 8)
	c.Add(10, 3)
	c.Add(2000, 4)
	c.Restart(5000)
	c.Add(6000, -7)
	start, width, means := c.Means(7000)
	sum := 0.0
	for i, m := range means {
		sum += m * float64(min(width, 7000-start-Time(i)*width))
	}
	if start != 5000 || sum != 7*1000 {
		t.Errorf("from %d the integral is %v, want 7 from 5000 to 6000", start, sum)
	}
}

func TestCurveAllocatesNothing(t *testing.T) {
	c := NewCurve(0, 256)
	at := Time(0)
	if n := testing.AllocsPerRun(1000, func() { at += at/64 + 1000; c.Span(at, at+500) }); n > 0 {
		t.Errorf("%v allocations per change", n)
	}
}

func BenchmarkCurve(b *testing.B) {
	c := NewCurve(0, 256)
	for i := range b.N {
		c.Add(Time(i)*1000, 1-2*int64(i&1))
	}
}
