// Package genericpt is the generic page-table code of 7.3, drivers/iommu/generic_pt/iommu_pt.h and pt_common.h: one algorithm
// for the tables of several IOMMUs, compiled once per format.
//
// map_range of one 4 KiB page takes a fast path of one function per level that jump to each other. Everything else chooses the
// largest page that alignment and length allow, walks down installing missing tables, fills one leaf table per call with plain
// stores, and starts again from the top when the page size changes. unmap_range is one recursion that clears, detaches the
// tables it covers entirely and stops at a hole. iova_to_phys is one function per level again. A page may take several
// neighbouring entries of one table with the same contents (amdv1); they are written by a loop up to 32 and by rep stos above.
// A table with a dynamic top grows by a level when a range does not fit.
//
// The cast:
//
//	Table    struct pt_iommu: a page table in simulated memory; MapRange, UnmapRange and Lookup are what iommucore calls
//	Format   what a format adds: the meaning of entries, and the instructions by which formats differ
//	Growing  the driver's side of a dynamic top
//	Funcs    the functions of one format in simulated kernel text
//
// # Source
//
// With the second-stage format (kernel/vtd) the code equals its recordings instruction by instruction, for one and for many
// pages. What only another format reaches (contiguous entries, the dynamic top, tests of leaves above 1 GiB) is unrecorded:
// read in the source, its instruction counts estimated.
package genericpt
