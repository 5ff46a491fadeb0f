// Package table knows how VT-d lays out its tables in memory: page-table entries of both stages, root, context
// and PASID entries, and the walk through them. It is pure: it reads words through an interface and has neither time
// nor state, so the hardware model (package iommu), the modelled driver (package kernel/vtd) and tests
// share one definition of every bit.
//
// The cast:
//
//	Format    second stage (EPT-like) or first stage (the CPU's own format)
//	Rules     a format with the limits of one unit: host address width, superpages; says what one entry means
//	Walk      follows a table from its root; the slow, obvious twin of the timed walker
//	Context, PASID, Root...  decoded device-table entries with their encoders
//	Reason    the fault reason codes of the specification
//	Builder   makes page tables, for tests and for machines without a modelled driver
//	Reg...    the offsets of the registers, for all who read or write them
//
// Addresses of entries and tables are physical; an I/O virtual address is called iova. Sources: Intel Virtualization
// Technology for Directed I/O, architecture specification revision 4.1, chapters 3 (tables), 7 (faults) and 9 (formats);
// section numbers below refer to it.
//
// Left out: execute permission, memory types, extended access
// flags. A walk ignores the bits that carry them.
package table
