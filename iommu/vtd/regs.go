package vtd

// GCMD and GSTS bits.
const (
	CmdTE   uint32 = 1 << 31 // translation enable
	CmdSRTP uint32 = 1 << 30 // set root table pointer
	CmdWBF  uint32 = 1 << 27 // write-buffer flush
	CmdQIE  uint32 = 1 << 26 // queued invalidation enable
	CmdIRE  uint32 = 1 << 25 // interrupt remapping enable; accepted, without effect here
	CmdSIRT uint32 = 1 << 24
	CmdCFI  uint32 = 1 << 23
)

// FSTS bits.
const (
	FaultOverflow  uint32 = 1 << 0 // PFO: a fault found no free record
	FaultPending   uint32 = 1 << 1 // PPF: a record holds a fault; read-only
	QueueError     uint32 = 1 << 4 // IQE: the queue stopped at a bad descriptor
	CompletionErr  uint32 = 1 << 5 // ICE, never set: device TLBs answer
	TimeoutError   uint32 = 1 << 6 // ITE, never set: device TLBs answer in time
	faultIndexBit         = 8      // FRI
	clearableFSTS         = FaultOverflow | QueueError | CompletionErr | TimeoutError
	frcdF          uint64 = 1 << 63
	frcdRead       uint64 = 1 << 62
	frcdReason            = 32
	frcdPASID             = 40
	frcdHasPASID   uint64 = 1 << 31
	rootModeShift         = 10 // RTADDR.TTM
	modeLegacy            = 0
	modeScalable          = 1
	iqaWide        uint64 = 1 << 11
	commandBusy    uint64 = 1 << 63 // CCMD.ICC, IOTLB.IVT
	invalidateHint uint64 = 1 << 6  // IVA.IH and the same bit of a descriptor
	ircIWC         uint32 = 1
)

// Descriptor types: bits 3:0 and, as bits 6:4, bits 11:9 of the first word (section 6.5.2).
const (
	DescContext   = 1
	DescIOTLB     = 2
	DescDeviceTLB = 3
	DescInterrupt = 4
	DescWait      = 5
	DescPASIDTLB  = 6
	DescPASID     = 7
	DescPASIDDev  = 8
	DescPageResp  = 9
)

// Granularities of the descriptors, bits 5:4.
const (
	GranGlobal = 1 // context, IOTLB
	GranDomain = 2 // context, IOTLB
	GranDevice = 3 // context
	GranPage   = 3 // IOTLB

	GranPASIDAll  = 2 // PASID-based IOTLB: everything of a PASID
	GranPASIDPage = 3

	GranPCDomain = 0 // PASID cache
	GranPCPASID  = 1
	GranPCGlobal = 3
)

// Wait descriptor bits.
const (
	WaitInterrupt uint64 = 1 << 4
	WaitStatus    uint64 = 1 << 5
	WaitFence     uint64 = 1 << 6
)

// CAP fields.
const (
	capRWBF  = 1 << 4
	capCM    = 1 << 7
	capSAGAW = 8
	capMGAW  = 16
	capFRO   = 24
	capSLLPS = 34
	capPSI   = 1 << 39
	capNFR   = 40
	capMAMV  = 48
	capDWD   = 1 << 54
	capDRD   = 1 << 55
	capFS1GP = 1 << 56
	capFS5LP = 1 << 60
)

// ECAP fields.
const (
	ecapC    = 1 << 0
	ecapQI   = 1 << 1
	ecapDT   = 1 << 2
	ecapPT   = 1 << 6
	ecapSC   = 1 << 7
	ecapIRO  = 8
	ecapNEST = 1 << 26
	ecapPRS  = 1 << 29
	ecapSMTS = 1 << 43
	ecapSSTS = 1 << 46
	ecapFSTS = 1 << 47
	ecapPSS  = 35
	ecapPASD = 1 << 40
)

// Descriptor builders: the two words of a 16-byte descriptor; the upper half of a 32-byte one is zero.

// ContextDesc invalidates context-cache entries: all, of a domain, or of requester sid with function bits masked by fm.
func ContextDesc(gran int, domain, sid uint16, fm uint8) (lo, hi uint64) {
	return DescContext | uint64(gran)<<4 | uint64(domain)<<16 | uint64(sid)<<32 | uint64(fm&3)<<48, 0
}

// IOTLBDesc invalidates translations: all, of a domain, or of 2^am pages around addr. hint says that only leaf entries changed, so
// that paging-structure caches may stay. Reads and writes in flight are drained.
func IOTLBDesc(gran int, domain uint16, addr uint64, am uint8, hint bool) (lo, hi uint64) {
	hi = addr&^0xfff | uint64(am&0x3f)
	if hint {
		hi |= invalidateHint
	}
	return DescIOTLB | uint64(gran)<<4 | 1<<6 | 1<<7 | uint64(domain)<<16, hi
}

// PASIDTLBDesc invalidates first-stage translations of one PASID of a domain: all, or 2^am pages around addr.
func PASIDTLBDesc(gran int, domain uint16, pasid uint32, addr uint64, am uint8, hint bool) (lo, hi uint64) {
	_, hi = IOTLBDesc(gran, 0, addr, am, hint)
	return DescPASIDTLB | uint64(gran)<<4 | uint64(domain)<<16 | uint64(pasid&0xfffff)<<32, hi
}

// PASIDDesc invalidates PASID-cache entries.
func PASIDDesc(gran int, domain uint16, pasid uint32) (lo, hi uint64) {
	return DescPASID | uint64(gran)<<4 | uint64(domain)<<16 | uint64(pasid&0xfffff)<<32, 0
}

// WaitDesc writes 32 bits of data to physical address addr when all descriptors before it are complete; with fence, those after it
// wait for it.
func WaitDesc(addr uint64, data uint32, fence bool) (lo, hi uint64) {
	lo = DescWait | WaitStatus | uint64(data)<<32
	if fence {
		lo |= WaitFence
	}
	return lo, addr &^ 3
}
