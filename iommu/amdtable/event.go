package amdtable

// EventSize is the size of an event log entry in bytes: two 64-bit words, the code in bits 63:60 of the first.
const EventSize = 16

// EventCode is the kind of an event.
type EventCode uint8

// Events of section 2.5.
const (
	IllegalDevTableEntry EventCode = 1
	IOPageFault          EventCode = 2
	DevTabHardwareError  EventCode = 3
	PageTabHardwareError EventCode = 4
	IllegalCommandError  EventCode = 5
	CommandHardwareError EventCode = 6
	IOTLBInvTimeout      EventCode = 7
	InvalidDeviceRequest EventCode = 8
	InvalidPPRRequest    EventCode = 9
	EventCounterZero     EventCode = 10
)

func (c EventCode) String() string {
	names := [...]string{"reserved event", "ILLEGAL_DEV_TABLE_ENTRY", "IO_PAGE_FAULT", "DEV_TAB_HARDWARE_ERROR", "PAGE_TAB_HARDWARE_ERROR",
		"ILLEGAL_COMMAND_ERROR", "COMMAND_HARDWARE_ERROR", "IOTLB_INV_TIMEOUT", "INVALID_DEVICE_REQUEST", "INVALID_PPR_REQUEST", "EVENT_COUNTER_ZERO"}
	if int(c) >= len(names) {
		c = 0
	}
	return names[c]
}

// EventFlags are bits 59:48 of the first word of IO_PAGE_FAULT and ILLEGAL_DEV_TABLE_ENTRY.
type EventFlags uint16

// Flags of an event (section 2.5.3).
const (
	FaultI  EventFlags = 1 << 3 // the request was an interrupt
	FaultPR EventFlags = 1 << 4 // the page was marked present
	FaultRW EventFlags = 1 << 5 // the request was a write
	FaultPE EventFlags = 1 << 6 // permission
	FaultRZ EventFlags = 1 << 7 // a reserved bit or an illegal level, not a permission
	FaultTR EventFlags = 1 << 8 // the request was one for a translation (ATS)
)

// Event is a decoded event log entry of a device's request, or of a command (Device and Domain are 0).
type Event struct {
	Code   EventCode
	Device uint16
	Domain uint16
	Flags  EventFlags
	Addr   uint64 // the iova; for command errors the physical address of the command
}

// Encode returns the two words of the entry.
func (e Event) Encode() [2]uint64 {
	return [2]uint64{uint64(e.Device) | uint64(e.Domain)<<domainShift | uint64(e.Flags&0xfff)<<48 | uint64(e.Code)<<opcodeShift, e.Addr}
}

// DecodeEvent decodes an entry.
func DecodeEvent(w [2]uint64) Event {
	return Event{EventCode(w[0] >> opcodeShift), uint16(w[0]), uint16(w[0] >> domainShift), EventFlags(w[0] >> 48 & 0xfff), w[1]}
}
