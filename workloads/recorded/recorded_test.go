package recorded

import (
	"slices"
	"strings"
	"testing"

	"dmapath/cpu"
	"dmapath/kernel"
	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/workloads"
)

const header = "seq,symbol,class,br,mem,obj,addr_dep,src_dep,mem_dep\n"

var fnTest = cpu.NewFunc("recorded_test_function", "test", 4096)

// places is a memory in which every sort of memory has its own MiB.
var places = Layout{Static: 1 << 20, Slab: 2 << 20, Pages: 3 << 20, PerCPU: 4 << 20, Vmemmap: 5 << 20, Stack: 7 << 20}

func parse(text string) (*Recording, error) {
	at := places
	at.Func = func(s string) *cpu.Func {
		if s == "f" {
			return fnTest
		}
		return nil
	}
	return Parse(strings.NewReader(text), "t.csv", at)
}

// Objects lie in the region of their sort: variables packed line by line, others in pages of their own, the stack downwards; what is
// flushed is what was written last.
func TestWhereMemoryLies(t *testing.T) {
	r, err := parse(header +
		"0,f+0,load,,r0+0:8,percpu:a,,,\n" +
		"1,+4,load,,r1+0:8,percpu_dyn,,,\n" +
		"2,+8,load,,r2+0:8,data:x,,,\n" +
		"3,+c,load,,r3+0:8,slab:kmalloc-64#1,,,\n" +
		"4,+10,load,,r4+0:8,slab:kmalloc-64#2,,,\n" +
		"5,+14,load,,r5+0:8,vmemmap,,,\n" +
		"6,+18,store,,w6+8:8,pgtable_page,,,\n" +
		"7,+1c,store,,w7+0:8,stack,,,\n" +
		"8,+20,store,,w8+0:8,stack,,,\n" +
		"9,+24,flush,,,,,,\n")
	if err != nil {
		t.Fatal(err)
	}
	in := func(i int, base uint64) {
		t.Helper()
		if a := r.Ops[i].Addr; a < base || a >= base+1<<20 {
			t.Errorf("access %d goes to %#x, want the MiB of %#x", i, a, base)
		}
	}
	for i, base := range []uint64{places.PerCPU, places.PerCPU, places.Static, places.Slab, places.Slab, places.Vmemmap, places.Pages, places.Stack - 1<<20, places.Stack - 1<<20} {
		in(i, base)
	}
	if d := r.Ops[1].Addr - r.Ops[0].Addr; d != 64*packedStride {
		t.Errorf("per-CPU lines are %d bytes apart", d)
	}
	if a, b := r.Ops[3].Addr>>12, r.Ops[4].Addr>>12; a == b {
		t.Error("two objects share a page")
	}
	if a, b := r.Ops[7].Addr, r.Ops[8].Addr; b != a-64 {
		t.Errorf("the stack goes from %#x to %#x", a, b)
	}
	if f := r.Ops[9]; f.Addr != r.Ops[6].Addr&^63 || f.Size != 64 {
		t.Errorf("flushed: %+v", f)
	}
	if _, err := parse(header + "0,f+0,flush,,,,,,\n"); err == nil || !strings.Contains(err.Error(), "none was written") {
		t.Error(err)
	}
}

// One instruction after the other: classes, places, lines and dependences.
func TestParse(t *testing.T) {
	r, err := parse(header +
		"0,f+0,alu,,,,,,\n" +
		"1,+4,load,,r3+8:8,dev,0,,\n" +
		"2,+8,branch,T,,,,1;0,\n" +
		"3,+a,store,,w3+16:4,dev,-1,1,\n" +
		"4,+e,string,,w5+0:8 x6,buf,,,\n" +
		"5,+10,call,,w7+56:8,stack,,,\n" +
		"6,+20,mmio_wr,,w9+0:4,io,,3,\n" +
		"7,+24,ret,,r7+56:8,stack,,,\n" +
		"8,f+5,nop,,,,,,\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Ops) != 9 || len(r.MMIO) != 1 || r.MMIO[0] != 6 {
		t.Fatalf("%d ops, MMIO %v", len(r.Ops), r.MMIO)
	}
	ld, st := r.Ops[1], r.Ops[3]
	if ld.Class != cpu.Load || ld.PC != fnTest.PC+4 || ld.Dep1 != 1 || ld.Size != 8 || ld.Addr&63 != 8 {
		t.Errorf("load %+v", ld)
	}
	if st.Addr != ld.Addr+8 || st.Dep1 != 0 || st.Dep2 != 2 || st.Size != 4 {
		t.Errorf("store to the line of the load %+v: %+v", ld, st)
	}
	if br := r.Ops[2]; br.Flag&cpu.Taken == 0 || br.Dep2 != 1 { // the latest of two producers
		t.Errorf("branch %+v", br)
	}
	if s := r.Ops[4]; s.Size != 48 || s.Addr>>12 == ld.Addr>>12 {
		t.Errorf("string of six times 8 bytes, of another object: %+v", s)
	}
	if c := r.Ops[5]; c.Flag&cpu.Stack == 0 || c.Addr >= places.Stack {
		t.Errorf("call pushes to the stack: %+v", c)
	}
	if ret := r.Ops[7]; ret.Src != cpu.TextBase+uint64(fnTest.PC)+5 {
		t.Errorf("the return goes to %#x", ret.Src)
	}
}

