package platform

import (
	"slices"
	"strings"
	"testing"

	"dmapath/kernel"
	"dmapath/sim"
)

// TestRule: what range values of each confidence and kind have when the file gives none.
func TestRule(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"pcie.link", "40ns; guess; x", "20ns..80ns"},
		{"pcie.link", "40ns; inferred; x", "32ns..50ns"},
		{"pcie.link", "40ns; measured; x", ""},
		{"pcie.link", "40ns; datasheet; x", ""},
		{"pcie.link", "0ns; guess; x", ""}, // nothing to scale
		{"pcie.link", "40ns", ""},          // --set fixes a value
		{"iommu.clock", "1GHz; guess; x", "800MHz..1.25GHz"},
		{"cpu.rob", "512; guess; x", "256..512"}, // not beyond what the key allows
		{"cpu.fetch_width", "6; inferred; x", "5..7"},
		{"cpu.commit_width", "2; inferred; x", ""}, // no other whole number is near
		{"cpu.branch.btb", "8192; guess; x", "4096..16384"},
		{"cpu.branch.btb", "8192; inferred; x", ""},        // no other power of two is near
		{"iommu.iotlb.entries", "96; guess; x", "48..192"}, // not a power of two now, so nor need it be
		{"cache.l2.replacement", "lru; guess; x", "lru|tree-plru|srrip"},
		{"cache.l2.replacement", "lru; inferred; x", ""},
		{"cpu.fuse_branch", "on; guess; x", "off|on"},
		{"cpu.ports.alu", "0+1; guess; x", ""},
		{"memory.ram", "64GiB; guess; x", ""},          // a setting
		{"iommu.command_queue", "65536; guess; x", ""}, // of another dialect
	} {
		s := preset("icelake-sp")
		if err := s.Set(c.key, c.value); err != nil {
			t.Fatal(err)
		}
		got := ""
		if r, ok := s.Range(c.key); ok {
			got = r.String()
		}
		if got != c.want {
			t.Errorf("%s %s: range %q, want %q", c.key, c.value, got, c.want)
		}
	}
}

// TestSettingsExist: every entry of the lists of keys names a value or a section.
func TestSettingsExist(t *testing.T) {
	for _, k := range slices.Concat(settings, smmuOnly) {
		if !slices.ContainsFunc(Keys(), func(key string) bool { return key == k || strings.HasSuffix(k, ".") && strings.HasPrefix(key, k) }) {
			t.Errorf("%s is no key", k)
		}
	}
}

// TestRangeOfAFile: a file's own range counts, survives being written and read, and fails with a reason.
func TestRangeOfAFile(t *testing.T) {
	file := func(text string) (*Spec, error) { return Parse("mine.yaml", []byte("extends: icelake-sp\n"+text)) }
	s, err := file("pcie:\n  link: {value: 40ns, confidence: guess, source: x, range: [30ns, 90ns], range_source: a paper}\n" +
		"memory:\n  ram: {value: 64GiB, confidence: inferred, source: x, range: [32GiB, 128GiB]}\n" +
		"cache:\n  l2:\n    replacement: {value: lru, confidence: guess, source: x, range: [srrip, lru]}\n")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("again.yaml", s.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, want, source string }{{"pcie.link", "30ns..90ns", "a paper"}, {"memory.ram", "32GiB..128GiB", ""},
		{"cache.l2.replacement", "lru|srrip", ""}} {
		for _, x := range []*Spec{s, again} {
			if r, ok := x.Range(c.key); !ok || r.String() != c.want || r.Source != c.source {
				t.Errorf("%s: range %v (%v) from %q, want %s from %q", c.key, r, ok, r.Source, c.want, c.source)
			}
		}
	}
	for _, c := range []struct{ text, want string }{
		{"pcie:\n  link: {value: 40ns, range: [50ns, 90ns]}", "mine.yaml:3:9: pcie.link: range 50ns..90ns does not contain the value 40ns"},
		{"pcie:\n  link: {value: 40ns, range: [50ns, 30ns]}", "does not contain"},
		{"pcie:\n  link: {value: 40ns, range: [1ns, 1s]}", "range: 1s is outside the allowed 0ns..10us"},
		{"pcie:\n  link: {value: 40ns, range: [1ns]}", "range has 1 ends: [LOW, HIGH] is wanted"},
		{"pcie:\n  link: {value: 40ns, range: 1ns}", "range is a list"},
		{"pcie:\n  link: {value: 40ns, range: [10, 90]}", `range: "10" has no unit`},
		{"pcie:\n  link: {value: 40ns, range_source: x}", "has a range_source but no range"},
		{"pcie:\n  link: {value: 40ns, rang: [1ns, 50ns]}", `unknown key "rang", did you mean "range"?`},
		{"cache:\n  l2:\n    replacement: {value: lru, range: [lru, mru]}", `range: "mru" is not allowed`},
		{"cache:\n  l2:\n    replacement: {value: lru, range: [srrip]}", "does not contain"},
		{"cpu:\n  ports:\n    alu: {value: 0+1, range: [0+1]}", "cpu.ports.alu has no range: it is a set of ports"},
	} {
		if _, err := file(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.text, err, c.want)
		}
	}
}

