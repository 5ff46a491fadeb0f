package smmu

import (
	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/sim"
)

// Translate is iommu.Unit's. The stream is the requester id.
func (u *Unit) Translate(rid uint16, iova uint64, write bool, now sim.Time) (pa uint64, done sim.Time, err error) {
	u.Stats.Requests++
	if u.cr0&smmutable.CR0SMMUEN == 0 {
		u.Stats.Untranslated++
		return iova, now, nil
	}
	r := request{rid: rid, iova: iova, write: write}
	s, t, why := u.stream(uint32(rid), now+u.LookupTime)
	if why != smmutable.NoEvent {
		u.Stats.LookupFaults++
		return 0, t, u.refuse(&r, why, true, t)
	}
	space, t, why := u.space(&r, s, t)
	switch {
	case why != smmutable.NoEvent:
		u.Stats.LookupFaults++
		return 0, t, u.refuse(&r, why, s.Config != smmutable.ConfigAbort, t) // a stream that aborts does so without an event
	case space == nil:
		u.Stats.PassThrough++
		return iova, t, nil
	}
	if pa, done, ok := u.Lookup(space, iova, iommu.Need(write), t); ok {
		return pa, done, nil
	}
	u.Stats.Walks++
	r.second = space == &s.second
	record := r.record
	if iova>>space.Width != 0 {
		return 0, t, u.refuse(&r, smmutable.FTranslation, record, t)
	}
	pa, t, cause := u.Walk(space, iova, iommu.Need(write), now, t)
	if cause == iommu.Translated {
		return pa, t, nil
	}
	if u.Refused.Second {
		r.second, r.ipa, record = true, u.Refused.IPA, s.Record
	}
	return 0, t, u.refuse(&r, u.refusal(space, &s.second), record, t)
}

// space returns the table that requests of a stream see first, nil where their addresses pass, or why they are refused.
func (u *Unit) space(r *request, s *stream, t sim.Time) (*iommu.Space, sim.Time, smmutable.EventCode) {
	r.record = s.Record
	switch {
	case s.Config == smmutable.ConfigAbort:
		return nil, t, smmutable.FStreamDisabled
	case s.Config == smmutable.ConfigBypass:
		return nil, t, smmutable.NoEvent
	case s.Config == smmutable.ConfigS2:
		return &s.second, t, smmutable.NoEvent
	case s.CDMax > 0 && s.DSS == 1: // requests without substream bypass stage 1
		if s.Config == smmutable.ConfigS1 {
			return nil, t, smmutable.NoEvent
		}
		return &s.second, t, smmutable.NoEvent
	case s.CDMax > 0 && s.DSS != 2:
		return nil, t, smmutable.FStreamDisabled
	}
	c, t, why := u.context(uint32(r.rid), s, t)
	if why != smmutable.NoEvent {
		if why >= smmutable.FTranslation { // only stage 2 says so of a descriptor
			r.second, r.ipa = true, u.Refused.IPA
		}
		return nil, t, why
	}
	r.record = c.Record
	return &c.Space, t, smmutable.NoEvent
}

// request is one that may be refused, and then goes into the event queue.
type request struct {
	rid    uint16
	write  bool
	second bool // by stage 2
	record bool // faults of the table go into the event queue
	iova   uint64
	ipa    uint64
}

// refuse counts, records and returns a fault.
func (u *Unit) refuse(r *request, why smmutable.EventCode, record bool, t sim.Time) error {
	u.Stats.Faults++
	if record {
		u.record(smmutable.Event{Code: why, StreamID: uint32(r.rid), Read: !r.write, Stage2: r.second, Addr: r.iova, IPA: r.ipa}, t)
	}
	return &iommu.Fault{Reason: why, Code: uint8(why), RID: r.rid, IOVA: r.iova, Write: r.write, At: t}
}

// Probe is iommu.Unit's.
func (u *Unit) Probe(rid uint16, iova uint64) (pa uint64, ok bool) {
	s, ok := u.streams.Probe(uint64(rid))
	if !ok {
		return 0, false
	}
	switch s.Config {
	case smmutable.ConfigBypass:
		return iova, true
	case smmutable.ConfigS2:
		return u.ProbeSpace(&s.second, iova)
	case smmutable.ConfigS1, smmutable.ConfigNested:
		if c, ok := u.contexts.Probe(uint64(rid)); ok {
			return u.ProbeSpace(&c.Space, iova)
		}
	}
	return 0, false
}
