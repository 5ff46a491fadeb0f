// Package behaviour runs set-ups that others have measured and lays the shape of what comes out beside theirs: does strict
// unmapping fall behind, does the allocator without its caches stop scaling, where does the cliff lie when a device's window outgrows the
// IOTLB. It compares shapes, not machines: the published figure comes from a machine of another kind, so every claim is about
// ratios within one run, and each says what it needs to hold.
//
// A Behaviour is data: rows to run, what was published for each, and claims about the outcome. Adding one is a file that adds to the
// list. Nothing is fitted: parameters are those of the platform preset, and a claim that does not hold stays in the table.
package behaviour