// TestSamplesAreMachines: whatever is drawn, the sample passes Check, every varied value lies in its range, and no other changes. Both ends
// of the unit interval are tried as well.
func TestSamplesAreMachines(t *testing.T) {
	for _, name := range Names() {
		s := preset(name)
		keys := s.Uncertain()
		if len(keys) == 0 {
			t.Fatalf("%s: nothing is uncertain", name)
		}
		moved := map[string]bool{}
		for i := range 150 {
			r := sim.NewRand(uint64(i), name)
			c := s.Sample(func(string) float64 {
				switch i {
				case 0:
					return 0
				case 1:
					return 0x1p0 - 0x1p-53
				}
				return r.Float64()
			})
			if err := c.Check(); err != nil {
				t.Fatalf("%s, sample %d: %v", name, i, err)
			}
			for _, f := range theSchema().fields {
				rg, ok := s.Range(f.key)
				switch was, is := f.text(s), f.text(c); {
				case was == is:
				case !ok && !strings.HasSuffix(f.key, ".ways"): // a fully associative table grows with its entries
					t.Fatalf("%s, sample %d: %s changed from %s to %s and is fixed", name, i, f.key, was, is)
				case ok && rg.Words != nil && !contains(rg.Words, is), ok && rg.Words == nil && !strings.HasSuffix(f.key, ".ways") && (f.number(c) < rg.Lo || f.number(c) > rg.Hi):
					t.Fatalf("%s, sample %d: %s is %s, outside %v", name, i, f.key, is, rg)
				default:
					moved[f.key] = true
				}
			}
		}
		for _, k := range keys {
			if !moved[k] {
				t.Errorf("%s: %s never moved in 150 samples", name, k)
			}
		}
	}
}

// TestSizesStayWhole: a range of installed RAM gives RAM that can be installed.
func TestSizesStayWhole(t *testing.T) {
	s, err := Parse("mine.yaml", []byte("extends: icelake-sp\nmemory:\n  ram: {value: 64GiB, confidence: inferred, source: x, range: [32GiB, 128GiB]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range 60 {
		r := sim.NewRand(uint64(i), "ram")
		v, _ := s.Sample(func(string) float64 { return r.Float64() }).Get("memory.ram")
		seen[v] = true
	}
	if len(seen) != 4 || !seen["32GiB"] || !seen["96GiB"] || !seen["128GiB"] {
		t.Errorf("RAM of the samples: %v", seen)
	}
}

// TestSamplesCanBeBuilt: what passes Check can be built and takes a device, with and without an IOMMU.
func TestSamplesCanBeBuilt(t *testing.T) {
	for _, name := range Names() {
		s := preset(name)
		for _, b := range []Backend{Direct, IommuStrict} {
			build := func(s *Spec) error {
				m, err := Build(s, Options{Version: kernel.V7_3, Backend: b, CPUs: 1, Seed: 1})
				if err != nil {
					return err
				}
				defer m.Close()
				_, err = m.AddDevice("0000:01:00.0", 0x0100)
				return err
			}
			if build(s) != nil {
				continue // a machine without this backend
			}
			for i := range 4 {
				r := sim.NewRand(uint64(i), "build "+name)
				if err := build(s.Sample(func(string) float64 { return r.Float64() })); err != nil {
					t.Errorf("%s, sample %d, %s: %v", name, i, b, err)
				}
			}
		}
	}
}

// TestStep: the neighbour is valid, on the asked side, and nothing else changes.
func TestStep(t *testing.T) {
	s := preset("icelake-sp")
	for _, c := range []struct {
		key    string
		factor float64
		want   string
	}{
		{"pcie.link", 1.1, "44ns"}, {"pcie.link", 1 / 1.1, "36.364ns"}, {"cpu.fetch_ahead", 1.1, "3"}, {"cpu.branch.btb", 1.1, "16384"},
		{"iommu.iotlb.entries", 1.1, "256"}, {"iommu.iotlb.entries", 0.9, "64"}, {"cache.l1d.size", 1.1, "96KiB"}, {"cpu.rob", 2, "512"}, {"cpu.fetch_ahead", 8, "7"}, {"pcie.completion_buffer", 1.1, ""},
	} {
		n, ok := s.Step(c.key, c.factor)
		got := ""
		if ok {
			got, _ = n.Get(c.key)
		}
		if got != c.want {
			t.Errorf("%s times %v: %q, want %q", c.key, c.factor, got, c.want)
		}
	}
	for _, k := range s.Numeric() {
		for _, factor := range []float64{1.1, 1 / 1.1} {
			n, ok := s.Step(k, factor)
			if !ok {
				continue
			}
			if err := n.Check(); err != nil {
				t.Errorf("%s: %v", k, err)
			}
			for _, f := range theSchema().fields {
				if changed := f.text(s) != f.text(n); changed != (f.key == k) {
					t.Errorf("step of %s: %s from %s to %s", k, f.key, f.text(s), f.text(n))
				}
			}
		}
	}
}
