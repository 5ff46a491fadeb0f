package sensitivity

import "math"

// z95 is the two-sided 95 % quantile of the normal distribution.
const z95 = 1.959963984540054

// Wilson returns the 95 % interval of a share of which k of n were seen. It stays within 0 and 1 and is not empty when k is 0 or n. n is
// at least 1.
func Wilson(k, n int) (low, high float64) {
	p, m := float64(k)/float64(n), float64(n)
	den := 1 + z95*z95/m
	mid := (p + z95*z95/(2*m)) / den
	half := z95 / den * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	return max(0, mid-half), min(1, mid+half)
}
