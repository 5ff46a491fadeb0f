package sweep

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"dmapath/results"
)

// Whatever a point's file holds, a merge refuses it or writes results that can be read.
func FuzzMerge(f *testing.F) {
	p, err := newPlan("iommu.walkers=1,2")
	if err != nil {
		f.Fatal(err)
	}
	good := "point,iommu_walkers,call,metric,unit,value,ci95,n\n1,2,map,mean_cycles,cycles,1,,3\n"
	f.Add([]byte(good), []byte("why\n"), true)
	f.Add([]byte("metric,unit,value,ci95,n\n"), []byte(good), false)
	f.Add([]byte("a,b,c,d,e\n1,2,3,4,5\n"), []byte(""), false)
	f.Add([]byte("point,metric,unit,value,ci95,n\n\"1\n"), []byte("\x1b,\"\n"), true)
	f.Fuzz(func(t *testing.T, first, second []byte, failed bool) {
		dir := t.TempDir()
		part, whole := filepath.Join(dir, "part"), filepath.Join(dir, "whole")
		s, err := Open(part, p)
		if err != nil {
			t.Fatal(err)
		}
		ext := doneExt
		if failed {
			ext = failedExt
		}
		if err := os.MkdirAll(filepath.Dir(s.path(0, doneExt)), 0o755); err != nil {
			t.Fatal(err)
		}
		if os.WriteFile(s.path(0, doneExt), first, 0o644) != nil || os.WriteFile(s.path(1, ext), second, 0o644) != nil {
			t.Fatal("the points are not written")
		}
		st, err := Merge(whole, []string{part})
		if err != nil {
			if _, err := os.Stat(filepath.Join(whole, results.ManifestName)); err == nil {
				t.Fatal("a merge that failed is complete")
			}
			return
		}
		if st.Done != 2 || failed != (st.Failed == 1) {
			t.Fatalf("%+v", st)
		}
		data, err := os.ReadFile(filepath.Join(whole, resultsFile))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := results.ReadCSV(bytes.NewReader(data)); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
	})
}

// A plan that is read from the text of a manifest is written as a manifest that is the same plan.
func FuzzFromManifest(f *testing.F) {
	p, err := newPlan("iommu.walkers=1,2", "workload.seed=1..9")
	if err != nil {
		f.Fatal(err)
	}
	m := p.Manifest()
	for _, s := range m.Config[:2] {
		f.Add(s.Name, s.Text)
	}
	f.Add("sweep", "method: lhs\nsamples: 1000000\nseed: \"3\"\naxes:\n- dram.overhead=1ns..2ns\n")
	f.Add("sweep", "axes: [a=1..9, a=2]\n")
	f.Fuzz(func(t *testing.T, section, text string) {
		changed := *m
		changed.Config = append([]results.Section(nil), m.Config...)
		for i := range changed.Config {
			if changed.Config[i].Name == section {
				changed.Config[i].Text = text
			}
		}
		q, err := FromManifest("m.yaml", &changed)
		if err != nil {
			if !strings.Contains(err.Error(), "m.yaml") && strings.TrimSpace(err.Error()) == "" {
				t.Fatalf("an error that says nothing: %q", err)
			}
			return
		}
		again := q.Manifest()
		back, err := FromManifest("m.yaml", again)
		if err != nil {
			t.Fatalf("%v\n%s", err, again.Config[0].Text)
		}
		if !reflect.DeepEqual(back.Manifest(), again) {
			t.Fatalf("%+v\nreads as\n%+v", again, back.Manifest())
		}
	})
}

// The parts of a sweep are disjoint and are all of it.
func FuzzShard(f *testing.F) {
	f.Add(10, 3)
	f.Add(1, 1000)
	f.Fuzz(func(t *testing.T, total, of int) {
		if total < 0 || total > 1000 || of < 1 || of > 1000 {
			return
		}
		points := make([]Point, total)
		for i := range points {
			points[i].Index = i
		}
		seen := make([]int, total)
		for i := range of {
			for _, p := range (Shard{i, of}).Part(points) {
				seen[p.Index]++
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Fatalf("point %d of %d is in %d of %d parts", i, total, n, of)
			}
		}
	})
}
