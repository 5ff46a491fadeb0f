package platform

import (
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// A guest with a virtio-iommu runs above a host with an IOMMU of any dialect, with its driver as the host's. In strict mode a map and an unmap exit
// once each and the device is cut off when the unmap returns; in lazy mode the unmap does not exit, and the next map ends what it
// left open; with pass-through nothing exits and the device reaches memory at its own addresses.
func TestVirtioGuestOnEveryDialect(t *testing.T) {
	for _, preset := range []string{Default, "genoa", "neoverse-n1"} {
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			for _, b := range []Backend{ViommuStrict, ViommuLazy, ViommuPassthrough} {
				m, err := Build(load(t, preset), Options{Version: v, Backend: b, CPUs: 1, Seed: 1})
				if err != nil {
					t.Fatal(err)
				}
				d, err := m.AddDevice("0000:01:00.0", 0x0100)
				if err != nil {
					t.Fatal(err)
				}
				m.Spawn(0, "cpu", func(th *cpu.Thread) {
					defer m.Eng.Stop()
					const size, phys = 4096, 1 << 32
					if b == ViommuPassthrough {
						for _, r := range m.ram {
							for _, at := range []uint64{r.Start, r.End() - 1} {
								if pa, _, err := m.Unit.Translate(d.RID, at, true, th.Now()); err != nil || pa != at {
									t.Errorf("%s %v %s: the device gets %#x at %#x, %v", preset, v, b, pa, at, err)
								}
							}
						}
						return
					}
					var last uint64
					for range 20 {
						exits := m.Host.Exits
						at, err := d.Cookie.Map(th, d.Ctx.Dev, phys, size, kernel.FromDevice, 0)
						th.Sync()
						if err != nil {
							t.Error(err)
							return
						}
						if m.Host.Exits != exits+1 {
							t.Errorf("%s %v %s: %d exits for a map", preset, v, b, m.Host.Exits-exits)
						}
						if pa, _, err := m.Unit.Translate(d.RID, at, true, th.Now()); err != nil || pa != phys {
							t.Errorf("%s %v %s: mapped at %#x, the device gets %#x, %v", preset, v, b, at, pa, err)
						}
						if last != 0 && last != at {
							if _, _, err := m.Unit.Translate(d.RID, last, true, th.Now()); err == nil {
								t.Errorf("%s %v %s: the last buffer is reached after the next map", preset, v, b)
							}
						}
						exits = m.Host.Exits
						d.Cookie.Unmap(th, d.Ctx.Dev, at, size, kernel.FromDevice, 0)
						th.Sync()
						_, _, err = m.Unit.Translate(d.RID, at, true, th.Now())
						if lazy := b == ViommuLazy; (err == nil) != lazy || (m.Host.Exits == exits) != lazy {
							t.Errorf("%s %v %s: after the unmap, which exited %d times, the device gets %v", preset, v, b, m.Host.Exits-exits, err)
						}
						last = at
					}
				})
				if err := m.Run(); err != nil {
					t.Fatal(err)
				}
				if b == ViommuPassthrough && m.Host.Exits != 1 {
					t.Errorf("%s %v: %d exits to attach one device", preset, v, m.Host.Exits)
				}
				if took := m.Eng.Now(); b == ViommuStrict && took < 40*500*sim.Nanosecond {
					t.Errorf("%s %v: 40 exits in %v", preset, v, took)
				}
				m.Close()
			}
		}
	}
}

// A guest of a guest is refused, with the key that makes it one.
func TestVirtioGuestsLimits(t *testing.T) {
	for preset, kv := range map[string][2]string{Default: {"iommu.trapped", "on"}, "neoverse-n1": {"iommu.second_stage", "2MiB"}} {
		s := load(t, preset)
		if err := s.Set(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
		if _, err := Build(s, Options{Version: kernel.V7_3, Backend: ViommuStrict, CPUs: 1}); err == nil || !strings.Contains(err.Error(), kv[0]) {
			t.Errorf("%s with %s: %v", preset, kv[0], err)
		}
	}
}
