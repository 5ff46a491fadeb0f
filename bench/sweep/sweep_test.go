package sweep

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dmapath/bench"
	"dmapath/platform"
)

// childDir makes the test binary run the sweep of plan(t) there and end: the process that TestKilled kills.
const childDir = "DMAPATH_TEST_SWEEP"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		p, err := newPlan("iommu.iotlb.entries=16..128*2", "iommu.walkers=1,2,999,4")
		if err == nil {
			_, err = runAt(dir, p, Shard{}, 1)
		}
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newPlan is a small sweep of map-benchmark.
func newPlan(axes ...string) (*Plan, error) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		return nil, err
	}
	x := bench.Default()
	x.Workloads, x.Variants, x.Backends, x.Caches = []string{"map-benchmark"}, []string{"map_phys@7.3"}, []string{"iommu-strict"}, []string{"hot"}
	x.Operations = 64
	p := &Plan{Platform: s, Experiment: x, Method: Grid, Seed: 1}
	for _, text := range axes {
		a, err := ParseAxis(text)
		if err != nil {
			return nil, err
		}
		p.Axes = append(p.Axes, a)
	}
	return p, p.Check()
}

func plan(t *testing.T, axes ...string) *Plan {
	t.Helper()
	p, err := newPlan(axes...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func runAt(dir string, p *Plan, sh Shard, jobs int) (Status, error) {
	s, err := Open(dir, p)
	if err != nil {
		return Status{}, err
	}
	return Run(context.Background(), s, sh, jobs, nil)
}

// files reads a directory, without what a killed run leaves behind.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".tmp-") {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		m[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s differs", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

func TestAxes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"k=8", "8"},
		{"k=1,8,64", "1 8 64"},
		{"k=on,off", "on off"},
		{"k=1..4", "1 2 3 4"},
		{"k=0..64+16", "0 16 32 48 64"},
		{"k=0..60+16", "0 16 32 48"},
		{"k=16..128*2", "16 32 64 128"},
		{"k=16..100*2", "16 32 64"},
		{"k=4KiB..64KiB*4", "4KiB 16KiB 64KiB"},
		{"k=512KiB..2MiB*2", "524288B 1048576B 2097152B"},
		{"k=10ns..30ns+10ns", "10ns 20ns 30ns"},
		{"k=500ps..1ns+250", "500ps 750ps 1000ps"},
		{"k=1.5..2+0.25", "1.5 1.75 2"},
		{"k=1,16..64*2,100", "1 16 32 64 100"},
	} {
		a, err := ParseAxis(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := strings.Join(a.values, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
}

func TestAxesThatAreNone(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"k", "want KEY=VALUES"},
		{"=1", "want KEY=VALUES"},
		{"k=1,,2", "empty element"},
		{"k=1,1", "the value 1 is there twice"},
		{"k=8..1", "the first end is not below the second"},
		{"k=1..2*1", "leads nowhere"},
		{"k=1..2+0", "leads nowhere"},
		{"k=0..8*2", "begins above 0"},
		{"k=a..b", "numbers with a unit"},
		{"k=4KiB..8ns", "do not go together"},
		{"k=1..9999999", "more than 1000000 values"},
		{"k=1,1.5..2.5", "stands alone"},
		{"k=1..", "is no range"},
	} {
		if _, err := ParseAxis(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.text, err, c.want)
		}
	}
}

