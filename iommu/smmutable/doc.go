// Package smmutable knows every bit that an Arm SMMUv3 reads from memory or is told through its queues and registers:
// stream table entries, context descriptors, page tables of both stages, commands, events, register offsets. It is
// pure: it reads words through an interface and has neither time nor state, so the hardware model, the modelled driver
// (package kernel/smmu) and tests share one definition of every bit, as iommu/table does for VT-d.
//
// The cast:
//
//	Geometry   granule, input and output width, stage: all arithmetic of a VMSAv8-64 table
//	Decode     says what one entry of a table means
//	Walk       follows a table from its root; the slow, obvious twin of the timed walker. WalkNested has both stages
//	STE, CD    decoded stream table entry and context descriptor with their encoders
//	Command    16 bytes of the command queue, with a builder per opcode
//	Event      codes of the event queue, and records
//	Reg...     register offsets and their fields
//
// Levels are numbered as Arm does: level 3 holds the smallest pages, the table with the lowest number is the root. A
// table of 48 bits with a 4 KiB granule starts at level 0.
//
// Sources: Arm System Memory Management Unit Architecture Specification, version 3 (Arm IHI 0070), chapters 3 (commands,
// tables), 4 (commands), 5 (STE, CD), 6 (registers), 7 (events); Arm Architecture Reference Manual for A-profile
// (Arm DDI 0487), chapter D8, for translation table descriptors. Section numbers below are of IHI 0070.
//
// Left out: stall and resume, Secure and Realm state, VMSAv8-32 tables, 52-bit addresses (LPA, LPA2), TTB1, protected
// tables of virtual machines, execute permission (stored, never checked), memory types (stored, never checked).
package smmutable
