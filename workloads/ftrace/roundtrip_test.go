package ftrace

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"dmapath/kernel"
	"dmapath/sim"
)

// comms are command names as processes have them and as somebody might choose them (15 bytes at most).
var comms = []string{"io", "<idle>", "kworker/1:1", "my [12] io", "[000] 1.5: x", "[0] 1.000: map:", "a b  c", "1.000000:", "0d.h1. 9us+:", "(1)", "-7 [001]", "|=@\u202e", "dma:dma_map_sg:", "iommu:map:"}

// anyEvent draws an event that a kernel could have traced.
func anyEvent(t *rapid.T) Event {
	num := rapid.Uint64Range(1, 1<<52)
	ev := Event{Kind: Kind(rapid.IntRange(0, NumKinds-1).Draw(t, "kind")), Line: 1, CPU: rapid.IntRange(0, 999).Draw(t, "cpu"), PID: rapid.IntRange(0, 99999).Draw(t, "pid"),
		Time: sim.Time(rapid.Int64Range(0, 99_999_999_999).Draw(t, "us")) * sim.Microsecond, Dir: kernel.NoDirection, Addr: num.Draw(t, "addr")}
	if ev.Kind == UnmapSG || ev.Kind == MapSG {
		ev.Addr = 0
	} else {
		ev.Size = rapid.Uint64Range(1, 1<<40).Draw(t, "size")
	}
	switch ev.Kind {
	case IommuMap:
		ev.Phys = num.Draw(t, "phys")
		ev.End = ev.Addr + ev.Size
		return ev
	case IommuUnmap:
		ev.Unmapped = ev.Size
		ev.End = ev.Addr + ev.Size
		return ev
	}
	ev.Device = rapid.SampledFrom([]string{"0000:00:03.0", "10000:e1:00.0", "fd500000.pcie", "vfio-dev0", "=x", "|dev\u202e"}[:4]).Draw(t, "device")
	ev.Dir = kernel.Direction(rapid.IntRange(0, 3).Draw(t, "dir"))
	if ev.Kind != SyncForCPU && ev.Kind != SyncForDevice {
		for _, a := range []kernel.Attrs{kernel.AttrSkipCPUSync, kernel.AttrNoWarn, kernel.AttrMMIO, kernel.AttrRequireCoherent} {
			if rapid.Bool().Draw(t, "attr") {
				ev.Attrs |= a
			}
		}
	}
	switch ev.Kind {
	case MapPage, MapPhys, MapResource:
		ev.Phys = num.Draw(t, "phys")
	case MapSG:
		ev.SGPhys = rapid.SliceOfN(num, 0, 128).Draw(t, "phys")
		ev.SGAddrs = rapid.SliceOfN(num, 0, 128).Draw(t, "addrs")
		for i, a := range ev.SGAddrs {
			if i == 0 {
				ev.Addr = a
			}
			ev.SGSizes = append(ev.SGSizes, rapid.Uint64Range(1, 1<<32).Draw(t, "length"))
			ev.Size += ev.SGSizes[i]
		}
		ev.Nents = rapid.IntRange(1, 300).Draw(t, "nents")
		ev.Truncated = rapid.Bool().Draw(t, "truncated")
	case UnmapSG:
		ev.SGPhys = rapid.SliceOfN(num, 0, 300).Draw(t, "phys")
	}
	return ev
}

// same compares events; empty lists are equal.
func same(a, b Event) bool {
	for _, e := range []*Event{&a, &b} {
		for _, l := range []*[]uint64{&e.SGPhys, &e.SGAddrs, &e.SGSizes} {
			if len(*l) == 0 {
				*l = nil
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// An event written by any of the tools, by a command of any name, is read as the same event.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ev := anyEvent(t)
		comm := rapid.SampledFrom(comms).Draw(t, "comm")
		for _, w := range writers {
			line := w.line(&ev, comm, ev.fields(w.decimal))
			r := NewReader(strings.NewReader(line+"\n"), "f")
			got, err := r.Next()
			if err != nil {
				t.Fatalf("%s: %v in\n%s", w.name, err, line)
			}
			if !same(*got, ev) {
				t.Fatalf("%s: %+v became %+v in\n%s", w.name, ev, *got, line)
			}
		}
	})
}

// What is cut anywhere is never another event: its beginning is malformed, skipped, or an event of the same kind that lacks the end of a number.
func TestPartsOfALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ev := anyEvent(t)
		w := rapid.SampledFrom(writers).Draw(t, "writer")
		line := w.line(&ev, "io", ev.fields(w.decimal))
		n := rapid.IntRange(0, len(line)).Draw(t, "cut")
		r := NewReader(strings.NewReader(line[:n]), "f")
		if got, err := r.Next(); err == nil && (got.Kind != ev.Kind || got.CPU != ev.CPU) {
			t.Fatalf("%s: %+v became %+v in\n%s", w.name, ev, *got, line[:n])
		}
	})
}

