// Package delay is the kernel's busy waiting by time: arch/x86/lib/delay.c of 6.12 and 7.3.
//
// udelay multiplies by a calibration, calls through a pointer chosen at boot, and ends in a loop that reads the time stamp
// counter until enough has passed. On AMD processors with MWAITX (all since Zen), which are the ones whose drivers wait here,
// the loop's body arms a monitor on a line that nobody writes and halts the core until its timer expires (delay_halt,
// delay_halt_mwaitx). Two ordered reads of the counter frame the wait, so a delay lasts what was asked for plus the
// instructions around it, and nothing that happens meanwhile, such as a completion, ends it early.
//
// Left out: interrupts, which would end the halt and make the loop go round; the paths of processors without MWAITX (delay_tsc,
// TPAUSE). The instruction counts are read in the source, not recorded.
package delay
