package smmutable

import "fmt"

// EventCode is the kind of an event record (section 7.3). NoEvent is not a code of the specification.
type EventCode uint8

// Event codes.
const (
	NoEvent         EventCode = 0
	FUUT            EventCode = 0x01
	CBadStreamID    EventCode = 0x02
	FSTEFetch       EventCode = 0x03
	CBadSTE         EventCode = 0x04
	FBadATSTreq     EventCode = 0x05
	FStreamDisabled EventCode = 0x06
	FTranslForbid   EventCode = 0x07
	CBadSubstreamID EventCode = 0x08
	FCDFetch        EventCode = 0x09
	CBadCD          EventCode = 0x0a
	FWalkEAbt       EventCode = 0x0b
	FTranslation    EventCode = 0x10
	FAddrSize       EventCode = 0x11
	FAccess         EventCode = 0x12
	FPermission     EventCode = 0x13
	FTLBConflict    EventCode = 0x20
	FCfgConflict    EventCode = 0x21
	EPageRequest    EventCode = 0x24
)

func (e EventCode) String() string {
	switch e {
	case NoEvent:
		return "no event"
	case FUUT:
		return "F_UUT: unsupported upstream transaction"
	case CBadStreamID:
		return "C_BAD_STREAMID: stream ID beyond the stream table"
	case FSTEFetch:
		return "F_STE_FETCH: stream table entry could not be read"
	case CBadSTE:
		return "C_BAD_STE: stream table entry invalid"
	case FBadATSTreq:
		return "F_BAD_ATS_TREQ: ATS request not allowed"
	case FStreamDisabled:
		return "F_STREAM_DISABLED: transaction without substream on a stream that needs one"
	case FTranslForbid:
		return "F_TRANSL_FORBIDDEN: translated transaction not allowed"
	case CBadSubstreamID:
		return "C_BAD_SUBSTREAMID: substream ID beyond the table"
	case FCDFetch:
		return "F_CD_FETCH: context descriptor could not be read"
	case CBadCD:
		return "C_BAD_CD: context descriptor invalid"
	case FWalkEAbt:
		return "F_WALK_EABT: table could not be read"
	case FTranslation:
		return "F_TRANSLATION: address not mapped"
	case FAddrSize:
		return "F_ADDR_SIZE: output address too wide"
	case FAccess:
		return "F_ACCESS: access flag clear"
	case FPermission:
		return "F_PERMISSION: access not permitted"
	case FTLBConflict:
		return "F_TLB_CONFLICT"
	case FCfgConflict:
		return "F_CFG_CONFLICT"
	case EPageRequest:
		return "E_PAGE_REQUEST"
	}
	return fmt.Sprintf("event %#x", uint8(e))
}

// EventSize is the size of an event record in bytes.
const EventSize = 32

// Event is a record of the event queue with the fields that translation faults have.
type Event struct {
	Code      EventCode
	StreamID  uint32
	Substream uint32
	HasSSID   bool
	Read      bool
	Stage2    bool
	Addr      uint64 // input address
	IPA       uint64 // with Stage2
}

// Encode returns the four words of the record.
func (e Event) Encode() (w [4]uint64) {
	w[0] = uint64(e.Code) | bit(e.HasSSID, 11) | uint64(e.Substream&0xfffff)<<12 | uint64(e.StreamID)<<32
	w[1] = bit(e.Read, 35) | bit(e.Stage2, 39) | 2<<40 // class: the input address itself
	w[2] = e.Addr
	w[3] = e.IPA & (addrMask &^ 0xfff)
	return w
}

// DecodeEvent decodes a record.
func DecodeEvent(w [4]uint64) Event {
	return Event{Code: EventCode(w[0]), StreamID: uint32(w[0] >> 32), Substream: uint32(w[0] >> 12 & 0xfffff), HasSSID: w[0]>>11&1 != 0,
		Read: w[1]>>35&1 != 0, Stage2: w[1]>>39&1 != 0, Addr: w[2], IPA: w[3]}
}
