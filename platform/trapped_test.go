package platform

import (
	"fmt"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// trappedQueue builds a guest with a virtual SMMU, its queue trapped or one of the hardware's.
func trappedQueue(t *testing.T, v kernel.Version, trapped string, b Backend, cpus int) (*Machine, *Device) {
	t.Helper()
	s := load(t, "neoverse-n1")
	for _, kv := range [][2]string{{"iommu.second_stage", "2MiB"}, {"iommu.trapped", trapped}, {"iommu.sync_message", "off"}} {
		if err := s.Set(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Build(s, Options{Version: v, Backend: b, CPUs: cpus, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	return m, d
}

// A map of a guest whose command queue is trapped does not exit; a strict unmap exits to submit and once to see that it is done, and the
// device, which the hardware translates through the guest's own tables, is cut off when it returns. Lazily nothing exits.
func TestATrappedQueueExitsForUnmaps(t *testing.T) {
	for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
		for _, b := range []Backend{IommuStrict, IommuLazy} {
			m, d := trappedQueue(t, v, "on", b, 1)
			m.Spawn(0, "cpu", func(th *cpu.Thread) {
				defer m.Eng.Stop()
				for round := range uint64(20) {
					phys := uint64(33<<30) + round<<16
					exits := m.Host.Exits
					at, err := d.Cookie.Map(th, d.Ctx.Dev, phys, 16384, kernel.FromDevice, 0)
					th.Sync()
					if err != nil {
						t.Error(err)
						return
					}
					if m.Host.Exits != exits {
						t.Errorf("%v %s: a map exits %d times", v, b, m.Host.Exits-exits)
					}
					if pa, _, err := m.Unit.Translate(d.RID, at+4096, true, th.Now()); err != nil || pa != phys+4096 {
						t.Errorf("%v %s: the device gets %#x, %v, want %#x", v, b, pa, err, phys+4096)
					}
					d.Cookie.Unmap(th, d.Ctx.Dev, at, 16384, kernel.FromDevice, 0)
					th.Sync()
					want := map[Backend]uint64{IommuStrict: 2, IommuLazy: 0}[b]
					if got := m.Host.Exits - exits; got != want {
						t.Errorf("%v %s: an unmap exits %d times, want %d", v, b, got, want)
					}
					if _, _, err := m.Unit.Translate(d.RID, at+4096, true, th.Now()); (err == nil) != (b == IommuLazy) {
						t.Errorf("%v %s: after the unmap the device gets %v", v, b, err)
					}
				}
			})
			if err := m.Run(); err != nil {
				t.Fatal(err)
			}
			if m.Unit.Statistics().SecondWalks == 0 {
				t.Errorf("%v %s: the host's stage is not walked", v, b)
			}
			m.Close()
		}
	}
}

// Several CPUs that unmap at once wait for each other's exits: two take nearly twice as long each, and what they see in the end is right;
// with a queue of the hardware's own nothing exits, and they hardly wait.
func TestTrapsTakeTurns(t *testing.T) {
	mean := func(trapped string, cpus int) sim.Time {
		m, d := trappedQueue(t, kernel.V6_12, trapped, IommuStrict, cpus)
		defer m.Close()
		var spent sim.Time
		left := cpus
		const rounds = 30
		for c := range cpus {
			m.Spawn(c, fmt.Sprintf("cpu %d", c), func(th *cpu.Thread) {
				for round := range uint64(rounds) {
					phys := uint64(33+c)<<30 + round<<16
					at, err := d.Cookie.Map(th, d.Ctx.Dev, phys, 4096, kernel.FromDevice, 0)
					th.Sync()
					if err != nil {
						t.Error(err)
					}
					if pa, _, err := m.Unit.Translate(d.RID, at, true, th.Now()); err != nil || pa != phys {
						t.Errorf("cpu %d: the device gets %#x, %v", c, pa, err)
					}
					start := th.Now()
					d.Cookie.Unmap(th, d.Ctx.Dev, at, 4096, kernel.FromDevice, 0)
					th.Sync()
					spent += th.Now() - start
					if _, _, err := m.Unit.Translate(d.RID, at, true, th.Now()); err == nil {
						t.Errorf("cpu %d: %#x is reached after its unmap", c, at)
					}
				}
				if left--; left == 0 {
					m.Eng.Stop()
				}
			})
		}
		if err := m.Run(); err != nil {
			t.Fatal(err)
		}
		if (m.Host != nil) != (trapped == "on") {
			t.Errorf("trapped %s: a host is there: %v", trapped, m.Host != nil)
		}
		return spent / sim.Time(cpus*rounds)
	}
	one, two, direct := mean("on", 1), mean("on", 2), mean("off", 1)
	if two < one*17/10 || one < 2*direct {
		t.Errorf("an unmap takes %v trapped, %v with two CPUs, %v with a queue of the hardware's", one, two, direct)
	}
}

// A trapped queue needs the host's pages below the guest's.
func TestATrappedQueueIsNested(t *testing.T) {
	s := load(t, "neoverse-n1")
	if err := s.Set("iommu.trapped", "on"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "iommu.second_stage is off") {
		t.Errorf("%v", err)
	}
}