// Random points lie in their ranges; a Latin hypercube has one point in each of as many strips of every axis as there are points.
func TestSamples(t *testing.T) {
	p := plan(t, "dram.overhead=60ns..159ns", "iommu.walkers=1,2,4,8", "iommu.iotlb.entries=16..4096*")
	p.Method, p.Samples = LHS, 100
	points, err := p.Points()
	if err != nil {
		t.Fatal(err)
	}
	var strips, walkers [100]int
	var small int
	for _, pt := range points {
		var ns float64
		for _, r := range strings.TrimSuffix(pt.Values[0], "ns") {
			ns = ns*10 + float64(r-'0')
		}
		if ns < 60 || ns > 159 {
			t.Fatalf("dram.overhead is %s", pt.Values[0])
		}
		strips[int(ns)-60]++
		walkers[pt.Values[1][0]-'0']++
		if len(pt.Values[2]) <= 3 && pt.Values[2] < "256" || len(pt.Values[2]) == 2 {
			small++
		}
	}
	for i, n := range strips {
		if n != 1 {
			t.Errorf("strip %d of dram.overhead has %d points, want 1", i, n)
		}
	}
	for _, w := range []int{1, 2, 4, 8} {
		if walkers[w] != 25 {
			t.Errorf("%d walkers: %d points, want 25 of 100", w, walkers[w])
		}
	}
	if small < 45 || small > 55 { // half of the logarithm lies below 256
		t.Errorf("%d of 100 points have fewer than 256 entries, want about half", small)
	}
	again, _ := p.Points()
	if !slices.EqualFunc(points, again, func(a, b Point) bool { return slices.Equal(a.Values, b.Values) }) {
		t.Error("the same seed gives other points")
	}
}

func TestPlansThatAreNone(t *testing.T) {
	for _, c := range []struct {
		axes []string
		want string
	}{
		{nil, "nothing is varied"},
		{[]string{"iommu.walkers=1,2", "iommu.walkers=3,4"}, "iommu.walkers is given twice"},
		{[]string{"iommu.walker=1,2"}, "did you mean"},
		{[]string{"workload.nvme.depth=1,2"}, "there is no workload.nvme.depth"},
	} {
		if _, err := newPlan(c.axes...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.axes, err, c.want)
		}
	}
	p := plan(t, "dram.overhead=60ns..70ns*")
	if _, err := p.Points(); err == nil || !strings.Contains(err.Error(), "a grid needs 60ns..70ns+STEP") {
		t.Errorf("a grid without steps: %v", err)
	}
}

// A plan that was written down reads as the same plan.
func TestPlanSurvivesItsManifest(t *testing.T) {
	p := plan(t, "platform=icelake-sp,genoa", "workload.map_benchmark.threads=1,2", "iommu.walkers=1..3")
	p.Method, p.Samples, p.Seed, p.Sets = LHS, 5, 1<<63, []string{"iommu.iotlb.entries=64"}
	q, err := FromManifest("m", p.Manifest())
	if err != nil {
		t.Fatal(err)
	}
	if p.Manifest().Hash() != q.Manifest().Hash() {
		t.Error("the plan read back is another")
	}
}

