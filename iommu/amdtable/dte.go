package amdtable

// DTESize is the size of a device table entry in bytes: four 64-bit words.
const DTESize = 32

// DTE is a device table entry (section 2.2.2.1) as far as host translation uses it.
type DTE struct {
	Valid       bool   // V
	Translation bool   // TV: Mode, Root and rights are valid
	Mode        int    // levels of the page table, 1 to 6; 0 passes addresses through; 7 is reserved
	Root        uint64 // page table
	Rights      Rights // IR, IW
	Domain      uint16 // tag of cached translations
	IOTLB       bool   // I: the device may send translated requests and is sent IOTLB invalidations
	Suppress    bool   // SE: after the first page fault, further ones of this device are not logged
	SuppressAll bool   // SA: page faults are not logged
}

// DTEAddr returns the address of the entry of a device, whose id is the PCI requester id.
func DTEAddr(table uint64, id uint16) uint64 { return table + uint64(id)*DTESize }

// Encode returns the two low words of the entry. The others hold interrupt remapping; they are zero here, which leaves
// interrupts alone.
func (d DTE) Encode() (w [2]uint64) {
	w[0] = flag(d.Valid, 0) | flag(d.Translation, 1) | uint64(d.Mode&7)<<levelShift | d.Root&addrMask | d.Rights.bits()
	w[1] = uint64(d.Domain) | flag(d.IOTLB, 32) | flag(d.Suppress, 33) | flag(d.SuppressAll, 34)
	return w
}

// DecodeDTE decodes the two low words of an entry. Illegal says that hardware with tables of up to levels levels (extended
// feature HATS) reports ILLEGAL_DEV_TABLE_ENTRY: the mode is deeper than that or a reserved bit is set.
func DecodeDTE(w [2]uint64, levels int) (d DTE, illegal bool) {
	d = DTE{Valid: w[0]&1 != 0, Translation: w[0]&2 != 0, Mode: int(w[0] >> levelShift & 7), Root: w[0] & addrMask, Rights: Rights(w[0] >> 61 & 3),
		Domain: uint16(w[1]), IOTLB: w[1]&(1<<32) != 0, Suppress: w[1]&(1<<33) != 0, SuppressAll: w[1]&(1<<34) != 0}
	return d, d.Valid && (w[0]&(0x1f<<2|1<<63) != 0 || d.Translation && d.Mode > levels)
}

func flag(b bool, bit uint) uint64 {
	if b {
		return 1 << bit
	}
	return 0
}
