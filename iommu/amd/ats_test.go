package amd

import (
	"testing"

	"dmapath/iommu/amdtable"
	"dmapath/pcie"
	"dmapath/tlb"
)

// A device with I in its entry translates itself: it walks once for a page, keeps the translation until INVALIDATE_IOTLB_PAGES, whose
// COMPLETION_WAIT comes after a round trip over the link; one without I may not ask.
func TestADeviceTLBKeepsTranslationsUntilItIsInvalidated(t *testing.T) {
	for _, may := range []bool{true, false} {
		m := newMachine(t, plain(), 4)
		e := m.entry()
		e.IOTLB = may
		m.setDevice(rid, e)
		pc := pcie.DefaultConfig()
		pc.DeviceTLB = tlb.Config{Entries: 64}
		p, err := pcie.NewPort(pc, m.u, m.Fab)
		if err != nil {
			t.Fatal(err)
		}
		m.u.AttachTLB(rid, p)
		m.mapPage(1<<16, 1<<20, 16)
		access := func(iova uint64) error { _, err := p.Write(rid, iova, 64, m.Eng.Now()); m.Settle(); return err }
		if err := access(1 << 16); (err == nil) != may {
			t.Errorf("I is %v: %v", may, err)
		}
		if !may {
			if m.u.Stats.Faults != 1 || m.u.Stats.Walks != 0 {
				t.Errorf("%d faults, %d walks", m.u.Stats.Faults, m.u.Stats.Walks)
			}
			continue
		}
		if access(1<<16|0x5000) != nil || m.u.Stats.PageRequests != 1 || m.u.Stats.Translated != 2 {
			t.Errorf("%d translation requests for one page of 64 KiB, %d translated requests", m.u.Stats.PageRequests, m.u.Stats.Translated)
		}
		m.b.Unmap(1 << 16)
		m.invalidate(pages(1<<16, 16, true))
		if access(1<<16) != nil {
			t.Error("the device's translation is gone with the unit's")
		}
		from := m.Eng.Now()
		want := m.submit(amdtable.Command{Op: amdtable.InvalidateIOTLBPages, Device: rid, Addr: 1<<16 | 0x3000, Shift: 12})
		m.RunTo(from + 480*ns)
		if m.stored() == want {
			t.Error("complete before a round trip over the link")
		}
		m.Run()
		if m.stored() != want || access(1<<16) == nil || m.u.Stats.Faults != 0 {
			t.Errorf("stored %d, %d faults, and the device still reaches the page or a request without a page is a fault", m.stored(), m.u.Stats.Faults)
		}
	}
}
