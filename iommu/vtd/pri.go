package vtd

import (
	"dmapath/iommu"
	"dmapath/iommu/table"
	"dmapath/pcie"
	"dmapath/sim"
)

// Page request descriptor (section 7.4.1.1), 32 bytes of which the second half is private data.
const (
	PageDescBytes        = 32
	pageDescType         = 1
	pageDescRead  uint64 = 1 << 0
	pageDescWrite uint64 = 1 << 1
	pageDescLast  uint64 = 1 << 2
)

// PRS bits.
const (
	PagePending  uint32 = 1 << 0 // PPR: a request is in the queue
	PageOverflow uint32 = 1 << 1 // PRO
)

func (v *Unit) initPages() {
	q := &v.pages
	q.Width, q.Size = PageDescBytes, 4096
	q.Enabled = func() bool { return v.gsts&CmdTE != 0 && q.Base != 0 }
	q.Encode = encodePageDesc
	q.Delay = v.Span(v.cfg.StatusTime)
	q.Init(&v.Core, "page request queue")
}

// encodePageDesc returns the words of a page request without PASID.
func encodePageDesc(r pcie.PageRequest) [4]uint64 {
	w := [4]uint64{pageDescType | uint64(r.RID)<<16, r.Addr&^0xfff | uint64(r.Group&0x1ff)<<3}
	for _, b := range []struct {
		on  bool
		bit uint64
	}{{r.Read, pageDescRead}, {r.Write, pageDescWrite}, {r.Last, pageDescLast}} {
		if b.on {
			w[1] |= b.bit
		}
	}
	return w
}

// DecodePageDesc decodes an entry of the page request queue.
func DecodePageDesc(lo, hi uint64) pcie.PageRequest {
	return pcie.PageRequest{RID: uint16(lo >> 16), Addr: hi &^ 0xfff, Group: uint16(hi >> 3 & 0x1ff), Read: hi&pageDescRead != 0,
		Write: hi&pageDescWrite != 0, Last: hi&pageDescLast != 0}
}

// PageRespDesc answers a group of requester sid (section 6.5.2.11).
func PageRespDesc(sid, group uint16, code pcie.Response) (lo, hi uint64) {
	return DescPageResp | uint64(code)<<12 | uint64(sid)<<16, uint64(group&0x1ff) << 3
}

// AttachPRI is iommu.PageRequests'.
func (v *Unit) AttachPRI(rid uint16, a iommu.Asker) { v.pages.AttachPRI(rid, a) }

// OnPageRequest is iommu.PageRequests'.
func (v *Unit) OnPageRequest(fn func()) { v.pages.OnPageRequest(fn) }

// RequestPage is iommu.PageRequests'. A device whose entry does not let it translate may not ask either.
func (v *Unit) RequestPage(r pcie.PageRequest, at sim.Time) {
	if b, _, why, _ := v.bind(r.RID, at); why != table.NoFault || !b.ats {
		if r.Last {
			v.pages.Respond(r.RID, r.Group, pcie.ResponseFailure, at)
		}
		return
	}
	v.pages.RequestPage(r, at)
}

var _ iommu.PageRequests = (*Unit)(nil)

// pagesStatus is the PRS register.
func (v *Unit) pagesStatus() (s uint32) {
	if v.pages.Pending {
		s |= PagePending
	}
	if v.pages.Overflow {
		s |= PageOverflow
	}
	return s
}

// clearPages clears the bits of PRS that are written as 1. A request that came in since software looked raises a new interrupt.
func (v *Unit) clearPages(val uint32) {
	if val&PagePending != 0 {
		v.pages.Pending = false
	}
	if val&PageOverflow != 0 {
		v.pages.Overflow = false
	}
}
