// Package lackey reads address traces of real programs, as Valgrind's lackey prints them:
//
//	valgrind --tool=lackey --trace-mem=yes --basic-counts=no PROGRAM
//
// One line is one access: "I  0401ab70,3" is an instruction of 3 bytes, " L 1fff000d48,8" a load, " S ..." a store and
// " M ..." a load and a store of the same bytes by one instruction. Addresses are virtual and hexadecimal, sizes decimal.
// Valgrind's own lines ("==123== ...") are skipped. Other lines are damaged: the log is the program's standard error unless
// --log-fd or --log-file says otherwise, and what the program prints there lands among the accesses. Damaged lines are
// counted, the first ones kept, and reading goes on.
//
// Reader.Next fills a slice of Refs; nothing is allocated per line. Text decompresses gzip and zstd.
package lackey
