package eventtraces

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"dmapath/bench/evidence"
	"dmapath/bench/reference"
	"dmapath/workloads/ftrace"
)

// The traces that travel with the program: every share is 99 % at least, whatever the file is called.
func TestRecordedKernelsAreReproduced(t *testing.T) {
	var o Options
	for i, f := range Kept(reference.EventTraces(), func(name string) (io.ReadCloser, error) { return reference.Open(name) }) {
		f.Name = fmt.Sprintf("trace%d", i)
		o.Files = append(o.Files, f)
	}
	r, err := Run(context.Background(), o, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 4*len(o.Files) {
		t.Fatalf("%d rows of %d files", len(r.Rows), len(o.Files))
	}
	for _, row := range r.Rows {
		t.Logf("%s: %s: %.2f", row.Set, row.What, row.Predicted)
		if row.Verdict() != evidence.OK {
			t.Errorf("%s: %s: %v %%", row.Set, row.What, row.Predicted)
		}
	}
}

func events(list ...string) string {
	var b strings.Builder
	b.WriteString("# tracer: nop   #P:1\n")
	for i, e := range list {
		fmt.Fprintf(&b, " io-1 [000] ..... 1.%06d: %s\n", 10*(i+1), e)
	}
	return b.String()
}

func iomap(lo, hi, phys uint64) string {
	return fmt.Sprintf("map: IOMMU: iova=0x%x - 0x%x paddr=0x%x size=%d", lo, hi, phys, hi-lo)
}

func iounmap(lo, hi, done uint64) string {
	return fmt.Sprintf("unmap: IOMMU: iova=0x%x - 0x%x size=%d unmapped_size=%d", lo, hi, hi-lo, done)
}

const disk = "0000:00:01.0"

func call(name string, addr, phys uint64, size int) string {
	return fmt.Sprintf("%s: %s dir=TO_DEVICE dma_addr=%x size=%d phys_addr=%x attrs=", name, disk, addr, size, phys)
}

// run returns the shares of a text: IOVAs, maps, unmaps, requests; NaN for none.
func run(t *testing.T, text string) (shares [4]float64, r *evidence.Report) {
	t.Helper()
	o := Options{Files: []File{{"t", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}}}
	r, err := Run(context.Background(), o, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range shares {
		shares[i] = r.Rows[i].Predicted
	}
	return shares, r
}

// What the modelled kernel would have done otherwise counts against the share.
func TestWhatIsNotReproduced(t *testing.T) {
	none := math.NaN()
	page := []string{iomap(0xfffff000, 0x100000000, 0x200000), call("dma_map_page", 0xfffff010, 0x200010, 512),
		iounmap(0xfffff000, 0x100000000, 4096), call("dma_unmap_page", 0xfffff010, 0, 512)}
	for _, c := range []struct {
		name string
		text string
		want [4]float64
	}{
		{"a page", events(page...), [4]float64{none, 100, 100, 100}},
		{"the page again, from the magazine", events(append(page, page...)...), [4]float64{100, 100, 100, 100}},
		{"another page than the magazine has", events(append(page, iomap(0xffff0000, 0xffff1000, 0x200000), call("dma_map_page", 0xffff0000, 0x200000, 512),
			page[2], page[3])...), [4]float64{0, 50, 100, 100}},
		{"a page too many is mapped", events(iomap(0xffffe000, 0x100000000, 0x200000), call("dma_map_page", 0xffffe010, 0x200010, 512)), [4]float64{none, 0, none, 100}},
		{"it bounced", events(iomap(0xfffff000, 0x100000000, 0x300000), call("dma_map_page", 0xfffff010, 0x200010, 512)), [4]float64{none, 0, none, 100}},
		{"less was unmapped", events(page[0], page[1], iounmap(0xfffff000, 0x100000000, 0), page[3]), [4]float64{none, 100, 0, 100}},
		{"two segments by one call", events(iomap(0xffffd000, 0xffffe000, 0x300000), call("dma_map_page", 0xffffd000, 0x300000, 4096),
			iomap(0xffffe000, 0xfffff000, 0x200000), iomap(0xfffff000, 0x100000000, 0x400000),
			"dma_map_sg: "+disk+" dir=TO_DEVICE nents=2/2 ents=1/1 dma_addrs={0xffffe000} sizes={0x2000} phys_addrs={0x200000,0x400000} attrs=",
			"dma_unmap_sg: "+disk+" dir=TO_DEVICE phys_addrs={0x200000,0x400000} attrs=", iounmap(0xffffe000, 0x100000000, 8192)), [4]float64{none, 100, 100, 100}},
		{"one page as a list", events(iomap(0xfffff000, 0x100000000, 0x200000),
			"dma_map_sg: "+disk+" dir=TO_DEVICE nents=1/1 ents=1/1 dma_addrs={0xfffff000} sizes={0x1000} phys_addrs={0x200000} attrs=",
			iomap(0xffffe000, 0xfffff000, 0x300000), call("dma_map_page", 0xffffe000, 0x300000, 4096)), [4]float64{none, 100, none, 50}},
		{"8 KiB by a call of 6.12", events(iomap(0xffffe000, 0x100000000, 0x200000), call("dma_map_page", 0xffffe000, 0x200000, 8192)), [4]float64{none, 100, none, 100}},
		{"16 KiB by a call of 6.12 show a controller that takes lists", events(iomap(0xffffc000, 0x100000000, 0x200000), call("dma_map_page", 0xffffc000, 0x200000, 16384)), [4]float64{none, 100, none, none}},
		{"8 KiB as links of 7.3", events(iomap(0xffffd000, 0xffffe000, 0x300000), call("dma_map_phys", 0xffffd000, 0x300000, 4096),
			iomap(0xffffe000, 0xfffff000, 0x200000), iomap(0xfffff000, 0x100000000, 0x500000), iounmap(0xffffe000, 0x100000000, 8192)), [4]float64{none, 100, 100, 100}},
		{"4 KiB as a link of 7.3", events(iomap(0xffffe000, 0xfffff000, 0x300000), call("dma_map_phys", 0xffffe000, 0x300000, 4096),
			iomap(0xfffff000, 0x100000000, 0x200000), iounmap(0xfffff000, 0x100000000, 4096)), [4]float64{none, 100, 100, 50}},
		{"without translation", events(call("dma_map_phys", 0x200000, 0x200000, 4096)), [4]float64{none, none, none, 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := run(t, c.text)
			for i, want := range c.want {
				if got[i] != want && !(math.IsNaN(want) && math.IsNaN(got[i])) {
					t.Errorf("%s: %v, want %v", r.Rows[i].What, got[i], want)
				}
				if math.IsNaN(got[i]) != (r.Rows[i].Verdict() == evidence.Skipped) {
					t.Errorf("%s: %v is %v", r.Rows[i].What, got[i], r.Rows[i].Verdict())
				}
			}
		})
	}
}

// The dma: event of a map may be missing, or its iommu: event, or that of the unmap: the others still find their owner.
func TestALostLineCostsOneEvent(t *testing.T) {
	var all []string
	for i := range uint64(40) {
		lo, phys := uint64(0xfffff000), 0x200000+i<<12
		all = append(all, iomap(lo, lo+4096, phys), call("dma_map_page", lo, phys, 4096), iounmap(lo, lo+4096, 4096), call("dma_unmap_page", lo, 0, 4096))
	}
	whole, _ := run(t, events(all...))
	if whole != [4]float64{100, 100, 100, 100} {
		t.Fatalf("whole: %v", whole)
	}
	for i := range 4 {
		cut := append(append([]string(nil), all[:80+i]...), all[81+i:]...)
		got, r := run(t, events(cut...))
		for k, s := range got {
			if s < 97 || r.Tally("")[evidence.Skipped] > 0 {
				t.Errorf("without line %d: share %d is %v", 80+i, k, s)
			}
		}
	}
}

func TestMalformedLinesAreShownAndCounted(t *testing.T) {
	text := events(iomap(0xfffff000, 0x100000000, 0x200000), call("dma_map_phys", 0xfffff000, 0x200000, 4096)) +
		strings.Repeat(" io-1 [000] ..... 2.000001: map: IOMMU: iova=0xzz\n", 9)
	n := 0
	o := Options{Files: []File{{"t", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}},
		Malformed: func(e *ftrace.SyntaxError) {
			if n++; e.Line != 3+n {
				t.Errorf("line %d shown as number %d", e.Line, n)
			}
		}}
	r, err := Run(context.Background(), o, 1)
	if err != nil {
		t.Fatal(err)
	}
	if n != shown || !strings.Contains(r.Notes[0], "9 malformed") || !strings.Contains(r.Notes[0], "kernel 7.3, seen") {
		t.Errorf("%d shown; %q", n, r.Notes)
	}
	for _, c := range []struct{ kernel, text, msg string }{{"5.4", text, "allowed are 6.12 and 7.3"}, {"", "hello\n", "no dma or iommu event"}} {
		o := Options{Kernel: c.kernel, Files: []File{{"t", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(c.text)), nil }}}}
		if _, err := Run(context.Background(), o, 1); err == nil || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("got %v, want %q", err, c.msg)
		}
	}
}
