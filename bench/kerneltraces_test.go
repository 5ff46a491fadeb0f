package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dmapath/results"
)

const recordedDir = "testdata/kernel-traces"

// validated is the comparison with the recordings under testdata, made once.
var validated = sync.OnceValues(func() (*Validation, error) {
	k, err := ReadKernelTraces(recordedDir)
	if err != nil {
		return nil, err
	}
	return k.Validate(context.Background(), recordedDir, 2)
})

// Every recorded call that the model knows is within 10 % in instructions, loads and stores, and within 2 or 10 % in lines.
func TestModelWithinToleranceOfRecordings(t *testing.T) {
	v, err := validated()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range v.Results {
		if r.Modelled != nil && r.Judged() && !r.Within() {
			t.Errorf("%v: %v miss: modelled %v, recorded %v", r.CallKey, r.Misses, r.Modelled.Counts, r.Counts)
		}
		if r.Reason != nil {
			t.Errorf("%v is not modelled: %v", r.CallKey, r.Reason)
		}
	}
	if n := v.Tally(""); n.Within < 380 || n.Rows != n.Within+n.Miss+n.Unmodelled {
		t.Errorf("%+v: want at least 380 rows within", n)
	}
}

// Counts that follow from what is stored where, not from code generation, are exact: table entries and flushed lines.
func TestModelWritesTheRecordedTableEntries(t *testing.T) {
	v, err := validated()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range v.Results {
		if r.Modelled == nil || !r.Judged() {
			continue
		}
		for _, m := range []Metric{PTEsWritten, LineFlushes} {
			if r.Modelled.Counts[m] != r.Counts[m] {
				t.Errorf("%v: %d %v, recorded %d", r.CallKey, r.Modelled.Counts[m], m, r.Counts[m])
			}
		}
	}
}

// Bursts and first calls leave the common path as the real kernel does.
func TestModelTakesTheRecordedPaths(t *testing.T) {
	v, err := validated()
	if err != nil {
		t.Fatal(err)
	}
	n := v.paths("")
	if n.Rows == 0 || float64(n.Within) < 0.75*float64(n.Rows) {
		t.Errorf("%+v: want three quarters of the paths within", n)
	}
	for _, r := range v.Results {
		for _, p := range r.Paths {
			if p.Number == 0 && !p.Within {
				t.Errorf("%v: %d instructions on the most common path, recorded %d to %d", r.CallKey, p.Instructions, p.Min, p.Max)
			}
		}
	}
}

// The record names every row in every format, and tables stay within 80 columns.
func TestValidationRecord(t *testing.T) {
	v, err := validated()
	if err != nil {
		t.Fatal(err)
	}
	rec := v.Record()
	for _, f := range []results.Format{results.ASCII, results.Markdown, results.CSV, results.JSON, results.Bench} {
		var b bytes.Buffer
		if err := rec.Write(&b, f); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		for _, want := range []string{"unmap_phys_mmio", "swiotlb-force", "iova_destroy"} {
			if f != results.Bench && !strings.Contains(b.String(), want) {
				t.Errorf("%s: no %s", f, want)
			}
		}
		if f != results.ASCII {
			continue
		}
		for _, l := range strings.Split(b.String(), "\n") {
			if len(l) > results.Width {
				t.Errorf("line of %d columns: %s", len(l), l)
			}
		}
		if n := v.Tally(""); !strings.Contains(b.String(), fmt.Sprintf("%d rows, %d within, %d miss, %d not modelled.", n.Rows, n.Within, n.Miss, n.Unmodelled)) {
			t.Error("no summary line")
		}
	}
}

// The comparison is the same with any number of workers.
func TestValidationIsDeterministic(t *testing.T) {
	dir := write(t, map[string]string{"summary.csv": heading + "6.12,iommu-lazy,map_page,2097152,0,1159,259,170,32\n7.3,iommu-strict,unmap_phys,65536,0,1,1,1,1\n7.3,direct,map_phys,4096,0,144,37,22,9\n"})
	var out [2]bytes.Buffer
	for i := range out {
		k, err := ReadKernelTraces(dir)
		if err != nil {
			t.Fatal(err)
		}
		v, err := k.Validate(context.Background(), "dir", i+1)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Record().Write(&out[i], results.CSV); err != nil {
			t.Fatal(err)
		}
	}
	if out[0].String() != out[1].String() {
		t.Error("one worker and two give different bytes")
	}
}

