package ftrace

import (
	"errors"
	"io"
	"strings"
	"testing"

	"dmapath/kernel"
)

// The same event in the words of the three writers.
func TestOneEventThreeWriters(t *testing.T) {
	const body = "IOMMU: iova=0x00000000fffb8000 - 0x00000000fffbc000 paddr=0x0000000101f1d000 size=16384"
	for name, line := range map[string]string{
		"trace file":           "              io-166     [000] d.h1.    19.030687: map: " + body,
		"trace-cmd":            "              io-166   [000]    19.030687: map:                  " + body,
		"trace-cmd with flags": "              io-166   [000] d.h1    19.030687000: map:                  " + body,
		"perf script":          "io   166 [000]    19.030687:                            iommu:map: " + body,
		"brackets in comm":     "   my [12] io-166 [000] .....    19.030687: map: " + body,
		"record-tgid":          "              io-166     (  160) [000] d.h1.    19.030687: map: " + body,
	} {
		r := NewReader(strings.NewReader("# comment\n\n"+line+"\r\n"), "f")
		ev, err := r.Next()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ev.Kind != IommuMap || ev.CPU != 0 || ev.PID != 166 || ev.Time != 19_030_687_000_000 || ev.Addr != 0xfffb8000 ||
			ev.End != 0xfffbc000 || ev.Phys != 0x101f1d000 || ev.Size != 16384 || ev.Line != 3 {
			t.Errorf("%s: got %+v", name, *ev)
		}
		if _, err := r.Next(); err != io.EOF || r.Skipped != 2 || r.Malformed != 0 {
			t.Errorf("%s: end: %v, skipped %d, malformed %d", name, err, r.Skipped, r.Malformed)
		}
	}
}

