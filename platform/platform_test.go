package platform

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dmapath/kernel"
	"dmapath/sim"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

// golden compares got with a file under testdata, or rewrites the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite it with -update):\n%s", file, got)
	}
}

func load(t *testing.T, name string) *Spec {
	t.Helper()
	s, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPresetsAreComplete(t *testing.T) {
	for _, want := range []string{"cortex-a15", "genoa", "grace", "haswell-ep", "icelake-sp", "ivybridge-ep", "kunpeng-920", "neoverse-n1", "sandybridge-e3", "sapphire-rapids",
		"skylake-sp", "tegra234", "zen2"} {
		if !contains(Names(), want) {
			t.Errorf("presets are %v, without %s", Names(), want)
		}
	}
	extends := map[string]string{"cortex-a15": "neoverse-n1", "haswell-ep": "icelake-sp", "ivybridge-ep": "icelake-sp", "grace": "neoverse-n1", "kunpeng-920": "neoverse-n1", "skylake-sp": "icelake-sp",
		"sandybridge-e3": "icelake-sp", "tegra234": "neoverse-n1", "zen2": "genoa"} // the others give every value themselves
	for _, name := range Names() {
		s := load(t, name)
		if s.Name != name || s.Title == "" || len(s.Notes()) == 0 {
			t.Errorf("%s: name %q, title %q, %d notes", name, s.Name, s.Title, len(s.Notes()))
		}
		for _, k := range Keys() {
			pv, ok := s.Provenance(k)
			if !ok || s.Source(k) == "" || pv.Source == noSource || pv.Line == 0 || pv.Col == 0 || pv.File != name+".yaml" && pv.File != extends[name]+".yaml" {
				t.Errorf("%s: %s comes from %+v", name, k, pv)
			}
			if strings.HasPrefix(s.Source(k), "@") {
				t.Errorf("%s: source of %s is not resolved: %s", name, k, s.Source(k))
			}
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		if g := len(s.Guesses()); g == 0 || g > len(Keys())/2 {
			t.Errorf("%s: %d of %d values are guesses", name, g, len(Keys()))
		}
	}
}

// TestUnitsAreTheirMachines: every preset has the kernel that its processor executes and the IOMMU of its vendor; none stands in for
// another.
func TestUnitsAreTheirMachines(t *testing.T) {
	for name, want := range map[string][2]Word{"icelake-sp": {"x86-64", "vt-d"}, "sapphire-rapids": {"x86-64", "vt-d"}, "genoa": {"x86-64", "amd-vi"},
		"neoverse-n1": {"arm64", "smmuv3"}} {
		s := load(t, name)
		if got := [2]Word{s.Kernel.Arch, s.IOMMU.Dialect}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		for _, k := range Keys() {
			if strings.Contains(strings.ToLower(s.Source(k)), "stand-in") {
				t.Errorf("%s: %s is a stand-in: %s", name, k, s.Source(k))
			}
		}
	}
}

// TestArchitectureFitsTheRest: indirect branch mitigations, KMSAN and the GART are x86's, and every driver is of one architecture.
func TestArchitectureFitsTheRest(t *testing.T) {
	s := load(t, "neoverse-n1")
	if err := s.Set("kernel.mitigation", "retpoline"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "kernel.mitigation") {
		t.Errorf("retpolines on arm64: %v, want an error about kernel.mitigation", err)
	}
	s = load(t, "neoverse-n1")
	if err := s.Set("kernel.kmsan", "on"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "kernel.kmsan") {
		t.Errorf("KMSAN on arm64: %v, want an error about kernel.kmsan", err)
	}
	if _, err := Build(load(t, "neoverse-n1"), Options{Backend: OpsGart, CPUs: 1}); err == nil || !strings.Contains(err.Error(), "northbridges") {
		t.Errorf("the GART on arm64: %v, want an error about northbridges", err)
	}
	for arch, dialects := range map[string][]string{"arm64": {"vt-d", "amd-vi"}, "x86-64": {"smmuv3"}} {
		for _, d := range dialects {
			s := load(t, "neoverse-n1")
			if err := errors.Join(s.Set("kernel.arch", arch), s.Set("iommu.dialect", d)); err != nil {
				t.Fatal(err)
			}
			_, err := Build(s, Options{Backend: IommuStrict, CPUs: 1})
			if err == nil || !strings.Contains(err.Error(), "iommu.dialect") {
				t.Errorf("%s on %s: %v, want an error about iommu.dialect", d, arch, err)
			}
			m, err := Build(s, Options{Backend: Direct, CPUs: 1})
			if err != nil {
				t.Errorf("%s on %s without translation: %v", d, arch, err)
				continue
			}
			m.Close()
		}
	}
}

func TestDefaultPreset(t *testing.T) {
	s := load(t, Default)
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"L1D", s.Cache.L1D.Size, Bytes(48 << 10)}, {"L2", s.Cache.L2.Size, Bytes(1280 << 10)}, {"LLC latency", s.Cache.LLC.Latency, 21500 * sim.Picosecond},
		{"frequency", s.CPU.Frequency, Hertz(3_400_000_000)}, {"ROB", s.CPU.ROB, Count(352)}, {"tCL", s.DRAM.TCL, sim.Time(13750)},
		{"STLB pages", s.TLB.STLB.Pages.Shifts(), []uint8{12, 21}}, {"dialect", s.IOMMU.Dialect, Word("vt-d")}, {"walks snoop", s.IOMMU.Coherent, Switch(true)},
		{"load ports", s.CPU.Ports.Load, PortSet(0b110000)}, {"RAM", s.Memory.RAM, Bytes(256 << 30)},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s is %v, want %v", c.what, c.got, c.want)
		}
	}
}

