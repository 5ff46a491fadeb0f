package sim

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram is the distribution of an integer quantity with a bounded relative error, in constant memory. Count,
// minimum, maximum, mean and variance are exact and include the values outside its range, which it counts apart.
type Histogram struct {
	Sample
	// Under and Over count values below 0 and above the range. They take part in quantiles as the exact minimum and maximum.
	Under, Over uint64

	limit  int64
	digits int
	h      *hdrhistogram.Histogram
}

// NewHistogram returns a histogram for values from 0 to limit whose quantiles are right to digits (1 to 5) significant
// decimal digits. With 3 digits and a limit of 2^40 it takes 256 KiB: use one per operation and mode, not per CPU and queue.
func NewHistogram(limit int64, digits int) *Histogram {
	if limit < 2 || digits < 1 || digits > 5 {
		panic(fmt.Sprintf("sim: histogram to %d with %d digits: allowed are 2 and more, 1 to 5", limit, digits))
	}
	return &Histogram{limit: limit, digits: digits, h: hdrhistogram.New(1, limit, digits)}
}

// Add counts v.
func (h *Histogram) Add(v int64) {
	h.Sample.Add(v)
	switch {
	case v < 0:
		h.Under++
	case v > h.limit:
		h.Over++
	default:
		if err := h.h.RecordValue(v); err != nil {
			panic("sim: histogram: " + err.Error())
		}
	}
}

// Merge adds what o, of the same limit and digits, has counted.
func (h *Histogram) Merge(o *Histogram) {
	if h.limit != o.limit || h.digits != o.digits {
		panic(fmt.Sprintf("sim: merge of a histogram to %d with %d digits into one to %d with %d", o.limit, o.digits, h.limit, h.digits))
	}
	h.Sample.Merge(&o.Sample)
	h.Under += o.Under
	h.Over += o.Over
	h.h.Merge(o.h)
}

// Reset forgets everything, for the end of a warm-up.
func (h *Histogram) Reset() {
	h.Sample, h.Under, h.Over = Sample{}, 0, 0
	h.h.Reset()
}

// Quantile returns the smallest counted value that at least a share q (0 to 1) of all values do not exceed, within the
// histogram's precision: exact below 10^digits, and never outside Min and Max. It is 0 when empty.
func (h *Histogram) Quantile(q float64) int64 {
	if h.N == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.N)))
	rank = min(max(rank, 1), h.N)
	in := h.N - h.Under - h.Over
	switch {
	case rank <= h.Under:
		return h.Min
	case rank > h.Under+in:
		return h.Max
	}
	// The library turns a percentage back into a rank by rounding to the nearest.
	v := h.h.ValueAtPercentile(100 * (float64(rank-h.Under) / float64(in)))
	return min(max(v, h.Min), h.Max)
}

// Bin is a number of values from From to below To.
type Bin struct {
	From, To int64
	Count    uint64
}

// MinBins is the smallest limit that Bins accepts: a bin for each power of two, and those outside the range.
const MinBins = 66

// Bins returns the distribution in at most limit (MinBins and more) bins that hold something, in ascending order. Each power of two is cut into
// 2^k equal bins, at least 1 wide, with the largest k at which they are few enough: a distribution of few values is exact, and
// of any other the bins' relative width is the same everywhere. Values outside the range are one bin each, from the minimum and to the maximum.
func (h *Histogram) Bins(limit int) []Bin {
	if limit < MinBins {
		panic(fmt.Sprintf("sim: a histogram in at most %d bins: allowed are %d and more", limit, MinBins))
	}
	bars := slices.DeleteFunc(h.h.Distribution(), func(b hdrhistogram.Bar) bool { return b.Count == 0 })
	for k := 62; ; k-- {
		var bins []Bin
		if h.Under > 0 {
			bins = append(bins, Bin{h.Min, 0, h.Under})
		}
		first := len(bins)
		for _, b := range bars {
			width := int64(1)
			if octave := bits.Len64(uint64(b.From)) - 1; octave > k {
				width = 1 << (octave - k)
			}
			from := b.From / width * width
			if n := len(bins); n > first && bins[n-1].From == from {
				bins[n-1].Count += uint64(b.Count)
				continue
			}
			bins = append(bins, Bin{from, max(from+width, b.To+1), uint64(b.Count)})
		}
		if h.Over > 0 {
			bins = append(bins, Bin{h.limit + 1, h.Max + 1, h.Over})
		}
		if len(bins) <= limit {
			return bins
		}
	}
}

// Warning says how many values lay outside the range, or returns nil.
func (h *Histogram) Warning() error {
	if h.Under == 0 && h.Over == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d values lie outside the histogram's range 0 to %d (%d below, %d above): their quantiles are reported as the minimum %d and maximum %d",
		h.Under+h.Over, h.N, h.limit, h.Under, h.Over, h.Min, h.Max)
}

// WritePercentiles prints the distribution in the text format that HdrHistogram's plotters read, values divided by scale.
func (h *Histogram) WritePercentiles(w io.Writer, scale float64) error {
	_, err := h.h.PercentilesPrint(w, 5, scale)
	return err
}
