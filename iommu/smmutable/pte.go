package smmutable

import "dmapath/iommu/table"

// Bits of a translation table descriptor (DDI 0487, D8.3).
const (
	PTEValid uint64 = 1 << 0
	PTETable uint64 = 1 << 1 // table at levels 0 to 2, page at level 3; clear: block

	PTETypeMask  = PTEValid | PTETable
	PTETypeBlock = PTEValid
	PTETypePage  = PTEValid | PTETable

	PTEAttrShift        = 2      // stage 1: AttrIndx, 3 bits, a byte of MAIR
	PTEUnpriv    uint64 = 1 << 6 // stage 1: AP[1], accesses with user privilege allowed
	PTEReadOnly  uint64 = 1 << 7 // stage 1: AP[2]
	PTENotGlobal uint64 = 1 << 11

	PTES2MemAttrShift        = 2 // stage 2: 4 bits
	PTES2Read         uint64 = 1 << 6
	PTES2Write        uint64 = 1 << 7

	PTEShareShift        = 8 // SH: non, -, outer, inner
	PTEShareOuter uint64 = 2 << PTEShareShift
	PTEShareInner uint64 = 3 << PTEShareShift
	PTEAccess     uint64 = 1 << 10 // AF; clear: the first access faults
	PTEDirtyBit   uint64 = 1 << 51 // DBM
	PTEContiguous uint64 = 1 << 52
	PTENoExec     uint64 = 3 << 53 // XN and PXN
	PTESoftSync   uint64 = 1 << 55 // for software: Linux marks an entry that a non-coherent walker can see

	// Of table descriptors: limits on everything below (stage 1).
	PTENSTable     uint64 = 1 << 63
	PTEAPTableRO   uint64 = 1 << 62
	PTEAPTablePriv uint64 = 1 << 61
	PTEXNTable     uint64 = 1 << 60

	pteAddrMask uint64 = 1<<48 - 1
)

// Attribute indexes that Linux gives to the bytes of MAIR (io-pgtable-arm).
const (
	AttrNonCacheable = 0
	AttrCacheable    = 1
	AttrDevice       = 2
)

// MAIR as Linux fills it: normal non-cacheable, normal write-back read and write allocate, device nGnRE, outer
// write-back with inner non-cacheable.
const MAIR uint64 = 0x44 | 0xff<<8 | 0x04<<16 | 0xf4<<24

// Stage-2 memory attributes that Linux uses: device nGnRE, normal non-cacheable, normal write-back.
const (
	S2AttrDevice       = 0x1
	S2AttrNonCacheable = 0x5
	S2AttrCacheable    = 0xf
)

// Addr returns the output address of a descriptor of the level: of the next table, block or page.
func (g Geometry) Addr(pte uint64, level int, k table.Kind) uint64 {
	if k == table.Table {
		return pte & pteAddrMask &^ (1<<g.Granule - 1)
	}
	return pte & pteAddrMask &^ (1<<g.Shift(level) - 1)
}

// Decode tells what entry pte of the level is, the address it holds and what it grants. A type that the level does not
// allow (a block at level 0, type 01 at level 3) is Absent, as the architecture has it. The rights of a table are the
// limits it puts on what lies below. The access flag and the width of the address are not looked at; EntryEvent does.
func (g Geometry) Decode(pte uint64, level int) (k table.Kind, addr uint64, rights table.Rights) {
	switch {
	case pte&PTEValid == 0:
		return table.Absent, 0, 0
	case level < LastLevel && pte&PTETable != 0:
		rights = table.AllRights
		if g.Stage == Stage1 {
			if pte&PTEAPTableRO != 0 {
				rights &^= table.Write
			}
			if pte&PTEAPTablePriv != 0 {
				rights &^= table.User
			}
		}
		return table.Table, g.Addr(pte, level, table.Table), rights
	case level == LastLevel && pte&PTETable == 0, level < LastLevel && !g.BlockLevel(level):
		return table.Absent, 0, 0
	}
	if g.Stage == Stage2 {
		rights = table.Rights(pte>>6&3) | table.User
	} else {
		rights = table.Read
		if pte&PTEReadOnly == 0 {
			rights |= table.Write
		}
		if pte&PTEUnpriv != 0 {
			rights |= table.User
		}
	}
	return table.Leaf, g.Addr(pte, level, table.Leaf), rights
}

// LeafPTE encodes an entry of the level that maps the page at pa with the access flag set: normal cacheable memory,
// inner shareable, not global, for accesses with user privilege, or device memory. Stage 1 cannot forbid reading.
func (g Geometry) LeafPTE(level int, pa uint64, rights table.Rights, device bool) uint64 {
	pte := pa&pteAddrMask&^(1<<g.Shift(level)-1) | PTEAccess | PTETypeBlock
	if level == LastLevel {
		pte |= PTETypePage
	}
	share := PTEShareInner
	if device {
		share = PTEShareOuter
	}
	pte |= share
	if g.Stage == Stage2 {
		attr := uint64(S2AttrCacheable)
		if device {
			attr = S2AttrDevice
		}
		return pte | attr<<PTES2MemAttrShift | uint64(rights&(table.Read|table.Write))<<6
	}
	attr := uint64(AttrCacheable)
	if device {
		attr = AttrDevice
	}
	pte |= PTENotGlobal | PTEUnpriv | attr<<PTEAttrShift
	if rights&table.Write == 0 {
		pte |= PTEReadOnly
	}
	return pte
}

// TablePTE encodes an entry that points to the table at pa and leaves the rights to lower levels.
func TablePTE(pa uint64) uint64 { return pa&pteAddrMask | PTETypePage }

// EntryEvent returns the event for meeting an entry of kind k: F_TRANSLATION when it is absent, F_ADDR_SIZE when its
// address is too wide, F_ACCESS for a leaf whose access flag is clear; NoEvent for an entry that can be used.
func (g Geometry) EntryEvent(pte uint64, k table.Kind, addr uint64) EventCode {
	switch {
	case k == table.Absent:
		return FTranslation
	case addr>>g.Output != 0:
		return FAddrSize
	case k == table.Leaf && pte&PTEAccess == 0:
		return FAccess
	}
	return NoEvent
}

// RightsEvent returns F_PERMISSION for a request that needs more than rights, else NoEvent.
func RightsEvent(rights table.Rights, write bool) EventCode {
	if rights&table.User == 0 || write && rights&table.Write == 0 || !write && rights&table.Read == 0 {
		return FPermission
	}
	return NoEvent
}
