package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"dmapath/kernel/dma"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
	"dmapath/workloads/ftrace"
)

// player returns a player on the default platform.
func player(t *testing.T, variant string, backend platform.Backend, cpus int) *Player {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	v, err := dma.Lookup(variant)
	if err != nil {
		t.Fatal(err)
	}
	m, err := platform.Build(s, platform.Options{Version: v.Version(), Backend: backend, CPUs: cpus, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return NewPlayer(m, v, &workloads.Ambience{})
}

func run(t *testing.T, text io.Reader, ps ...*Player) *Trace {
	t.Helper()
	tr, err := Run(context.Background(), ftrace.NewReader(text, "trace"), 0, 2, ps, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		if p.Failures > 0 || p.Faults > 0 {
			t.Fatalf("%s: %d refused (%v), %d faults", p.Variant.Name(), p.Failures, p.First, p.Faults)
		}
	}
	return tr
}

// all is a trace with one call of every interface.
var all = lines("0 "+iomap(0xffefa000, 0xffefb000, 0x100952000), "0 "+dmamap("page", nvme, 0xffefa200, 0x100952200, 512),
	"1 "+iomap(0xfff00000, 0xfff0f000, 0x101d1b000), "1 "+iomap(0xfff0f000, 0xfff20000, 0x101dad000),
	"1 dma_map_sg: "+nvme+" dir=FROM_DEVICE nents=2/2 ents=1/1 dma_addrs={0xfff00000} sizes={0x20000} phys_addrs={0x101d1b000,0x101dad000} attrs=",
	"0 "+iomap(0x40000, 0x42000, 0x10010000), "0 "+iomap(0x42000, 0x44000, 0x10020000),
	"1 "+iomap(0x70000, 0x71000, 0xfe000000), "1 "+dmamap("resource", nvme, 0x70000, 0xfe000000, 4096),
	"0 "+iomap(0x80000, 0x81000, 0x10667a000), "0 dma_alloc: "+nvme+" dir=BIDIRECTIONAL dma_addr=80000 size=4096 virt_addr=0 flags=GFP_ATOMIC attrs=",
	"0 "+iounmap(0xffefa000, 0xffefb000), "0 "+dmaunmap("page", nvme, 0xffefa200, 512),
	"0 dma_unmap_sg: "+nvme+" dir=FROM_DEVICE phys_addrs={0x101d1b000,0x101dad000} attrs=", "0 "+iounmap(0xfff00000, 0xfff20000),
	"1 "+iounmap(0x40000, 0x44000), "1 "+iounmap(0x70000, 0x71000), "1 "+dmaunmap("resource", nvme, 0x70000, 4096))

// Every interface is performed by both kernels on every backend; what is measured and how is counted.
func TestEveryInterfaceOnEveryBackend(t *testing.T) {
	for _, b := range platform.Backends {
		if b.Provider() { // refuses device memory, and translates for nobody
			continue
		}
		for _, v := range []string{"map_page@6.12", "map_phys@7.3"} {
			p := player(t, v, b, 2)
			text := all
			forced := b == platform.SwiotlbForce && v == "map_phys@7.3" // refuses device memory
			if forced {
				text = strings.Join(slices.DeleteFunc(strings.Split(all, "\n"), func(l string) bool { return strings.Contains(l, "resource") || strings.Contains(l, "70000") }), "\n")
			}
			run(t, strings.NewReader(text), p)
			for h, c := range map[How]Class{Single: 0, List: 2, Link: 1, Resource: 0} {
				for name, ops := range map[string]*[NumHow][Classes]*workloads.Op{"map": &p.Map, "unmap": &p.Unmap} {
					if o := ops[h][c]; forced && h == Resource {
						continue
					} else if o == nil || o.N != 1 || o.Cycles.Min <= 0 && !(!b.HasIOMMU() && h == Resource) {
						t.Errorf("%s, %s: %v %v was not measured once", v, b, name, h)
					}
				}
			}
			if p.Map[Coherent] != [Classes]*workloads.Op{} {
				t.Errorf("%s, %s: a coherent allocation was measured", v, b)
			}
			translated := b.Translates()
			if want := map[bool]int64{true: 0, false: 2}[translated]; p.PerRun != want {
				t.Errorf("%s, %s: %d requests were mapped run by run, want %d", v, b, p.PerRun, want)
			}
			if p.Moved == 0 && !forced {
				t.Errorf("%s, %s: a device window below 4 GiB and the kernel's own GiB are moved", v, b)
			}
			if len(p.held) != 1 { // the coherent one
				t.Errorf("%s, %s: %d mappings held", v, b, len(p.held))
			}
			// 7.3's links invalidate at once in lazy mode, too.
			if b == platform.IommuLazy {
				n := p.M.Unit.Statistics().Invalidations
				if want := map[string]uint64{"map_page@6.12": 0, "map_phys@7.3": 1}[v]; n != want {
					t.Errorf("%s, %s: %d invalidations, want %d", v, b, n, want)
				}
			}
		}
	}
}

// A call begins at its recorded time when the CPU is free, and no later than that costs nothing: an idle second takes a second
// of simulated time and no more work.
func TestCallsBeginAtTheirRecordedTime(t *testing.T) {
	const tail = "io-1 [000] d.h1. 3.500000: dma_map_phys: 0000:00:03.0 dir=TO_DEVICE dma_addr=5000 size=90 phys_addr=5000 attrs=\n"
	p := player(t, "map_phys@7.3", platform.Direct, 1)
	run(t, strings.NewReader(strings.Replace(tail, "3.500000", "1.000000", 1)+tail), p)
	last := p.Map[Single][0].Series.N
	if last != 2 || p.Delayed != 0 {
		t.Fatalf("%d calls, %d delayed", last, p.Delayed)
	}
	if after := p.Elapsed - 2500*sim.Millisecond; after <= 0 || after > 20*sim.Microsecond {
		t.Errorf("the second call ends %v after its recorded time", after)
	}
	// Two calls at one time: the second is delayed by the first.
	p = player(t, "map_phys@7.3", platform.Direct, 1)
	run(t, strings.NewReader(tail+tail), p)
	if p.Delayed != 1 {
		t.Errorf("%d calls delayed, want 1", p.Delayed)
	}
}

// Neither the simulated memory nor the books of a player grow with the trace.
func TestPlayerMemoryDoesNotGrow(t *testing.T) {
	play := func(n int) (frames int, p *Player) {
		p = player(t, "map_phys@7.3", platform.IommuStrict, 2)
		run(t, &stream{n: n}, p)
		return p.M.Mem.Frames(), p
	}
	short, a := play(4000)
	long, b := play(20_000)
	if long > short+short/10 || len(b.held) > len(a.held) || len(b.free) > 128 {
		t.Errorf("4000 events: %d frames, %d held; 20000: %d frames, %d held, %d free", short, len(a.held), long, len(b.held), len(b.free))
	}
}

// Two players at once are each what they are alone: goroutines do not reach the results.
func TestPlayersAreIndependent(t *testing.T) {
	figures := func(p *Player) string {
		return fmt.Sprint(p.Elapsed, p.Map[Single][0].Cycles.Mean(), p.Unmap[Link][1].Cycles.Mean(), p.M.Unit.Statistics().Requests)
	}
	a, b := player(t, "map_phys@7.3", platform.IommuStrict, 2), player(t, "map_page@6.12", platform.IommuStrict, 2)
	run(t, &stream{n: 2000}, a, b)
	c, d := player(t, "map_phys@7.3", platform.IommuStrict, 2), player(t, "map_page@6.12", platform.IommuStrict, 2)
	run(t, &stream{n: 2000}, c)
	run(t, &stream{n: 2000}, d)
	if figures(a) != figures(c) || figures(b) != figures(d) {
		t.Errorf("together %s and %s, alone %s and %s", figures(a), figures(b), figures(c), figures(d))
	}
}

func TestGzipIsRecognised(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	io.WriteString(w, all)
	w.Close()
	for name, in := range map[string]string{"gzip": z.String(), "plain": all, "empty": "", "one byte": "\x1f"} {
		want := in
		if name == "gzip" {
			want = all
		}
		r, err := Text(strings.NewReader(in))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
	if _, err := Text(strings.NewReader("\x1f\x8bnot gzip at all")); err == nil || !strings.Contains(err.Error(), "gzip") {
		t.Errorf("damaged gzip: %v", err)
	}
	// A file that was cut off: what was read counts, and the error names the input.
	r, _ := Text(strings.NewReader(z.String()[:z.Len()/2]))
	if _, err := Scan(context.Background(), ftrace.NewReader(r, "cut.gz"), 0); err == nil || !strings.Contains(err.Error(), "cut.gz") {
		t.Errorf("cut gzip: %v", err)
	}
}

func TestExtent(t *testing.T) {
	x, err := Scan(context.Background(), ftrace.NewReader(strings.NewReader("# entries-in-buffer/entries-written: 9/9   #P:4\n"+all), "t"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if x.Events != 18 || x.CPUs != 2 || x.Online != 4 || !x.Known || x.Version != 0 || x.PhysTop != 0x10667b000 {
		t.Errorf("%+v", x)
	}
	if x, _ := Scan(context.Background(), ftrace.NewReader(strings.NewReader("cpus=8\n"+all), "t"), 3); x.Events != 3 || x.Online != 8 {
		t.Errorf("limit 3: %+v", x)
	}
}
