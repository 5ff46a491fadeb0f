package smmutable

// CommandSize is the size of a command in bytes.
const CommandSize = 16

// Opcode is the kind of a command (section 4.1.2).
type Opcode uint8

// Opcodes.
const (
	PrefetchConfig Opcode = 0x01
	PrefetchAddr   Opcode = 0x02
	CfgiSTE        Opcode = 0x03
	CfgiSTERange   Opcode = 0x04 // with range 31: CFGI_ALL
	CfgiCD         Opcode = 0x05
	CfgiCDAll      Opcode = 0x06
	TlbiNHAll      Opcode = 0x10
	TlbiNHASID     Opcode = 0x11
	TlbiNHVA       Opcode = 0x12
	TlbiNHVAA      Opcode = 0x13
	TlbiEL2All     Opcode = 0x20
	TlbiEL2ASID    Opcode = 0x21
	TlbiEL2VA      Opcode = 0x22
	TlbiEL2VAA     Opcode = 0x23
	TlbiS12VMAll   Opcode = 0x28
	TlbiS2IPA      Opcode = 0x2a
	TlbiNSNHAll    Opcode = 0x30
	AtcInv         Opcode = 0x40
	PriResp        Opcode = 0x41
	Sync           Opcode = 0x46
)

// Command is one entry of the command queue.
type Command [2]uint64

// Op returns the opcode.
func (c Command) Op() Opcode { return Opcode(c[0]) }

// STECommand makes the unit forget what it knows of stream sid; leaf: first-level descriptors may stay.
func STECommand(sid uint32, leaf bool) Command {
	return Command{uint64(CfgiSTE) | uint64(sid)<<32, bit(leaf, 0)}
}

// CfgiAll makes the unit forget all configuration.
func CfgiAll() Command { return Command{uint64(CfgiSTERange), 31} }

// CDCommand makes the unit forget the context descriptor of a substream.
func CDCommand(sid, ssid uint32, leaf bool) Command {
	return Command{uint64(CfgiCD) | uint64(ssid&0xfffff)<<12 | uint64(sid)<<32, bit(leaf, 0)}
}

// StreamID returns the stream of a configuration or ATC command.
func (c Command) StreamID() uint32 { return uint32(c[0] >> 32) }

// SubstreamID returns the substream of a configuration or ATC command and, for the latter, whether it has one.
func (c Command) SubstreamID() (ssid uint32, valid bool) {
	return uint32(c[0] >> 12 & 0xfffff), c[0]>>11&1 != 0
}

// ConfigRange returns which streams a CFGI_STE_RANGE names: 2^n of them from the multiple of that below StreamID.
func (c Command) ConfigRange() (n uint8) { return uint8(c[1]&31) + 1 }

// TLBI is the content of a TLB invalidation by address. A command without range has Num, Scale, TTL and Granule zero and
// names one page of the smallest size (or the leaf entry that covers it).
type TLBI struct {
	ASID, VMID uint16
	Addr       uint64 // VA or IPA
	Leaf       bool   // walk caches of table entries may stay
	// Range, for units with IDR3.RIL: (Num+1) * 2^Scale granules from Addr.
	Num, Scale uint8
	TTL        uint8 // level of the leaf entries, 0 unknown
	Granule    uint8 // log2, 0 when the command has no range
}

// Command encodes t as opcode op.
func (t TLBI) Command(op Opcode) Command {
	c := Command{uint64(op) | uint64(t.Num&31)<<12 | uint64(t.Scale&31)<<20 | uint64(t.VMID)<<32 | uint64(t.ASID)<<48,
		bit(t.Leaf, 0) | uint64(t.TTL&3)<<8}
	if t.Granule != 0 {
		c[1] |= uint64(t.Granule-10) / 2 << 10
	}
	if op == TlbiS2IPA {
		c[1] |= t.Addr & (addrMask &^ 0xfff)
	} else {
		c[1] |= t.Addr &^ 0xfff
	}
	return c
}

