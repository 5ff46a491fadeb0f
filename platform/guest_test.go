package platform

import (
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// guest builds a machine whose kernel is a guest, or runs on the metal.
func guest(t *testing.T, trapped string, b Backend) (*Machine, *Device) {
	t.Helper()
	s := load(t, Default)
	if err := s.Set("iommu.trapped", trapped); err != nil {
		t.Fatal(err)
	}
	m, err := Build(s, Options{Version: kernel.V7_3, Backend: b, CPUs: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	return m, d
}

// A guest's map and unmap leave it once each, cost what the host executes and waits for on top, and the device is translated by
// the real unit while the buffer is mapped and not afterwards, whether lazy mode was asked for or not.
func TestGuestExitsForEveryCall(t *testing.T) {
	cost := map[string][2]sim.Time{}
	for _, trapped := range []string{"off", "on"} {
		for _, b := range []Backend{IommuStrict, IommuLazy} {
			m, d := guest(t, trapped, b)
			m.Spawn(0, "cpu", func(th *cpu.Thread) {
				const size, phys = 4096, 1 << 32
				for range 20 { // warm
					var exits, maps uint64
					if m.Host != nil {
						exits, maps = m.Host.Exits, m.Host.Maps
					}
					start := th.Now()
					at, err := d.Cookie.Map(th, d.Ctx.Dev, phys, size, kernel.FromDevice, 0)
					th.Sync()
					if err != nil {
						t.Error(err)
						return
					}
					mapped := th.Now()
					if pa, _, err := m.Unit.Translate(d.RID, at, true, mapped); err != nil || pa != phys {
						t.Errorf("trapped %s, %s: mapped at %#x, the device gets %#x, %v", trapped, b, at, pa, err)
					}
					d.Cookie.Unmap(th, d.Ctx.Dev, at, size, kernel.FromDevice, 0)
					th.Sync()
					_, _, err = m.Unit.Translate(d.RID, at, true, th.Now())
					if reached := err == nil; reached != (b == IommuLazy && trapped == "off") {
						t.Errorf("trapped %s, %s: reached after the unmap: %v", trapped, b, reached)
					}
					if m.Host != nil && (m.Host.Exits != exits+2 || m.Host.Maps != maps+1) {
						t.Errorf("%s: %d exits and %d maps for a pair of calls", b, m.Host.Exits-exits, m.Host.Maps-maps)
					}
					cost[trapped+string(b)] = [2]sim.Time{mapped - start, th.Now() - mapped}
				}
				m.Eng.Stop()
			})
			if err := m.Run(); err != nil {
				t.Fatal(err)
			}
			m.Close()
		}
	}
	for _, b := range []Backend{IommuStrict, IommuLazy} {
		native, virtual := cost["off"+string(b)], cost["on"+string(b)]
		for i := range 2 {
			if virtual[i]-native[i] < 500*sim.Nanosecond {
				t.Errorf("%s, call %d: %v on the metal, %v in a guest: an exit is 500 ns of hardware alone", b, i, native[i], virtual[i])
			}
		}
	}
}

// What a guest cannot have is refused with the reason.
func TestGuestsLimits(t *testing.T) {
	s := load(t, "genoa")
	if err := s.Set("iommu.trapped", "on"); err == nil {
		err = s.Check()
		if err == nil || !strings.Contains(err.Error(), "emulated unit is a vt-d one") {
			t.Errorf("trapped amd-vi: %v", err)
		}
	}
	s = load(t, Default)
	if err := s.Set("iommu.trapped", "on"); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(s, Options{Version: kernel.V7_3, Backend: IommuPassthrough, CPUs: 1}); err == nil {
		t.Error("a pass-through domain of a guest is not refused")
	}
}
