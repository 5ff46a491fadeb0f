package table

// Register offsets of a VT-d unit (specification 4.1, section 11.4). The fault records and the IOTLB registers lie where CAP.FRO and
// ECAP.IRO say; the unit of package iommu/vtd puts them at FRCD and IVA.
const (
	RegVER     = 0x00
	RegCAP     = 0x08
	RegECAP    = 0x10
	RegGCMD    = 0x18 // 32 bits
	RegGSTS    = 0x1c // 32 bits
	RegRTADDR  = 0x20
	RegCCMD    = 0x28
	RegFSTS    = 0x34 // 32 bits
	RegFECTL   = 0x38 // 32 bits
	RegIQH     = 0x80
	RegIQT     = 0x88
	RegIQA     = 0x90
	RegICS     = 0x9c // 32 bits
	RegIECTL   = 0xa0 // 32 bits
	RegIQERCD  = 0xb0
	RegPQH     = 0xc0
	RegPQT     = 0xc8
	RegPQA     = 0xd0
	RegPRS     = 0xdc // 32 bits
	RegIVA     = 0x500
	RegIOTLB   = 0x508
	RegFRCD    = 0x600 // 16 bytes per record
	WindowSize = 0x1000
)
