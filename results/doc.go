// Package results is the record of a run and its renderings. It does not know what a machine, a kernel or an experiment is:
// it gets numbers with names and units, and tables made of them.
//
// # The record
//
// A Record holds Measurements in long form, one number each with the dimensions that say what it belongs to (variant,
// backend, cache, ...), its unit, the half width of its 95 % confidence interval and the number of observations. Tables are views
// of them, made by whoever knows what a reader wants to see. Record.Write renders
//
//	ascii     the tables in plain ASCII, no line over 80 columns, for a mail
//	markdown  the tables for a README
//	csv       the measurements, one a line; metric names in snake_case with their unit
//	json      everything, as documented at Document, with a schema version; only here are Distributions and Series
//	bench     the measurements in the format of Go benchmarks, for benchstat
//
// A number that is not there is "-", empty or null, never NaN. Base units and full precision are in CSV, JSON and bench;
// decimals and signs belong to the columns of a Table.
//
//	t := &results.Table{ID: "map", Title: "Cycles per map", Columns: []results.Column{
//		{Name: "variant"}, {Name: "map p50", Unit: "cycles"}, {Name: "vs first", Unit: "%", Decimals: 1, Signed: true}}}
//	t.Add("map_page@6.12", 52, nil)
//	t.Add("map_phys@7.3", 55, 5.8)
//
// prints as
//
//	               map p50  vs first
//	variant       [cycles]       [%]
//	--------------------------------
//	map_page@6.12       52         -
//	map_phys@7.3        55      +5.8
//
// # Files
//
// OutputDir assembles a run's files beside their final place and puts them there with the Manifest last: a directory with a
// manifest is complete. The manifest holds the complete effective configuration as text, its hash, the seed and the digest of
// every file, and no time and no host: repeating the run from it gives the same bytes, the manifest's command line excepted.
// WriteFile is the same for a single file. Profile writes simulated cycles by call stack for go tool pprof, Timeline what happened when for
// Perfetto and Chrome's trace viewer: slices, arrows and counters with exact times. Figures are in
// package results/figure, the HTML page of a directory of results is in package results/page.
//
// # What is left out
//
// A Timeline is checked by its own writer, and by tests that read it back as the format is described and as Perfetto treats it (rounded to
// nanoseconds, sorted by them); no viewer runs in a test. The
// protobuf form of Perfetto, a third of the size, is not written. A table wider than 80 columns is printed in parts, each with the key columns; there is no
// landscape. A killed program (SIGKILL, power) may leave a hidden .tmp- directory beside the output, never a half-written file in it.
package results
