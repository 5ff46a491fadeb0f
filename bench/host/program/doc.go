// Package program is a tiny machine language in which the native measurements of this machine are written once and used twice: printed
// as assembly for amd64 and arm64 (package native runs it), and interpreted into a stream of cpu.Op with the same instructions in
// the same order, the addresses truly touched and the dependences between them (package cpu times it).
//
// One Insn is one machine instruction on both architectures, but for compare-and-branch, which is two on both. So the simulated core
// and the real one get the same work by construction; there is no second listing that could drift.
//
// # Conventions
//
// A program has thirteen registers, R0 to R12. They are loaded from a State before the body and stored back after it, with the
// cycle counter read on both sides behind everything older. Loops of lookups count down R1 and walk the queries at R0.
//
// # Left out
//
// Instruction lengths: the simulated code takes 4 bytes an instruction, as everywhere in package cpu; amd64 encodings take 3 to 8.
// Register moves are renamed away in the simulation, as by the cores of today but for Ice Lake, whose microcode turned that off.
package program
