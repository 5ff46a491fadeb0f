package sim

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// ar1 is a process whose values depend on those before: x' = c x + noise, with a mean of 1000. Its first values are higher by
// start, which decays by 1 % per operation.
func ar1(name string, seed uint64, n int, c, start float64) *Series {
	r := NewRand(seed, name)
	s := new(Series)
	x := 0.
	for range n {
		x = c*x + 50*r.NormFloat64()
		s.Add(int64(math.Round(1000 + x + start)))
		start *= 0.99
	}
	return s
}

func TestIntervalCoversTheTruth(t *testing.T) {
	for _, c := range []float64{0, 0.5, 0.9} {
		for _, n := range []int{2_000, 50_000} {
			covered := 0
			const runs = 400
			for seed := range uint64(runs) {
				e := ar1("coverage", seed, n, c, 0).Steady()
				if e.Low() <= 1000 && 1000 <= e.High() {
					covered++
				}
			}
			// 95 % nominal; correlated short runs are known to fall short.
			if p := float64(covered) / runs; p < 0.88 || p > 0.99 {
				t.Errorf("correlation %v, %d operations: the 95 %% interval covers the mean in %.1f %% of the runs", c, n, 100*p)
			}
		}
	}
}

func TestWarmupIsCut(t *testing.T) {
	for seed := range uint64(20) {
		e := ar1("warm-up", seed, 100_000, 0.3, 20_000).Steady()
		// The start has decayed to a tenth of the noise after about 830 operations.
		if e.Warmup < 400 || e.Warmup > 50_000 {
			t.Errorf("seed %d: warm-up of %d operations", seed, e.Warmup)
		}
		if math.Abs(e.Mean-1000) > 2*e.HalfWidth || e.Warnings != nil {
			t.Errorf("seed %d: %.2f +- %.2f, want 1000 (%v)", seed, e.Mean, e.HalfWidth, e.Warnings)
		}
	}
}

func TestConstantSeriesIsExact(t *testing.T) {
	s := new(Series)
	for range 1_000_003 {
		s.Add(2400)
	}
	e := s.Steady()
	if e.Mean != 2400 || e.HalfWidth != 0 || e.Warnings != nil || e.Lag1 != 0 {
		t.Errorf("%+v", e)
	}
	if e.Warmup+e.N > s.N || e.N < s.N*9/10 {
		t.Errorf("%d of %d operations used", e.N, s.N)
	}
}

func TestDoubtsAreReported(t *testing.T) {
	trend, short, wave := new(Series), new(Series), new(Series)
	for i := range int64(10_000) {
		trend.Add(i)
		wave.Add(int64(1000 * math.Sin(float64(i)/10_000*1.5*math.Pi)))
		if i < 39 {
			short.Add(i)
		}
	}
	for _, c := range []struct {
		name string
		e    Estimate
		want string
	}{
		{"trend", trend.Steady(), "no end of the warm-up"},
		{"short", short.Steady(), "too few"},
		{"empty", new(Series).Steady(), "too few"},
		{"wave", wave.Steady(), "correlated"},
		{"lengths", Difference(trend, short), "differ in length"},
		{"one empty", Difference(trend, new(Series)), "too few"},
	} {
		if !strings.Contains(fmt.Sprint(c.e.Warnings), c.want) {
			t.Errorf("%s: warnings %v, want one that says %q", c.name, c.e.Warnings, c.want)
		}
	}
	if e := short.Steady(); !math.IsInf(e.HalfWidth, 1) || e.Significant() {
		t.Errorf("too few operations gave %+v", e)
	}
}

// Two variants that differ by 2 in 1000 with a common noise of 50: alone, their intervals overlap; paired, the difference is clear.
func TestPairedDifferenceCancelsTheCommonNoise(t *testing.T) {
	r := NewRand(1, "common")
	var a, b Series
	for i := range 20_000 {
		x := 1000 + 500*r.NormFloat64()
		own := float64(i % 3)
		a.Add(int64(x))
		b.Add(int64(x + 1 + own))
	}
	d, sa, sb := Difference(&a, &b), a.Steady(), b.Steady()
	if sa.High() < sb.Low() {
		t.Fatalf("the intervals of %v and %v do not overlap: the test shows nothing", sa, sb)
	}
	if !d.Significant() || math.Abs(d.Mean-2) > 0.1 || d.HalfWidth > 0.1 {
		t.Errorf("difference %.3f +- %.3f, want 2", d.Mean, d.HalfWidth)
	}
	if back := Difference(&b, &a); back.Mean != -d.Mean || back.HalfWidth != d.HalfWidth {
		t.Errorf("turned round: %+v", back)
	}
	if same := Difference(&a, &a); same.Mean != 0 || same.HalfWidth != 0 || same.Significant() {
		t.Errorf("with itself: %+v", same)
	}
}

// Joining batches must lose nothing: the sums of a long series are those of its values in groups.
func TestSeriesKeepsSumsInConstantMemory(t *testing.T) {
	r := NewRand(1, "sums")
	var s Series
	var all []int64
	for range 77_777 {
		v := r.Int64N(1000)
		all = append(all, v)
		s.Add(v)
	}
	if cap(s.sums) != seriesBatches || len(s.sums) < seriesBatches/2 || s.size != 40 {
		t.Fatalf("%d batches of %d in room for %d", len(s.sums), s.size, cap(s.sums))
	}
	for i, got := range s.sums {
		want := int64(0)
		for _, v := range all[i*40 : (i+1)*40] {
			want += v
		}
		if got != want {
			t.Fatalf("batch %d: sum %d, want %d", i, got, want)
		}
	}
	if n := testing.AllocsPerRun(100_000, func() { s.Add(1) }); n != 0 {
		t.Errorf("%v allocations per operation", n)
	}
}

// Student's t by hand: eight values with mean 4.5 and standard deviation 2.449, t of 7 degrees of freedom 2.3646. Equal values have no
// spread, and too few no interval.
func TestHalfWidth95(t *testing.T) {
	if got, want := HalfWidth95([]float64{1, 2, 3, 4, 5, 6, 7, 8}), 2.3646*math.Sqrt(6)/math.Sqrt(8); math.Abs(got-want) > 1e-3 {
		t.Errorf("half width %.4f, want %.4f", got, want)
	}
	if got := HalfWidth95([]float64{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}); got != 0 {
		t.Errorf("equal values: %g, want 0", got)
	}
	if got := HalfWidth95(make([]float64, 7)); !math.IsNaN(got) {
		t.Errorf("seven values: %g, want none", got)
	}
}
