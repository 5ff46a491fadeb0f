package amdtable

import "math/bits"

// PageShift is log2 of the smallest page and of every table.
const PageShift = 12

// MaxLevels is the deepest table: 6 levels translate 64 bits.
const MaxLevels = 6

// Bits of a page-table entry (section 2.2.3). They mean the same in an entry that points to a table (PDE) and in one that maps
// a page (PTE).
const (
	Present uint64 = 1 << 0  // PR
	U       uint64 = 1 << 59 // PTE only: passed on to a device that asks by ATS
	FC      uint64 = 1 << 60 // PTE only: force coherent; accesses are snooped whatever the request says
	IR      uint64 = 1 << 61 // reads are allowed
	IW      uint64 = 1 << 62 // writes are allowed
)

// Values of the Next Level field, bits 11:9, other than the level of the next table.
const (
	DefaultSize = 0 // the entry maps a page of the size that one entry of its level covers
	EncodedSize = 7 // the size is encoded in the low bits of the address
)

const (
	addrMask     = 1<<52 - 1<<PageShift // bits 51:12
	levelShift   = 9
	reservedMask = 0x7f << 52 // bits 58:52
)

// Rights are what an entry grants; the rights of a translation are those that the device table entry and every level grant.
type Rights uint8

// Rights of an entry, in the order of IR and IW.
const (
	Read Rights = 1 << iota
	Write

	AllRights = Read | Write
)

func (r Rights) bits() uint64 { return uint64(r&AllRights) << 61 }

func (r Rights) String() string {
	s := [2]byte{'-', '-'}
	for i, c := range [2]byte{'r', 'w'} {
		if r&(1<<i) != 0 {
			s[i] = c
		}
	}
	return string(s[:])
}

// Kind says what an entry is.
type Kind uint8

// Kinds of entry.
const (
	Absent  Kind = iota // PR is clear
	Illegal             // present with a reserved bit set, a next level that is not below its own, or a page size that its level cannot have
	Table               // points to a table of a lower level
	Leaf                // maps a page
)

func (k Kind) String() string { return [...]string{"absent", "illegal", "table", "leaf"}[k] }

// Shift returns log2 of the bytes that one entry of the level covers: 12, 21, 30, 39, 48, 57.
func Shift(level int) uint8 { return uint8(PageShift + 9*(level-1)) }

// Index returns the number of the entry that translates iova in a table of the level; at level 6 only 128 entries are used.
func Index(iova uint64, level int) uint64 { return iova >> Shift(level) & 511 }

// EntryAddr returns the address of the entry that translates iova in the table of the level at physical address table.
func EntryAddr(table, iova uint64, level int) uint64 { return table + Index(iova, level)*8 }

// Covers reports whether a table with this many levels translates iova; 6 levels translate every address.
func Covers(iova uint64, levels int) bool { return levels >= MaxLevels || iova>>Shift(levels+1) == 0 }

// LeafLevel returns the level whose entries map pages of 1<<shift bytes: the highest whose entries cover no more than that.
func LeafLevel(shift uint8) int { return int(shift-PageShift)/9 + 1 }

// LeafCount returns how many neighbouring entries of LeafLevel(shift) a page occupies, each with the same contents: 1 to 256.
func LeafCount(shift uint8) int { return 1 << ((shift - PageShift) % 9) }

// LeafPTE encodes the entry that maps the page of 1<<shift bytes at pa; pa must be aligned to it. A page that needs several
// entries has this one in all of them. Sizes between those of two levels put Next Level 7 and, in the address bits below the
// page size, ones up to a zero in the highest of them (Table 14 of the specification: 8 KiB has bit 12 clear, 16 KiB bit 12 set
// and 13 clear).
func LeafPTE(pa uint64, shift uint8, rights Rights) uint64 {
	pte := pa&addrMask | Present | FC | rights.bits()
	if LeafCount(shift) > 1 {
		pte |= (1<<(shift-1)-1)&addrMask | EncodedSize<<levelShift
	}
	return pte
}

// TablePTE encodes an entry that points to the table of the level at pa and leaves the rights to lower levels.
func TablePTE(pa uint64, level int) uint64 {
	return pa&addrMask | Present | IR | IW | uint64(level)<<levelShift
}

// Entry is a decoded page-table entry.
type Entry struct {
	Kind   Kind
	Addr   uint64 // of the next table or of the page
	Level  int    // of the next table
	Shift  uint8  // log2 of the page
	Rights Rights
}

// Decode tells what an entry of a level-n table is. Level 6 has no leaves (Table 15 of the specification). An encoded size must
// be larger than the level's own and smaller than that of the level above; others are taken as illegal, though a unit may
// accept them.
func Decode(pte uint64, level int) Entry {
	if pte&Present == 0 {
		return Entry{}
	}
	e := Entry{Rights: Rights(pte >> 61 & 3)}
	if pte&reservedMask != 0 {
		return Entry{Kind: Illegal}
	}
	switch next := int(pte >> levelShift & 7); {
	case level == MaxLevels && (next == DefaultSize || next == EncodedSize):
		return Entry{Kind: Illegal}
	case next == DefaultSize:
		e.Kind, e.Shift = Leaf, Shift(level)
	case next == EncodedSize:
		e.Kind, e.Shift = Leaf, EncodedShift(pte)
		if e.Shift <= Shift(level) || e.Shift >= Shift(level+1) {
			return Entry{Kind: Illegal}
		}
	case next < level:
		return Entry{Kind: Table, Addr: pte & addrMask, Level: next, Rights: e.Rights}
	default:
		return Entry{Kind: Illegal}
	}
	e.Addr = pte & addrMask &^ (1<<e.Shift - 1)
	return e
}

// EncodedShift returns log2 of the size that an address with a size encoded in its low bits means: one more than the position
// of the lowest clear bit from bit 12 up. Page-table entries with Next Level 7 and invalidation commands with the S bit use the
// same code.
func EncodedShift(addr uint64) uint8 {
	return PageShift + uint8(bits.TrailingZeros64(^(addr >> PageShift))) + 1
}
