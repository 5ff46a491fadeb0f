// Package debate writes results/debate.md: the answer to the question this project is about, for those who argued.
//
// Run makes every run that the page needs, on four presets, and Write turns them into a page of text, tables and plots. Nothing on the page is
// remembered from an earlier run: a sentence that states a result is chosen by the numbers (see effect), with their intervals, and
// becomes its opposite, or "no difference seen", when they change. What does not come from a run is how each side's position is
// stated, what the terms mean, and what the model leaves out.
//
// It is a command of its own and not a part of report, because report renders results that are there and this runs simulations; and not
// a part of compare, because it takes no choices: one command, one page, the same bytes every time.
//
// # Left out
//
// The page is about one CPU, buffers of 4 KiB and whole I/Os of 128 KiB. Threads, other sizes and other workloads are for compare.
package debate
