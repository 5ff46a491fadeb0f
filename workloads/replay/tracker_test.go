package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"dmapath/sim"
	"dmapath/workloads/ftrace"
)

// track returns the calls that a trace becomes, one a line:
//
//	map single dev0 cpu0 #1 4096 0x1000+4096
func track(t *testing.T, text string, cores int) (calls []string, tr *Tracker) {
	t.Helper()
	tr = NewTracker(cores, cores)
	made := map[uint64]*Call{}
	tr.emit = func(c *Call) error {
		s := fmt.Sprintf("map %v dev%d cpu%d #%d %d", c.How, c.Device, c.CPU, c.ID, c.Size)
		if c.Unmap {
			s = "un" + s
		}
		for i, r := range c.Runs {
			if c.Unmap {
				if m := made[c.ID]; len(m.Runs) != len(c.Runs) || m.Runs[i] != r || m.CPU != c.MapCPU {
					t.Errorf("unmap %d has the pieces %v of CPU %d, its map %v of %d", c.ID, c.Runs, c.MapCPU, m.Runs, m.CPU)
				}
				continue
			}
			s += fmt.Sprintf(" %#x+%d", r.Phys, r.Size)
		}
		if !c.Unmap {
			made[c.ID] = c
		}
		calls = append(calls, s)
		return nil
	}
	r := ftrace.NewReader(strings.NewReader(text), "trace")
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Event(ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Flush(); err != nil {
		t.Fatal(err)
	}
	return calls, tr
}

// lines gives each event ("cpu text") the prefix of the trace file and a time.
func lines(events ...string) string {
	var b strings.Builder
	for i, e := range events {
		cpu, text, _ := strings.Cut(e, " ")
		fmt.Fprintf(&b, "    io-%s0   [%03s] d.h1.   1.%06d: %s\n", cpu, cpu, i, text)
	}
	return b.String()
}

// Shorthands for event texts.
func iomap(lo, hi, phys uint64) string {
	return fmt.Sprintf("map: IOMMU: iova=0x%016x - 0x%016x paddr=0x%016x size=%d", lo, hi, phys, hi-lo)
}
func iounmap(lo, hi uint64) string {
	return fmt.Sprintf("unmap: IOMMU: iova=0x%016x - 0x%016x size=%d unmapped_size=%d", lo, hi, hi-lo, hi-lo)
}
func dmamap(call, dev string, addr, phys uint64, size int) string {
	return fmt.Sprintf("dma_map_%s: %s dir=TO_DEVICE dma_addr=%x size=%d phys_addr=%x attrs=", call, dev, addr, size, phys)
}
func dmaunmap(call, dev string, addr uint64, size int) string {
	return fmt.Sprintf("dma_unmap_%s: %s dir=TO_DEVICE dma_addr=%x size=%d attrs=", call, dev, addr, size)
}

const (
	nvme = "0000:00:01.0"
	nic  = "0000:00:03.0"
)

func TestEventsBecomeCalls(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []string
		want   []string
		counts Counts // without Read, Maps, Unmaps
	}{
		{"6.12: two events for a call, the call is what the driver asked for",
			[]string{"0 " + iomap(0xffefa000, 0xffefb000, 0x100952000), "0 " + dmamap("page", nic, 0xffefa682, 0x100952682, 42),
				"1 " + iounmap(0xffefa000, 0xffefb000), "1 " + dmaunmap("page", nic, 0xffefa682, 42)},
			[]string{"map single dev0 cpu0 #1 42 0x100952682+42", "unmap single dev0 cpu1 #1 42"}, Counts{}},
		{"7.3: dma_map_phys; MMIO is dma_map_resource",
			[]string{"0 " + iomap(0xffefa000, 0xffefb000, 0x3000), "0 " + dmamap("phys", nic, 0xffefa000, 0x3000, 4096),
				"0 " + iomap(0xffef9000, 0xffefa000, 0xf0000000), "0 " + dmamap("phys", nic, 0xffef9000, 0xf0000000, 4096) + "MMIO"},
			[]string{"map single dev0 cpu0 #1 4096 0x3000+4096", "map resource dev0 cpu0 #2 4096 0xf0000000+4096"}, Counts{Live: 2}},
		{"an interrupt maps between iommu:map and dma_map_page of the call it interrupted",
			[]string{"0 " + iomap(0x10000, 0x12000, 0x7000), "0 " + iomap(0x20000, 0x21000, 0x5000), "0 " + dmamap("page", nic, 0x20040, 0x5040, 1522),
				"1 " + iomap(0x30000, 0x31000, 0x9000), "0 " + dmamap("page", nvme, 0x10000, 0x7000, 8192), "1 " + dmamap("page", nvme, 0x30000, 0x9000, 4096)},
			[]string{"map single dev1 cpu0 #1 8192 0x7000+8192", "map single dev0 cpu0 #2 1522 0x5040+1522", "map single dev1 cpu1 #3 4096 0x9000+4096"},
			Counts{Live: 3}},
		{"two devices with the same IOVA are told apart",
			[]string{"0 " + iomap(0x10000, 0x11000, 0x1000), "0 " + dmamap("page", nvme, 0x10000, 0x1000, 4096),
				"0 " + iomap(0x10000, 0x11000, 0x2000), "0 " + dmamap("page", nic, 0x10000, 0x2000, 90),
				"0 " + iounmap(0x10000, 0x11000), "0 " + dmaunmap("page", nvme, 0x10000, 4096),
				"0 " + iounmap(0x10000, 0x11000), "0 " + dmaunmap("page", nic, 0x10000, 90)},
			[]string{"map single dev0 cpu0 #1 4096 0x1000+4096", "map single dev1 cpu0 #2 90 0x2000+90", "unmap single dev0 cpu0 #1 4096",
				"unmap single dev1 cpu0 #2 90"}, Counts{}},
		{"a scatterlist is one call of a run per iommu:map; its unmap is known by the physical addresses",
			[]string{"1 " + iomap(0xfff00000, 0xfff0f000, 0x101d1b000), "1 " + iomap(0xfff0f000, 0xfff20000, 0x101dad000),
				"1 dma_map_sg: " + nvme + " dir=FROM_DEVICE nents=2/2 ents=1/1 dma_addrs={0xfff00000} sizes={0x20000} phys_addrs={0x101d1b000,0x101dad000} attrs=NO_WARN",
				"0 dma_unmap_sg: " + nvme + " dir=FROM_DEVICE phys_addrs={0x101d1b000,0x101dad000} attrs=", "0 " + iounmap(0xfff00000, 0xfff20000)},
			[]string{"map sg dev0 cpu1 #1 131072 0x101d1b000+61440 0x101dad000+69632", "unmap sg dev0 cpu0 #1 131072"}, Counts{}},
		{"links have no dma event: what one unmap covers was one request, whatever lies beside it",
			[]string{"0 " + dmamap("phys", nvme, 0x1000, 0x1000, 4096), // names the block device; not translated
				"0 " + iomap(0x40000, 0x42000, 0x10000), "0 " + iomap(0x42000, 0x44000, 0x20000), // one request
				"0 " + iomap(0x44000, 0x48000, 0x30000), // another, from the next addresses
				"1 " + iounmap(0x40000, 0x44000), "1 " + iounmap(0x44000, 0x48000)},
			[]string{"map single dev0 cpu0 #1 4096 0x1000+4096", "map link dev0 cpu0 #2 16384 0x10000+8192 0x20000+8192", "map link dev0 cpu0 #3 16384 0x30000+16384",
				"unmap link dev0 cpu1 #2 16384", "unmap link dev0 cpu1 #3 16384"}, Counts{Live: 1}},
		{"links that are never unmapped are joined while contiguous, of one task, and aligned as one allocation would be",
			[]string{"0 " + iomap(0x40000, 0x42000, 0x10000), "1 " + iomap(0x60000, 0x62000, 0x50000), "0 " + iomap(0x42000, 0x44000, 0x20000),
				"0 " + iomap(0x44000, 0x46000, 0x30000), "0 " + iomap(0x72000, 0x74000, 0x70000), "0 " + iomap(0x74000, 0x76000, 0x80000)},
			[]string{"map link dev0 cpu0 #1 24576 0x10000+8192 0x20000+8192 0x30000+8192", "map link dev0 cpu1 #2 8192 0x50000+8192",
				"map link dev0 cpu0 #3 8192 0x70000+8192", "map link dev0 cpu0 #4 8192 0x80000+8192"}, Counts{Live: 4, Ruled: 2}},
		{"coherent memory takes addresses and is given back by dma_free",
			[]string{"0 " + iomap(0xfffbe000, 0xfffbf000, 0x10667a000),
				"0 dma_alloc: " + nvme + " dir=BIDIRECTIONAL dma_addr=fffbe000 size=4096 virt_addr=00000000a558ec1c flags=GFP_ATOMIC|__GFP_ZERO attrs=",
				"0 dma_free: " + nvme + " dir=BIDIRECTIONAL dma_addr=fffbe000 size=4096 virt_addr=00000000a558ec1c attrs=", "0 " + iounmap(0xfffbe000, 0xfffbf000)},
			[]string{"map coherent dev0 cpu0 #1 4096 0x10667a000+4096", "unmap coherent dev0 cpu0 #1 4096"}, Counts{}},
		{"out of order: an unmap before its map is older than the trace, and the map stays",
			[]string{"0 " + iounmap(0x10000, 0x11000), "0 " + dmaunmap("page", nic, 0x10000, 90), "0 " + iomap(0x10000, 0x11000, 0x1000), "0 " + dmamap("page", nic, 0x10000, 0x1000, 90)},
			[]string{"map single dev0 cpu0 #1 90 0x1000+90"}, Counts{Older: 1, Live: 1}},
		{"a second map of the same addresses shows that an unmap was lost",
			[]string{"0 " + iomap(0x10000, 0x11000, 0x1000), "0 " + dmamap("page", nic, 0x10000, 0x1000, 90), "0 " + iomap(0x10000, 0x11000, 0x2000), "0 " + dmamap("page", nic, 0x10000, 0x2000, 90)},
			[]string{"map single dev0 cpu0 #1 90 0x1000+90", "unmap single dev0 cpu0 #1 90", "map single dev0 cpu0 #2 90 0x2000+90"}, Counts{Lost: 1, Live: 1}},
		{"a map that failed there is not performed here",
			[]string{"0 " + dmamap("page", nic, 0xffffffffffffffff, 0x1000, 90)}, nil, Counts{Failed: 1}},
		{"dma-direct: no iommu events, and a page may be mapped twice at a time",
			[]string{"0 " + dmamap("page", nic, 0x5040, 0x5040, 90), "1 " + dmamap("page", nic, 0x5040, 0x5040, 91), "0 " + dmaunmap("page", nic, 0x5040, 90),
				"0 " + dmaunmap("page", nic, 0x5040, 91), "0 " + dmaunmap("page", nic, 0x5040, 91)},
			[]string{"map single dev0 cpu0 #1 90 0x5040+90", "map single dev0 cpu1 #2 91 0x5040+91", "unmap single dev0 cpu0 #2 91", "unmap single dev0 cpu0 #1 90"}, Counts{Older: 1}},
		{"dma-direct: a list's entries are joined where they are contiguous",
			[]string{"0 dma_map_sg: " + nvme + " dir=TO_DEVICE nents=3/3 ents=3/3 dma_addrs={0x1000,0x2000,0x9000} sizes={0x1000,0x1000,0x2000} phys_addrs={0x1000,0x2000,0x9000} attrs=",
				"0 dma_unmap_sg: " + nvme + " dir=TO_DEVICE phys_addrs={0x1000,0x2000,0x9000} attrs=", "0 dma_unmap_sg: " + nvme + " dir=TO_DEVICE phys_addrs={0x7000} attrs="},
			[]string{"map sg dev0 cpu0 #1 16384 0x1000+8192 0x9000+8192", "unmap sg dev0 cpu0 #1 16384"}, Counts{Older: 1}},
	} {
		calls, tr := track(t, lines(c.events...), 2)
		if got, want := strings.Join(calls, "\n"), strings.Join(c.want, "\n"); got != want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", c.name, got, want)
		}
		got := tr.Counts
		got.Read, got.Maps, got.Unmaps = c.counts.Read, c.counts.Maps, c.counts.Unmaps
		if got != c.counts {
			t.Errorf("%s: counts %+v, want %+v", c.name, got, c.counts)
		}
	}
}

