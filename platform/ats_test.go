package platform

import (
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/sim"
)

// withTLB builds a machine of a preset whose device translates itself when entries is not "0".
func withTLB(t *testing.T, preset string, v kernel.Version, b Backend, entries string) (*Machine, *Device) {
	t.Helper()
	s := load(t, preset)
	for key, value := range map[string]string{"pcie.device_tlb.entries": entries, "pcie.device_tlb.ways": entries} {
		if err := s.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Build(s, Options{Version: v, Backend: b, CPUs: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	return m, d
}

// A device with a TLB reaches a buffer while it is mapped and not after a strict unmap, though its TLB has the translation; the unmap
// takes longer than without, by about a round trip over the link. In lazy mode it reaches it until the flush. Whole buffers of several
// pages that are not aligned to their size are invalidated as well.
func TestStrictUnmapInvalidatesTheDevicesTLB(t *testing.T) {
	for _, preset := range []string{"icelake-sp", "genoa", "neoverse-n1"} { // VT-d, AMD-Vi, SMMUv3
		for _, v := range []kernel.Version{kernel.V6_12, kernel.V7_3} {
			strict := unmapsWithTLB(t, preset, v, IommuStrict, "64")
			// A round trip over the link; AMD's driver looks once in a microsecond whether the hardware is done, so that what takes less may
			// not show.
			least := 50 * sim.Nanosecond
			if preset == "genoa" {
				least = -100 * sim.Nanosecond
			}
			if more := strict - unmapsWithTLB(t, preset, v, IommuStrict, "0"); more < least || more > 2500*sim.Nanosecond {
				t.Errorf("%s, %v: an unmap takes %v longer with a device TLB", preset, v, more)
			}
			unmapsWithTLB(t, preset, v, IommuLazy, "64")
		}
	}
}

// unmapsWithTLB maps, uses and unmaps 30 buffers and returns how long an unmap of one page takes.
func unmapsWithTLB(t *testing.T, preset string, v kernel.Version, b Backend, entries string) (mean sim.Time) {
	m, d := withTLB(t, preset, v, b, entries)
	defer m.Close()
	n := 0
	m.Spawn(0, "cpu", func(th *cpu.Thread) {
		defer m.Eng.Stop()
		for round := range 30 {
			size := uint64(4096)
			if round%3 == 0 {
				size = 5 * 4096
			}
			at, err := d.Cookie.Map(th, d.Ctx.Dev, 1<<32, size, kernel.FromDevice, 0)
			th.Sync()
			if err != nil {
				t.Error(err)
				return
			}
			last := at + size - 64
			done, err := d.Port.Write(d.RID, last, 64, th.Now())
			if err != nil {
				t.Errorf("%s, %v %s: %v", preset, v, b, err)
			}
			th.WaitUntil(cpu.StallMem, done)
			start := th.Now()
			d.Cookie.Unmap(th, d.Ctx.Dev, at, size, kernel.FromDevice, 0)
			th.Sync()
			if size == 4096 && round > 10 {
				mean += th.Now() - start
				n++
			}
			_, err = d.Port.Write(d.RID, last, 64, th.Now())
			if reached := err == nil; reached != (b == IommuLazy) {
				t.Errorf("%s, %v %s, TLB of %s, %d bytes: reached after the unmap is %v", preset, v, b, entries, size, reached)
			}
		}
	})
	if err := m.Run(); err != nil {
		t.Fatal(err)
	}
	if s := m.Unit.Statistics(); entries != "0" && b == IommuStrict && (s.DeviceInvs < 30 || s.PageRequests == 0 || s.Translated == 0) {
		t.Errorf("%s, %v: %d device-TLB invalidations, %d translation requests, %d translated requests", preset, v, s.DeviceInvs, s.PageRequests, s.Translated)
	}
	return mean / sim.Time(n)
}

// Where no driver invalidates the device's TLB, as in a guest with an emulated unit, a device cannot have one; without translation it does
// without.
func TestADeviceTLBNeedsADriverThatKnowsIt(t *testing.T) {
	s := load(t, Default)
	for key, value := range map[string]string{"iommu.trapped": "on", "pcie.device_tlb.entries": "64", "pcie.device_tlb.ways": "4"} {
		if err := s.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Build(s, Options{Version: kernel.V7_3, Backend: IommuStrict, CPUs: 1}); err == nil || !strings.Contains(err.Error(), "pcie.device_tlb.entries: 64") {
		t.Errorf("a device with a TLB in a guest: %v", err)
	}
	for _, b := range []Backend{Direct, IommuPassthrough} {
		m, d := withTLB(t, Default, kernel.V7_3, b, "64")
		if _, err := d.Port.Write(d.RID, 1<<32, 64, 0); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		m.Close()
	}
}
