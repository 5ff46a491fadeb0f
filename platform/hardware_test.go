package platform

import (
	"errors"
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
		// A load from memory whose row is closed takes what the sources say, 60-70 ns (a client with DDR3) and 81 ns (Graviton 2)
		// to 110-125 ns (DDR5).
		if _, miss, _ := caches.RowTimes(); miss < 60*sim.Nanosecond || miss > 125*sim.Nanosecond {
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

// archOf returns the architecture that a dialect's driver is written for.
func archOf(dialect string) string {
	if dialect == "smmuv3" {
		return "arm64"
	}
	return "x86-64"
}

// Every dialect has hardware and a driver, and a device behind it maps on the architecture that the driver is written for.
func TestEveryDialectMaps(t *testing.T) {
	for i := range dialects {
		s := load(t, "neoverse-n1")
		if err := errors.Join(s.Set("iommu.dialect", dialects[i].name), s.Set("kernel.arch", archOf(dialects[i].name))); err != nil {
			t.Fatal(err)
		}
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			m, err := Build(s, Options{Version: v, Backend: IommuStrict, CPUs: 1})
			if err != nil {
				t.Errorf("%s, %v: %v", dialects[i].name, v, err)
				continue
			}
			d, err := m.AddDevice("0000:00:01.0", 8)
			if err != nil {
				t.Fatal(err)
			}
			va, addr, err := d.AllocCoherent(4096)
			if err != nil || addr == 0 || addr == kernel.Phys(va) {
				t.Errorf("%s, %v: mapped to %#x, %v", dialects[i].name, v, addr, err)
			}
			m.Close()
		}
	}
}

// TestWalksThatDoNotSnoop: the drivers of VT-d and SMMUv3 clean their tables then, that of AMD-Vi does not know such hardware.
func TestWalksThatDoNotSnoop(t *testing.T) {
	for name, want := range map[string]bool{"tegra234": true, "sandybridge-e3": true, "genoa": false} {
		s := load(t, name)
		if err := s.Set("iommu.coherent", "off"); err != nil {
			t.Fatal(err)
		}
		if err := s.Fits(kernel.V7_3, IommuStrict); (err == nil) != want {
			t.Errorf("%s behind an IOMMU: %v", name, err)
		}
	}
}
