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

func FuzzReader(f *testing.F) {
	f.Add(" x-1 [000] ..... 1.000009: unmap: IOMMU: iova=0x1000 - 0x2000 size=4096 unmapped_size=4096\n")
	f.Add("io 166 [000] 19.030687: dma:dma_map_sg: 0000:00:01.0 dir=TO_DEVICE nents=1/1 ents=1/1 dma_addrs={0x1} sizes={0x1} phys_addrs={0x1} attrs=\n")
	f.Fuzz(func(t *testing.T, in string) {
		r := NewReader(strings.NewReader(in), "fuzz")
		var events int64
		for {
			ev, err := r.Next()
			if err == io.EOF {
				break
			}
			var se *SyntaxError
			if err != nil && !errors.As(err, &se) {
				t.Fatal(err)
			}
			if err == nil {
				events++
				if ev.Kind == IommuMap && ev.End-ev.Addr != ev.Size {
					t.Fatalf("inconsistent range accepted: %+v", *ev)
				}
			}
		}
		if lines := int64(r.line); events+r.Skipped+r.Malformed != lines {
			t.Fatalf("%d lines, %d events, %d skipped, %d malformed", lines, events, r.Skipped, r.Malformed)
		}
	})
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
