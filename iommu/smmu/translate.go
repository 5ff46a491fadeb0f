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
	first, second := (*iommu.Space)(nil), &s.second
	record := s.Record
	switch s.Config {
	case smmutable.ConfigAbort: // aborts without an event
		u.Stats.LookupFaults++
		return 0, t, u.refuse(&r, smmutable.FStreamDisabled, false, t)
	case smmutable.ConfigBypass:
		u.Stats.PassThrough++
		return iova, t, nil
	case smmutable.ConfigS1, smmutable.ConfigNested:
		if s.CDMax > 0 && s.DSS != 2 { // requests without substream are not those of descriptor 0
			if s.DSS == 1 && s.Config == smmutable.ConfigS1 {
				u.Stats.PassThrough++
				return iova, t, nil
			}
			if s.DSS != 1 {
				u.Stats.LookupFaults++
				return 0, t, u.refuse(&r, smmutable.FStreamDisabled, true, t)
			}
			break // bypasses stage 1 only
		}
		c, t2, why := u.context(uint32(rid), s, t)
		if t = t2; why != smmutable.NoEvent {
			u.Stats.LookupFaults++
			if why >= smmutable.FTranslation { // only stage 2 says so of a descriptor
				r.second, r.ipa = true, u.Refused.IPA
			}
			return 0, t, u.refuse(&r, why, true, t)
		}
		first, record = &c.Space, c.Record
	}
	space := first
	if space == nil {
		space = second
	}
	if pa, done, ok := u.Lookup(space, iova, write, t); ok {
		return pa, done, nil
	}
	u.Stats.Walks++
	r.second = first == nil
	if iova>>space.Width != 0 {
		return 0, t, u.refuse(&r, smmutable.FTranslation, record, t)
	}
	pa, t, cause := u.Walk(space, iova, write, now, t)
	if cause == iommu.Translated {
		return pa, t, nil
	}
	if u.Refused.Second {
		r.second, r.ipa, record = true, u.Refused.IPA, s.Record
	}
	return 0, t, u.refuse(&r, u.refusal(first, second), record, t)
}

// request is a refused one on its way into the event queue.
type request struct {
	rid    uint16
	write  bool
	second bool // by stage 2
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