// read returns what became of every line: the events and the messages of the others.
func read(text string) (events []string, r *Reader, err error) {
	r = NewReader(strings.NewReader(text), "f")
	for {
		ev, err := r.Next()
		var se *SyntaxError
		switch {
		case err == io.EOF:
			return events, r, nil
		case errors.As(err, &se):
			events = append(events, se.Msg)
		case err != nil:
			return events, r, err
		default:
			e := *ev
			e.Line = 0
			events = append(events, fmt.Sprintf("%+v", e))
		}
	}
}

// checkText holds for every input: nothing panics, every line is an event, malformed or skipped, and a text that is divided between two lines
// is read as its parts are.
func checkText(t interface{ Fatalf(string, ...any) }, text string, cut int) {
	whole, r, err := read(text)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if n := int64(len(whole)) + r.Skipped; n != r.Lines() {
		t.Fatalf("%d lines, of which %d are events or malformed and %d skipped", r.Lines(), len(whole), r.Skipped)
	}
	if r.Unread > r.Skipped || r.LostMarks > r.Skipped || r.NoCPU > int64(len(whole)) || r.Malformed > int64(len(whole)) || len(r.devs) > maxNames {
		t.Fatalf("%d unread, %d lost, %d skipped, %d without a CPU, %d malformed, %d events", r.Unread, r.LostMarks, r.Skipped, r.NoCPU, r.Malformed, len(whole))
	}
	if cap(r.buf) > 4*MaxLine {
		t.Fatalf("a buffer of %d bytes", cap(r.buf))
	}
	// Dividing the text changes nothing but the line that is cut.
	cut = max(0, min(cut, len(text)))
	start := strings.LastIndexByte(text[:cut], '\n') + 1
	end := len(text)
	if i := strings.IndexByte(text[cut:], '\n'); i >= 0 {
		end = cut + i + 1
	}
	a, ra, _ := read(text[:start])
	b, rb, _ := read(text[end:])
	mid, _, _ := read(text[start:end])
	if got := slices.Concat(a, mid, b); !slices.Equal(got, whole) {
		t.Fatalf("divided at %d and %d: %q, want %q", start, end, got, whole)
	}
	first, rf, _ := read(text[:cut])
	second, rs, _ := read(text[cut:])
	if len(first) < len(a) || !slices.Equal(first[:len(a)], a) || len(second) < len(b) || !slices.Equal(second[len(second)-len(b):], b) {
		t.Fatalf("cut at %d: %q and %q, want %q and %q to remain", cut, first, second, a, b)
	}
	if rf.Lines()-ra.Lines() > 1 || rs.Lines()-rb.Lines() > 1 {
		t.Fatalf("cut at %d: more than one line is another", cut)
	}
}

// A line of any length costs itself only.
func TestLongLines(t *testing.T) {
	const good = " x-1 [000] ..... 1.000009: unmap: IOMMU: iova=0x1000 - 0x2000 size=4096 unmapped_size=4096\n"
	for _, n := range []int{MaxLine - 1, MaxLine, MaxLine + 1, 3 * MaxLine, 300 << 10} {
		checkText(t, good+strings.Repeat("[", n)+"\n"+good, len(good)+n/2)
	}
}

// fuzzFormat fuzzes texts of writers, one after the other.
func fuzzFormat(f *testing.F, names ...string) {
	for _, w := range writers {
		if !slices.Contains(names, w.name) {
			continue
		}
		var text strings.Builder
		for k := range NumKinds {
			ev := Event{Kind: Kind(k), CPU: k % 4, PID: 166, Time: 19_030_687 * sim.Microsecond, Addr: 0xfffb8000, End: 0xfffb9000, Size: 4096, Phys: 0x101f1d000, Unmapped: 4096, Device: "0000:00:01.0",
				SGPhys: []uint64{0x1000, 0x5000}, SGAddrs: []uint64{0xfff0}, SGSizes: []uint64{0x2000}, Nents: 2}
			text.WriteString(w.line(&ev, comms[k%len(comms)], ev.fields(w.decimal)) + "\n")
		}
		f.Add(text.String(), 100)
		f.Add(text.String()+"CPU:2 [LOST 133 EVENTS]\n# x\n", 1000)
	}
	f.Fuzz(func(t *testing.T, text string, cut int) { checkText(t, text, cut) })
}

func FuzzTraceFile(f *testing.F) {
	fuzzFormat(f, "trace file", "trace file without flags", "trace file with process groups", "latency format")
}
func FuzzTraceCmd(f *testing.F) {
	fuzzFormat(f, "trace-cmd report", "trace-cmd report -t", "trace-cmd report -l")
}
func FuzzPerfScript(f *testing.F) {
	fuzzFormat(f, "perf script", "perf script --ns -F +pid,+period")
	f.Add("x 1 [000] 1.000001: dma:dma_map_sg: [FAILED TO PARSE] device=d phys_addrs=ARRAY[00, 10, 00, 00, 00, 00, 00, 00] dma_addrs=ARRAY[] lengths=ARRAY[] dir=1\n", 7)
}
