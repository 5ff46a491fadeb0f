package vtd

import (
	"math/bits"

	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/pcie"
	"dmapath/sim"
)

// mayTranslate finds out how to translate for a device that does so itself, or why it may not.
func (v *Unit) mayTranslate(rid uint16, addr uint64, write bool, now sim.Time) (*binding, sim.Time, error) {
	b, t, why, quiet := (*binding)(nil), now+v.LookupTime, table.RequestBlocked, false
	if v.gsts&CmdTE != 0 {
		if b, t, why, quiet = v.bind(rid, t); why == table.NoFault && !b.ats {
			why, quiet = table.RequestBlocked, b.quiet
		}
	}
	if why != table.NoFault {
		v.Stats.LookupFaults++
		return nil, t, v.refuse(iommu.Fault{Reason: why, Code: uint8(why), RID: rid, IOVA: addr, Write: write, At: t}, !quiet)
	}
	return b, t, nil
}

// TranslatePage is iommu.Unit's: a device that finds no page is told so, without a fault.
func (v *Unit) TranslatePage(rid uint16, iova uint64, now sim.Time) (p pcie.Page, done sim.Time, err error) {
	v.Stats.Requests++
	v.Stats.PageRequests++
	b, t, err := v.mayTranslate(rid, iova, false, now)
	switch {
	case err != nil:
		return p, t, err
	case b.passThrough:
		v.Stats.PassThrough++
		return pcie.Page{Addr: iova &^ 0xfff, Shift: table.PageShift, Read: true, Write: true}, t, nil
	case !v.covers(b, iova):
		v.Stats.Walks++
		return p, t, nil
	}
	p, t = v.Page(&b.Space, iova, now, t)
	return p, t, nil
}

// Translated is iommu.Unit's.
func (v *Unit) Translated(rid uint16, pa uint64, write bool, now sim.Time) (done sim.Time, err error) {
	v.Stats.Translated++
	_, t, err := v.mayTranslate(rid, pa, write, now)
	if err != nil {
		v.Stats.LookupFaults-- // not one of the requests that are counted
	}
	return t, err
}

// deviceRange returns what a device-TLB descriptor names: one page, or with S the power of two that the low ones of the address encode.
func deviceRange(hi uint64) (first, last uint64) {
	first = hi &^ 0xfff
	size := uint64(1) << table.PageShift
	if hi&deviceSize != 0 {
		size <<= bits.TrailingZeros64(^(hi >> table.PageShift)) + 1 // 0 when every address is meant
	}
	first &^= size - 1
	return first, first + size - 1
}

// deviceSize is S of a device-TLB descriptor.
const deviceSize = 1

// DeviceTLBDesc makes the device with requester id sid forget 2^mask pages around addr (section 6.5.2.5).
func DeviceTLBDesc(sid uint16, addr uint64, mask uint8) (lo, hi uint64) {
	lo, hi = DescDeviceTLB|uint64(sid)<<32, addr&^0xfff
	if mask > 0 {
		hi = hi&^(1<<(table.PageShift+mask)-1) | (1<<(table.PageShift+mask-1)-1)&^0xfff | deviceSize
	}
	return lo, hi
}
