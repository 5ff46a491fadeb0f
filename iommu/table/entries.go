package table

// Translation types: TT of a legacy context entry, PGTT of a PASID entry. The numbers differ.
const (
	TTMultiLevel  = 0 // untranslated requests through the second stage
	TTDeviceTLB   = 1 // the same, and the device may ask for translations
	TTPassThrough = 2

	PGTTFirst       = 1
	PGTTSecond      = 2
	PGTTNested      = 3
	PGTTPassThrough = 4
)

// Sizes in bytes.
const (
	RootEntrySize      = 16 // 256 of them, by bus
	ContextEntrySize   = 16 // legacy: 256 per table, by devfn
	SMContextEntrySize = 32 // scalable: 128 per table, lower and upper half of a bus
	PASIDDirEntrySize  = 8  // one per 64 PASIDs
	PASIDEntrySize     = 64 // 64 per table
)

// RootEntryAddr returns the address of the root entry of requester rid.
func RootEntryAddr(root uint64, rid uint16) uint64 { return root + uint64(rid>>8)*RootEntrySize }

// RootPointer encodes one half of a root entry: the context table at pa is present. A legacy root entry has it in its low word, a
// scalable one in the low word for devfn below 128 and in the high word for the rest.
func RootPointer(pa uint64) uint64 { return pa&^0xfff | 1 }

// DecodeRoot decodes one half of a root entry.
func DecodeRoot(w, haw uint64) (contextTable uint64, present, reserved bool) {
	return w &^ 0xfff, w&1 != 0, w&0xffe != 0 || w>>haw != 0
}

// Context is a legacy context entry (section 9.3).
type Context struct {
	Present      bool
	FaultDisable bool // FPD: faults of this requester are not recorded
	Type         uint8
	Root         uint64 // second-stage table
	Levels       int    // 3, 4 or 5; 2 + AW
	Domain       uint16 // DID
}

// ContextAddr returns the address of the context entry of requester rid in its bus's table.
func ContextAddr(table uint64, rid uint16) uint64 { return table + uint64(rid&0xff)*ContextEntrySize }

// Encode returns the two words of the entry.
func (c Context) Encode() (lo, hi uint64) {
	return flag(c.Present, 0) | flag(c.FaultDisable, 1) | uint64(c.Type)<<2 | c.Root&^0xfff, uint64(c.Levels-2)&7 | uint64(c.Domain)<<8
}

// DecodeContext decodes a legacy context entry; reserved says that a reserved bit is set.
func DecodeContext(lo, hi, haw uint64) (c Context, reserved bool) {
	c = Context{lo&1 != 0, lo&2 != 0, uint8(lo >> 2 & 3), lo &^ 0xfff, int(hi&7) + 2, uint16(hi >> 8)}
	return c, lo&0xff0 != 0 || lo>>haw != 0 || hi>>24 != 0 || hi&0x80 != 0
}

// SMContext is a scalable-mode context entry (section 9.4), of which the upper 16 bytes are zero.
type SMContext struct {
	Present      bool
	FaultDisable bool
	DeviceTLB    bool   // DTE
	PASIDEnable  bool   // PASIDE: requests may carry a PASID
	Dir          uint64 // PASID directory
	DirSize      uint8  // PDTS: the directory has 2^(PDTS+7) entries
	RIDPASID     uint32 // the PASID of requests that carry none
}

// SMContextAddr returns the address of the scalable context entry of rid in the half table of its bus.
func SMContextAddr(table uint64, rid uint16) uint64 {
	return table + uint64(rid&0x7f)*SMContextEntrySize
}

// Encode returns the two low words of the entry; the others are zero.
func (c SMContext) Encode() (w0, w1 uint64) {
	return flag(c.Present, 0) | flag(c.FaultDisable, 1) | flag(c.DeviceTLB, 2) | flag(c.PASIDEnable, 3) | uint64(c.DirSize&7)<<9 | c.Dir&^0xfff,
		uint64(c.RIDPASID & 0xfffff)
}

// DecodeSMContext decodes a scalable context entry.
func DecodeSMContext(w0, w1, haw uint64) (c SMContext, reserved bool) {
	c = SMContext{w0&1 != 0, w0&2 != 0, w0&4 != 0, w0&8 != 0, w0 &^ 0xfff, uint8(w0 >> 9 & 7), uint32(w1 & 0xfffff)}
	return c, w0&0x1e0 != 0 || w0>>haw != 0
}

// PASIDDirAddr returns the address of the directory entry of a PASID.
func PASIDDirAddr(dir uint64, pasid uint32) uint64 { return dir + uint64(pasid>>6)*PASIDDirEntrySize }

// PASIDDirPointer encodes a present directory entry.
func PASIDDirPointer(pa uint64) uint64 { return pa&^0xfff | 1 }

// PASIDAddr returns the address of the entry of a PASID in its table.
func PASIDAddr(table uint64, pasid uint32) uint64 { return table + uint64(pasid&63)*PASIDEntrySize }

// PASID is a PASID-table entry (section 9.6).
type PASID struct {
	Present      bool
	FaultDisable bool
	Type         uint8 // PGTT
	Domain       uint16
	Second       uint64 // second-stage table, Levels deep
	First        uint64 // first-stage table, Levels deep
	Levels       int    // of the stage that Type selects: 3 to 5 (second), 4 or 5 (first; also of a nested translation)
	SecondLevels int    // of the second stage of a nested translation
	SSAccessed   bool   // SSADE: hardware sets accessed and dirty bits of the second stage
}

// Encode returns the first three words of the entry; the other five are zero.
func (p PASID) Encode() (w [3]uint64) {
	w[0] = flag(p.Present, 0) | flag(p.FaultDisable, 1) | uint64(p.Type&7)<<6 | flag(p.SSAccessed, 9)
	w[1] = uint64(p.Domain)
	second := p.Levels
	if p.Type == PGTTNested {
		second = p.SecondLevels
	}
	if p.Type == PGTTFirst || p.Type == PGTTNested {
		w[2] = uint64(p.Levels-4)&3<<2 | p.First&^0xfff
	}
	if p.Type != PGTTFirst {
		w[0] |= uint64(second-2)&7<<2 | p.Second&^0xfff
	}
	return w
}

// DecodePASID decodes a PASID-table entry.
func DecodePASID(w [3]uint64, haw uint64) (p PASID, reserved bool) {
	p = PASID{Present: w[0]&1 != 0, FaultDisable: w[0]&2 != 0, Type: uint8(w[0] >> 6 & 7), Domain: uint16(w[1]),
		Second: w[0] &^ 0xfff, First: w[2] &^ 0xfff, Levels: int(w[0]>>2&7) + 2, SSAccessed: w[0]&(1<<9) != 0}
	if p.Type == PGTTNested {
		p.SecondLevels = p.Levels
	}
	if p.Type == PGTTFirst || p.Type == PGTTNested {
		p.Levels = int(w[2]>>2&3) + 4
	}
	return p, w[0]&0x20 != 0 || w[0]>>haw != 0 || w[2]>>haw != 0
}

func flag(b bool, bit uint) uint64 {
	if b {
		return 1 << bit
	}
	return 0
}
