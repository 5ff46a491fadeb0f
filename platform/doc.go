// Package platform describes machines: presets of whole servers as data files, and the typed Spec that is read from them.
//
// # The file
//
// A platform file is YAML. Every parameter is one line, VALUE; CONFIDENCE; SOURCE, or the same as a mapping:
//
//	extends: icelake-sp
//	sources:
//	  bench: "pointer chase on our machine, 3 March"
//	cpu:
//	  frequency: 3.1GHz; measured; @bench, turbostat
//	  rob: {value: 352, confidence: datasheet, source: vendor manual}
//	memory:
//	  ram: 64GiB
//
// Values carry their unit (3.4GHz, 48KiB, 5cycles, 75ns; 352 for a count), so that a bare number where a time is wanted is an
// error and not a misunderstanding. Leading zeros are refused, because YAML would read 010 as 8. A source @name stands for an
// entry of sources. A value that names no source is a guess, whoever wrote it. A file without extends must give every value.
//
// Confidence is one of datasheet (the vendor states it, or a compiler's machine model that cites the vendor), measured
// (somebody timed it, and the source says who), inferred (derived, carried over from a relative, or recalled from the
// literature without a copy to check) and guess (plausible, nothing more). A figure that was not read again for this
// project is inferred at best.
//
// # What a value may be as well
//
// A guess or an inferred value has a plausible range, which Range returns: a rule by confidence and kind (UncertaintyRule), or what the
// file says beside the value:
//
//	fence: {value: 33cycles, confidence: inferred, source: "...", range: [30cycles, 45cycles], range_source: "mfence 33-45 on SKX"}
//	replacement: {value: lru, confidence: guess, source: "...", range: [lru, srrip]}
//
// Ranges are read from figures that somebody published where there are any, and are conventions otherwise: they say what is tried, and
// are no intervals of confidence. Settings, such as installed memory or kernel options, are not varied. Sample draws a machine from the
// ranges, which is always a valid one: sizes and ways move to the nearest that go together, contradictions are drawn again. Step goes to the next
// valid value of one key.
//
// # Reading
//
// Parse and Load read strictly: an unknown or repeated key, a wrong or missing unit, a value outside its range, a missing value,
// an unknown source and values that contradict each other are errors, all of them reported at once with file, line and column:
//
//	my.yaml:3:14: cpu.frequency: "3.1" has no unit: write a frequency, such as 3.4GHz
//	my.yaml:5:8: cpu.rob: 5000 is outside the allowed 1..1000 (reorder buffer entries)
//
// Limits are tags on the fields of Spec; what no single value can violate is in Check. Canonical writes the complete
// effective configuration so that Parse gives the same Spec back, which is what a run's manifest stores. Hash covers the
// values only.
//
// # What is left out
//
// Devices and drivers are the workloads' business: the platform has the root port and a slot, a workload may have a narrower device in
// it. A preset is one socket (genoa: one core complex). The structure of no vendor's IOMMU is published; the sizes are inferred from
// one set of measurements on Haswell or guessed, and Guesses lists them, so that a report can repeat what it rests on.
//
// # Cast
//
// Spec is the machine as a tree of plain structs; Hertz, Bytes, Cycles, Count and the rest are its value types, times are
// sim.Time. Provenance is where one value comes from. Problems is the error that lists everything. Names, Load, Parse,
// (*Spec).Set, Check, Show, Canonical and Hash are what callers use; Range, Uncertain, Sample, Numeric, Step and Ordinal are for those who
// ask how much a result depends on a value.
package platform