// arm64's transfers of control touch no memory, and its pairs access two words.
func TestParseArm(t *testing.T) {
	r, err := parse(header +
		"0,f+0,store_pair,,w0+48:8 w0+56:8,stack,,,\n" +
		"1,+4,call,,,,,,\n" +
		"2,+40,zva,,,,,,\n" +
		"3,+44,call_ind,,,,,,\n" +
		"4,+80,ret,,,,,,\n" +
		"5,+48,load_pair,,r0+48:8 r0+56:8,stack,,,0\n")
	if err != nil {
		t.Fatal(err)
	}
	var classes []cpu.Class
	for _, o := range r.Ops {
		classes = append(classes, o.Class)
	}
	if want := []cpu.Class{cpu.Store, cpu.Link, cpu.Store, cpu.LinkInd, cpu.LinkRet, cpu.Load}; !slices.Equal(classes, want) {
		t.Errorf("classes %v, want %v", classes, want)
	}
	if p, l, z := r.Ops[0], r.Ops[5], r.Ops[2]; p.Size != 16 || l.Size != 16 || p.Addr != l.Addr || z.Size != 64 || z.Flag&cpu.Zva == 0 {
		t.Errorf("pairs %+v, %+v, dc zva %+v", p, l, z)
	}
	if ret := r.Ops[4]; ret.Addr != 0 || ret.Src != cpu.TextBase+uint64(fnTest.PC)+0x48 {
		t.Errorf("the return %+v", ret)
	}
}