// same reports whether two Specs are equal but for the positions in their provenance.
func same(a, b *Spec) bool {
	x, y := *a, *b
	strip := func(s *Spec) {
		m := map[string]Provenance{}
		for k, v := range s.prov {
			m[k] = Provenance{Source: v.Source, Confidence: v.Confidence}
		}
		s.prov = m
	}
	strip(&x)
	strip(&y)
	return reflect.DeepEqual(x, y)
}

func TestCanonicalParsesBack(t *testing.T) {
	for _, name := range Names() {
		s := load(t, name)
		s.Name = "mine"
		s.Extends = name
		for _, set := range [][2]string{{"cpu.frequency", "2.933GHz; measured; turbostat: \"quoted\" \\ # not a comment"}, {"dram.trefi", "0ns"}, {"memory.ram", "96GiB"}} {
			if err := s.Set(set[0], set[1]); err != nil {
				t.Fatal(err)
			}
		}
		text := s.Canonical()
		back, err := Parse("mine.yaml", text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if !same(s, back) {
			t.Errorf("%s: the canonical form parses to another Spec", name)
		}
		if again := back.Canonical(); !bytes.Equal(again, text) {
			t.Errorf("%s: the canonical form of the canonical form differs", name)
		}
		if s.Hash() != back.Hash() {
			t.Errorf("%s: hashes differ", name)
		}
	}
}

func TestHashFollowsValuesOnly(t *testing.T) {
	a, b := load(t, Default), load(t, Default)
	if a.Hash() != b.Hash() || len(a.Hash()) != 64 {
		t.Errorf("hashes of one preset: %s, %s", a.Hash(), b.Hash())
	}
	if err := b.Set("cpu.rob", "352; guess; somebody said"); err != nil {
		t.Fatal(err)
	}
	if a.Hash() != b.Hash() {
		t.Error("the hash follows the source")
	}
	if err := b.Set("cpu.rob", "353"); err != nil {
		t.Fatal(err)
	}
	if a.Hash() == b.Hash() {
		t.Error("the hash does not follow the value")
	}
}

// TestEverySingleValueEntersTheHash changes each value in turn.
func TestEverySingleValueEntersTheHash(t *testing.T) {
	base := load(t, Default)
	seen := map[string]string{base.Hash(): "nothing"}
	for _, f := range theSchema().fields {
		s := load(t, Default)
		v := reflect.ValueOf(s).Elem().FieldByIndex(f.index)
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Uint64, reflect.Uint16:
			v.SetUint(v.Uint() ^ 1)
		default:
			v.SetInt(v.Int() + 1)
		}
		if other, dup := seen[s.Hash()]; dup {
			t.Errorf("changing %s gives the hash of changing %s", f.key, other)
		}
		seen[s.Hash()] = f.key
	}
}

