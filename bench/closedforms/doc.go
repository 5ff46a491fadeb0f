// Package closedforms holds the simulator against formulas that need no simulator: queues in equilibrium, Little's law, walks of an idle
// IOMMU, rates of pipelines, goodput of a PCIe link, hit rates of LRU caches.
//
// Where a formula is exact for what is simulated (a walk of an idle unit is so many reads of so long), so is the row: the tolerance is the
// rounding of a time to a picosecond. Where what is simulated is random, the row's slack is the half width of a 99.9 % confidence
// interval of the simulated mean, Student's t on 32 batches; a row that is right misses once in a thousand seeds, and the seed is fixed.
// Where the formula is an approximation itself (Che's), its own error is allowed beside that, and the row says how much.
//
// Nothing is fitted, and references are computed from the configuration, never from the simulator's own sums: Little's law, for one, compares
// a number that somebody saw who looked at random times with a rate times a mean time that the component counted.
//
// Left out: priorities and batches in queues, DRAM banks as a queue (its bus and banks are served by what is checked here), TLB reach of
// random replacement.
package closedforms
