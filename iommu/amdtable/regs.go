package amdtable

// Offsets of the memory-mapped registers (section 3.4), each 8 bytes. Linux writes the tail registers and reads heads and
// status as 4 bytes.
const (
	RegDevTableBase = 0x0000 // 51:12 base; 8:0 size in units of 4 KiB, less one
	RegCmdBase      = 0x0008 // 51:12 base; 59:56 log2 of the entries, 8 to 15
	RegEventBase    = 0x0010 // as RegCmdBase
	RegControl      = 0x0018
	RegExtFeatures  = 0x0030
	RegCmdHead      = 0x2000 // 18:4 byte offset of the next command that hardware fetches
	RegCmdTail      = 0x2008 // 18:4 byte offset behind the last command that software wrote
	RegEventHead    = 0x2010
	RegEventTail    = 0x2018
	RegStatus       = 0x2020
	RegBytes        = 0x4000 // the whole window without performance counters
)

// Bits of RegControl.
const (
	ControlIommuEn      uint64 = 1 << 0
	ControlEventLogEn   uint64 = 1 << 2
	ControlEventIntEn   uint64 = 1 << 3
	ControlComWaitIntEn uint64 = 1 << 4
	ControlCoherent     uint64 = 1 << 10 // the unit's own reads of the device table snoop
	ControlCmdBufEn     uint64 = 1 << 12
)

// Bits of RegStatus.
const (
	StatusEventOverflow uint64 = 1 << 0
	StatusEventLogInt   uint64 = 1 << 1
	StatusComWaitInt    uint64 = 1 << 2
	StatusEventLogRun   uint64 = 1 << 3
	StatusCmdBufRun     uint64 = 1 << 4
)

// Bits of RegExtFeatures.
const (
	FeaturePreF uint64 = 1 << 0 // PREFETCH_IOMMU_PAGES
	FeaturePPR  uint64 = 1 << 1
	FeatureGT   uint64 = 1 << 4 // guest translation
	FeatureIA   uint64 = 1 << 6 // INVALIDATE_IOMMU_ALL

	hatsShift = 10
)

// FeatureHATS encodes the deepest host page table, 4 to 6 levels (field HATS).
func FeatureHATS(levels int) uint64 { return uint64(levels-4) & 3 << hatsShift }

// DecodeHATS returns the deepest host page table that the extended features allow: 4 to 6 levels, 0 for the reserved value.
func DecodeHATS(features uint64) int {
	if v := int(features >> hatsShift & 3); v < 3 {
		return v + 4
	}
	return 0
}

// BaseRegister encodes RegCmdBase or RegEventBase: a ring with 1<<log2 entries at base, log2 from 8 to 15.
func BaseRegister(base uint64, log2 uint8) uint64 { return base&addrMask | uint64(log2&15)<<56 }

// DecodeBase decodes RegCmdBase or RegEventBase.
func DecodeBase(v uint64) (base uint64, log2 uint8) { return v & addrMask, uint8(v >> 56 & 15) }

// DevTableRegister encodes RegDevTableBase for a table of so many bytes, a multiple of 4096 up to 2 MiB, which holds all 65536
// devices.
func DevTableRegister(base uint64, bytes uint64) uint64 {
	return base&addrMask | (bytes>>PageShift-1)&0x1ff
}

// DecodeDevTable decodes RegDevTableBase.
func DecodeDevTable(v uint64) (base, bytes uint64) { return v & addrMask, (v&0x1ff + 1) << PageShift }

// RingMask covers the offset field of head and tail registers.
const RingMask uint64 = 1<<19 - 1<<4