func TestExtends(t *testing.T) {
	s, err := Load(filepath.Join("testdata", "mine.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	base := load(t, "icelake-sp")
	if s.Name != "mine" || s.Extends != "icelake-sp" || s.Title != base.Title {
		t.Errorf("name %q, extends %q, title %q", s.Name, s.Extends, s.Title)
	}
	if s.CPU.Frequency != 3_100_000_000 || s.CPU.ROB != 352 || s.Memory.RAM != 64<<30 || s.CPU.Ports != base.CPU.Ports {
		t.Errorf("frequency %d, ROB %d, RAM %d", s.CPU.Frequency, s.CPU.ROB, s.Memory.RAM)
	}
	if got := s.Source("cpu.frequency"); got != "pointer chase on our machine, 3 March, turbostat" {
		t.Errorf("source of the frequency is %q", got)
	}
	if pv, _ := s.Provenance("memory.ram"); pv.Confidence != Guess || pv.Source != noSource || pv.Line != 8 || pv.Col != 8 {
		t.Errorf("a value without a source is %+v", pv)
	}
	if pv, _ := s.Provenance("cpu.rob"); pv.Confidence != Datasheet || pv.Source != "vendor manual" {
		t.Errorf("the mapping form is %+v", pv)
	}
	if pv, _ := s.Provenance("cpu.retire_width"); pv.File != "icelake-sp.yaml" {
		t.Errorf("an inherited value comes from %+v", pv)
	}
}

// TestAllProblemsAtOnce: one file with every sort of mistake, one golden text that lists them all in order.
func TestAllProblemsAtOnce(t *testing.T) {
	for _, name := range []string{"wrong", "contradictory", "incomplete", "duplicate", "syntax"} {
		file := filepath.Join("testdata", name+".yaml")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(name+".yaml", data)
		if err == nil {
			t.Fatalf("%s: no problem found", file)
		}
		var ps Problems
		if !errors.As(err, &ps) {
			t.Fatalf("%s: error of type %T", file, err)
		}
		golden(t, name+".txt", strings.ReplaceAll(err.Error(), strings.Join(Names(), ", "), "PRESETS")+"\n")
	}
}

func TestLoadNamesWhatThereIs(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"icelake", `there is no platform "icelake", did you mean "icelake-sp"?: presets are ` + strings.Join(Names(), ", ") + `; a file's name ends in .yaml`},
		{"x", `there is no platform "x": presets are ` + strings.Join(Names(), ", ") + `; a file's name ends in .yaml`},
		{"testdata/none.yaml", "reading the platform file: open testdata/none.yaml: no such file or directory"},
	} {
		if _, err := Load(c.name); err == nil || err.Error() != c.want {
			t.Errorf("Load(%q): %v, want %s", c.name, err, c.want)
		}
	}
}

