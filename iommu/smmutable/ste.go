package smmutable

// Sizes in bytes and widths in bits.
const (
	STESize         = 64
	STEWords        = STESize / 8
	CDSize          = 64
	CDWords         = CDSize / 8
	L1StreamSize    = 8 // first-level stream table descriptor
	L1CDSize        = 8
	StreamSplit     = 8  // Linux' STRTAB_SPLIT: 256 STEs per second-level table
	CDSplit         = 10 // CDs per second-level table of 64 KiB: 1024
	addrMask        = 1<<52 - 1
	l1StreamPointer = addrMask &^ 63
)

// Config is STE.Config: what happens to the transactions of a stream.
type Config uint8

// Stream configurations (section 5.2).
const (
	ConfigAbort  Config = 0 // and every value with bit 2 clear
	ConfigBypass Config = 4
	ConfigS1     Config = 5
	ConfigS2     Config = 6
	ConfigNested Config = 7
)

// ATS behaviour of a stream: STE.EATS.
const (
	EATSAbort     = 0
	EATSTranslate = 1
)

// STE is a stream table entry (section 5.2), 64 bytes.
type STE struct {
	Valid  bool
	Config Config

	// Stage 1.
	Context uint64 // S1ContextPtr: CD, or table of them
	CDFmt   uint8  // S1Fmt: 0 linear, 1 two levels with 4 KiB leaves, 2 with 64 KiB leaves
	CDMax   uint8  // S1CDMax: 2^CDMax substreams
	DSS     uint8  // S1DSS, for transactions without a substream: 0 abort, 1 bypass, 2 use CD 0
	NoStall bool   // S1STALLD
	EATS    uint8

	// Stage 2.
	VMID   uint16
	TTB    uint64 // S2TTB
	T0SZ   uint8  // S2T0SZ: 64 less the bits of the intermediate address
	SL0    uint8  // S2SL0: start level, see Geometry
	TG     uint8  // granule, log2
	PS     uint8  // S2PS, encoded output width
	Record bool   // S2R: faults are recorded
}

// Encode returns the eight words. Walks of tables are write-back cacheable and inner shareable; AArch64 tables.
func (s STE) Encode() (w [STEWords]uint64) {
	w[0] = bit(s.Valid, 0) | uint64(s.Config&7)<<1
	w[1] = 1 << 44 // SHCFG: incoming
	if s.Config&1 != 0 {
		w[0] |= uint64(s.CDFmt&3)<<4 | s.Context&(addrMask&^63) | uint64(s.CDMax)<<59
		w[1] = uint64(s.DSS&3) | 1<<2 | 1<<4 | 3<<6 | bit(s.NoStall, 27) | uint64(s.EATS&3)<<28
	}
	if s.Config == ConfigS2 || s.Config == ConfigNested {
		w[1] |= uint64(s.EATS&3) << 28
		w[2] = uint64(s.VMID) | uint64(s.T0SZ&0x3f)<<32 | uint64(s.SL0&3)<<38 | 1<<40 | 1<<42 | 3<<44 | tg0(s.TG)<<46 |
			uint64(s.PS&7)<<48 | 1<<51 | 1<<54 | bit(s.Record, 58)
		w[3] = s.TTB & (addrMask &^ 15)
	}
	return w
}

// DecodeSTE decodes an entry; its fields of an unused stage are zero.
func DecodeSTE(w [STEWords]uint64) (s STE) {
	s.Valid, s.Config = w[0]&1 != 0, Config(w[0]>>1&7)
	if s.Config < ConfigBypass {
		s.Config = ConfigAbort
	}
	if s.Config == ConfigS1 || s.Config == ConfigNested {
		s.Context, s.CDFmt, s.CDMax = w[0]&(addrMask&^63), uint8(w[0]>>4&3), uint8(w[0]>>59)
		s.DSS, s.NoStall, s.EATS = uint8(w[1]&3), w[1]>>27&1 != 0, uint8(w[1]>>28&3)
	}
	if s.Config == ConfigS2 || s.Config == ConfigNested {
		s.EATS = uint8(w[1] >> 28 & 3)
		s.VMID, s.T0SZ, s.SL0, s.TG = uint16(w[2]), uint8(w[2]>>32&0x3f), uint8(w[2]>>38&3), fromTG0(w[2]>>46)
		s.PS, s.Record, s.TTB = uint8(w[2]>>48&7), w[2]>>58&1 != 0, w[3]&(addrMask&^15)
	}
	return s
}

// SetGeometry fills the stage-2 fields that describe a table.
func (s *STE) SetGeometry(g Geometry) {
	s.T0SZ, s.TG, s.PS = 64-g.Input, g.Granule, uint8(OutputCode(g.Output))
	s.SL0 = sl0(g)
}

// sl0 encodes the start level: for 4 KiB 2 - level, for the others 3 - level.
func sl0(g Geometry) uint8 {
	if g.Granule == Granule4K {
		return uint8(2-g.StartLevel()) & 3
	}
	return uint8(LastLevel-g.StartLevel()) & 3
}

// Stage2 returns the geometry of the stage-2 table; ok is false when SL0 does not fit the size, which makes the STE
// invalid (C_BAD_STE).
func (s STE) Stage2() (g Geometry, ok bool) {
	g = Geometry{Stage: Stage2, Granule: s.TG, Input: 64 - s.T0SZ, Output: OutputBits(uint64(s.PS))}
	return g, s.T0SZ >= 16 && s.T0SZ <= 39 && sl0(g) == s.SL0
}

// StreamAddr returns the address of the STE of stream sid in a linear table, or of its first-level descriptor in a
// two-level table with split bits below.
func StreamAddr(base uint64, sid uint32, split uint8, twoLevel bool) uint64 {
	if twoLevel {
		return base + uint64(sid>>split)*L1StreamSize
	}
	return base + uint64(sid)*STESize
}

// L1Stream encodes a first-level stream table descriptor: 2^split STEs at pa, or none when pa is 0.
func L1Stream(pa uint64, split uint8) uint64 {
	if pa == 0 {
		return 0
	}
	return pa&l1StreamPointer | uint64(split+1)
}

// DecodeL1Stream returns the second-level table, how many STEs it has, and whether it is there.
func DecodeL1Stream(w uint64) (pa uint64, entries uint32, ok bool) {
	span := w & 31
	if span == 0 || span > 12 {
		return 0, 0, false
	}
	return w & l1StreamPointer &^ (STESize<<(span-1) - 1), 1 << (span - 1), true
}

// L1CD encodes a first-level context descriptor table entry.
func L1CD(pa uint64) uint64 { return pa&(addrMask&^0xfff) | 1 }

// DecodeL1CD decodes one.
func DecodeL1CD(w uint64) (pa uint64, ok bool) { return w & (addrMask &^ 0xfff), w&1 != 0 }

func bit(b bool, n uint) uint64 {
	if b {
		return 1 << n
	}
	return 0
}
