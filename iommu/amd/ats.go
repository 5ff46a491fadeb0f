package amd

import (
	"dmapath/iommu/amdtable"
	"dmapath/pcie"
	"dmapath/sim"
)

// mayTranslate finds out how to translate for a device that does so itself, or why it may not.
func (u *Unit) mayTranslate(rid uint16, addr uint64, write bool, now sim.Time) (*device, sim.Time, error) {
	t := now + u.LookupTime
	var d *device
	ok := false
	if u.control&amdtable.ControlIommuEn != 0 {
		d, t, ok = u.bind(rid, t)
	}
	if ok && d.Valid && d.Translation && d.IOTLB {
		return d, t, nil
	}
	u.Stats.LookupFaults++
	return nil, t, u.refuse(amdtable.Event{Code: amdtable.InvalidDeviceRequest, Device: rid, Addr: addr, Flags: amdtable.NoFault.Flags(write)},
		amdtable.InvalidDeviceRequest, t)
}

// TranslatePage is iommu.Unit's: a device that finds no page is told so, without an event.
func (u *Unit) TranslatePage(rid uint16, iova uint64, now sim.Time) (p pcie.Page, done sim.Time, err error) {
	u.Stats.Requests++
	u.Stats.PageRequests++
	d, t, err := u.mayTranslate(rid, iova, false, now)
	switch {
	case err != nil:
		return p, t, err
	case d.Mode == 0:
		u.Stats.PassThrough++
		p = pcie.Page{Addr: iova &^ 0xfff, Shift: amdtable.PageShift, Read: true, Write: true}
	case !amdtable.Covers(iova, d.Mode):
		u.Stats.Walks++
		return p, t, nil
	default:
		p, t = u.Page(&d.Space, iova, now, t)
	}
	p.Read, p.Write = p.Read && d.Rights&amdtable.Read != 0, p.Write && d.Rights&amdtable.Write != 0
	return p, t, nil
}

// Translated is iommu.Unit's.
func (u *Unit) Translated(rid uint16, pa uint64, write bool, now sim.Time) (done sim.Time, err error) {
	u.Stats.Translated++
	_, t, err := u.mayTranslate(rid, pa, write, now)
	if err != nil {
		u.Stats.LookupFaults-- // not one of the requests that are counted
	}
	return t, err
}