func TestSet(t *testing.T) {
	s := load(t, Default)
	before := s.Canonical()
	for _, c := range []struct{ key, value, want string }{
		{"cpu.robb", "1", `unknown key "robb" in section cpu, did you mean "rob"?`},
		{"cpus.rob", "1", `unknown key "cpus" in a platform, did you mean "cpu"?`},
		{"rob", "1", `unknown key "rob" in a platform, did you mean "cpu.rob"?`},
		{"cpu.string", "1", `"cpu.string" is a section: it has startup, bytes_per_cycle, fsrm, lines_ahead`},
		{"cpu.rob.size", "1", `"cpu.rob" is a value, not a section`},
		{"", "1", `unknown key "" in a platform: it has cpu, tlb, cache, dram, pcie, iommu, memory, kernel, surroundings`},
		{"cpu.rob", "5000", "--set cpu.rob: 5000 is outside the allowed 1..512 (reorder buffer entries)"},
		{"cpu.rob", "352entries", `--set cpu.rob: "352entries" has a unit; a plain number is wanted, such as 512`},
		{"cpu.frequency", "3.1", `--set cpu.frequency: "3.1" has no unit: write a frequency, such as 3.4GHz`},
		{"cpu.frequency", "3.1gHz", `--set cpu.frequency: unknown unit "gHz" in "3.1gHz": allowed are GHz, MHz, kHz, Hz`},
		{"dram.tcl", "0.0001ns", `--set dram.tcl: "0.0001ns" is not a whole number of ps`},
		{"dram.tcl", "-5ns", `--set dram.tcl: "-5ns" is negative; a time is never negative here`},
		{"cpu.rob", "0352", `--set cpu.rob: "0352" has a leading zero: write 352`},
		{"dram.banks", "24", "--set dram.banks: 24 is not a power of two; allowed are 1..1024 (banks per channel, all ranks)"},
		{"kernel.mitigation", "retpolin", `--set kernel.mitigation: "retpolin" is not allowed, did you mean "retpoline"?: allowed are none, ibrs, lfence, retpoline`},
		{"iommu.coherent", "yes", `--set iommu.coherent: "yes" is neither on nor off`},
		{"iommu.pages", "4KiB+3MiB", `--set iommu.pages: "3MiB" is not a page size: powers of two from 4KiB are allowed`},
		{"cpu.ports.alu", "0+16", `--set cpu.ports.alu: port 16: allowed are 0 to 15`},
		{"cpu.rob", "1; certain; me", `--set cpu.rob: confidence "certain" is not known: allowed are datasheet, measured, inferred, guess`},
		{"cpu.rob", "1; datasheet", `--set cpu.rob: says datasheet but names no source`},
		{"cpu.rob", "1; datasheet; @nowhere", `--set cpu.rob: source "@nowhere" is not in the platform's sources`},
	} {
		if err := s.Set(c.key, c.value); err == nil || err.Error() != c.want {
			t.Errorf("Set(%q, %q):\n got %v\nwant %s", c.key, c.value, err, c.want)
		}
	}
	if !bytes.Equal(before, s.Canonical()) {
		t.Error("a refused setting changed the Spec")
	}
	if err := s.Set("cpu.rob", "224"); err != nil {
		t.Fatal(err)
	}
	if pv, _ := s.Provenance("cpu.rob"); s.CPU.ROB != 224 || pv.Source != "--set" || pv.Confidence != Guess {
		t.Errorf("ROB %d from %+v", s.CPU.ROB, pv)
	}
}

