package page

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dmapath/results"
)

// TestRead: what a directory holds, in the order of names.
func TestRead(t *testing.T) {
	dir := directory(t, manifestOf(), map[string]*results.Record{"compare.json": example()})
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("trace.json", `{"displayTimeUnit": "ns", "traceEvents": []}`)
	write("list.json", `[1, 2]`)
	write("note.txt", "hello")
	write(".hidden.json", "not read")
	write("compare.csv", "not,read,because,of,compare.json\n")
	write("samples.csv", "sample,iommu.walkers\n0,4\n")
	write("a.csv", "point,variant,metric,unit,value,ci95,n\n0,map_page@6.12,map_mean_cycles,cycles,12,,5\n")
	d, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, s := range d.Sources {
		files = append(files, s.File)
	}
	if want := []string{"a.csv", "compare.json"}; !slices.Equal(files, want) {
		t.Errorf("read %v, want %v", files, want)
	}
	if m := d.Sources[0].Document.Measurements; len(m) != 1 || m[0].Metric != "map_mean_cycles" || *m[0].Value != 12 || d.Sources[0].Document.Seed != 7 {
		t.Errorf("a.csv is %+v", d.Sources[0].Document)
	}
	if want := []string{"list.json", "trace.json"}; !slices.Equal(d.Skipped, want) {
		t.Errorf("skipped %v, want %v", d.Skipped, want)
	}
	if d.Manifest == nil || !slices.Equal(d.Checked, []string{"compare.json"}) || d.Missing != nil {
		t.Errorf("checked %v, missing %v", d.Checked, d.Missing)
	}
}

// TestReadRefuses: every mistake is named with its file.
func TestReadRefuses(t *testing.T) {
	change := func(name string, f func(string) string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			old, err := os.ReadFile(path)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(f(string(old))), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := func(s string) func(string) string { return func(string) string { return s } }
	for name, c := range map[string]struct {
		do  func(*testing.T, string)
		why []string
	}{
		"a byte changed":      {change("compare.json", func(s string) string { return strings.Replace(s, "iommu_map", "iommu_mop", 1) }), []string{"compare.json", "SHA-256", "changed after the run"}},
		"cut":                 {change("compare.json", func(s string) string { return s[:len(s)/2] }), []string{"compare.json", "bytes", "changed after the run"}},
		"longer":              {change("compare.json", func(s string) string { return s + " " }), []string{"compare.json", "at least"}},
		"gone":                {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "compare.json")) }, []string{"compare.json", "not there"}},
		"manifest edited":     {change("manifest.yaml", func(s string) string { return strings.Replace(s, "seed: 7", "seed: 8", 1) }), []string{"manifest.yaml", "config_hash"}},
		"manifest no YAML":    {change("manifest.yaml", text("{")), []string{"manifest.yaml"}},
		"manifest elsewhere":  {change("manifest.yaml", func(s string) string { return strings.Replace(s, `"compare.json"`, `"../x.json"`, 1) }), []string{"manifest.yaml", "not a file inside"}},
		"schema of later":     {change("b.json", text(`{"schema_version": 9}`)), []string{"b.json", "schema version 9"}},
		"unknown field":       {change("b.json", text(`{"schema_version": 1, "nmae": ""}`)), []string{"b.json", "nmae"}},
		"half a document":     {change("b.json", text(`{"schema_version": 1, "tool": "dmap`)), []string{"b.json", "reading results"}},
		"malformed CSV":       {change("b.csv", text("metric,unit,value,ci95,n\nx,y,z,0,0\n")), []string{"b.csv", "line 2"}},
		"a pipe":              {func(t *testing.T, dir string) { syscall.Mkfifo(filepath.Join(dir, "p.json"), 0o600) }, []string{"p.json", "not a regular file"}},
		"a folder for a file": {func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "p.json"), 0o700) }, []string{"p.json", "not a regular file"}},
		"too large": {func(t *testing.T, dir string) {
			change("b.json", text(`{"schema_version": 1,`))(t, dir)
			if err := os.Truncate(filepath.Join(dir, "b.json"), MaxDocument+1); err != nil {
				t.Fatal(err)
			}
		}, []string{"b.json", "64.0 MiB", "at most"}},
		"too many": {func(t *testing.T, dir string) {
			for i := range MaxDocuments {
				change("d"+string(rune('A'+i%26))+string(rune('a'+i/26))+".csv", text("metric,unit,value,ci95,n\n"))(t, dir)
			}
		}, []string{"more than 64"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := directory(t, manifestOf(), map[string]*results.Record{"compare.json": example()})
			c.do(t, dir)
			d, err := Read(dir)
			if err == nil {
				t.Fatalf("accepted: %d documents", len(d.Sources))
			}
			for _, w := range append(c.why, dir) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not say %q: %v", w, err)
				}
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a directory that is not there is read")
	}
	empty := t.TempDir()
	if _, err := Read(empty); err == nil || !strings.Contains(err.Error(), "no results document") {
		t.Errorf("empty: %v", err)
	}
	file := filepath.Join(empty, "x.json")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("file: %v", err)
	}
}

// TestMissingFiles: a file of another sort that was left out does not matter, and is told.
func TestMissingFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o, err := results.NewOutputDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"compare.json", "plots/a.svg"} {
		if err := o.Create(name, func(w io.Writer) error { return example().Write(w, results.JSON) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Commit(manifestOf()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "plots")); err != nil {
		t.Fatal(err)
	}
	d, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Missing, []string{"plots/a.svg"}) || !slices.Equal(d.Checked, []string{"compare.json"}) {
		t.Errorf("checked %v, missing %v", d.Checked, d.Missing)
	}
}
