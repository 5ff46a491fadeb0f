package smmutable

// CD is a context descriptor (section 5.4), 64 bytes: one stage-1 address space.
type CD struct {
	Valid  bool
	T0SZ   uint8 // 64 less the bits of the input address
	TG     uint8 // granule, log2
	IPS    uint8 // encoded output width
	ASID   uint16
	TTB0   uint64
	MAIR   uint64
	Record bool // R: faults are recorded
	Abort  bool // A: faulting transactions abort instead of reading zero
	AFFD   bool // a clear access flag does not fault
}

// Encode returns the eight words: AArch64, TTB1 unused, walks write-back cacheable and inner shareable, ASET set (the
// ASID is not shared with the CPUs' TLB maintenance).
func (c CD) Encode() (w [CDWords]uint64) {
	w[0] = uint64(c.T0SZ&0x3f) | tg0(c.TG)<<6 | 1<<8 | 1<<10 | 3<<12 | 1<<30 | bit(c.Valid, 31) | uint64(c.IPS&7)<<32 | bit(c.AFFD, 35) |
		1<<41 | bit(c.Record, 45) | bit(c.Abort, 46) | 1<<47 | uint64(c.ASID)<<48
	w[1] = c.TTB0 & (addrMask &^ 15)
	w[3] = c.MAIR
	return w
}

// DecodeCD decodes a descriptor.
func DecodeCD(w [CDWords]uint64) CD {
	return CD{Valid: w[0]>>31&1 != 0, T0SZ: uint8(w[0] & 0x3f), TG: fromTG0(w[0] >> 6), IPS: uint8(w[0] >> 32 & 7), ASID: uint16(w[0] >> 48),
		TTB0: w[1] & (addrMask &^ 15), MAIR: w[3], Record: w[0]>>45&1 != 0, Abort: w[0]>>46&1 != 0, AFFD: w[0]>>35&1 != 0}
}

// SetGeometry fills the fields that describe a table.
func (c *CD) SetGeometry(g Geometry) {
	c.T0SZ, c.TG, c.IPS = 64-g.Input, g.Granule, uint8(OutputCode(g.Output))
}

// Stage1 returns the geometry of the table; ok is false when T0SZ is out of range, which makes the CD invalid (C_BAD_CD).
func (c CD) Stage1() (g Geometry, ok bool) {
	return Geometry{Stage: Stage1, Granule: c.TG, Input: 64 - c.T0SZ, Output: OutputBits(uint64(c.IPS))}, c.T0SZ >= 16 && c.T0SZ <= 39
}
