package iommu

// MaxLevels is the deepest table of any dialect: 6 levels of AMD's v1 format cover 64 bits.
const MaxLevels = 6

// Arrays by level have a power of two of slots, so that an index needs no check: this code runs for every level of every walk.
const (
	levelSlots = 8
	levelMask  = levelSlots - 1
)

// PageShift is log2 of the smallest page of any dialect.
const PageShift = 12

// Rights are what a walk allows; the rights of a translation are those that every level grants.
type Rights uint8

// Rights of an entry.
const (
	Read Rights = 1 << iota
	Write
	User // requests have user privilege; a format without privileges always grants it

	AllRights = Read | Write | User
)

// Kind says what a page-table entry is.
type Kind uint8

// Kinds of entry.
const (
	Absent   Kind = iota // not present
	Reserved             // present, but not as the format allows
	Table                // points to the next table
	Leaf                 // maps a page
)

// Entry is a decoded page-table entry.
type Entry struct {
	Kind   Kind
	Shift  uint8  // Leaf: log2 of the page's bytes, any from PageShift on
	Next   uint8  // Table: level of the table that it points to, below its own
	Rights Rights // granted
	Addr   uint64 // physical address of the page or of the table; bits 51:12
}

// Format is a page-table format as the walk needs it, given by a dialect's device entry. Levels count from 1, the table whose entries
// map the smallest pages.
type Format interface {
	// Decode tells what entry pte of the level is.
	Decode(pte uint64, level int) Entry
	// Marks returns the bits that hardware sets in an entry it uses: accessed, with dirty also dirty.
	Marks(dirty bool) uint64
}

// Geometry says which bits of an address choose the entry in a table of each level. Entries have 8 bytes.
type Geometry struct {
	Shift [levelSlots]uint8  // log2 of the bytes that one entry of the level covers
	Mask  [levelSlots]uint64 // entries in a table of the level, less 1
}

// NewGeometry returns the geometry of tables of one page of 1<<page bytes each.
func NewGeometry(page uint8) *Geometry {
	g := new(Geometry)
	for l := 1; l < levelSlots; l++ {
		g.Shift[l], g.Mask[l] = page+uint8(l-1)*(page-3), 1<<(page-3)-1
	}
	return g
}

// EntryAddr returns the address of the entry that translates iova in the table of the level at physical address table.
func (g *Geometry) EntryAddr(table, iova uint64, level int) uint64 {
	return table + iova>>(g.Shift[level&levelMask]&63)&g.Mask[level&levelMask]*8
}

// Space is how requests are translated that a device entry sends through a page table.
type Space struct {
	*Geometry
	Format Format
	Root   uint64 // physical address of the top table
	Tag    uint32 // what cached translations are tagged with: a dense number from 1 on
	Levels int    // level of the top table
	Marks  bool   // hardware sets accessed and dirty bits
	Width  uint8  // of a second stage: bits of address that the table translates
	// Under is the second stage of a nested translation, nil for none: the addresses of Root, of every table and of every page
	// are its input.
	Under *Space
}

// Cause is why a walk ended without a translation.
type Cause uint8

// Causes.
const (
	Translated    Cause = iota
	NotPresent          // met an absent entry
	Malformed           // met a reserved one
	Denied              // the page does not grant what the request needs
	ClosedAddress       // the page lies where the root complex allows none
	Skipped             // bits of the address that a skipped level would have translated are not zero
)

// Refusal is how a walk that failed ended.
type Refusal struct {
	Cause  Cause
	Level  int    // of the last entry read
	Rights Rights // granted by all entries read
	Entry  uint64 // the last one read
	Second bool   // the second stage of a nested translation refused
	IPA    uint64 // then: what it was asked for
}
