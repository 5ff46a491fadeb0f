package smmu

import (
	"testing"

	"dmapath/iommu/smmutable"
	"dmapath/pcie"
	"dmapath/tlb"
)

// A stream with EATS translates itself, through one stage or both: it walks once for a page, keeps the translation until an ATC
// invalidation, whose CMD_SYNC comes after a round trip over the link; one without may not ask.
func TestADeviceTLBKeepsTranslationsUntilItIsInvalidated(t *testing.T) {
	for _, config := range []smmutable.Config{smmutable.ConfigS1, smmutable.ConfigS2, smmutable.ConfigNested} {
		for _, may := range []bool{true, false} {
			cfg := plain()
			cfg.ATS = true
			m := newMachine(t, cfg, config)
			s := m.stream()
			if may {
				s.EATS = smmutable.EATSTranslate
			}
			m.setStream(rid, s)
			m.write(smmutable.RegCR0, m.read(smmutable.RegCR0)|uint64(smmutable.CR0ATSCHK))
			pc := pcie.DefaultConfig()
			pc.DeviceTLB = tlb.Config{Entries: 64}
			p, err := pcie.NewPort(pc, m.u, m.Fab)
			if err != nil {
				t.Fatal(err)
			}
			m.u.AttachTLB(rid, p)
			m.mapPage(0x1000, 0x5000, smmutable.LastLevel)
			if config == smmutable.ConfigNested {
				m.mapSecond(0x5000, 0x9000)
			}
			access := func() error { _, err := p.Write(rid, 0x1000, 64, m.Eng.Now()); m.Settle(); return err }
			if err := access(); (err == nil) != may {
				t.Errorf("config %d, EATS %v: %v", config, may, err)
			}
			if _, err := m.u.Translated(rid, 0x5000, true, m.Eng.Now()); (reason(err) == smmutable.NoEvent) != may || !may && reason(err) != smmutable.FTranslForbid {
				t.Errorf("config %d, EATS %v, translated request: %v", config, may, err)
			}
			if !may {
				continue
			}
			if access() != nil || m.u.Stats.PageRequests != 1 || m.u.Stats.Walks != 1 {
				t.Errorf("config %d: %d translation requests, %d walks", config, m.u.Stats.PageRequests, m.u.Stats.Walks)
			}
			m.b.Unmap(0x1000)
			all := smmutable.AllCommand(smmutable.TlbiNSNHAll, 0)
			m.invalidate(all)
			if access() != nil {
				t.Errorf("config %d: the device's translation is gone with the unit's", config)
			}
			from := m.Eng.Now()
			want := m.submit(smmutable.ATCCommand(uint32(rid), 0, false, 0x1000, 0))
			m.RunTo(from + 480*ns)
			if m.received() == want {
				t.Errorf("config %d: complete before a round trip over the link", config)
			}
			m.Run()
			if m.received() != want || access() == nil || m.u.Stats.Faults != 0 {
				t.Errorf("config %d: message %d, %d faults, and the device still reaches the page or a request without a page is a fault", config, m.received(), m.u.Stats.Faults)
			}
		}
	}
}
