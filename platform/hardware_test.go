package platform

import (
	"strings"
	"testing"

	"dmapath/cache"
	"dmapath/kernel"
	"dmapath/sim"
)

// TestPresetsMakeHardware: every preset is a configuration that the hardware models accept.
func TestPresetsMakeHardware(t *testing.T) {
	for _, name := range Names() {
		s := load(t, name)
		core := s.coreConfig()
		if err := core.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		clock, err := sim.NewClock(int64(s.CPU.Frequency))
		if err != nil {
			t.Fatal(err)
		}
		caches, err := s.cacheConfig(int(s.CPU.Cores), clock)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := caches.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// A load from memory whose row is closed takes what the sources say, 81 ns (Graviton 2) to 110-125 ns (DDR5).
		if _, miss, _ := caches.RowTimes(); miss < 80*sim.Nanosecond || miss > 125*sim.Nanosecond {
			t.Errorf("%s: a load from memory takes %v", name, miss)
		}
		port := s.pcieConfig()
		if err := port.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every preset's IOMMU section is a configuration that the hardware of every dialect accepts, so that one can stand in for another.
func TestPresetsMakeUnitsOfEveryDialect(t *testing.T) {
	for _, name := range Names() {
		s := load(t, name)
		for i := range dialects {
			d := &dialects[i]
			if d.hardware == nil {
				continue
			}
			m := &Machine{Spec: s, Eng: sim.NewEngine(), Hier: new(cache.Hierarchy), Mem: cache.NewMemory()}
			if u, err := d.hardware(m); err != nil || u.Walkers() != int(s.IOMMU.Walkers) {
				t.Errorf("%s as %s: %v", name, d.name, err)
			}
		}
	}
}

// A dialect whose driver is missing is refused where a driver is needed, and only there.
func TestADialectWithoutADriverIsRefused(t *testing.T) {
	for i := range dialects {
		s := load(t, "genoa")
		if err := s.Set("iommu.dialect", dialects[i].name); err != nil {
			t.Fatal(err)
		}
		for _, b := range []Backend{Direct, IommuStrict} {
			m, err := Build(s, Options{Version: kernel.V7_3, Backend: b, CPUs: 1})
			if m != nil && err == nil {
				m.Close()
			}
			if refused := b != Direct && dialects[i].driver == nil; (err != nil) != refused || refused && !strings.Contains(err.Error(), "iommu.dialect is "+dialects[i].name) {
				t.Errorf("%s on %s: %v", dialects[i].name, b, err)
			}
		}
	}
}
