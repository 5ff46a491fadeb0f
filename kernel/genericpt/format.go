package genericpt

import (
	"dmapath/cpu"
	"dmapath/kernel/iommucore"
)

// Kind is enum pt_entry_type: what an entry is to the table code.
type Kind uint8

// Kinds of entry.
const (
	Empty Kind = iota // PT_ENTRY_EMPTY
	Down              // PT_ENTRY_TABLE: points to a table of the next level
	Page              // PT_ENTRY_OA: maps a page, or a part of one that takes several entries
)

// Format is a page-table format: what drivers/iommu/generic_pt/fmt/*.h give the common code. Levels are those of generic_pt: 0 holds
// the entries of 4 KiB pages. Methods without a thread compute; those with one emit the instructions that the format adds to what all
// formats have in common.
type Format interface {
	// TopLeaf is the highest level whose entries can map pages (pt_can_have_leaf).
	TopLeaf() int
	// Kind tells what entry val of the level is (pt_load_entry_raw).
	Kind(val uint64, level int) Kind
	// PageShift returns log2 of the page that entry val of the level maps.
	PageShift(val uint64, level int) uint
	// Addr returns the physical address in val: of a table, or of a page with the bits below its size undefined.
	Addr(val uint64) uint64
	// Table encodes an entry of the level that points to the table at pa (pt_install_table).
	Table(pa uint64, level int) uint64
	// Leaf encodes an entry of the level that maps the page of 1<<lg2 bytes at oa with what SetProt returned (pt_install_leaf_entry).
	Leaf(oa uint64, level int, lg2 uint, bits uint64) uint64
	// Synced is the software bit of a table entry that says that its line was flushed; 0 for formats whose walks always snoop.
	Synced() uint64

	// SetProt is pt_iommu_set_prot: it encodes protections, or says that the format has none like them. features is the loaded
	// word of features.
	SetProt(t *cpu.Thread, features cpu.Val, prot iommucore.Prot) (bits uint64, err iommucore.Errno)
	// TestLeaf emits the test that tells a page from a table in entry val of the level, which p has loaded.
	TestLeaf(t *cpu.Thread, p cpu.Val, val uint64, level int)
	// TableAddr emits what it takes to get a table's address out of the entry p beyond masking it; features is the address of the
	// features.
	TableAddr(t *cpu.Thread, features uint64, p cpu.Val) cpu.Val
	// EncodeLeaf emits what it takes to turn address and protection, or'ed in e, into an entry of the level for a page of
	// 1<<lg2 bytes.
	EncodeLeaf(t *cpu.Thread, e cpu.Val, level int, lg2 uint) cpu.Val
	// EncodedSize emits the decoding of a page's size from the entry p, where a format has more than one size per level.
	EncodedSize(t *cpu.Thread, p cpu.Val)
}

// Growing is what a driver of tables with a dynamic top gives (struct pt_iommu_driver_ops).
type Growing interface {
	// TopLock returns the lock under which the top may change (get_top_lock).
	TopLock(t *cpu.Thread) *cpu.LockWord
	// ChangeTop makes the hardware use the top table at pa, whose level is given (change_top); the lock is held.
	ChangeTop(t *cpu.Thread, pa uint64, level int)
}

// Funcs are the functions of one format: the code is compiled once for each, so each has text of its own.
type Funcs struct {
	mapRange, unmapRange, lookup                                                      *cpu.Func
	makeRange, bestSize, mapTable, mapLeaf, collect, clearContig, unmapTable, pending *cpu.Func
	increaseTop                                                                       *cpu.Func
	single, lookupLevel                                                               [6]*cpu.Func // by level; 0 is part of 1
}

const file = "drivers/iommu/generic_pt/iommu_pt.h"

// NewFuncs defines the functions of the format with the given name (vtdss, amdv1); call it only in package-level var declarations.
func NewFuncs(name string) *Funcs {
	f := &Funcs{
		mapRange: cpu.NewFunc(name+"_map_range", file, 1168), makeRange: cpu.NewFunc("make_range_ul", file, 160),
		bestSize: cpu.NewFunc("pt_compute_best_pgsize", "drivers/iommu/generic_pt/pt_common.h", 124),
		mapTable: cpu.NewFunc("__map_range", file, 1152), mapLeaf: cpu.NewFunc("__map_range_leaf", file, 1456),
		collect: cpu.NewFunc("__collect_tables", file, 640), clearContig: cpu.NewFunc("clear_contig", file, 600),
		increaseTop: cpu.NewFunc("increase_top", file, 700),
		unmapRange:  cpu.NewFunc(name+"_unmap_range", file, 272), unmapTable: cpu.NewFunc("__unmap_range", file, 1600),
		pending: cpu.NewFunc("gather_range_pending.isra.0", file, 112), lookup: cpu.NewFunc("pt_iommu_"+name+"_iova_to_phys", file, 352),
	}
	sizes := [6][2]uint32{1: {200, 200}, 2: {110, 120}, 3: {160, 160}, 4: {160, 160}, 5: {160, 160}}
	for l := 1; l < len(sizes); l++ {
		n := string(rune('0' + l))
		f.single[l] = cpu.NewFunc("__map_single_page"+n+".isra.0", file, sizes[l][0])
		f.lookupLevel[l] = cpu.NewFunc("__iova_to_phys"+n+".isra.0", file, sizes[l][1])
	}
	return f
}
