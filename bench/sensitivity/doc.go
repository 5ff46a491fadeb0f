// Package sensitivity asks how much a result depends on values that nobody knows.
//
// # Uncertainty
//
// Vary draws machines from the plausible ranges of a platform (platform.Spec.Range), runs the same experiment on each with the same seed,
// and tells for each conclusion in how many of them it holds. The machines are a Latin hypercube (McKay, Beckman, Conover, Technometrics 1979): with
// N samples every value is drawn once from each Nth part of its range. Each value has a random stream of its own, so that
// a new parameter does not move the others.
//
// Conclusions are not typed in. They are derived from what the unvaried platform shows (Derive): for two variants, which is dearer, and by how
// much for certain; for two backends the same; for a call, what it spends more than half of its cycles on; for two variants whose
// difference does not show, that it is small. Each is then asked of every sample. A variant is compared with the others of its own
// kernel, and across kernels, which is marked because compilers and page-table code differ as well.
//
// The share of samples in which a conclusion holds has the interval of Wilson (JASA 1927). It says how well N samples estimate that share; the
// share itself is no probability that the conclusion is true, because the ranges are conventions and the model may be wrong in ways that
// no parameter has. What the size of an effect goes with is Spearman's rank correlation with each parameter, shown
// when it is beyond what the largest of so many unrelated ones would reach in one of twenty runs (Bonferroni).
//
// # Elasticities
//
// Elasticities moves one number at a time to both sides, by a tenth or to the next valid value, and gives d ln(result) / d ln(parameter): 0.5
// means that one percent more of the parameter makes half a percent more of the result. All runs share the seed, so that differences
// are paired, call by call. Leading lists those that matter most, and Guesses those of them that nobody measured.
//
// # Left out
//
//   - Words and switches have no elasticity; they are varied by Vary.
//   - Interactions of parameters: an elasticity is local, and a rank correlation sees what is monotonic.
//   - Parameters of the workload (media latency, arrival rate, buffer placement) are not varied; they are flags.
//   - The conclusions are about the mean cycles of map and unmap, not about their tails, sync calls or throughput.
package sensitivity
