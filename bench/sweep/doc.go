// Package sweep runs an experiment at many points of a parameter space: a grid, random points, or a Latin hypercube.
//
// A Plan says which: a base (platform and experiment) and axes. It lists its points in an order that depends on nothing but itself; a point is
// one value for each axis. Run runs points on all cores and puts each finished one into a Store at once, as a file that is there as a
// whole or not at all. A run that was killed is continued by the same command: points that are in the store are not run again, and
// the final files are the bytes of a run that was never interrupted. Shards run every N-th point in directories of their own, and Merge puts
// them together: it refuses points that differ and says which are missing.
//
// A point that fails (a machine that cannot be built, a mapping that the kernel refuses) is recorded with its reason and does not stop
// the others.
package sweep
