// Package cachegrind holds the caches of this simulator against an independent one: Valgrind's cachegrind.
//
// Valgrind's lackey prints every access that a program makes, cachegrind simulates the caches of the same program. The
// accesses of the one go through cache.Split, which is made of the set-associative arrays and the LRU of the simulated
// machine, with cachegrind's geometry; what misses is compared with what cachegrind counted. Nothing else is between: no
// time, no prefetcher, no coherence.
//
// # The same accesses
//
// The tools trace two runs of the program, so the runs have to be the same. What it takes (record.sh does it):
//
//   - addresses: no randomisation (setarch -R), and an environment of the same size, since the stack begins below it.
//     Both tools place a program and its libraries alike.
//   - counting: lackey's I, L, S and M are cachegrind's instruction, data read, data write, and data read again: an
//     instruction that modifies memory counts as one read in cachegrind, because its write cannot miss. Both tools merge
//     the same loads and stores into a modification, and clip nothing below 64 bytes.
//   - one thread. Valgrind runs threads one at a time and switches by its own counting, but a thread that sleeps wakes by
//     the clock, and a traced program is slower. The Go runtime has such threads: six runs of one short program under cachegrind
//     differed by up to 7 % in references. A program that makes no system calls in between and runs long differs by tenths of a per cent.
//   - no seeds: sort -R, hash tables seeded by the kernel's random bytes and the like make runs differ.
//
// Whether two runs are the same shows in the numbers of references, which are rows of their own. Where these agree exactly,
// misses have to agree within Same; the recorded programs do so exactly in usual caches, and within 2 of 15,000 and more in tiny
// ones, by which cachegrind differs from itself from run to run. Else references have to agree within Refs and misses
// within Differ. Data longer than the smallest line (states of the processor) are cut to it by cachegrind, and here.
//
// # What it does not test
//
// The Hierarchy's policies other than LRU, its inclusion, hashed LLC index, prefetchers and times: cachegrind has none of them.
package cachegrind
