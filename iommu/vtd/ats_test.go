package vtd

import (
	"testing"

	"dmapath/iommu/table"
	"dmapath/pcie"
	"dmapath/sim"
	"dmapath/tlb"
)

// atsRig is a unit and a device with a TLB behind a root port.
func atsRig(t *testing.T) (*rig, *pcie.Port) {
	t.Helper()
	cfg := plain()
	cfg.DeviceTLBs = true
	r := newRig(t, cfg, 4)
	r.setContext(rid, table.Context{Present: true, Type: table.TTDeviceTLB, Root: r.b.Root, Levels: 4, Domain: domain})
	pc := pcie.DefaultConfig()
	pc.DeviceTLB = tlb.Config{Entries: 64}
	p, err := pcie.NewPort(pc, r.v, r.fab)
	if err != nil {
		t.Fatal(err)
	}
	r.v.AttachTLB(rid, p)
	r.v.Drain(p)
	return r, p
}

// A device that translates itself walks once for a page, however often it accesses it, and reaches an unmapped page until its own TLB
// has been invalidated: forgetting in the unit alone does not help.
func TestADeviceTLBKeepsTranslationsUntilItIsInvalidated(t *testing.T) {
	r, p := atsRig(t)
	r.mapPage(0x1000, 0x5000, 12)
	write := func() error { _, err := p.Write(rid, 0x1000, 64, r.eng.Now()); return err }
	for range 3 {
		if err := write(); err != nil {
			t.Fatal(err)
		}
		r.settle()
	}
	if s := &r.v.Stats; s.Walks != 1 || s.PageRequests != 1 || s.Requests != 1 || s.Translated != 3 {
		t.Errorf("%d walks for %d of %d requests, %d translated ones", s.Walks, s.PageRequests, s.Requests, s.Translated)
	}
	r.b.Unmap(0x1000)
	r.invalidate(pages(0x1000, 0, true))
	if err := write(); err != nil {
		t.Errorf("the device's own translation is gone with the unit's: %v", err)
	}
	r.settle()
	start := r.eng.Now()
	want := r.submit(d(DeviceTLBDesc(rid, 0x1000, 0)))
	r.runTo(start + 480*ns)
	if r.status() == want {
		t.Error("an invalidation of the device's TLB is complete before a round trip over the link")
	}
	r.run()
	if r.status() != want || r.v.Stats.DeviceInvs != 1 || r.v.Stats.DeviceInvTime < 300*ns {
		t.Errorf("status %d, %d invalidations in %v", r.status(), r.v.Stats.DeviceInvs, r.v.Stats.DeviceInvTime)
	}
	if err := write(); err == nil {
		t.Error("the device reaches an unmapped page after its TLB was invalidated")
	}
	if r.v.Stats.Faults != 0 {
		t.Error("a translation request without a page is a fault")
	}
}

func TestDeviceTLBDescriptorsNameARange(t *testing.T) {
	for _, c := range []struct {
		addr        uint64
		mask        uint8
		first, last uint64 // pages that go
	}{{0x20000, 0, 0x20, 0x20}, {0x24000, 3, 0x20, 0x27}, {0x21000, 1, 0x20, 0x21}, {0, 52, 0, 0x3f}} {
		r, p := atsRig(t)
		ask := func(page uint64) bool { // whether the device has to ask
			n := r.v.Stats.PageRequests
			if _, err := p.Read(rid, page<<12, 64, r.eng.Now()); err != nil {
				t.Fatal(err)
			}
			r.settle()
			return r.v.Stats.PageRequests > n
		}
		for page := range uint64(64) {
			r.mapPage(page<<12, page<<12|1<<40, 12)
			ask(page)
		}
		r.invalidate(d(DeviceTLBDesc(rid, c.addr, c.mask)))
		for page := range uint64(64) {
			if gone := ask(page); gone != (page >= c.first && page <= c.last) {
				t.Errorf("addr %#x mask %d: page %#x gone is %v", c.addr, c.mask, page, gone)
			}
		}
	}
}

func TestOnlyDevicesThatMayTranslateDo(t *testing.T) {
	for _, typ := range []uint8{table.TTMultiLevel, table.TTPassThrough} {
		r, p := atsRig(t)
		r.mapPage(0x1000, 0x5000, 12)
		r.setContext(rid, table.Context{Present: true, Type: typ, Root: r.b.Root, Levels: 4, Domain: domain})
		if _, err := p.Write(rid, 0x1000, 64, 0); reason(err) != table.RequestBlocked {
			t.Errorf("translation type %d, translation request: %v", typ, err)
		}
		if _, err := r.v.Translated(rid, 0x5000, true, 0); reason(err) != table.RequestBlocked {
			t.Errorf("translation type %d, translated request: %v", typ, err)
		}
	}
}

// A page that only may be written is answered so, and a superpage with its size.
func TestPagesAreAnsweredWithSizeAndRights(t *testing.T) {
	r, _ := atsRig(t)
	r.b.Map(0x1000, 0x5000, 12, table.Write)
	r.mapPage(2<<21, 3<<21, 21)
	for range 2 { // by a walk, and from the IOTLB
		for _, c := range []struct {
			iova uint64
			want pcie.Page
		}{{0x1234, pcie.Page{Addr: 0x5000, Shift: 12, Write: true}}, {2<<21 | 0x12345, pcie.Page{Addr: 3 << 21, Shift: 21, Read: true, Write: true}}, {0x9000, pcie.Page{}}, {1 << 48, pcie.Page{}}} {
			if got, _, err := r.v.TranslatePage(rid, c.iova, r.eng.Now()); got != c.want || err != nil {
				t.Errorf("%#x: %+v (%v), want %+v", c.iova, got, err, c.want)
			}
		}
		r.settle()
	}
}

// No access of a device with a TLB reaches what was unmapped before an invalidation of both TLBs that is complete, in any order of events.
func TestNoStaleAccessAfterBothInvalidations(t *testing.T) {
	stale := 0
	for seed := range uint64(6) {
		rng := sim.NewRand(seed, "ats")
		r, p := atsRig(t)
		var cur, seq [16]uint64 // page frame and status to wait for, 0: none
		next := uint64(1) << 32
		for i := range 3000 {
			r.runTo(r.eng.Now() + sim.Time(rng.IntN(400))*ns)
			s := rng.IntN(len(cur))
			iova := uint64(s) << 12
			done := seq[s] == 0 || int32(r.status()-uint32(seq[s])) >= 0
			switch rng.IntN(4) {
			case 0:
				if cur[s] == 0 && done {
					cur[s], seq[s] = next, 0
					r.mapPage(iova, next, 12)
					next += 4096
				}
			case 1:
				if cur[s] != 0 {
					r.b.Unmap(iova)
					cur[s] = 0
					seq[s] = uint64(r.submit(pages(iova, 0, true), d(DeviceTLBDesc(rid, iova, 0))))
				}
			default:
				_, err := p.Read(rid, iova, 8, r.eng.Now())
				switch {
				case cur[s] != 0 && err != nil:
					t.Fatalf("seed %d step %d: page %d is mapped: %v", seed, i, s, err)
				case cur[s] == 0 && err == nil && done:
					t.Fatalf("seed %d step %d: page %d is reached although it is unmapped and both TLBs were invalidated", seed, i, s)
				case cur[s] == 0 && err == nil:
					stale++
				}
			}
		}
	}
	if stale == 0 {
		t.Error("no stale access was ever seen before its invalidation: the test shows nothing")
	}
}
