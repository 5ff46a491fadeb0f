package table

import "fmt"

// PageShift is log2 of the smallest page and of every table.
const PageShift = 12

// MaxLevels is the deepest table: 5 levels translate 57 bits.
const MaxLevels = 5

// Format is a page-table format.
type Format uint8

// Page-table formats.
const (
	SecondStage Format = iota // section 9.8: present when readable or writable
	FirstStage                // section 9.7: the CPU's format, with present, user and accessed bits
)

func (f Format) String() string { return [...]string{"second stage", "first stage"}[f] }

// Bits of a second-stage entry.
const (
	SSRead     uint64 = 1 << 0
	SSWrite    uint64 = 1 << 1
	SSPageSize uint64 = 1 << 7 // leaf at level 2 or 3
	SSAccessed uint64 = 1 << 8
	SSDirty    uint64 = 1 << 9
	SSSnoop    uint64 = 1 << 11 // leaf only; reserved without snoop control (ECAP.SC)
)

// Bits of a first-stage entry.
const (
	FSPresent  uint64 = 1 << 0
	FSWrite    uint64 = 1 << 1
	FSUser     uint64 = 1 << 2
	FSAccessed uint64 = 1 << 5
	FSDirty    uint64 = 1 << 6
	FSPageSize uint64 = 1 << 7 // leaf at level 2 or 3
	FSNoExec   uint64 = 1 << 63
)

// addrMask covers bits 51:12, where an entry holds an address.
const addrMask = 1<<52 - 1<<PageShift

// Rights are what a walk allows; the rights of a translation are those that every level grants.
type Rights uint8

// Rights of an entry.
const (
	Read Rights = 1 << iota
	Write
	User // requests have user privilege unless they say otherwise; second-stage entries always grant it

	AllRights = Read | Write | User
)

// Kind says what an entry is.
type Kind uint8

// Kinds of entry.
const (
	Absent   Kind = iota // not present
	Reserved             // present with a reserved bit set
	Table                // points to the next table
	Leaf                 // maps a page
)

func (k Kind) String() string { return [...]string{"absent", "reserved", "table", "leaf"}[k] }

// Superpages a unit supports (CAP.SLLPS for the second stage).
const (
	Page2M uint8 = 1 << 0
	Page1G uint8 = 1 << 1
)

// Rules tells what entries mean to one unit: a format and the limits of that unit.
type Rules struct {
	Format Format
	// Scalable selects the reason codes of scalable mode instead of those of legacy mode.
	Scalable bool
	table    [MaxLevels + 1]uint64 // reserved bits of an entry that points to a table, by level
	leaf     [MaxLevels + 1]uint64 // reserved bits of an entry that maps a page, by level
	super    [MaxLevels + 1]bool   // the page-size bit means leaf at this level
}

// NewRules returns the rules of format f in a unit with haw bits of host address (32 to 52), the superpages given
// and, for the second stage, snoop control.
func NewRules(f Format, haw uint8, superpages uint8, snoopControl, scalable bool) Rules {
	r := Rules{Format: f, Scalable: scalable}
	high := uint64(addrMask) &^ (1<<haw - 1)
	r.super[2] = superpages&Page2M != 0
	r.super[3] = superpages&Page1G != 0
	for l := 1; l <= MaxLevels; l++ {
		r.table[l] = high
		if l > 1 && !r.super[l] {
			r.table[l] |= SSPageSize // the same bit in both formats
		}
		r.leaf[l] = high | (1<<Shift(l)-1)&addrMask
		if f == FirstStage && l > 1 {
			r.leaf[l] &^= 1 << 12 // PAT of a superpage
		}
		if f == SecondStage && !snoopControl {
			r.leaf[l] |= SSSnoop
		}
	}
	return r
}

// Shift returns log2 of the bytes that one entry of the level covers: 12, 21, 30, 39, 48.
func Shift(level int) uint8 { return uint8(PageShift + 9*(level-1)) }

// Index returns the number of the entry that translates iova in a table of the level.
func Index(iova uint64, level int) uint64 { return iova >> Shift(level) & 511 }

// EntryAddr returns the address of the entry that translates iova in the table of the level at physical address table.
func EntryAddr(table, iova uint64, level int) uint64 { return table + Index(iova, level)*8 }

// Decode tells what entry pte of the level is, the physical address it holds and what it grants. The address is that
// of the next table or of the page.
func (r *Rules) Decode(pte uint64, level int) (k Kind, addr uint64, rights Rights) {
	var leafBit bool
	if r.Format == SecondStage {
		if pte&(SSRead|SSWrite) == 0 {
			return Absent, 0, 0
		}
		rights = Rights(pte&3) | User
	} else {
		if pte&FSPresent == 0 {
			return Absent, 0, 0
		}
		rights = Read | Rights(pte&(FSWrite|FSUser))
	}
	leafBit = level == 1 || pte&SSPageSize != 0 && r.super[level]
	if leafBit {
		if pte&r.leaf[level] != 0 {
			return Reserved, 0, 0
		}
		return Leaf, pte & addrMask &^ (1<<Shift(level) - 1), rights
	}
	if pte&r.table[level] != 0 {
		return Reserved, 0, 0
	}
	return Table, pte & addrMask, rights
}

// LeafPTE encodes an entry of the level that maps the page at pa. First-stage entries are user pages with the accessed
// bit, and the dirty bit when writable, preset, as Linux does to spare the hardware the update.
func LeafPTE(f Format, level int, pa uint64, rights Rights) uint64 {
	pte := pa & addrMask
	if level > 1 {
		pte |= SSPageSize
	}
	if f == SecondStage {
		return pte | uint64(rights&(Read|Write))
	}
	pte |= FSPresent | FSUser | FSAccessed
	if rights&Write != 0 {
		pte |= FSWrite | FSDirty
	}
	return pte
}

// TablePTE encodes an entry that points to the table at pa and leaves the rights to lower levels.
func TablePTE(f Format, pa uint64) uint64 {
	if f == SecondStage {
		return pa&addrMask | SSRead | SSWrite
	}
	return pa&addrMask | FSPresent | FSWrite | FSUser | FSAccessed
}

// Covers reports whether iova lies in the width that a table of levels translates: zero-extended for the second
// stage, canonical for the first.
func (r *Rules) Covers(iova uint64, levels int) bool {
	top := Shift(levels + 1)
	if r.Format == SecondStage {
		return iova>>top == 0
	}
	s := int64(iova) >> (top - 1)
	return s == 0 || s == -1
}

func (r Rights) String() string {
	s := [3]byte{'-', '-', '-'}
	for i, c := range [3]byte{'r', 'w', 'u'} {
		if r&(1<<i) != 0 {
			s[i] = c
		}
	}
	return string(s[:])
}

// SizeName returns 4K, 2M or 1G for a page shift.
func SizeName(shift uint8) string {
	switch shift {
	case 12:
		return "4K"
	case 21:
		return "2M"
	case 30:
		return "1G"
	}
	return fmt.Sprintf("2^%d", shift)
}
