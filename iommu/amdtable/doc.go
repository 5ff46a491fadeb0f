// Package amdtable knows how the AMD IOMMU (AMD-Vi) lays out what it shares with software: device table entries, host
// page-table entries ("v1") and the walk through them, commands, events, and the offsets of its registers. Like iommu/table for
// VT-d it is pure: it reads words through an interface and has neither time nor state, so the hardware model, the modelled
// driver (package kernel/amdvi) and tests share one definition of every bit.
//
// The cast:
//
//	DTE       a decoded device table entry with its encoder
//	Decode    says what one page-table entry means at its level
//	Walk      follows a table from its root; the slow, obvious twin of the timed walker
//	Command   a decoded command buffer entry with its encoder
//	Event     a decoded event log entry with its encoder
//	Builder   makes page tables, for tests and for machines without a modelled driver
//
// Levels are counted as the specification does: level 1 holds the entries of 4 KiB pages, a table of Mode n is a level-n table
// at the root. Addresses of entries and tables are physical; an I/O virtual address is called iova. Source: AMD I/O
// Virtualization Technology (IOMMU) Specification, publication 48882, revision 3.x: section 2.2 (data structures), 2.4
// (commands), 2.5 (event log), 3.4 (MMIO registers); section numbers below refer to it.
//
// Left out: guest translation (GCR3, "v2" page tables, PASID), accessed and dirty bits, interrupt remapping tables, encryption
// bit (SME), page requests. A decoder ignores the bits that carry them.
package amdtable
