package figure

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
)

// ticks marks a linear axis at multiples of 1, 2 or 5 times a power of ten, at most max of them.
type ticks struct{ max int }

// Ticks returns the marks of an axis from lo to hi.
func (t ticks) Ticks(lo, hi float64) []plot.Tick {
	if !(hi > lo) || math.IsInf(hi-lo, 0) {
		return []plot.Tick{{Value: lo, Label: label(lo, 1, lo)}}
	}
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(t.max))))
	for _, m := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*m) <= float64(t.max) {
			step *= m
			break
		}
	}
	var out []plot.Tick
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9; i++ {
		out = append(out, plot.Tick{Value: i * step, Label: label(i*step, step, max(math.Abs(lo), math.Abs(hi)))})
	}
	return out
}

// label writes v with as many decimals as step needs; in thousands or millions when the largest label, top, is 10,000 or more.
func label(v, step, top float64) string {
	suffix := ""
	switch a := math.Abs(top); {
	case a >= 1e10 || a != 0 && a < 1e-6:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 1e7:
		v, step, suffix = v/1e6, step/1e6, "M"
	case a >= 1e4:
		v, step, suffix = v/1e3, step/1e3, "k"
	}
	dec := 0
	for s := step; dec < 6 && math.Abs(s-math.Round(s)) > 1e-6*s; dec++ {
		s *= 10
	}
	if v == 0 {
		v, suffix = 0, "" // no minus sign
	}
	return strconv.FormatFloat(v, 'f', dec, 64) + suffix
}

// logTicks marks powers of ten with labels (and 2 and 5 of them when there are few) and the other multiples without.
type logTicks struct{}

// Ticks returns the marks of an axis from lo to hi, both positive.
func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	if lo <= 0 || hi < lo {
		return nil
	}
	few := math.Log10(hi/lo) < 3
	var out []plot.Tick
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		p := math.Pow(10, e)
		for m := 1.0; m < 10; m++ {
			v := m * p
			if v < lo*(1-1e-9) || v > hi*(1+1e-9) {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 || few && (m == 2 || m == 5) {
				t.Label = label(v, v, v)
			}
			out = append(out, t)
		}
	}
	return out
}