// The same trace in the words of the three writers becomes the same calls.
func TestThreeWritersOneTrace(t *testing.T) {
	events := []string{"0 " + iomap(0xffefa000, 0xffefb000, 0x100952000), "0 " + dmamap("phys", nic, 0xffefa682, 0x100952682, 42),
		"1 " + iounmap(0xffefa000, 0xffefb000), "1 " + dmaunmap("phys", nic, 0xffefa682, 42)}
	want, _ := track(t, lines(events...), 2)
	for name, write := range map[string]func(cpu, text string, i int) string{
		"trace-cmd": func(cpu, text string, i int) string {
			return fmt.Sprintf("  io-9  [%03s]   1.%06d: %s\n", cpu, i, text)
		},
		"perf script": func(cpu, text string, i int) string {
			group := "iommu:"
			if strings.HasPrefix(text, "dma_") {
				group = "dma:"
			}
			return fmt.Sprintf("io  9 [%03s]   1.%06d:   %s%s\n", cpu, i, group, text)
		},
	} {
		var b strings.Builder
		for i, e := range events {
			cpu, text, _ := strings.Cut(e, " ")
			b.WriteString(write(cpu, text, i))
		}
		if got, _ := track(t, b.String(), 2); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Traces one after the other are one, without the time between them; what is a little out of order is not another trace.
func TestTimeThatStartsAgain(t *testing.T) {
	const line = "io-1 [000] d.h1. %s: dma_map_phys: 0000:00:03.0 dir=TO_DEVICE dma_addr=%d000 size=90 phys_addr=5000 attrs=\n"
	var text strings.Builder
	for i, at := range []string{"7.000000", "9.000000", "8.999000", "2.000000", "2.500000", "0.100000"} {
		fmt.Fprintf(&text, line, at, i+1)
	}
	s := &Sample{}
	tr, err := Collect(context.Background(), ftrace.NewReader(strings.NewReader(text.String()), "t"), 0, 1, 1, s, nil)
	if err != nil || tr.Restarts != 2 || tr.Extent.Span() != 2500*sim.Millisecond || tr.Extent.LongestGap != 2*sim.Second {
		t.Fatalf("%v: %d restarts, %v long, %v without an event", err, tr.Restarts, tr.Extent.Span(), tr.Extent.LongestGap)
	}
	for i, want := range []sim.Time{7000, 9000, 8999, 9000, 9500, 9500} {
		if got := s.Calls()[i].At; got != want*sim.Millisecond {
			t.Errorf("call %d is at %v, want %d ms", i, got, want)
		}
	}
}

// An event of a CPU that the machine does not have is an error that says where; those of a device too many are skipped and counted.
func TestWhatDoesNotFit(t *testing.T) {
	r := ftrace.NewReader(strings.NewReader(lines("0 "+iounmap(0x1000, 0x2000), "7 "+iounmap(0x1000, 0x2000))), "t")
	if _, err := Run(context.Background(), r, 0, 2, nil, nil); err == nil || !strings.Contains(err.Error(), "line 2 is of CPU 7") {
		t.Errorf("CPU 7 of 2: %v", err)
	}
	var events []string
	for i := range maxDevices + 1 {
		events = append(events, "0 "+dmamap("page", fmt.Sprintf("%04x:00:00.0", i), 0x1000, 0x1000, 1))
	}
	r = ftrace.NewReader(strings.NewReader(lines(events...)), "t")
	if tr, err := Run(context.Background(), r, 0, 2, nil, nil); err != nil || len(tr.Devices) != maxDevices || tr.Crowded != 1 || tr.Maps[Single] != maxDevices {
		t.Errorf("251 devices: %v, %d of them, %d events skipped", err, len(tr.Devices), tr.Crowded)
	}
}

// stream is an endless trace of a NIC and an NVMe drive: n events.
type stream struct {
	n, i int
	rest string
}

func (s *stream) Read(b []byte) (int, error) {
	for s.rest == "" {
		if s.i >= s.n {
			return 0, io.EOF
		}
		k := uint64(s.i / 8)
		x, y := 0xffe00000+k%64*0x2000, 0xfe000000+k%16*0x20000
		s.rest = lines("0 "+iounmap(x, x+0x1000), "0 "+dmaunmap("phys", nic, x+64, 1522), "0 "+iomap(x, x+0x1000, 0x200000000+k%1000*4096),
			"0 "+dmamap("phys", nic, x+64, 0x200000000+k%1000*4096+64, 1522),
			"1 "+iounmap(y, y+0x4000), "1 "+iomap(y, y+0x2000, 0x240000000+k%5000*8192), "1 "+iomap(y+0x2000, y+0x4000, 0x280000000+k%5000*8192),
			"1 x: y")
		s.i += 8
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Nothing in the tracker grows with the length of the trace.
func TestMemoryDoesNotGrowWithTheTrace(t *testing.T) {
	r := ftrace.NewReader(&stream{n: 200_000}, "stream")
	tr := NewTracker(2, 2)
	calls, most, loose := 0, 0, 0
	tr.emit = func(*Call) error { calls++; return nil }
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Event(ev); err != nil {
			t.Fatal(err)
		}
		most = max(most, tr.Live())
		for _, l := range tr.win.loose {
			loose = max(loose, cap(l))
		}
	}
	if err := tr.Flush(); err != nil {
		t.Fatal(err)
	}
	if calls < 95_000 || most > 64+16+1 || loose > 4*Window || len(tr.live.byAddr) > 81 || tr.Counts.Lost != 0 {
		t.Errorf("%d calls, at most %d live mappings, lists of %d, %d addresses, %d lost", calls, most, loose, len(tr.live.byAddr), tr.Counts.Lost)
	}
}

// A driver that never unmaps does not fill the memory of the host.
func TestMappingsThatAreNeverEndedAreEvicted(t *testing.T) {
	tr := NewTracker(1, 1)
	unmaps := 0
	tr.emit = func(c *Call) error {
		if c.Unmap {
			unmaps++
			if c.ID != uint64(unmaps) || !c.Unmeasured {
				return fmt.Errorf("mapping %d is ended, want the oldest, %d, unmeasured", c.ID, unmaps)
			}
		}
		return nil
	}
	ev := ftrace.Event{Kind: ftrace.MapPhys, Device: nvme, Size: 4096}
	for i := range MaxLive + 100 {
		ev.Addr = uint64(i) << 12
		ev.Phys = ev.Addr
		if err := tr.Event(&ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Flush(); err != nil || unmaps != 100 || tr.Live() != MaxLive || tr.Counts.Evicted != 100 {
		t.Errorf("%v: %d evicted, %d live", err, unmaps, tr.Live())
	}
}

// Whatever the text, the tracker keeps its books: every map is ended once or live.
func FuzzTracker(f *testing.F) {
	f.Add(lines("0 "+iomap(0x10000, 0x11000, 0x1000), "0 "+dmamap("page", nic, 0x10000, 0x1000, 90), "1 "+iounmap(0x10000, 0x11000)))
	f.Add(lines("1 "+iomap(0x40000, 0x42000, 0x1000), "1 "+iomap(0x42000, 0x44000, 0x9000), "0 "+iounmap(0x40000, 0x44000),
		"0 dma_map_sg: "+nvme+" dir=TO_DEVICE nents=1/1 ents=1/1 dma_addrs={0x1} sizes={0x1} phys_addrs={0x1} attrs=",
		"0 dma_unmap_sg: "+nvme+" dir=TO_DEVICE phys_addrs={0x1} attrs="))
	f.Fuzz(func(t *testing.T, text string) {
		tr := NewTracker(4, 4)
		live := map[uint64]bool{}
		tr.emit = func(c *Call) error {
			if c.Unmap != live[c.ID] {
				t.Fatalf("call %+v: mapped before: %v", *c, live[c.ID])
			}
			if !c.Unmap {
				if len(c.Runs) == 0 || tr.live.pieces > MaxPieces {
					t.Fatalf("map without a piece: %+v", *c)
				}
				live[c.ID] = true
			} else {
				delete(live, c.ID)
			}
			return nil
		}
		r := ftrace.NewReader(strings.NewReader(text), "fuzz")
		for {
			ev, err := r.Next()
			var se *ftrace.SyntaxError
			if errors.As(err, &se) {
				continue
			}
			if err != nil {
				break
			}
			if tr.Event(ev) != nil {
				return
			}
		}
		if err := tr.Flush(); err != nil {
			t.Fatal(err)
		}
		ending := 0
		for m := tr.live.old; m != nil; m = m.newer {
			if m.ending {
				ending++
			}
		}
		if len(live)+ending != tr.Live() {
			t.Fatalf("%d mapped, %d ending, %d in the table", len(live), ending, tr.Live())
		}
	})
}