// TLBI decodes an invalidation.
func (c Command) TLBI() TLBI {
	t := TLBI{ASID: uint16(c[0] >> 48), VMID: uint16(c[0] >> 32), Addr: c[1] &^ 0xfff, Leaf: c[1]&1 != 0, TTL: uint8(c[1] >> 8 & 3),
		Num: uint8(c[0] >> 12 & 31), Scale: uint8(c[0] >> 20 & 31)}
	if tg := c[1] >> 10 & 3; tg != 0 {
		t.Granule = uint8(tg)*2 + 10
	} else {
		t.Num, t.Scale, t.TTL = 0, 0, 0 // without a granule these fields mean nothing
	}
	return t
}

// Pages returns how many granules the command names.
func (t TLBI) Pages() uint64 { return (uint64(t.Num) + 1) << t.Scale }

// ASIDCommand forgets every stage-1 translation of an ASID.
func ASIDCommand(op Opcode, vmid, asid uint16) Command {
	return Command{uint64(op) | uint64(vmid)<<32 | uint64(asid)<<48, 0}
}

// AllCommand forgets all of a kind: TLBI_NSNH_ALL, TLBI_EL2_ALL, or TLBI_S12_VMALL of a VMID.
func AllCommand(op Opcode, vmid uint16) Command { return Command{uint64(op) | uint64(vmid)<<32, 0} }

// ATCAll is the size that makes an ATC invalidation cover everything.
const ATCAll = 52

// ATCCommand makes a device forget 2^size pages from addr of a substream of its own TLB.
func ATCCommand(sid, ssid uint32, hasSSID bool, addr uint64, size uint8) Command {
	return Command{uint64(AtcInv) | bit(hasSSID, 11) | uint64(ssid&0xfffff)<<12 | uint64(sid)<<32, addr&^0xfff | uint64(size&0x3f)}
}

// ATC returns address and log2 pages of an ATC invalidation.
func (c Command) ATC() (addr uint64, size uint8) { return c[1] &^ 0xfff, uint8(c[1] & 0x3f) }

// Signal is how CMD_SYNC tells that it is complete: CS.
type Signal uint8

// Signals.
const (
	SignalNone Signal = 0
	SignalIRQ  Signal = 1 // with IDR0.MSI a 32-bit write of MSIData to MSIAddress, else a wired interrupt
	SignalSEV  Signal = 2 // an event for CPUs in wfe
)

// SyncCommand completes when every command before it has. With SignalIRQ the unit then writes msiData to msiAddr, unless that is
// 0. Linux lets it write 0 over the first word of the command itself.
func SyncCommand(cs Signal, msiAddr uint64, msiData uint32) Command {
	c := Command{uint64(Sync) | uint64(cs)<<12, 0}
	if cs == SignalIRQ {
		c[0] |= 3<<22 | 0xf<<24 | uint64(msiData)<<32 // inner shareable, write-back
		c[1] = msiAddr & (addrMask &^ 3)
	}
	return c
}

// Sync returns how a CMD_SYNC signals, and where the message goes.
func (c Command) Sync() (cs Signal, msiAddr uint64, msiData uint32) {
	return Signal(c[0] >> 12 & 3), c[1] & (addrMask &^ 3), uint32(c[0] >> 32)
}

// Known reports whether the opcode is one of those above; the unit stops at any other (CERROR_ILL).
func (c Command) Known() bool {
	switch c.Op() {
	case PrefetchConfig, PrefetchAddr, CfgiSTE, CfgiSTERange, CfgiCD, CfgiCDAll, TlbiNHAll, TlbiNHASID, TlbiNHVA, TlbiNHVAA,
		TlbiEL2All, TlbiEL2ASID, TlbiEL2VA, TlbiEL2VAA, TlbiS12VMAll, TlbiS2IPA, TlbiNSNHAll, AtcInv, PriResp, Sync:
		return true
	}
	return false
}
