package sim

import (
	"bytes"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSampleIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Int64(), 2, 50).Draw(t, "v")
		cut := rapid.IntRange(0, len(v)).Draw(t, "cut")
		var a, b Sample
		for i, x := range v {
			if i < cut {
				a.Add(x)
			} else {
				b.Add(x)
			}
		}
		a.Merge(&b)
		sum, sq, n := new(big.Rat), new(big.Rat), big.NewRat(int64(len(v)), 1)
		for _, x := range v {
			r := big.NewRat(x, 1)
			sum.Add(sum, r)
			sq.Add(sq, r.Mul(r, r))
		}
		mean := new(big.Rat).Quo(sum, n)
		va := new(big.Rat).Sub(sq, new(big.Rat).Mul(mean, sum))
		va.Quo(va, new(big.Rat).Sub(n, big.NewRat(1, 1)))
		wm, _ := mean.Float64()
		wv, _ := va.Float64()
		if a.Mean() != wm || a.Variance() != wv || a.N != uint64(len(v)) || a.Min != slices.Min(v) || a.Max != slices.Max(v) {
			t.Fatalf("mean %v variance %v of %d from %d to %d, want %v and %v", a.Mean(), a.Variance(), a.N, a.Min, a.Max, wm, wv)
		}
	})
}

func TestEmptySample(t *testing.T) {
	var s Sample
	if !math.IsNaN(s.Mean()) || !math.IsNaN(s.Variance()) || s.Sum() != 0 {
		t.Errorf("mean %v, variance %v, sum %v of nothing", s.Mean(), s.Variance(), s.Sum())
	}
}

func TestLevel(t *testing.T) {
	var l Level
	l.Add(10, 2)  // 0 for 10
	l.Add(30, -1) // 2 for 20
	l.Add(40, 4)  // 1 for 10
	if got := l.Mean(50); got != (0*10+2*20+1*10+5*10)/50. || l.Max != 5 {
		t.Errorf("mean %v, maximum %d", got, l.Max)
	}
	l.Restart(50)
	l.Add(60, -10) // 5 for 10, then -5 for 10
	if got := l.Mean(70); got != 0 || l.Now != -5 || l.Max != 5 {
		t.Errorf("after the restart: mean %v, level %d, maximum %d", got, l.Now, l.Max)
	}
}

func TestHistogramQuantilesAgreeWithSorting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Int64Range(-10, 2_000_000), 1, 300).Draw(t, "v")
		h, o := NewHistogram(1<<20, 3), NewHistogram(1<<20, 3)
		for i, x := range v {
			if i%3 == 0 {
				o.Add(x)
			} else {
				h.Add(x)
			}
		}
		h.Merge(o)
		slices.Sort(v)
		for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
			want := v[max(1, int(math.Ceil(q*float64(len(v)))))-1]
			got := h.Quantile(q)
			switch {
			case want < 0:
				want = h.Min
			case want > 1<<20:
				want = h.Max
			}
			if d := got - want; float64(d) > 0.001*math.Abs(float64(want)) || d < 0 {
				t.Fatalf("quantile %v is %d, want %d", q, got, want)
			}
		}
		out := uint64(0)
		for _, x := range v {
			if x < 0 || x > 1<<20 {
				out++
			}
		}
		if h.Under+h.Over != out || (h.Warning() != nil) != (out > 0) {
			t.Fatalf("%d below and %d above of %d outside: %v", h.Under, h.Over, out, h.Warning())
		}
	})
}

// TestHistogramBins: every value lies in exactly one bin, the bins hold what lies in them, and a few values are told exactly.
func TestHistogramBins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SliceOfN(rapid.Int64Range(-10, 2_000_000), 0, 300).Draw(t, "v")
		h := NewHistogram(1<<20, 3)
		for _, x := range v {
			h.Add(x)
		}
		bins := h.Bins(MinBins)
		if len(bins) > MinBins {
			t.Fatalf("%d bins", len(bins))
		}
		end, total := int64(math.MinInt64), uint64(0)
		for _, b := range bins {
			n := uint64(0)
			for _, x := range v {
				if b.From <= x && x < b.To {
					n++
				}
			}
			if b.From < end || b.Count != n || n == 0 {
				t.Fatalf("bin %+v after %d holds %d values", b, end, n)
			}
			end = b.To
			total += n
		}
		if total != uint64(len(v)) {
			t.Fatalf("%d of %d values are in bins", total, len(v))
		}
	})
}

func TestHistogramBinsAreExactWhenThereAreFew(t *testing.T) {
	h := NewHistogram(1000, 3)
	for _, v := range []int64{-5, 0, 1, 52, 52, 53, 900, 5000} {
		h.Add(v)
	}
	want := []Bin{{-5, 0, 1}, {0, 1, 1}, {1, 2, 1}, {52, 53, 2}, {53, 54, 1}, {900, 901, 1}, {1001, 5001, 1}}
	if got := h.Bins(MinBins); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for v := int64(512); v < 1000; v++ {
		h.Add(v)
	}
	want = []Bin{{-5, 0, 1}, {0, 1, 1}, {1, 2, 1}, {52, 53, 2}, {53, 54, 1}, {512, 520, 8}} // an octave in 64 bins
	if got := h.Bins(MinBins + 10); !slices.Equal(got[:6], want) || len(got) != 5+61+1 {
		t.Errorf("got %d bins: %v", len(got), got)
	}
}

func TestHistogramReportsWhatIsOutside(t *testing.T) {
	h := NewHistogram(1000, 3)
	for _, v := range []int64{-5, 1, 2, 3, 5000} {
		h.Add(v)
	}
	want := "2 of 5 values lie outside the histogram's range 0 to 1000 (1 below, 1 above): their quantiles are reported as the minimum -5 and maximum 5000"
	if got := h.Warning(); got == nil || got.Error() != want {
		t.Errorf("got %v", got)
	}
	if h.Quantile(0) != -5 || h.Quantile(0.5) != 2 || h.Quantile(1) != 5000 || h.Mean() != 1000.2 {
		t.Errorf("quantiles %d %d %d, mean %v", h.Quantile(0), h.Quantile(0.5), h.Quantile(1), h.Mean())
	}
	var b bytes.Buffer
	if err := h.WritePercentiles(&b, 1); err != nil || !strings.Contains(b.String(), "Percentile") {
		t.Errorf("%v: %s", err, &b)
	}
	h.Reset()
	if h.N != 0 || h.Quantile(0.5) != 0 || h.Warning() != nil {
		t.Errorf("after Reset: %+v", h.Sample)
	}
}

func TestHistogramAllocatesNothing(t *testing.T) {
	h := NewHistogram(1<<40, 3)
	i := int64(0)
	if n := testing.AllocsPerRun(1000, func() { i += 1 << 36; h.Add(i % (1 << 41)) }); n != 0 {
		t.Errorf("%v allocations per value", n)
	}
}
