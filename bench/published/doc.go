// Package published holds the model against tables that others have published: measurements of real machines, repeated on a platform
// that describes the same machine.
//
// A target is data, not code: a file says what was measured, on what, by whom, how far off the model may be, and what follows from the
// table beside its single values (docs/formats.md, "Targets of validate published"). The targets of this project are in targets/ and
// part of the program; users bring their own with --targets.
//
// Every cell of a target's table is one run of a workload, as compare would do it: the same platform keys, the same experiment keys.
// Cells that ask for the same run share it. Values that nobody verified are shown and decide nothing, and so do those on which
// parameters of the platform were fitted; the target says which.
//
// The cast: Target, its Axis and Cell; Metric, what is read off a run; Claim, what is read off several; Parse and Run.
//
// A worked example: a target sweeps workload.probe.window over three windows and iommu over off and on. That is six runs, six rows, and one
// more for a claim that the rate falls between the first window and the second:
//
//	predicted 512 KiB, reference 512 KiB: the first window at which more than 10 % is lost.
//
// Left out: error bars of the published values (a tolerance stands for them) and repetitions with other seeds.
package published