// Errors name the line and what is wrong with it.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "t.csv"},
		{"seq,symbol\n", "t.csv"},
		{strings.Replace(header, "class", "klass", 1), `t.csv:1: column 3 is "klass", want "class"`},
		{header, "no instructions"},
		{header + "1,f+0,alu,,,,,,\n", `t.csv:2: seq is "1", want 0`},
		{header + "0,+0,alu,,,,,,\n", "t.csv:2: symbol"},
		{header + "0,f,alu,,,,,,\n", "t.csv:2: symbol"},
		{header + "0,f+xyz,alu,,,,,,\n", "not a hexadecimal"},
		{header + "0,g+0,alu,,,,,,\n", `function "g" has no place`},
		{header + "0,f+0,alu,,,,,,\n1,+4,jump,,,,,,\n", `t.csv:3: class is "jump"`},
		{header + "0,f+0,load,,x1+0:8,a,,,\n", "mem is"},
		{header + "0,f+0,load,,r1:8,a,,,\n", "mem is"},
		{header + "0,f+0,load,,r1+64:8,a,,,\n", "mem is"},
		{header + "0,f+0,load,,r1+0:0,a,,,\n", "mem is"},
		{header + "0,f+0,string,,w1+0:8 xy,a,,,\n", "mem is"},
		{header + "0,f+0,string,,w1+0:65535 x1000000,a,,,\n", "mem is"}, // more than a 32-bit size holds
		{header + "0,f+0,alu,,,,0,,\n", `dependence "0"`},
		{header + "0,f+0,alu,,,,,zero,\n", `dependence "zero"`},
		{header + "0,f+0,alu,,,\n", "t.csv"},
	} {
		if _, err := parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func machine(t *testing.T, preset string, v dma.Variant, b platform.Backend) (*platform.Machine, *platform.Device) {
	t.Helper()
	s, err := platform.Load(preset)
	if err != nil {
		t.Fatal(err)
	}
	m, err := platform.Build(s, platform.Options{Version: v.Version(), Backend: b, CPUs: 1, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	d, err := m.AddDevice("0000:01:00.0", 0x0100)
	if err != nil {
		t.Fatal(err)
	}
	return m, d
}

// Every embedded recording parses, stays inside of its memory and its functions, and has its place in the text.
func TestEveryRecordingParses(t *testing.T) {
	names := Names()
	if len(names) < 40 {
		t.Fatalf("%d recordings", len(names))
	}
	for _, n := range names {
		r, err := Load(n, places)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range r.Ops {
			if f := cpu.FuncByID(o.Fn); o.PC < f.PC || o.PC >= f.PC+f.Size {
				t.Errorf("%s, instruction %d lies outside of %s", n, i, f.Name)
			}
			if (o.Class.Reads() || o.Class.Writes()) && o.Addr != cpu.MMIOBase && (o.Addr < 1<<20 || o.Addr >= places.Stack || o.Addr&(1<<20-1) >= AreaBytes && o.Addr < 6<<20) {
				t.Errorf("%s, instruction %d touches %#x", n, i, o.Addr)
			}
			if int(o.Dep1) > i || int(o.Dep2) > i {
				t.Errorf("%s, instruction %d depends on one before the first", n, i)
			}
		}
	}
	if _, err := Load("6.12__direct__map_fizz__4096", places); err == nil || !strings.Contains(err.Error(), "no recording") {
		t.Errorf("a name that is none: %v", err)
	}
}

// Run executes exactly the recorded instructions, round for round; strict mode waits for the simulated invalidation.
func TestRunGivesTheRecordedCounts(t *testing.T) {
	const rounds = 40
	for _, c := range []struct{ preset, name string }{{"icelake-sp", "map_page@6.12"}, {"icelake-sp", "map_page@7.3"},
		{"icelake-sp", "map_phys@7.3"}, {"neoverse-n1", "map_page@6.12"}, {"neoverse-n1", "map_phys@7.3"}} {
		name := c.name
		v, err := dma.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range platform.Backends {
			// Recorded for one variant only, or not at all.
			if b == platform.SwiotlbForce || b.Provider() || !Has(Calls(kernel.X86_64, name, string(b), 4096)[1]) {
				continue
			}
			m, d := machine(t, c.preset, v, b)
			r, err := Run(m, d, Config{Variant: v, Backend: string(b), Rounds: rounds, Size: 4096, Around: &workloads.Ambience{}})
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range []*workloads.Op{r.Map, r.Unmap} {
				call := Calls(m.Env.Arch, name, string(b), 4096)[i]
				rec, err := Load(call, places)
				if err != nil {
					t.Fatal(err)
				}
				tot := o.Acct.Total()
				if got, want := tot.Instructions(), o.N*int64(len(rec.Ops)); got != want || o.N != rounds/2 || o.Series.N != rounds {
					t.Errorf("%s, %s: %d instructions in %d calls, want %d", b, call, got, o.N, want)
				}
				if waits := tot.Stall[cpu.StallInv] > 0; waits != (b == platform.IommuStrict && o == r.Unmap) {
					t.Errorf("%s, %s: waits for an invalidation: %v", b, call, waits)
				}
			}
			if r.IOs != rounds || r.Bytes != rounds*4096 {
				t.Errorf("%s, %s: %d rounds, %d bytes", name, b, r.IOs, r.Bytes)
			}
		}
	}
	v, _ := dma.Lookup("map_phys@7.3")
	m, d := machine(t, "icelake-sp", v, platform.Direct)
	if _, err := Run(m, d, Config{Variant: v, Backend: "direct", Rounds: 1, Size: 8192, Around: &workloads.Ambience{}}); err == nil || !strings.Contains(err.Error(), "8192 bytes") {
		t.Errorf("a size that is not recorded: %v", err)
	}
}

// Whatever parses has sizes and dependences that the core can time.
func FuzzParse(f *testing.F) {
	f.Add(header + "0,f+0,load,,r3+8:8,dev,,,\n1,+4,string,,w5+0:8 x6,buf,0,0;-1,\n2,+8,ret,,r7+56:8,stack,,,\n")
	f.Add(header + "0,f+0,zva,,,,,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parse(text)
		if err != nil {
			return
		}
		for i, o := range r.Ops {
			if int(o.Dep1) > i || int(o.Dep2) > i || o.Size > MaxString || (o.Class.Reads() || o.Class.Writes()) && o.Addr == 0 {
				t.Fatalf("instruction %d: %+v", i, o)
			}
		}
	})
}