// TestCheckAfterSet: two values that belong together are set one after the other; Check speaks when the last leaves a contradiction.
func TestCheckAfterSet(t *testing.T) {
	s := load(t, Default)
	if err := s.Set("cache.l2.size", "2MiB"); err != nil {
		t.Fatal(err)
	}
	want := "--set: cache.l2.size: 2MiB is not a multiple of 20 ways x 64B"
	if err := s.Check(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := s.Set("cache.l2.ways", "16"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// What the address space of the simulated kernel has no room for is a problem of the platform, not a panic when the machine is built.
func TestAddressSpaceHasRoom(t *testing.T) {
	for _, c := range []struct {
		set  [][2]string
		want string
	}{
		{[][2]string{{"memory.phys_bits", "52"}, {"memory.mmio_base", "240TiB"}}, "struct pages"},
		{[][2]string{{"memory.phys_bits", "52"}, {"memory.mmio_base", "100TiB"}, {"memory.hole_top", "63TiB"}, {"memory.ram", "2TiB"}}, "direct map"},
		{[][2]string{{"memory.phys_bits", "52"}, {"memory.mmio_base", "100TiB"}}, ""},
	} {
		s := load(t, Default)
		for _, kv := range c.set {
			if err := s.Set(kv[0], kv[1]); err != nil {
				t.Fatal(err)
			}
		}
		err := s.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v, want %q", c.set, err, c.want)
		}
		if err == nil {
			m, err := Build(s, Options{Version: kernel.V7_3, Backend: Direct, CPUs: 1, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			m.Close()
		}
	}
}

// A driver exists on the architecture of its hardware only: a 32-bit Arm kernel has none of the three.
func TestDriversExistOnTheirArchitecture(t *testing.T) {
	for _, c := range []struct {
		preset, arch string
		fits         bool
	}{{"icelake-sp", "x86-64", true}, {"icelake-sp", "arm64", false}, {"icelake-sp", "arm", false}, {"genoa", "arm", false}, {"neoverse-n1", "arm64", true}, {"neoverse-n1", "arm", false}} {
		s := load(t, c.preset)
		for key, value := range map[string]string{"kernel.arch": c.arch, "kernel.mitigation": "none", "memory.phys_bits": "36", "memory.ram": "8GiB", "memory.mmio_base": "48GiB", "memory.mmio_size": "1GiB"} {
			if err := s.Set(key, value); err != nil {
				t.Fatal(err)
			}
		}
		m, err := Build(s, Options{Version: kernel.V7_3, Backend: IommuStrict, CPUs: 1, Seed: 1})
		if err == nil {
			_, err = m.AddDevice("0000:01:00.0", 0x0100)
			m.Close()
		}
		if _, unfit := err.(Unfit); c.fits != (err == nil) || !c.fits && !unfit {
			t.Errorf("%s with %s: %v", c.preset, c.arch, err)
		}
	}
}

func TestShowFits(t *testing.T) {
	for _, name := range Names() {
		var b bytes.Buffer
		if err := load(t, name).Show(&b); err != nil {
			t.Fatal(err)
		}
		checkText(t, name, b.String())
		if name == Default {
			golden(t, "show.txt", b.String())
		}
	}
	var b bytes.Buffer
	if err := WriteKeys(&b); err != nil {
		t.Fatal(err)
	}
	checkText(t, "keys", b.String())
}

func checkText(t *testing.T, name, text string) {
	t.Helper()
	for i, l := range strings.Split(text, "\n") {
		if len(l) > showWidth || l != strings.TrimRight(l, " ") {
			t.Errorf("%s, line %d has %d columns or ends in a space: %q", name, i+1, len(l), l)
		}
		for _, r := range l {
			if r < ' ' || r > '~' {
				t.Errorf("%s, line %d contains %q", name, i+1, r)
			}
		}
	}
}

func TestSurroundingsGrow(t *testing.T) {
	for _, name := range Names() {
		s := load(t, name).Surroundings
		if s.Hot != (Footprint{}) || s.Warm.CodeLines <= 0 || s.Cold.DataLines < s.Warm.DataLines {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// FuzzParse: no text makes the parser panic, and what it accepts survives its canonical form.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 4096 { // minimizing a long one takes the fuzzer a minute
			f.Add(string(data))
		}
	}
	f.Add("extends: genoa\ncpu: {rob: {value: 300, confidence: guess, source: |\n  x\n  y}}\n")
	f.Add("? - 1\n: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("fuzz.yaml", []byte(text))
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("error of type %T: %v", err, err)
			}
			lines := strings.FieldsFunc(" "+strings.NewReplacer("\n", " \n ", "\r", " \n ").Replace(text)+" ", func(r rune) bool { return r == '\n' })
			for _, p := range ps {
				if p.File != "fuzz.yaml" || p.Text == "" || p.Line < 0 || p.Line > len(lines)+1 {
					t.Fatalf("a problem without text, or outside of the %d lines: %+v", len(lines), p)
				}
			}
			return
		}
		back, err := Parse("fuzz.yaml", s.Canonical())
		if err != nil {
			t.Fatalf("the canonical form is refused: %v\n%s", err, s.Canonical())
		}
		if !same(s, back) {
			t.Fatalf("the canonical form parses to another Spec:\n%s", s.Canonical())
		}
	})
}
