package amdtable

import "math/bits"

// CommandSize is the size of a command buffer entry in bytes: two 64-bit words, the opcode in bits 63:60 of the first.
const CommandSize = 16

// Opcode is the kind of a command.
type Opcode uint8

// Commands of section 2.4.
const (
	CompletionWait         Opcode = 1
	InvalidateDevtabEntry  Opcode = 2
	InvalidateIOMMUPages   Opcode = 3
	InvalidateIOTLBPages   Opcode = 4
	InvalidateInterruptTab Opcode = 5
	PrefetchIOMMUPages     Opcode = 6
	CompletePPRRequest     Opcode = 7
	InvalidateIOMMUAll     Opcode = 8
	InsertGuestEvent       Opcode = 9
	ResetVMMIO             Opcode = 10
	lastOpcode                    = ResetVMMIO
	opcodeShift                   = 60
	domainShift                   = 32
	cmdS                   uint64 = 1 << 0 // low bits of the second word of an invalidation
	cmdPDE                 uint64 = 1 << 1
	waitStore              uint64 = 1 << 0 // low bits of the first word of COMPLETION_WAIT
	waitInterrupt          uint64 = 1 << 1
	waitFlush              uint64 = 1 << 2
	storeAddressMask       uint64 = 1<<52 - 1<<3
)

func (o Opcode) String() string {
	names := [...]string{"reserved command", "COMPLETION_WAIT", "INVALIDATE_DEVTAB_ENTRY", "INVALIDATE_IOMMU_PAGES", "INVALIDATE_IOTLB_PAGES",
		"INVALIDATE_INTERRUPT_TABLE", "PREFETCH_IOMMU_PAGES", "COMPLETE_PPR_REQUEST", "INVALIDATE_IOMMU_ALL", "INSERT_GUEST_EVENT", "RESET_VMMIO"}
	if o > lastOpcode {
		o = 0
	}
	return names[o]
}

// Command is a decoded command buffer entry. Fields that an opcode does not have are zero.
type Command struct {
	Op        Opcode
	Store     uint64 // CompletionWait: address of the 8 bytes to store, a multiple of 8; 0 stores nothing
	Data      uint64 // CompletionWait: what is stored
	Interrupt bool   // CompletionWait: raise an interrupt
	Flush     bool   // CompletionWait, F: no later command starts before this one has completed
	Device    uint16 // InvalidateDevtabEntry, InvalidateIOTLBPages
	Queue     uint16 // InvalidateIOTLBPages: the device's invalidation queue
	MaxPend   uint8  // InvalidateIOTLBPages: how many invalidations the device takes at a time
	Domain    uint16 // InvalidateIOMMUPages
	PDE       bool   // InvalidateIOMMUPages: drop cached page directory entries too, not only what the leaves gave
	Addr      uint64 // invalidations of pages: first byte of the range
	Shift     uint8  // invalidations of pages: log2 of the range, 12 to 63; 64 is every address
}

// Encode returns the two words of the entry.
func (c Command) Encode() (w [2]uint64) {
	w[0] = uint64(c.Op) << opcodeShift
	switch c.Op {
	case CompletionWait:
		w[0] |= flag(c.Interrupt, 1) | flag(c.Flush, 2)
		if c.Store != 0 {
			w[0] |= c.Store&storeAddressMask | waitStore
			w[1] = c.Data
		}
	case InvalidateDevtabEntry:
		w[0] |= uint64(c.Device)
	case InvalidateIOMMUPages:
		w[0] |= uint64(c.Domain) << domainShift
		w[1] = encodeRange(c.Addr, c.Shift) | flag(c.PDE, 1)
	case InvalidateIOTLBPages:
		w[0] |= uint64(c.Device) | uint64(c.MaxPend)<<24 | uint64(c.Queue)<<domainShift
		w[1] = encodeRange(c.Addr, c.Shift)
	}
	return w
}

// DecodeCommand decodes an entry; illegal says that hardware reports ILLEGAL_COMMAND_ERROR for its opcode.
func DecodeCommand(w [2]uint64) (c Command, illegal bool) {
	c.Op = Opcode(w[0] >> opcodeShift)
	switch c.Op {
	case CompletionWait:
		c.Interrupt, c.Flush = w[0]&waitInterrupt != 0, w[0]&waitFlush != 0
		if w[0]&waitStore != 0 {
			c.Store, c.Data = w[0]&storeAddressMask, w[1]
		}
	case InvalidateDevtabEntry:
		c.Device = uint16(w[0])
	case InvalidateIOMMUPages:
		c.Domain, c.PDE = uint16(w[0]>>domainShift), w[1]&cmdPDE != 0
		c.Addr, c.Shift = decodeRange(w[1])
	case InvalidateIOTLBPages:
		c.Device, c.MaxPend, c.Queue = uint16(w[0]), uint8(w[0]>>24), uint16(w[0]>>domainShift)
		c.Addr, c.Shift = decodeRange(w[1])
	}
	return c, c.Op == 0 || c.Op > lastOpcode
}

// encodeRange encodes an aligned power of two of addresses as bits 63:12 and S: with S set the size is in the low address bits,
// in the code of EncodedShift. Ones in bits 62:12 mean every address.
func encodeRange(addr uint64, shift uint8) uint64 {
	switch {
	case shift <= PageShift:
		return addr &^ (1<<PageShift - 1)
	case shift >= 64:
		return 1<<63 - 1<<PageShift | cmdS
	}
	return addr&^(1<<shift-1) | (1<<(shift-1)-1)&^(1<<PageShift-1) | cmdS
}

func decodeRange(w uint64) (addr uint64, shift uint8) {
	if w&cmdS == 0 {
		return w &^ (1<<PageShift - 1), PageShift
	}
	if shift = EncodedShift(w); shift >= 64 {
		return 0, 64
	}
	return w &^ (1<<shift - 1), shift
}

// Range returns the smallest aligned power of two that covers the bytes first to last inclusive. Where the two differ above bit
// 51 hardware that sign-extends addresses cannot tell which is meant, and everything is.
func Range(first, last uint64) (addr uint64, shift uint8) {
	shift = uint8(bits.Len64(first ^ last))
	switch {
	case shift <= PageShift:
		return first &^ (1<<PageShift - 1), PageShift
	case shift > 52:
		return 0, 64
	}
	return first &^ (1<<shift - 1), shift
}
