package host

import (
	"flag"
	"math"
	"os"
	"strings"
	"testing"

	"dmapath/platform"
)

var update = flag.Bool("update", false, "rewrite golden files")

// testSystem is a machine whose operating system tells nothing about its caches.
func testSystem() System {
	return System{Arch: "amd64", Vendor: "AuthenticAMD", Model: "AMD EPYC", Family: 25, Number: 17, Virtual: true, CPUs: 2}
}

// TestDeriveFindsWhatItMeasured: the machine measured is a simulated one with other parameters than the preset; they come back.
func TestDeriveFindsWhatItMeasured(t *testing.T) {
	secret := map[string]string{
		"cpu.frequency": "3.1GHz", "cache.l1d.latency": "5cycles", "cache.l2.latency": "17cycles", "tlb.stlb_latency": "9cycles", "tlb.walk_start": "11cycles",
		"tlb.nested": "4KiB", "tlb.dtlb_4k.entries": "64", "tlb.dtlb_4k.ways": "64", "cpu.latency.mul": "4cycles", "cpu.latency.bit_scan": "3cycles", "cpu.latency.store_forward": "5cycles",
		"cpu.latency.atomic": "21cycles", "cpu.latency.fence": "44cycles", "cpu.latency.serialize": "23cycles", "cpu.latency.sysreg": "31cycles", "cpu.latency.pause": "40cycles",
		"cpu.branch.mispredict": "19cycles", "cpu.atomic_holds": "on", "cpu.commit_width": "2", "cpu.string.startup": "17cycles",
	}
	s, err := platform.Load("genoa")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range secret {
		if err := s.Set(k, v); err != nil {
			t.Fatal(err)
		}
	}
	ms := &Measurements{CoreHz: 3.1e9, Cycles: map[string]float64{}, Noise: map[string]float64{}, System: testSystem()}
	for _, p := range probesFor(&ms.System) {
		if p.Bytes > 17<<20 || strings.HasPrefix(p.Name, "chase_") && !strings.HasPrefix(p.Name, "chase_l") || strings.HasPrefix(p.Name, "copy_16") || strings.HasPrefix(p.Name, "copy_4") {
			continue
		}
		if ms.Cycles[p.Name], err = Simulate(s, p); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Derive(ms, "genoa")
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range secret {
		if got, _ := d.Spec.Get(k); got != want {
			t.Errorf("%s is %s, want %s", k, got, want)
		}
	}
	for _, c := range d.Checked {
		if e := math.Abs(c.Simulated/c.Measured - 1); e > 0.02 {
			t.Errorf("%s: %.2f cycles measured, %.2f on the derived machine", c.Probe.Name, c.Measured, c.Simulated)
		}
	}
	if len(d.Notes) != 2 { // memory was not measured, neither way
		t.Errorf("notes: %q", d.Notes)
	}
	if d.Spec.DRAM.Overhead != s.DRAM.Overhead {
		t.Error("a parameter whose probe is missing has changed")
	}
}

// TestPreset is the platform file of a set of measurements, as committed.
func TestPreset(t *testing.T) {
	ms := &Measurements{CoreHz: 3.7046e9, Noise: map[string]float64{}, System: testSystem(), Cycles: map[string]float64{
		"chase_l1": 4.01, "pages_16_12": 4.01, "pages_128_12": 11.03, "pages_256_12": 11.04, "pages_256_21": 11.03, "muls": 2.99, "xadds": 7.88, "xaddloads": 66.04,
		"stores": 0.99, "serials": 17.16, "counters": 35.06, "storefences": 58.53, "copy_4096": 150.7, "copy_16384": 563.5, "forwards": 400,
	}}
	ms.System.Caches = map[string]Geometry{"l1d": {32 << 10, 8}, "l2": {3000, 7}}
	for _, n := range dtlbSteps[1:] {
		name := pageChase(n, 12).Name
		if ms.Cycles[name] = 4.05; n > 72 {
			ms.Cycles[name] = 11.03
		}
	}
	d, err := Derive(ms, "genoa")
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.YAML(&ms.System)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/host.yaml"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the file differs from %s (rewrite it with -update):\n%s", golden, got)
	}
	s, err := platform.Load(golden)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "host" || s.Extends != "genoa" {
		t.Errorf("%s extends %s", s.Name, s.Extends)
	}
	for key, want := range map[string]platform.Confidence{"cpu.latency.fence": platform.Measured, "cpu.rob": platform.Datasheet, "iommu.walkers": platform.Guess} {
		if p, _ := s.Provenance(key); p.Confidence != want {
			t.Errorf("%s is %s, want %s", key, p.Confidence, want)
		}
	}
}

func TestDeriveRefuses(t *testing.T) {
	ms := &Measurements{CoreHz: 3e9, Cycles: map[string]float64{}, System: testSystem()}
	for base, want := range map[string]string{"neoverse-n1": "another architecture", "testdata/host.yaml": "no preset that can be extended"} {
		if _, err := Derive(ms, base); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", base, err)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		s    System
		want string
	}{
		{System{Arch: "amd64", Vendor: "AuthenticAMD", Family: 25, Number: 17}, "genoa"},
		{System{Arch: "amd64", Vendor: "GenuineIntel", Family: 6, Number: 0x6a}, "icelake-sp"},
		{System{Arch: "amd64", Vendor: "GenuineIntel", Family: 6, Number: 0x8f}, "sapphire-rapids"},
		{System{Arch: "amd64", Vendor: "CentaurHauls", Family: 7}, platform.Default},
		{System{Arch: "arm64", Vendor: "0x41", Number: 0xd0c}, "neoverse-n1"},
		{System{Arch: "arm64", Vendor: "0x61", Number: 0x22}, "neoverse-n1"},
	} {
		if got := c.s.Nearest(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
}

func TestCPUInfo(t *testing.T) {
	x86 := parseCPUInfo("processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor bmi2\n\nprocessor\t: 1\nmodel\t\t: 99\n")
	if x86.Vendor != "AuthenticAMD" || x86.Model != "AMD EPYC" || x86.Family != 25 || x86.Number != 17 || !x86.Virtual {
		t.Errorf("x86: %+v", x86)
	}
	arm := parseCPUInfo("processor\t: 0\nFeatures\t: fp atomics\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n")
	if arm.Vendor != "0x41" || arm.Number != 0xd0c || arm.Virtual {
		t.Errorf("arm64: %+v", arm)
	}
}
