package results

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

func exampleManifest() *Manifest {
	return &Manifest{Version: "v0.1.0", Command: []string{"compare", "--set", "cpu.rob=224; guess; \"me\" # \\", "µ\t"}, Seed: 1<<64 - 1,
		Config: []Section{{"platform", "name: \"icelake-sp\"\ncpu:\n  rob: \"352; datasheet; @wikichip\"\n\n  # a comment\nend: 010\n"}, {"experiment", "variants:\n- map_page@6.12\n"}}}
}

func manifestText(t *testing.T, m *Manifest) string {
	t.Helper()
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestManifestRoundTrip(t *testing.T) {
	m := exampleManifest()
	m.Outputs = []Output{{"a/steps.csv", 12, strings.Repeat("0", 64)}, {"map.svg", 0, strings.Repeat("f", 64)}}
	text := manifestText(t, m)
	golden(t, "manifest.yaml", text)
	back, err := ReadManifest("m.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m, back) {
		t.Errorf("reads as\n%+v\nwant\n%+v", back, m)
	}
	if m.Hash() != back.Hash() {
		t.Error("hashes differ")
	}
}

func TestManifestIsStrict(t *testing.T) {
	text := manifestText(t, exampleManifest())
	for _, c := range []struct{ from, to, want string }{
		{"seed:", "sede:", `m.yaml: [5:1] unknown field "sede"`},
		{"manifest_version: 1", "manifest_version: 2", "m.yaml: manifest_version is 2, this program reads 1"},
		{"tool: dmapath", "tool: other", `m.yaml: tool is "other", should be "dmapath"`},
		{"seed: \"18446744073709551615\"", "seed: \"18446744073709551616\"", `m.yaml: seed: "18446744073709551616" is not a number from 0 to 2^64-1`},
		{"rob: \"352", "rob: \"224", "m.yaml: config_hash does not fit the configuration"},
		{"experiment: |\n    variants:\n    - map_page@6.12\n", "experiment: 5\n", "m.yaml: config.experiment is not a block of text"},
	} {
		bad := strings.Replace(text, c.from, c.to, 1)
		if bad == text {
			t.Fatalf("%q is not in the manifest", c.from)
		}
		if _, err := ReadManifest("m.yaml", []byte(bad)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v\nwant %s", c.to, err, c.want)
		}
	}
	edited := strings.Replace(text, "rob: \"352", "rob: \"224", 1)
	i := strings.Index(edited, "config_hash")
	edited = edited[:i] + edited[i+strings.Index(edited[i:], "\n")+1:]
	if _, err := ReadManifest("m.yaml", []byte(edited)); err != nil {
		t.Errorf("a changed manifest without hash: %v", err)
	}
}

func TestManifestRefusesWhatItCannotKeep(t *testing.T) {
	for _, s := range []Section{{"platform", "no newline"}, {"platform", "two\n\n"}, {"platform", " indented\n"}, {"platform", "x \n"}, {"platform", "x\ty\r\n"}, {"Platform", "x\n"}, {"p", "\xff\n"}} {
		if err := (&Manifest{Config: []Section{s}}).Write(io.Discard); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
	twice := &Manifest{Config: []Section{{"a", "x\n"}, {"a", "y\n"}}}
	if err := twice.Write(io.Discard); err == nil {
		t.Error("a section that is there twice is accepted")
	}
}

func TestHashFollowsSeedAndConfig(t *testing.T) {
	base := exampleManifest()
	for name, change := range map[string]func(*Manifest){
		"seed": func(m *Manifest) { m.Seed = 7 }, "text": func(m *Manifest) { m.Config[0].Text += "x: 1\n" }, "name": func(m *Manifest) { m.Config[1].Name = "run" },
	} {
		m := exampleManifest()
		change(m)
		if m.Hash() == base.Hash() {
			t.Errorf("the hash does not follow the %s", name)
		}
	}
	m := exampleManifest()
	m.Command, m.Version, m.Outputs = nil, "", []Output{{Name: "x"}}
	if m.Hash() != base.Hash() {
		t.Error("the hash follows command, version or outputs")
	}
}

func FuzzReadManifest(f *testing.F) {
	data, err := os.ReadFile("testdata/manifest.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadManifest("m.yaml", []byte(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := m.Write(&b); err != nil {
			return // an argument or a name that a manifest of ours cannot have
		}
		again, err := ReadManifest("m.yaml", b.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if !sameManifest(m, again) {
			t.Fatalf("%+v\nreads as\n%+v", m, again)
		}
	})
}

func write(text string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
}

// files returns every file below dir with its contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWriteFileIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.csv")
	if err := WriteFile(path, write("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := WriteFile(path, func(w io.Writer) error {
		if _, err := io.WriteString(w, strings.Repeat("half", 100000)); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got := files(t, dir); !reflect.DeepEqual(got, map[string]string{"x.csv": "old"}) {
		t.Errorf("the folder holds %.100v", got)
	}
	if err := WriteFile(path, write("new")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
	if got := files(t, dir); !reflect.DeepEqual(got, map[string]string{"x.csv": "new"}) {
		t.Errorf("the folder holds %v", got)
	}
}

func commit(t *testing.T, dir string, m *Manifest, want map[string]string) {
	t.Helper()
	o, err := NewOutputDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Abort()
	for _, name := range []string{"a.csv", "sub/b.svg", "c.txt"} {
		if text, ok := want[name]; ok {
			if err := o.Create(name, write(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := o.Commit(m); err != nil {
		t.Fatal(err)
	}
}

func TestOutputDir(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "out")
	commit(t, dir, exampleManifest(), map[string]string{"a.csv": "1", "sub/b.svg": "2"})
	first := files(t, dir)
	m, err := ReadManifest("manifest.yaml", []byte(first[ManifestName]))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Outputs) != 2 || m.Outputs[0].Name != "a.csv" || m.Outputs[1] != (Output{"sub/b.svg", 1, "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"}) {
		t.Errorf("outputs %+v", m.Outputs)
	}
	// A file of the user's stays, a file of the old run that the new one does not write goes.
	if err := os.WriteFile(filepath.Join(dir, "mine.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, exampleManifest(), map[string]string{"a.csv": "3", "c.txt": "4"})
	second := files(t, dir)
	delete(second, ManifestName)
	if want := map[string]string{"a.csv": "3", "c.txt": "4", "mine.txt": "mine"}; !reflect.DeepEqual(second, want) {
		t.Errorf("the folder holds %v, want %v", second, want)
	}
	commit(t, filepath.Join(parent, "again"), exampleManifest(), map[string]string{"a.csv": "1", "sub/b.svg": "2"})
	if again := files(t, filepath.Join(parent, "again")); !reflect.DeepEqual(again, first) {
		t.Error("the same run written twice differs")
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 2 {
		t.Errorf("the parent folder holds %v, %v", entries, err)
	}
}

// TestInterruptedRunLeavesTheOldOne: without Commit nothing changes.
func TestInterruptedRunLeavesTheOldOne(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "out")
	commit(t, dir, exampleManifest(), map[string]string{"a.csv": "1"})
	before := files(t, parent)
	o, err := NewOutputDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Create("a.csv", write("half")); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got["a.csv"] != "1" {
		t.Errorf("before Commit a.csv is %q", got["a.csv"])
	}
	o.Abort()
	if got := files(t, parent); !reflect.DeepEqual(got, before) {
		t.Errorf("after Abort: %v", got)
	}
	if err := o.Create("b", write("x")); err == nil {
		t.Error("a file is accepted after Abort")
	}
}

func TestOutputDirRefuses(t *testing.T) {
	parent := t.TempDir()
	o, err := NewOutputDir(filepath.Join(parent, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Abort()
	if err := o.Create("a", write("x")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "../x", "/x", "", ManifestName, `a\b`} {
		if err := o.Create(name, write("x")); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, ".", "/"} {
		if o, err := NewOutputDir(dir); err == nil {
			o.Abort()
			t.Errorf("%q is accepted", dir)
		}
	}
}

func exampleProfile(order []int) *Profile {
	p := NewProfile(Value{"cycles", "cycles"}, Value{"instructions", "count"})
	root := Frame{"dma_map_phys", "kernel/dma/mapping.c", 152}
	adds := []func(){
		func() { p.Add([]Frame{root}, []int64{100, 74}, Dim{"variant", "map_phys@7.3"}) },
		func() {
			p.Add([]Frame{root, {"iommu_dma_map_phys", "drivers/iommu/dma-iommu.c", 1200}}, []int64{40, 30}, Dim{"variant", "map_phys@7.3"}, Dim{"cpu", "0"})
		},
		func() {
			p.Add([]Frame{root, {"iommu_dma_map_phys", "drivers/iommu/dma-iommu.c", 1200}}, []int64{2, 1}, Dim{"variant", "map_phys@7.3"}, Dim{"cpu", "0"})
		},
		func() { p.Add([]Frame{{"nvme_queue_rq", "", 0}, root}, []int64{7, 5}) },
	}
	for _, i := range order {
		adds[i]()
	}
	return p
}

func TestProfileRoundTrip(t *testing.T) {
	p := exampleProfile([]int{0, 1, 2, 3})
	var b bytes.Buffer
	if err := p.Write(&b, "dmapath compare"); err != nil {
		t.Fatal(err)
	}
	raw := append([]byte(nil), b.Bytes()...)
	got, err := profile.Parse(&b)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Sample) != 3 || got.DefaultSampleType != "cycles" || len(got.Function) != 3 {
		t.Fatalf("%d samples, %d functions, default %q", len(got.Sample), len(got.Function), got.DefaultSampleType)
	}
	if want := []int64{149, 110}; !reflect.DeepEqual(p.Total(), want) {
		t.Errorf("total %v, want %v", p.Total(), want)
	}
	var sum int64
	for _, s := range got.Sample {
		sum += s.Value[0]
		if s.Location[0].Line[0].Function.Name == "iommu_dma_map_phys" && (s.Value[0] != 42 || s.Label["cpu"][0] != "0" || s.Location[0].Line[0].Line != 1200) {
			t.Errorf("merged sample %+v", s)
		}
	}
	if sum != 149 {
		t.Errorf("sum %d", sum)
	}
	var again bytes.Buffer
	if err := exampleProfile([]int{3, 2, 0, 1}).Write(&again, "dmapath compare"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, again.Bytes()) {
		t.Error("two profiles of the same costs, added in another order, differ")
	}
}

func TestVersion(t *testing.T) {
	set := func(kv ...string) (s []debug.BuildSetting) {
		for i := 0; i < len(kv); i += 2 {
			s = append(s, debug.BuildSetting{Key: kv[i], Value: kv[i+1]})
		}
		return s
	}
	for _, c := range []struct {
		bi   debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"}, {debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "(devel)"},
		{debug.BuildInfo{}, "(devel)"},
		{debug.BuildInfo{Settings: set("vcs.revision", "0123456789abcdef", "vcs.modified", "true")}, "0123456789ab+dirty"},
		{debug.BuildInfo{Settings: set("vcs.revision", "0123456789abcdef", "vcs.modified", "false")}, "0123456789ab"},
	} {
		if got := buildOf(&c.bi).Version; got != c.want {
			t.Errorf("%+v: %s, want %s", c.bi, got, c.want)
		}
	}
	b := Build{Version: "v1.2.3", Revision: "0123456789abcdef", Modified: true, Go: "go1.26.1", Platform: "linux/arm64"}
	if got, want := b.String(), "dmapath v1.2.3 (revision 0123456789ab, modified, go1.26.1, linux/arm64)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := (Build{Version: Development, Go: "go1.26.1", Platform: "linux/amd64"}).String(), "dmapath (devel) (go1.26.1, linux/amd64)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
