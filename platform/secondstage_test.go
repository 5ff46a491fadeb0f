package platform

import (
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
)

// In a guest a device reaches what it reaches on the metal, while it is mapped and not after a strict unmap; a miss reads more entries, the
// more the smaller the host's pages, and a hit none.
func TestASecondStageMakesMissesLonger(t *testing.T) {
	reads := map[string]float64{}
	for _, pages := range []string{"off", "1GiB", "2MiB"} {
		s := load(t, "neoverse-n1")
		if err := s.Set("iommu.second_stage", pages); err != nil {
			t.Fatal(err)
		}
		m, err := Build(s, Options{Version: kernel.V7_3, Backend: IommuStrict, CPUs: 1, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.AddDevice("0000:01:00.0", 0x0100)
		if err != nil {
			t.Fatal(err)
		}
		m.Spawn(0, "cpu", func(th *cpu.Thread) {
			defer m.Eng.Stop()
			for round := range uint64(40) {
				phys := 34<<30 + round<<30 // each in a page of the host's of its own
				at, err := d.Cookie.Map(th, d.Ctx.Dev, phys, 4096, kernel.FromDevice, 0)
				th.Sync()
				if err != nil {
					t.Error(err)
					return
				}
				pa, done, err := m.Unit.Translate(d.RID, at, true, th.Now())
				if err != nil || pa != phys {
					t.Errorf("second stage %s: %#x (%v), want %#x", pages, pa, err, phys)
				}
				th.WaitUntil(cpu.StallMem, done)
				before := m.Unit.Statistics().PTEReads
				if _, _, err := m.Unit.Translate(d.RID, at, true, th.Now()); err != nil || m.Unit.Statistics().PTEReads != before {
					t.Errorf("second stage %s: a hit reads tables (%v)", pages, err)
				}
				d.Cookie.Unmap(th, d.Ctx.Dev, at, 4096, kernel.FromDevice, 0)
				th.Sync()
				if _, _, err := m.Unit.Translate(d.RID, at, true, th.Now()); err == nil {
					t.Errorf("second stage %s: reached after the unmap", pages)
				}
			}
		})
		if err := m.Run(); err != nil {
			t.Fatal(err)
		}
		for _, n := range m.Unit.Statistics().PTEReads {
			reads[pages] += float64(n) / 40
		}
		if second := m.Unit.Statistics().SecondWalks; (second == 0) != (pages == "off") {
			t.Errorf("second stage %s: %d second-stage walks", pages, second)
		}
		m.Close()
	}
	if reads["off"]+1 > reads["1GiB"] || reads["1GiB"]+0.4 > reads["2MiB"] {
		t.Errorf("reads of tables per buffer: %v", reads)
	}
}

func TestASecondStageIsAnSMMUs(t *testing.T) {
	s := load(t, Default)
	if err := s.Set("iommu.second_stage", "2MiB"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "iommu.second_stage") {
		t.Errorf("%v", err)
	}
}
