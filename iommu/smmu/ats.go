package smmu

import (
	"dmapath/iommu"
	"dmapath/iommu/smmutable"
	"dmapath/pcie"
	"dmapath/sim"
)

// mayTranslate returns the stream of a device that translates itself, or why it may not.
func (u *Unit) mayTranslate(r *request, refused smmutable.EventCode, now sim.Time) (*stream, sim.Time, error) {
	t, why := now+u.LookupTime, refused
	var s *stream
	if u.cr0&smmutable.CR0SMMUEN != 0 && u.cfg.ATS {
		if s, t, why = u.stream(uint32(r.rid), t); why == smmutable.NoEvent && s.EATS != smmutable.EATSTranslate {
			why = refused
		}
	}
	if why != smmutable.NoEvent {
		return nil, t, u.refuse(r, why, true, t)
	}
	return s, t, nil
}

// TranslatePage is iommu.Unit's: a device that finds no page is told so, without an event.
func (u *Unit) TranslatePage(rid uint16, iova uint64, now sim.Time) (p pcie.Page, done sim.Time, err error) {
	u.Stats.Requests++
	u.Stats.PageRequests++
	r := request{rid: rid, iova: iova}
	s, t, err := u.mayTranslate(&r, smmutable.FBadATSTreq, now)
	if err != nil {
		u.Stats.LookupFaults++
		return p, t, err
	}
	space, t, why := u.space(&r, s, t)
	switch {
	case why != smmutable.NoEvent:
		u.Stats.LookupFaults++
		return p, t, u.refuse(&r, why, true, t)
	case space == nil:
		u.Stats.PassThrough++
		return pcie.Page{Addr: iova &^ 0xfff, Shift: smmutable.Granule4K, Read: true, Write: true}, t, nil
	case iova>>space.Width != 0:
		u.Stats.Walks++
		return p, t, nil
	}
	p, t = u.Page(space, iova, now, t)
	return p, t, nil
}

// Translated is iommu.Unit's. With CR0.ATSCHK clear nothing is looked up.
func (u *Unit) Translated(rid uint16, pa uint64, write bool, now sim.Time) (done sim.Time, err error) {
	u.Stats.Translated++
	if u.cr0&smmutable.CR0ATSCHK == 0 && u.cfg.ATS {
		return now, nil
	}
	_, t, err := u.mayTranslate(&request{rid: rid, iova: pa, write: write}, smmutable.FTranslForbid, now)
	return t, err
}

// atcRange returns the bytes that an ATC invalidation names.
func atcRange(c smmutable.Command) (first, last uint64) {
	addr, size := c.ATC()
	if size >= smmutable.ATCAll {
		return 0, ^uint64(0)
	}
	first = addr &^ (1<<(smmutable.Granule4K+size) - 1)
	return first, first + 1<<(smmutable.Granule4K+size) - 1
}

var _ pcie.Agent = (iommu.Unit)(nil)
