package table

import "fmt"

// Reason is a fault reason code as recorded in FRCD.FR (section 7.1.3 and appendix; legacy codes below 0x20, scalable
// mode from 0x30). NoFault is not a code of the specification.
type Reason uint8

// Fault reasons: of legacy mode, then of scalable mode.
const (
	NoFault Reason = 0

	RootNotPresent    Reason = 0x1
	ContextNotPresent Reason = 0x2
	ContextInvalid    Reason = 0x3 // address width or translation type not supported
	BeyondWidth       Reason = 0x4 // address beyond the width of the table or of the unit (MGAW)
	NoWrite           Reason = 0x5
	NoRead            Reason = 0x6
	RootReserved      Reason = 0xa
	ContextReserved   Reason = 0xb
	PagingReserved    Reason = 0xc
	RequestBlocked    Reason = 0xd // translation request, or translated request, of a device that may not
	InterruptAddr     Reason = 0xe // translates to 0xfeexxxxx

	TTMInvalid          Reason = 0x30 // RTADDR.TTM says abort or an unsupported mode
	SMRootNotPresent    Reason = 0x39
	SMRootReserved      Reason = 0x3a
	SMContextNotPresent Reason = 0x41
	SMContextReserved   Reason = 0x42
	SMContextInvalid    Reason = 0x43
	PASIDTooLarge       Reason = 0x46
	PASIDDirNotPresent  Reason = 0x51
	PASIDDirReserved    Reason = 0x52
	PASIDNotPresent     Reason = 0x59
	PASIDReserved       Reason = 0x5a
	PASIDInvalid        Reason = 0x5b // translation type, width or levels not supported
	FSNotPresent        Reason = 0x71
	FSReserved          Reason = 0x72
	SSNotPresent        Reason = 0x79
	SSReserved          Reason = 0x7a
	FSNotCanonical      Reason = 0x80
	FSPrivilege         Reason = 0x81 // user bit clear for a request with user privilege
	SMBeyondWidth       Reason = 0x84
	SMNoWrite           Reason = 0x85
	SMNoRead            Reason = 0x86
	SMInterruptAddr     Reason = 0x87
)

var reasonText = map[Reason]string{
	NoFault: "no fault", RootNotPresent: "root entry not present", ContextNotPresent: "context entry not present",
	ContextInvalid: "context entry invalid", BeyondWidth: "address beyond the width of the table", NoWrite: "no write permission", NoRead: "no read permission",
	RootReserved: "reserved bit set in root entry", ContextReserved: "reserved bit set in context entry", PagingReserved: "reserved bit set in paging entry",
	RequestBlocked: "translation or translated request blocked", InterruptAddr: "address in the interrupt range", TTMInvalid: "translation table mode not supported", SMRootNotPresent: "scalable root entry not present",
	SMRootReserved: "reserved bit set in scalable root entry", SMContextNotPresent: "scalable context entry not present",
	SMContextReserved: "reserved bit set in scalable context entry", SMContextInvalid: "scalable context entry invalid",
	PASIDTooLarge: "PASID beyond the directory", PASIDDirNotPresent: "PASID directory entry not present", PASIDDirReserved: "reserved bit set in PASID directory entry",
	PASIDNotPresent: "PASID entry not present", PASIDReserved: "reserved bit set in PASID entry", PASIDInvalid: "PASID entry invalid",
	FSNotPresent: "first-stage entry not present", FSReserved: "reserved bit set in first-stage entry", SSNotPresent: "second-stage entry not present",
	SSReserved: "reserved bit set in second-stage entry", FSNotCanonical: "address not canonical", FSPrivilege: "user access to supervisor page",
	SMBeyondWidth: "address beyond the width of the second stage", SMNoWrite: "no write permission", SMNoRead: "no read permission",
	SMInterruptAddr: "address in the interrupt range",
}

func (r Reason) String() string {
	if s, ok := reasonText[r]; ok {
		return s
	}
	return fmt.Sprintf("reason %#x", uint8(r))
}

// absent, reserved, beyond and denied return the code of a paging fault under these rules. In legacy mode a missing
// entry is a missing permission: the specification has no code of its own for it.
func (r *Rules) absent(write bool) Reason {
	switch {
	case r.Format == FirstStage:
		return FSNotPresent
	case r.Scalable:
		return SSNotPresent
	}
	return r.denied(write)
}

func (r *Rules) reserved() Reason {
	switch {
	case r.Format == FirstStage:
		return FSReserved
	case r.Scalable:
		return SSReserved
	}
	return PagingReserved
}

// Beyond returns the reason for an address that Covers refuses.
func (r *Rules) Beyond() Reason {
	switch {
	case r.Format == FirstStage:
		return FSNotCanonical
	case r.Scalable:
		return SMBeyondWidth
	}
	return BeyondWidth
}

func (r *Rules) denied(write bool) Reason {
	switch {
	case r.Scalable && write:
		return SMNoWrite
	case r.Scalable:
		return SMNoRead
	case write:
		return NoWrite
	}
	return NoRead
}

// EntryFault returns the reason for meeting an entry of kind k, NoFault for a table or leaf.
func (r *Rules) EntryFault(k Kind, write bool) Reason {
	switch k {
	case Absent:
		return r.absent(write)
	case Reserved:
		return r.reserved()
	}
	return NoFault
}

// RightsFault returns the reason for a request that needs more than rights, NoFault if they suffice.
func (r *Rules) RightsFault(rights Rights, write bool) Reason {
	switch {
	case rights&User == 0:
		return FSPrivilege
	case write && rights&Write == 0, !write && rights&Read == 0:
		return r.denied(write)
	}
	return NoFault
}
