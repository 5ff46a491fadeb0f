package nic

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"dmapath/sim"
)

// Sizes draws frame lengths in bytes, without preamble and FCS.
type Sizes struct {
	Name  string
	sizes []int
	cum   []int64 // cumulative weights
}

// Smallest and largest frame: Ethernet without jumbo frames up to 9 KiB with them.
const (
	minFrame = 60
	maxFrame = 9000
)

// Fixed returns frames of one size.
func Fixed(n int) (Sizes, error) { return weighted(fmt.Sprintf("fixed %d", n), []int{n}, []int{1}) }

// IMIX returns the simple Internet mix: 7 of 64, 4 of 594, 1 of 1518 bytes with FCS (RFC 6985 section 1; the usual
// "simple IMIX").
func IMIX() Sizes {
	s, _ := weighted("imix", []int{60, 590, 1514}, []int{7, 4, 1})
	return s
}

// ReadSizes reads one frame length per line, optionally followed by a weight; '#' starts a comment.
func ReadSizes(r io.Reader, file string) (Sizes, error) {
	var sizes, weights []int
	sc := bufio.NewScanner(r)
	for line := 1; sc.Scan(); line++ {
		text, _, _ := strings.Cut(sc.Text(), "#")
		f := strings.Fields(text)
		if len(f) == 0 {
			continue
		}
		n, err := strconv.Atoi(f[0])
		w := 1
		if err == nil && len(f) == 2 {
			w, err = strconv.Atoi(f[1])
		}
		if err != nil || len(f) > 2 || w < 1 || w > 1_000_000 || len(sizes) >= 100_000 {
			return Sizes{}, fmt.Errorf("%s:%d: %q: want a frame length in bytes and perhaps a weight of 1 to 1000000", file, line, strings.TrimSpace(text))
		}
		if n < minFrame || n > maxFrame {
			return Sizes{}, fmt.Errorf("%s:%d: frame of %d bytes: allowed are %d to %d", file, line, n, minFrame, maxFrame)
		}
		sizes, weights = append(sizes, n), append(weights, w)
	}
	if err := sc.Err(); err != nil {
		return Sizes{}, fmt.Errorf("%s: %w", file, err)
	}
	if len(sizes) == 0 {
		return Sizes{}, fmt.Errorf("%s: no frame length in it", file)
	}
	return weighted(file, sizes, weights)
}

func weighted(name string, sizes, weights []int) (Sizes, error) {
	s := Sizes{Name: name, sizes: sizes}
	sum := int64(0)
	for i, n := range sizes {
		if n < minFrame || n > maxFrame {
			return s, fmt.Errorf("frame of %d bytes: allowed are %d to %d", n, minFrame, maxFrame)
		}
		sum += int64(weights[i])
		s.cum = append(s.cum, sum)
	}
	return s, nil
}

// Draw returns the next frame's length.
func (s Sizes) Draw(r *rand.Rand) int {
	x := r.Int64N(s.cum[len(s.cum)-1])
	i, _ := slices.BinarySearch(s.cum, x+1) // the first sum above x
	return s.sizes[i]
}

// Mean returns the expected length.
func (s Sizes) Mean() float64 {
	sum, prev := 0.0, int64(0)
	for i, c := range s.cum {
		sum += float64(s.sizes[i]) * float64(c-prev)
		prev = c
	}
	return sum / float64(prev)
}

// Arrivals draws the time between two frames of one queue.
type Arrivals struct {
	// Pattern is constant, poisson or onoff.
	Pattern string
	// Rate is the mean rate per queue in frames per second.
	Rate float64
	// Burst is, for onoff, the mean number of frames of a burst (geometric); within a burst frames come at four times
	// the mean rate, and the pause between bursts makes the mean come out.
	Burst int
	left  int
}

// Patterns lists the arrival patterns.
var Patterns = []string{"constant", "poisson", "onoff"}

// burstSpeed is how much faster than the mean frames come within a burst.
const burstSpeed = 4

// Next returns the time from one arrival to the next.
func (a *Arrivals) Next(r *rand.Rand) sim.Time {
	gap := float64(sim.Second) / a.Rate
	switch a.Pattern {
	case "poisson":
		return sim.Time(gap * r.ExpFloat64())
	case "onoff":
		if a.left == 0 {
			a.left = 1
			for r.Float64() > 1/float64(a.Burst) {
				a.left++
			}
			// The burst's frames save gap*(1-1/burstSpeed) each on average: the pause gives it back.
			a.left--
			return sim.Time(gap/burstSpeed + gap*(1-1.0/burstSpeed)*float64(a.Burst)*r.ExpFloat64())
		}
		a.left--
		return sim.Time(gap / burstSpeed)
	}
	return sim.Time(gap)
}
