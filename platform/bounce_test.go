package platform

import (
	"strings"
	"testing"

	"dmapath/kernel"
)

// The pool that the kernel makes, by backend and keys.
func TestBouncePool(t *testing.T) {
	for _, c := range []struct {
		name    string
		backend Backend
		set     [][2]string
		mib     uint64
		areas   int
		force   bool
	}{
		{"RAM above 4 GiB", Direct, nil, 64, 4, false},
		{"forced", SwiotlbForce, nil, 64, 4, true},
		{"all RAM within 32 bits", Direct, [][2]string{{"memory.ram", "4GiB"}, {"memory.low_top", "4GiB"}, {"memory.hole_top", "4GiB"}}, 0, 0, false},
		{"sizes given", SwiotlbForce, [][2]string{{"kernel.swiotlb_mb", "16"}, {"kernel.swiotlb_areas", "2"}}, 16, 2, true},
		{"encrypted guest of 8 GiB", Direct, [][2]string{{"kernel.encrypted_guest", "on"}, {"memory.ram", "8GiB"}}, 491, 4, false},
		{"encrypted guest, large", Direct, [][2]string{{"kernel.encrypted_guest", "on"}}, 1024, 4, false},
		{"growing", SwiotlbForce, [][2]string{{"kernel.swiotlb_dynamic", "on"}}, 64, 4, true},
	} {
		s := load(t, Default)
		for _, kv := range c.set {
			if err := s.Set(kv[0], kv[1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Check(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		m, err := Build(s, Options{Version: kernel.V7_3, Backend: c.backend, CPUs: 3, Seed: 1})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		p := m.Tlb.Boot()
		if c.mib == 0 {
			if p != nil {
				t.Errorf("%s: a pool of %d MiB", c.name, (p.End-p.Start)>>20)
			}
			continue
		}
		if p == nil || (p.End-p.Start)>>20 != c.mib || p.Areas() != c.areas || m.Tlb.Force != c.force || p.End != uint64(s.Memory.LowTop) {
			t.Errorf("%s: %+v, force %v; want %d MiB below %#x in %d areas", c.name, p, m.Tlb.Force, c.mib, s.Memory.LowTop, c.areas)
		}
		if m.placeable(p.Start, 4096) || m.placeable(p.End-4096, 4096) || m.Tlb.Dynamic() == m.placeable(p.Start-4096, 4096) {
			t.Errorf("%s: buffers may lie in the pool, or not below it", c.name)
		}
		m.Close()
	}
}

func TestBounceKeysThatContradict(t *testing.T) {
	for _, c := range []struct {
		set  [][2]string
		want string
	}{
		{[][2]string{{"kernel.swiotlb_areas", "3"}}, "powers of two"},
		{[][2]string{{"kernel.swiotlb_mb", "1"}, {"kernel.swiotlb_areas", "8"}}, "up to 4"},
		{[][2]string{{"memory.low_top", "1GiB"}, {"kernel.swiotlb_mb", "1024"}}, "does not fit"},
		{[][2]string{{"kernel.encrypted_guest", "on"}, {"kernel.mem_encrypt", "off"}}, "mem_encrypt"},
	} {
		s := load(t, Default)
		for _, kv := range c.set {
			if err := s.Set(kv[0], kv[1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.set, err, c.want)
		}
	}
}

// With pcie.coherent off the kernel knows that its device does not snoop, and the device does not.
func TestDeviceThatDoesNotSnoop(t *testing.T) {
	for _, coherent := range []string{"on", "off"} {
		s := load(t, Default)
		if err := s.Set("pcie.coherent", coherent); err != nil {
			t.Fatal(err)
		}
		m, err := Build(s, Options{Version: kernel.V7_3, Backend: Direct, CPUs: 1, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		d, err := m.AddDevice("0000:01:00.0", 0x100)
		if err != nil {
			t.Fatal(err)
		}
		const pa = 1 << 33
		now := m.Eng.Now()
		for range 2 {
			if now, err = d.Port.Write(0x100, pa, 64, now); err != nil {
				t.Fatal(err)
			}
			if now, err = d.Port.Read(0x100, pa, 64, now); err != nil {
				t.Fatal(err)
			}
		}
		io, dram := m.Hier.Stats().IO, m.Hier.Stats().DRAM
		if snoops := coherent == "on"; d.Ctx.Dev.NonCoherent == snoops || (dram.Reads == 0) != snoops || (io.ToMemory == 2) == snoops {
			t.Errorf("coherent %s: NonCoherent %v, %d lines read from DRAM, %d written there", coherent, d.Ctx.Dev.NonCoherent, dram.Reads, io.ToMemory)
		}
		m.Close()
	}
}

// The pool of a 32-bit kernel lies where its linear map reaches, and what lies above that is highmem.
func TestPoolOfThirtyTwoBitKernel(t *testing.T) {
	s := load(t, "neoverse-n1")
	for _, kv := range [][2]string{{"kernel.arch", "arm"}, {"memory.phys_bits", "40"}, {"memory.ram", "8GiB"}, {"memory.mmio_base", "512GiB"}, {"memory.mmio_size", "256GiB"}} {
		if err := s.Set(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	m, err := Build(s, Options{Version: kernel.V7_3, Backend: SwiotlbForce, CPUs: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if p := m.Tlb.Boot(); p.End != 760<<20 || !m.Env.Linear(p.Start) || !m.Env.Linear(p.End-1) {
		t.Errorf("the pool lies at %#x to %#x", p.Start, p.End)
	}
	if m.Env.Linear(760<<20) || m.Env.Linear(5<<30) {
		t.Error("highmem is in the linear map")
	}
}
