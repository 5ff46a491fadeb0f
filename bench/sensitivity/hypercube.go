package sensitivity

import (
	"fmt"
	"math/rand/v2"

	"dmapath/platform"
	"dmapath/sim"
)

// Hypercube returns n machines drawn from the plausible ranges of s, each passing Check. The same arguments give the same machines.
func Hypercube(s *platform.Spec, n int, seed uint64) []*platform.Spec {
	strata := map[string][]float64{}
	for _, k := range s.Uncertain() {
		strata[k] = stratified(sim.NewRand(seed, "uncertainty "+k), n)
	}
	machines := make([]*platform.Spec, n)
	for i := range machines {
		again := map[string]*rand.Rand{} // of values that contradicted others
		machines[i] = s.Sample(func(key string) float64 {
			r := again[key]
			if r == nil {
				again[key] = sim.NewRand(seed, fmt.Sprintf("uncertainty %s again %d", key, i))
				return strata[key][i]
			}
			return r.Float64()
		})
	}
	return machines
}

// stratified returns n numbers from 0 to 1, one from each nth part, in random order.
func stratified(r *rand.Rand, n int) []float64 {
	u := make([]float64, n)
	for i, p := range r.Perm(n) {
		u[i] = (float64(p) + r.Float64()) / float64(n)
	}
	return u
}
