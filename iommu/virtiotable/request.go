package virtiotable

import "fmt"

// Type is the kind of a request (5.13.6).
type Type uint8

// Requests.
const (
	Attach Type = 1
	Detach Type = 2
	Map    Type = 3
	Unmap  Type = 4
)

// Flags of a mapping, and of an attachment.
const (
	MapRead      = 1
	MapWrite     = 2
	MapMMIO      = 4
	AttachBypass = 1
)

// Status is what the device answers.
type Status uint8

// Answers.
const (
	OK      Status = 0
	IOErr   Status = 1
	Unsupp  Status = 2
	DevErr  Status = 3
	Invalid Status = 4
	Range   Status = 5
	NoEntry Status = 6
)

func (s Status) String() string {
	names := [...]string{"OK", "IOERR", "UNSUPP", "DEVERR", "INVAL", "RANGE", "NOENT"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Request is one request. First and Last are I/O addresses, both inclusive.
type Request struct {
	Type        Type
	Domain      uint32
	Endpoint    uint32 // Attach: requester id
	Flags       uint32 // Attach, Map
	First, Last uint64 // Map, Unmap
	Phys        uint64 // Map
}

// TailBytes is the part of a request that the device writes: the status.
const TailBytes = 4

// Bytes is the size of a request with its tail, a multiple of 8.
func (t Type) Bytes() int {
	switch t {
	case Map:
		return 40
	case Unmap:
		return 32
	}
	return 24
}

// Encode writes the request at pa, a multiple of 8, with a status that no device answers.
func (q *Request) Encode(m Memory, pa uint64) {
	m.Write64(pa, uint64(q.Type)|uint64(q.Domain)<<32)
	switch q.Type {
	case Map:
		m.Write64(pa+8, q.First)
		m.Write64(pa+16, q.Last)
		m.Write64(pa+24, q.Phys)
		m.Write64(pa+32, uint64(q.Flags))
	case Unmap:
		m.Write64(pa+8, q.First)
		m.Write64(pa+16, q.Last)
		m.Write64(pa+24, 0)
	default:
		m.Write64(pa+8, uint64(q.Endpoint)|uint64(q.Flags)<<32)
		m.Write64(pa+16, 0)
	}
	Write32(m, pa+uint64(q.Type.Bytes()-TailBytes), 0xff)
}

// DecodeRequest reads a request at pa; ok is false for a type that is not known.
func DecodeRequest(m Memory, pa uint64) (q Request, ok bool) {
	w := m.Read64(pa)
	q.Type, q.Domain = Type(w), uint32(w>>32)
	switch q.Type {
	case Map:
		q.First, q.Last, q.Phys, q.Flags = m.Read64(pa+8), m.Read64(pa+16), m.Read64(pa+24), uint32(m.Read64(pa+32))
	case Unmap:
		q.First, q.Last = m.Read64(pa+8), m.Read64(pa+16)
	case Attach, Detach:
		w := m.Read64(pa + 8)
		q.Endpoint, q.Flags = uint32(w), uint32(w>>32)
	default:
		return q, false
	}
	return q, true
}

// Answer writes the status of a request of n bytes at pa, and Status reads it.
func Answer(m Memory, pa uint64, n int, s Status) { Write32(m, pa+uint64(n-TailBytes), uint32(s)) }

// StatusOf reads what Answer wrote.
func StatusOf(m Memory, pa uint64, n int) Status { return Status(Read32(m, pa+uint64(n-TailBytes))) }