// A comparison that is interrupted ends with the context's error.
func TestValidationIsInterrupted(t *testing.T) {
	k, err := ReadKernelTraces(recordedDir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.Validate(ctx, "", 2); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

const heading = "kernel,backend,api,size,call_index,instructions,loads,stores,distinct_cachelines_nostack\n"

func write(t testing.TB, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Every size and backend that a recording might have is modelled or refused with a reason.
func TestAnySizeAndBackendIsModelled(t *testing.T) {
	var b strings.Builder
	b.WriteString(heading)
	sizes := []uint64{1, 4095, 8 << 10, 64 << 10, 3 << 20}
	for _, kern := range []string{"6.12", "7.3"} {
		for _, backend := range []string{"direct", "iommu-strict", "iommu-lazy-nc", "iommu-passthrough-mitig"} {
			for _, size := range sizes {
				for _, api := range []string{"map_page", "unmap_page", "cold_map_page", "unmap_resource", "sync_single_for_cpu"} {
					fmt.Fprintf(&b, "%s,%s,%s,%d,0,100,10,10,10\n", kern, backend, api, size)
				}
			}
		}
	}
	for _, size := range sizes {
		fmt.Fprintf(&b, "7.3,iommu-lazy,iova_unlink,%d,0,100,10,10,10\n7.3,iommu-strict,iova_free,%d,0,100,10,10,10\n7.3,iommu-strict,map_phys_mmio,%d,0,100,10,10,10\n",
			size, size, size)
	}
	k, err := ReadKernelTraces(write(t, map[string]string{"summary.csv": b.String()}))
	if err != nil {
		t.Fatal(err)
	}
	v, err := k.Validate(context.Background(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range v.Results {
		if r.Modelled == nil {
			t.Errorf("%v: %v", r.CallKey, r.Reason)
		} else if r.API == "map_page" && strings.HasPrefix(r.Backend, "iommu-s") {
			pages := int(r.Size+4095) / 4096
			if r.Size >= 2<<20 {
				pages = int(r.Size>>21) + int(r.Size%(2<<20)+4095)/4096
			}
			if got := r.Modelled.Counts[PTEsWritten]; got != pages {
				t.Errorf("%v: %d table entries written, want %d", r.CallKey, got, pages)
			}
		}
	}
}

func TestReasonsForWhatIsNotModelled(t *testing.T) {
	for _, c := range []struct{ row, want string }{
		{"6.12-arm64,direct,page_address,0", "one store"},
		{"5.10,direct,map_page,4096", "5.10"},
		{"7.3,amd-strict,map_page,4096", "backend amd-strict"},
		{"6.12,direct,map_phys,4096", "6.12 has no dma_map_phys"},
		{"6.12,iommu-strict,iova_link,4096", "6.12 has no dma_iova_link"},
		{"7.3,direct,iova_link,4096", "refuses"},
		{"7.3,direct,map_sg,4096", "map_sg"},
		{"7.3,direct,map_page,0", "size of 0"},
		{"7.3,direct,map_page,99999999999", "contiguous"},
		{"7.3,direct,burst_pfn_valid_ram,0", "burst"},
	} {
		k, err := ReadKernelTraces(write(t, map[string]string{"summary.csv": heading + c.row + ",0,10,1,1,1\n"}))
		if err != nil {
			t.Fatal(err)
		}
		v, err := k.Validate(context.Background(), "", 1)
		if err != nil {
			t.Fatal(err)
		}
		r := v.Results[0]
		if r.Reason == nil || !strings.Contains(r.Reason.Error(), c.want) {
			t.Errorf("%s: reason %v, want one with %q", c.row, r.Reason, c.want)
		}
	}
}

// Bad input is named with file and line, and with what was wanted.
func TestBadRecordingsAreRefused(t *testing.T) {
	good := heading + "6.12,direct,map_page,4096,0,74,21,8,9\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"nothing":          {nil, []string{"no summary.csv", "instructions"}},
		"empty":            {map[string]string{"summary.csv": ""}, []string{"summary.csv:1", "empty"}},
		"heading alone":    {map[string]string{"summary.csv": heading}, []string{"summary.csv", "no recorded call"}},
		"missing columns":  {map[string]string{"summary.csv": "kernel,backend,api,size,loads\n"}, []string{"summary.csv:1", "instructions, stores"}},
		"column twice":     {map[string]string{"summary.csv": "kernel,kernel\n"}, []string{"summary.csv:1", "twice"}},
		"bad numbers":      {map[string]string{"summary.csv": good + "6.12,direct,map_page,x,0,74,21,8,9\n6.12,direct,map_page,4096,0,-1,21,8,9\n"}, []string{"summary.csv:3: size", "summary.csv:4: instructions"}},
		"empty name":       {map[string]string{"summary.csv": good + "6.12,,map_page,4096,0,74,21,8,9\n"}, []string{"summary.csv:3: backend is empty"}},
		"short line":       {map[string]string{"summary.csv": good + "6.12,direct\n"}, []string{"summary.csv:3", "fields"}},
		"open quote":       {map[string]string{"summary.csv": good + "\"6.12,direct\n"}, []string{"summary.csv:"}},
		"functions":        {map[string]string{"summary.csv": good, "functions.csv": "kernel,backend,api,size,function\n"}, []string{"functions.csv:1", "self_loads"}},
		"function's count": {map[string]string{"summary.csv": good, "functions.csv": "kernel,backend,api,size,function,self_instructions,self_loads,self_stores,calls\n6.12,direct,map_page,4096,f,1,2,x,1\n"}, []string{"functions.csv:2: self_stores"}},
		"variants":         {map[string]string{"summary.csv": good, "variants.csv": "kernel\n"}, []string{"variants.csv:1", "min_instructions"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, c.files)
			_, err := ReadKernelTraces(dir)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v: want %q in it", err, w)
				}
			}
		})
	}
	if _, err := ReadKernelTraces(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("a directory that is not there: %v", err)
	}
}

// A steps file stands in for functions.csv, and reads the same.
func TestStepsStandInForFunctions(t *testing.T) {
	const steps = "seq,symbol,class,br,mem,obj\n0,f.isra.0+0,nop,,,\n1,+4,rmw,,r1+0:8 w1+0:8,\n2,+8,call,,w2+0:8,\n3,g [mod]+0,ret,,r2+0:8,\n4,f.isra.0+c,ret,,r3+0:8,\n"
	dir := write(t, map[string]string{"summary.csv": heading + "6.12,direct,map_page,4096,0,5,3,2,1\n"})
	if err := os.Mkdir(filepath.Join(dir, "steps"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "steps", "6.12__direct__map_page__4096.csv")
	if err := os.WriteFile(file, []byte(steps), 0o644); err != nil {
		t.Fatal(err)
	}
	k, err := ReadKernelTraces(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"f 1 4 2 2", "g 1 1 1 0"}
	for i, f := range k.Calls[0].Functions {
		if got := fmt.Sprint(f.Name, " ", f.Calls, " ", f.Instructions, " ", f.Loads, " ", f.Stores); i >= len(want) || got != want[i] {
			t.Errorf("%s, want %v", got, want)
		}
	}
	if err := os.WriteFile(file, []byte("seq,symbol,mem\n0,+4,\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKernelTraces(dir); err == nil || !strings.Contains(err.Error(), "4096.csv:2: symbol") {
		t.Errorf("a step without a function: %v", err)
	}
}

// Of calls that are all different none is typical, and what a slab's refill added to one is not in the mean.
func TestRepresentative(t *testing.T) {
	for _, c := range []struct {
		n    []int
		want int
		typ  bool
	}{{[]int{5}, 0, true}, {[]int{9, 7, 7, 9, 7}, 4, true}, {[]int{1, 2, 1, 2}, 2, true}, {[]int{4, 5, 6, 7}, 0, false}} {
		if got := representative(c.n); got != c.want {
			t.Errorf("%v: call %d, want %d", c.n, got, c.want)
		}
		if got := typical(c.n); got != c.typ {
			t.Errorf("%v: typical %v, want %v", c.n, got, c.typ)
		}
	}
	if m := means([]Counts{{Instructions: 10}, {Instructions: 12}, {Instructions: 13}, {Instructions: 4000}}); m[Instructions] != 13 {
		t.Errorf("mean %d, want 13, of 12 and 13 rounded up", m[Instructions])
	}
}

func FuzzReadKernelTraces(f *testing.F) {
	f.Add([]byte(heading+"6.12,direct,map_page,4096,0,74,21,8,9\n"), []byte(""), []byte(""))
	f.Add([]byte("\ufeff"+heading), []byte("kernel,backend,api,size,function,self_instructions,self_loads,self_stores,calls\n"), []byte("\"\n"))
	f.Fuzz(func(t *testing.T, summary, functions, variants []byte) {
		k := &KernelTraces{index: map[CallKey]*RecordedCall{}}
		if err := k.readSummary("summary.csv", bytes.NewReader(summary)); err != nil {
			return
		}
		_ = k.readFunctions("functions.csv", bytes.NewReader(functions))
		_ = k.readVariants("variants.csv", bytes.NewReader(variants))
		for _, c := range k.Calls {
			if c.Of > 0 && (c.Counts[Instructions] < c.Min || c.Counts[Instructions] > c.Max) {
				t.Errorf("%v: %d instructions stand for calls of %d to %d", c.CallKey, c.Counts[Instructions], c.Min, c.Max)
			}
		}
	})
}