// The bytes do not depend on the number of workers, on shards, or on interruptions; a point that cannot be is recorded.
func TestSweepIsTheSameHoweverItRan(t *testing.T) {
	dir := t.TempDir()
	axes := []string{"iommu.iotlb.entries=16..128*2", "iommu.walkers=1,2,999,4"}
	whole := filepath.Join(dir, "whole")
	st, err := runAt(whole, plan(t, axes...), Shard{}, 2)
	if err != nil || st.Done != 16 || st.Failed != 4 || st.Fresh != 16 {
		t.Fatalf("%+v, %v", st, err)
	}
	want := files(t, whole)
	if !strings.Contains(want[failedFile], "2,16,999,") || strings.Count(want[failedFile], "\n") != 5 {
		t.Errorf("failures:\n%s", want[failedFile])
	}
	if n := strings.Count(want[resultsFile], ",map_mean_cycles,"); n != 12 {
		t.Errorf("%d points in %s, want 12", n, resultsFile)
	}
	t.Run("one worker", func(t *testing.T) {
		one := filepath.Join(dir, "one")
		if _, err := runAt(one, plan(t, axes...), Shard{}, 1); err != nil {
			t.Fatal(err)
		}
		same(t, files(t, one), want)
	})
	t.Run("again", func(t *testing.T) {
		st, err := runAt(whole, plan(t, axes...), Shard{}, 2)
		if err != nil || st.Fresh != 0 || st.Done != 16 {
			t.Fatalf("%+v, %v", st, err)
		}
		same(t, files(t, whole), want)
	})
	t.Run("shards", func(t *testing.T) {
		var parts []string
		for i := range 3 {
			parts = append(parts, filepath.Join(dir, "part"+string(rune('1'+i))))
			if _, err := runAt(parts[i], plan(t, axes...), Shard{i, 3}, 2); err != nil {
				t.Fatal(err)
			}
		}
		merged := filepath.Join(dir, "merged")
		if _, err := Merge(merged, parts[:2]); err == nil || !strings.Contains(err.Error(), "5 of 16 points are in none of the directories: 2, 5, 8, 11, 14") {
			t.Errorf("without the third part: %v", err)
		}
		if _, err := os.Stat(filepath.Join(merged, "manifest.yaml")); err == nil {
			t.Error("an incomplete sweep has a manifest")
		}
		if _, err := Merge(merged, parts); err != nil {
			t.Fatal(err)
		}
		same(t, files(t, merged), want)

		// The same point twice is fine; the same point with another result is not.
		if _, err := Merge(merged, append(parts, parts[0])); err != nil {
			t.Error(err)
		}
		bad := filepath.Join(parts[1], "points", "000", "000001.csv")
		text, _ := os.ReadFile(bad)
		if err := os.WriteFile(bad, append(text, text[strings.LastIndexByte(strings.TrimSpace(string(text)), '\n')+1:]...), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Merge(merged, parts); err == nil || !strings.Contains(err.Error(), "point 1 differs between") {
			t.Errorf("a point that differs: %v", err)
		}
		if err := os.WriteFile(bad, []byte("nonsense"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Merge(filepath.Join(dir, "other"), parts); err == nil || !strings.Contains(err.Error(), "000001.csv") {
			t.Errorf("a point that does not read: %v", err)
		}
	})
	t.Run("another plan", func(t *testing.T) {
		if _, err := Open(whole, plan(t, "iommu.walkers=1,2")); err == nil || !strings.Contains(err.Error(), "holds another sweep") {
			t.Errorf("error: %v", err)
		}
		if _, err := Open(dir, plan(t, "iommu.walkers=1,2")); err == nil || !strings.Contains(err.Error(), "not empty and not a sweep") {
			t.Errorf("error: %v", err)
		}
	})
}

// A sweep that was killed in the middle, with no chance to tidy up, is continued.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	killed := filepath.Join(dir, "killed")
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childDir+"="+killed)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 10_000 { // until the second point is there
		if _, err := os.Stat(filepath.Join(killed, "points", "000", "000001.csv")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	axes := []string{"iommu.iotlb.entries=16..128*2", "iommu.walkers=1,2,999,4"}
	st, err := runAt(killed, plan(t, axes...), Shard{}, 2)
	if err != nil || st.Done != 16 {
		t.Fatalf("%+v, %v", st, err)
	}
	whole := filepath.Join(dir, "whole")
	if _, err := runAt(whole, plan(t, axes...), Shard{}, 2); err != nil {
		t.Fatal(err)
	}
	same(t, files(t, killed), files(t, whole))
}

func FuzzParseAxis(f *testing.F) {
	for _, s := range []string{"k=1..8", "k=4KiB..1MiB*2", "k=a,b", "k=1..*", "k=-5..5+0.5", "k=1ns..1us*10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAxis(text)
		if err != nil {
			return
		}
		for _, u := range []float64{0, 0.5, 0.999999} {
			if a.At(u) == "" {
				t.Fatalf("%q has no value at %v", text, u)
			}
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("set:\n  iommu.walkers: [1, 2]\n  a.b: 1..2\nworkload: [nvme]\n"))
	f.Add([]byte("set: {a: {b: c}}"))
	f.Fuzz(func(t *testing.T, data []byte) { ParseFile("f", data) })
}
