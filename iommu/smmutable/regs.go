package smmutable

// Register offsets (section 6.2). The indexes of event and PRI queue lie in the second page of 64 KiB.
const (
	RegIDR0          = 0x00
	RegIDR1          = 0x04
	RegIDR2          = 0x08
	RegIDR3          = 0x0c
	RegIDR4          = 0x10
	RegIDR5          = 0x14
	RegIIDR          = 0x18
	RegAIDR          = 0x1c
	RegCR0           = 0x20
	RegCR0ACK        = 0x24
	RegCR1           = 0x28
	RegCR2           = 0x2c
	RegGBPA          = 0x44
	RegIRQCtrl       = 0x50
	RegIRQCtrlAck    = 0x54
	RegGError        = 0x60
	RegGErrorN       = 0x64
	RegStrtabBase    = 0x80 // 64 bits
	RegStrtabBaseCfg = 0x88
	RegCmdqBase      = 0x90 // 64 bits
	RegCmdqProd      = 0x98
	RegCmdqCons      = 0x9c
	RegEventqBase    = 0xa0 // 64 bits
	RegEventqProd    = 0x100a8
	RegEventqCons    = 0x100ac
	RegPriqBase      = 0xc0 // 64 bits
	RegPriqProd      = 0x100c8
	RegPriqCons      = 0x100cc
	WindowSize       = 0x20000
)

// IDR0 fields.
const (
	IDR0S2P        uint32 = 1 << 0
	IDR0S1P        uint32 = 1 << 1
	IDR0TTFAArch64 uint32 = 2 << 2
	IDR0Coherent   uint32 = 1 << 4 // COHACC: tables and queues are read coherently
	IDR0ATS        uint32 = 1 << 10
	IDR0ASID16     uint32 = 1 << 12
	IDR0MSI        uint32 = 1 << 13 // CMD_SYNC and interrupts may be messages
	IDR0SEV        uint32 = 1 << 14
	IDR0PRI        uint32 = 1 << 16
	IDR0VMID16     uint32 = 1 << 18
	IDR0CD2L       uint32 = 1 << 19
	IDR0STLevel2   uint32 = 1 << 27 // two-level stream table
)

// IDR1 field positions: log2 of queue entries, bits of IDs.
const (
	IDR1SIDBits   = 0  // 6 bits
	IDR1SSIDBits  = 6  // 5 bits
	IDR1PriqLog2  = 11 // 5 bits
	IDR1EventLog2 = 16 // 5 bits
	IDR1CmdqLog2  = 21 // 5 bits
)

// IDR3 and IDR5 fields.
const (
	IDR3RIL  uint32 = 1 << 10 // range invalidation and level hints
	IDR5G4K  uint32 = 1 << 4
	IDR5G16K uint32 = 1 << 5
	IDR5G64K uint32 = 1 << 6
	// IDR5.OAS, bits 2:0, is encoded as OutputCode does.
)

// CR0 and CR0ACK bits.
const (
	CR0SMMUEN   uint32 = 1 << 0
	CR0PRIQEN   uint32 = 1 << 1
	CR0EVENTQEN uint32 = 1 << 2
	CR0CMDQEN   uint32 = 1 << 3
	CR0ATSCHK   uint32 = 1 << 4
)

// GERROR bits: the command queue stopped at an error, the event queue overflowed or could not be written.
const (
	GErrorCmdq   uint32 = 1 << 0
	GErrorEventq uint32 = 1 << 2
)

// Errors in bits 30:24 of CMDQ_CONS.
const (
	CmdqErrNone  = 0
	CmdqErrIll   = 1
	CmdqErrAbort = 2
	CmdqErrATC   = 3
	CmdqErrShift = 24
)

// STRTAB_BASE_CFG formats.
const (
	StrtabLinear   uint32 = 0 << 16
	StrtabTwoLevel uint32 = 1 << 16
)

// StrtabBaseCfg encodes the shape of the stream table: log2 of its streams, split for two levels.
func StrtabBaseCfg(log2Streams, split uint8, twoLevel bool) uint32 {
	c := uint32(log2Streams & 0x3f)
	if twoLevel {
		c |= StrtabTwoLevel | uint32(split&31)<<6
	}
	return c
}

// DecodeStrtabBaseCfg decodes it.
func DecodeStrtabBaseCfg(c uint32) (log2Streams, split uint8, twoLevel bool) {
	return uint8(c & 0x3f), uint8(c >> 6 & 31), c>>16&3 == 1
}

// QueueBase encodes CMDQ_BASE, EVENTQ_BASE or PRIQ_BASE: 2^log2 entries at pa, reads (writes) allocate in caches.
func QueueBase(pa uint64, log2 uint8) uint64 { return pa&(addrMask&^31) | uint64(log2&31) | 1<<62 }

// DecodeQueueBase decodes it.
func DecodeQueueBase(w uint64) (pa uint64, log2 uint8) { return w & (addrMask &^ 31), uint8(w & 31) }

// Queue indexes carry a wrap bit above the index: with 2^log2 entries they count modulo 2^(log2+1).

// Empty reports whether a queue of 2^log2 entries has nothing between cons and prod.
func Empty(prod, cons uint32, log2 uint8) bool { return (prod^cons)&(2<<log2-1) == 0 }

// Full reports whether no entry is free.
func Full(prod, cons uint32, log2 uint8) bool { return (prod^cons)&(2<<log2-1) == 1<<log2 }

// Used returns how many entries lie between cons and prod.
func Used(prod, cons uint32, log2 uint8) uint32 { return (prod - cons) & (2<<log2 - 1) }
