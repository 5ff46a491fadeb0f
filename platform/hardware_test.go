package platform

import (
	"testing"

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