func TestDMAEvents(t *testing.T) {
	const in = `
 x-1 [003] ..... 1.000001: dma_map_phys: 0000:00:03.0 dir=TO_DEVICE dma_addr=ffefb002 size=90 phys_addr=1029de002 attrs=SKIP_CPU_SYNC|MMIO
 x-1 [003] ..... 1.000002: dma_unmap_page: 0000:00:03.0 dir=FROM_DEVICE dma_addr=ffefb002 size=90 attrs=
 x-1 [003] ..... 1.000003: dma_map_sg: 0000:00:01.0 dir=BIDIRECTIONAL nents=2/300 ents=1/1 [TRUNCATED] dma_addrs={0xfff0} sizes={0x2000} phys_addrs={0x1000,0x5000} attrs=NO_WARN
 x-1 [003] ..... 1.000004: sched_switch: whatever
 x-1 [003] ..... 1.000005: dma_unmap_sg: 0000:00:01.0 dir=TO_DEVICE phys_addrs={0x1000,0x5000} attrs=
`
	r := NewReader(strings.NewReader(in), "f")
	next := func() *Event {
		t.Helper()
		ev, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	if ev := next(); ev.Kind != MapPhys || ev.Device != "0000:00:03.0" || ev.Dir != kernel.ToDevice || ev.Addr != 0xffefb002 ||
		ev.Size != 90 || ev.Phys != 0x1029de002 || ev.Attrs != kernel.AttrSkipCPUSync|kernel.AttrMMIO || ev.CPU != 3 {
		t.Errorf("map_phys: %+v", *ev)
	}
	if ev := next(); ev.Kind != UnmapPage || ev.Dir != kernel.FromDevice || !ev.Kind.IsUnmap() {
		t.Errorf("unmap_page: %+v", *ev)
	}
	if ev := next(); ev.Kind != MapSG || ev.Nents != 300 || !ev.Truncated || len(ev.SGPhys) != 2 || ev.Addr != 0xfff0 || ev.Size != 0x2000 {
		t.Errorf("map_sg: %+v", *ev)
	}
	if ev := next(); ev.Kind != UnmapSG || len(ev.SGPhys) != 2 || ev.SGPhys[1] != 0x5000 {
		t.Errorf("unmap_sg: %+v", *ev)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

// A bad line costs itself only and says where it stands.
func TestMalformedLinesAreShownAndPassedOver(t *testing.T) {
	const good = " x-1 [000] ..... 1.000009: unmap: IOMMU: iova=0x1000 - 0x2000 size=4096 unmapped_size=4096\n"
	for _, c := range []struct{ line, msg string }{
		{"map: IOMMU: iova=0xzz - 0x2000 paddr=0x0 size=4096", "iova is not"},
		{"map: IOMMU: iova=0x1000 paddr=0x0 size=4096", "no end"},
		{"map: IOMMU: iova=0x1000 - 0x3000 paddr=0x0 size=4096", "does not match"},
		{"map: IOMMU: iova=0x3000 - 0x1000 paddr=0x0 size=4096", "does not match"},
		{"dma_map_page: dir=TO_DEVICE dma_addr=1 size=1 phys_addr=1", "no device"},
		{"dma_map_page: 0000:00:01.0 dir=SIDEWAYS dma_addr=1 size=1 phys_addr=1", "dir has"},
		{"dma_map_page: 0000:00:01.0 dir=TO_DEVICE dma_addr=1 phys_addr=1", "missing"},
		{"dma_map_sg: 0000:00:01.0 dir=TO_DEVICE nents=1/1 dma_addrs={0x1} sizes={} phys_addrs={0x1}", "different lengths"},
		{"dma_map_sg: 0000:00:01.0 dir=TO_DEVICE nents=1/1 dma_addrs={0x1 sizes={0x1} phys_addrs={0x1}", "dma_addrs has"},
		{"map: " + strings.Repeat("x", MaxLine), "longer than"},
	} {
		r := NewReader(strings.NewReader(" x-1 [000] ..... 1.000009: "+c.line+"\n"+good), "t.txt")
		_, err := r.Next()
		var se *SyntaxError
		if !errors.As(err, &se) || se.Line != 1 || !strings.Contains(se.Error(), c.msg) {
			t.Errorf("%.60q: got %v, want %q", c.line, err, c.msg)
		}
		if ev, err := r.Next(); err != nil || ev.Line != 2 || r.Malformed != 1 {
			t.Errorf("%.60q: the next line is lost: %v", c.line, err)
		}
	}
}

// What the tracer says it lost is counted, whatever its words; so are the events that were overwritten before the trace was read.
func TestLostEvents(t *testing.T) {
	for _, c := range []struct {
		text        string
		lost, marks int64
	}{
		{"CPU:2 [LOST 133 EVENTS]\n", 133, 1},
		{"CPU:2 [LOST EVENTS]\n", 0, 1},
		{"CPU:7 [204600 EVENTS DROPPED]\nCPU:1 [EVENTS DROPPED]\n", 204600, 2},
		{"swapper     0 [002]    19.049303: PERF_RECORD_LOST lost 133\n  PERF_RECORD_LOST_SAMPLES lost 7\n", 140, 2},
		{"# entries-in-buffer/entries-written: 1000/1500   #P:4\n", 500, 1},
		{"# entries-in-buffer/entries-written: 1500/1500   #P:4\n", 0, 0},
		{" x-1 [000] ..... 1.000004: lost_cause: nothing [LOST]\nCPU:2 [LOST x EVENTS]\n", 0, 1},
	} {
		events, r, err := read(c.text)
		if err != nil || len(events) != 0 || r.Lost != c.lost || r.LostMarks != c.marks || r.Skipped != r.Lines() {
			t.Errorf("%q: %d events, %d lost by %d marks, %d skipped of %d; want %d by %d", c.text, len(events), r.Lost, r.LostMarks, r.Skipped, r.Lines(), c.lost, c.marks)
		}
	}
}

// The number of CPUs stands in the headings of the trace file, of its latency format, and of trace-cmd.
func TestCPUsOfHeadings(t *testing.T) {
	for text, want := range map[string]int{"# tracer: nop\n#\n# entries-in-buffer/entries-written: 9/9   #P:2\n": 2, "cpus=128\n": 128, "": 0, "#P:\n": 0, "# #P:99999999999\n": 0,
		"# tracer: nop\n# latency: 0 us, #4/4, CPU#0 | (M:preempt VP:0, KP:0, SP:0 HP:0 #P:16)\n": 16} {
		if _, r, _ := read(text); r.CPUs != want {
			t.Errorf("%q: %d CPUs, want %d", text, r.CPUs, want)
		}
	}
}

// perf script leaves out what it is not asked for: without a CPU all is of CPU 0 and counted, without a time no line can be used.
func TestFieldsThatPerfLeavesOut(t *testing.T) {
	const body = "iommu:unmap: IOMMU: iova=0x1000 - 0x2000 size=4096 unmapped_size=4096\n"
	for _, c := range []struct {
		name, line string
		cpu, pid   int
		noCPU      int64
		fault      string
	}{
		{"comm,tid,time,event,trace", "io   166    19.030687: " + body, 0, 166, 1, ""},
		{"time,event,trace", "   19.030687: " + body, 0, -1, 1, ""},
		{"cpu,time,event,trace", "[003]   19.030687: " + body, 3, -1, 0, ""},
		{"tid,cpu,time,event,trace", "  166 [003]   19.030687: " + body, 3, 166, 0, ""},
		{"comm,tid,cpu,event,trace", "io 166 [003] " + body, 0, 0, 0, "no time stamp"},
		{"event,trace", body, 0, 0, 0, "no time stamp"},
	} {
		r := NewReader(strings.NewReader(c.line), "f")
		ev, err := r.Next()
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: %v, want %q", c.name, err, c.fault)
			}
			continue
		}
		if err != nil || ev.CPU != c.cpu || ev.PID != c.pid || r.NoCPU != c.noCPU || ev.Time != 19_030_687_000_000 {
			t.Errorf("%s: %+v, %v, %d without a CPU", c.name, ev, err, r.NoCPU)
		}
	}
}

// Events whose format libtraceevent cannot evaluate are shown by the fields of their record.
func TestEventsThatToolsCouldNotFormat(t *testing.T) {
	in := `x 1 [003] 1.000001: dma:dma_map_phys: [FAILED TO PARSE] device=0000:00:03.0 phys_addr=4331200514 dma_addr=4293832706 size=90 dir=1 attrs=0x420
x 1 [003] 1.000002: dma:dma_map_sg: [FAILED TO PARSE] device=0000:00:01.0 full_nents=2 full_ents=1 truncated=0 phys_addrs=ARRAY[00, 10, 00, 00, 00, 00, 00, 00, 00, 50, 00, 00, 01, 00, 00, 00] dma_addrs=ARRAY[f0, ff, 00, 00, 00, 00, 00, 00] lengths=ARRAY[00, 20, 00, 00] dir=0 attrs=0x0
x 1 [003] 1.000003: dma:dma_unmap_sg: [FAILED TO PARSE] device=0000:00:01.0 addrs=ARRAY[00, 10, 00, 00, 00, 00, 00, 00] dir=2 attrs=0x0
x 1 [003] 1.000004: dma:dma_unmap_phys: [FAILED TO PARSE] device=0000:00:03.0 addr=4293832706 size=90 dir=1 attrs=0x0
x 1 [003] 1.000005: iommu:map: [FAILED TO PARSE] iova=4096 paddr=8192 size=4096
x 1 [003] 1.000006: dma:dma_map_sg: [FAILED TO PARSE] device=d phys_addrs=ARRAY[00, 10] dir=1
`
	r := NewReader(strings.NewReader(in), "f")
	var got []Event
	var faults []string
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		e := *ev
		e.SGPhys, e.SGAddrs, e.SGSizes = append([]uint64(nil), e.SGPhys...), append([]uint64(nil), e.SGAddrs...), append([]uint64(nil), e.SGSizes...)
		got = append(got, e)
	}
	if len(got) != 5 || len(faults) != 1 || !strings.Contains(faults[0], "phys_addrs has a value") {
		t.Fatalf("%d events, %q", len(got), faults)
	}
	if ev := got[0]; ev.Device != "0000:00:03.0" || ev.Dir != kernel.ToDevice || ev.Addr != 0xffeeb002 || ev.Size != 90 || ev.Phys != 0x10228e002 || ev.Attrs != kernel.AttrSkipCPUSync|kernel.AttrMMIO {
		t.Errorf("%+v", ev)
	}
	if ev := got[1]; ev.Nents != 2 || len(ev.SGPhys) != 2 || ev.SGPhys[1] != 0x100005000 || ev.Addr != 0xfff0 || ev.Size != 0x2000 || ev.Dir != kernel.Bidirectional {
		t.Errorf("%+v", ev)
	}
	if ev := got[2]; len(ev.SGPhys) != 1 || ev.SGPhys[0] != 0x1000 || ev.Dir != kernel.FromDevice {
		t.Errorf("%+v", ev)
	}
	if ev := got[3]; ev.Addr != 0xffeeb002 || ev.Size != 90 {
		t.Errorf("%+v", ev)
	}
	if ev := got[4]; ev.Addr != 0x1000 || ev.End != 0x2000 || ev.Phys != 0x2000 {
		t.Errorf("%+v", ev)
	}
}

// Events of the two groups that are not read are counted apart from other subsystems.
func TestEventsThatAreNotRead(t *testing.T) {
	_, r, err := read(" x-1 [000] ..... 1.000001: dma_sync_sg_for_cpu: 0000:00:01.0 dir=TO_DEVICE dma_addrs={0x1} sizes={0x1}\n" +
		"x 1 [000] 1.000002: iommu:io_page_fault: IOMMU:intel 0000:00:01.0 iova=0x1 flags=0x0000\n x-1 [000] ..... 1.000003: sched_switch: dma_x\n# dma_\n")
	if err != nil || r.Unread != 2 || r.Skipped != 4 {
		t.Errorf("%d unread of %d skipped, %v", r.Unread, r.Skipped, err)
	}
}

func BenchmarkReader(b *testing.B) {
	line := "              io-166     [000] .....    19.031347: dma_map_page: 0000:00:01.0 dir=TO_DEVICE dma_addr=fffb8000 size=16384 phys_addr=101f1d000 attrs=\n"
	in := strings.Repeat(line, 1000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(strings.NewReader(in), "f")
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
