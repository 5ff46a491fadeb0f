package sensitivity

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// ranks returns the rank of each value, 1 for the smallest; equal values share the mean of their ranks.
func ranks(v []float64) []float64 {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return v[order[a]] < v[order[b]] })
	r := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			r[k] = float64(i+j+1) / 2
		}
		i = j
	}
	return r
}

// spearman returns the rank correlation of x and y, given as ranks; 0 when one of them does not vary.
func spearman(x, y []float64) float64 {
	rho := stat.Correlation(x, y, nil)
	if math.IsNaN(rho) {
		return 0
	}
	return rho
}

// least returns the rank correlation that the largest of m unrelated ones exceeds, in size, in at most one of twenty cases, with n observations
// each (Bonferroni, Student's t); 1 when n is too small to tell.
func least(n, m int) float64 {
	if n < 4 || m < 1 {
		return 1
	}
	df := float64(n - 2)
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(1 - 0.025/float64(m))
	return t / math.Sqrt(df+t*t)
}

// quantile returns the value below which a share q of v lies, interpolated. v is not empty.
func quantile(v []float64, q float64) float64 {
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	at := q * float64(len(s)-1)
	i := int(at)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}
