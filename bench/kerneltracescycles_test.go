package bench

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/workloads/recorded"
)

// stepsOf makes a directory of one call whose steps are text.
func stepsOf(t *testing.T, text string) *KernelTraces {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("summary.csv", "kernel,backend,api,size,call_index,instructions,loads,stores\n6.12,direct,map_page,4096,0,74,21,8\n")
	write("steps/6.12__direct__map_page__4096.csv", text)
	k, err := ReadKernelTraces(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const stepsHead = "seq,symbol,class,br,mem,obj,addr_dep,src_dep,mem_dep\n"

var mapPage = CallKey{"6.12", "direct", "map_page", 4096}

// A stream compared with itself takes the same time in every state; a longer chain takes longer, by what it is longer.
func TestCyclesOfTheSameStream(t *testing.T) {
	text := stepsHead + "0,dma_map_page_attrs+0,load,,r0+0:8,slab:a,-1,,\n1,+4,load,,r1+8:8,slab:b,0,,\n2,+8,alu,,,,,1,\n3,+c,ret,,r2+0:8,stack,,,\n"
	k := stepsOf(t, text)
	cond, err := parseConditions("6.12", "direct")
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := cond.machine()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	rec, ok, err := k.steps(mapPage, recorded.MemoryOf(m))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	same, err := k.cycles(cond, mapPage, rec.Ops)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range States {
		if same.Modelled[i] != same.Recorded[i] || !same.Within(i) {
			t.Errorf("%s: the same stream takes %v and %v cycles", s, same.Modelled[i], same.Recorded[i])
		}
	}
	if same.Modelled[0] > same.Modelled[1] || same.Modelled[1] >= same.Modelled[2] {
		t.Errorf("hot, warm and cold take %v cycles", same.Modelled)
	}
	chain := append([]cpu.Op{}, rec.Ops[:3]...)
	for i := range 50 {
		chain = append(chain, cpu.Op{PC: rec.Ops[2].PC + uint32(4*i), Fn: recordedText.ID, Class: cpu.ALU, Dep1: 1})
	}
	longer, err := k.cycles(cond, mapPage, append(chain, rec.Ops[3]))
	if err != nil {
		t.Fatal(err)
	}
	if d := longer.Modelled[0] - same.Modelled[0]; d < 45 || d > 55 || longer.Within(0) {
		t.Errorf("50 dependent operations more take %v cycles more", d)
	}
}

// The modelled calls against the recordings that travel with the program, on hot caches, where chance has no part.
func TestHotCyclesOfRecordedCalls(t *testing.T) {
	for _, call := range []string{"6.12 iommu-strict map_page", "6.12 iommu-strict unmap_page", "7.3 iommu-strict map_phys", "7.3 iommu-strict unmap_phys", "7.3 direct map_phys"} {
		f := strings.Fields(call)
		key := CallKey{f[0], f[1], f[2], 4096}
		cond, err := parseConditions(key.Kernel, key.Backend)
		if err != nil {
			t.Fatal(err)
		}
		cond.keep = true
		fam, err := familyOf(cond, key)
		if err != nil {
			t.Fatal(err)
		}
		calls, err := model(context.Background(), cond, fam)
		if err != nil {
			t.Fatal(err)
		}
		k := &KernelTraces{fsys: stepsFS{}}
		c, err := k.cycles(cond, key, calls[key.API][0].ops)
		if err != nil || c == nil {
			t.Fatal(call, c, err)
		}
		t.Logf("%s: modelled %v, recorded %v", call, c.Modelled, c.Recorded)
		if !c.Within(0) {
			t.Errorf("%s: %v cycles, recorded %v", call, c.Modelled[0], c.Recorded[0])
		}
	}
}

// What a steps file can be wrong in is an error of the call, with file and line, and never a panic.
func TestDamagedSteps(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{stepsHead + "0,f,alu,,,,,,\n", "6.12__direct__map_page__4096.csv:2: symbol"},
		{stepsHead + "0,f+3ffff,alu,,,,,,\n1,g+3ffff,alu,,,,,,\n2,h+3ffff,alu,,,,,,\n3,i+3ffff,alu,,,,,,\n", "bytes of text"},
		{stepsHead + "0,f+0,alu,,,,,,\n1,+4,jump,,,,,,\n", "class is"},
		{stepsHead, "no instructions"},
		{"seq,klass\n", "symbol"},
	} {
		dir := t.TempDir()
		os.Mkdir(filepath.Join(dir, "steps"), 0o755)
		os.WriteFile(filepath.Join(dir, "steps", "6.12__direct__map_page__4096.csv"), []byte(c.text), 0o644)
		k := &KernelTraces{fsys: os.DirFS(dir), name: dir}
		cond, _ := parseConditions("6.12", "direct")
		if _, err := k.cycles(cond, mapPage, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// stepsFS is the steps that travel with the program, as a directory of kernel traces has them.
type stepsFS struct{}

func (stepsFS) Open(name string) (fs.File, error) {
	return recorded.Steps().Open(strings.TrimPrefix(name, "steps/"))
}
