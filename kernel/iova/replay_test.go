package iova

import (
	"bufio"
	"compress/gzip"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"dmapath/sim"
)

// op is one allocation or free of a recorded trace.
type op struct {
	at         sim.Time
	seq, cpu   int
	free       bool
	pfn, pages uint64
	dev        string
}

type mapping struct {
	seq, cpu int
	at       sim.Time
	lo, hi   uint64 // bytes
	task     string
	dev      string
}

// readTrace turns the text of a trace file into allocations and frees per device. One range may be mapped in several
// pieces (scatterlists on 6.12, links on 7.3); what an unmap covers was one allocation, made before its first
// piece was mapped.
func readTrace(tb testing.TB, name string) []op {
	tb.Helper()
	f, err := os.Open(name)
	if err != nil {
		tb.Skip(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var ops []op
	var live []*mapping
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<20)
	lastDev := map[uint64]string{}
	var waiting []*mapping // maps whose device is not known yet
	odd := map[string]bool{}
	for seq := 0; sc.Scan(); seq++ {
		l := sc.Text()
		if strings.HasPrefix(l, "#") {
			continue
		}
		i := strings.Index(l, " [")
		task := strings.TrimSpace(l[:i])
		fields := strings.Fields(l[i:])
		cpu, _ := strconv.Atoi(strings.Trim(fields[0], "[]"))
		sec, _ := strconv.ParseFloat(strings.TrimSuffix(fields[2], ":"), 64)
		at := sim.Time(sec*1e6) * sim.Microsecond
		event, dev := strings.TrimSuffix(fields[3], ":"), fields[4]
		switch {
		case event == "map" || event == "unmap":
			lo, hi := hex(fields[5][len("iova="):]), hex(fields[7])
			if event == "map" {
				m := &mapping{seq: seq, cpu: cpu, at: at, lo: lo, hi: hi, task: task, dev: lastDev[lo]}
				live = append(live, m)
				waiting = append(waiting, m)
				continue
			}
			var first *mapping
			rest := live[:0]
			for _, m := range live {
				if m.lo >= lo && m.hi <= hi {
					if first == nil {
						first = m
					}
					continue
				}
				rest = append(rest, m)
			}
			live = rest
			o := op{at: at, seq: seq, cpu: cpu, free: true, pfn: lo >> 12, pages: (hi - lo) >> 12}
			if first != nil {
				o.dev = first.dev
				ops = append(ops, op{at: first.at, seq: first.seq, cpu: first.cpu, pfn: lo >> 12, pages: o.pages, dev: first.dev})
			}
			if o.dev == "" {
				o.dev = lastDev[lo]
			}
			ops = append(ops, o)
		case strings.HasPrefix(event, "dma_map"):
			for _, f := range fields[5:] {
				if s, ok := strings.CutPrefix(f, "size="); ok {
					if n, _ := strconv.Atoi(s); n%512 != 0 {
						odd[dev] = true
					}
				}
			}
			// the maps of this call came just before on the same CPU and task
			for k := len(waiting) - 1; k >= 0; k-- {
				if m := waiting[k]; m.cpu == cpu && m.task == task {
					m.dev = dev
					lastDev[m.lo] = dev
					waiting = waiting[:k]
					break
				}
			}
		case strings.HasPrefix(event, "dma_unmap"):
			for _, f := range fields[5:] {
				if s, ok := strings.CutPrefix(f, "dma_addr="); ok {
					lastDev[hex(s)&^4095] = dev
				}
			}
		}
	}
	// What was never unmapped: pieces that follow each other in one task were one allocation.
	for i, m := range live {
		if m == nil {
			continue
		}
		hi := m.hi
		for j := i + 1; j < len(live); j++ {
			if n := live[j]; n != nil && n.lo == hi && n.task == m.task {
				hi, live[j] = n.hi, nil
			}
		}
		ops = append(ops, op{at: m.at, seq: m.seq, cpu: m.cpu, pfn: m.lo >> 12, pages: (hi - m.lo) >> 12, dev: m.dev})
	}
	// 7.3's links have no dma: event; only the block layer uses them, so they belong to the block device, whose
	// buffers are whole sectors.
	block := ""
	count := map[string]int{}
	for _, o := range ops {
		if count[o.dev]++; o.dev != "" && !odd[o.dev] && count[o.dev] > count[block] {
			block = o.dev
		}
	}
	for i := range ops {
		if ops[i].dev == "" {
			ops[i].dev = block
		}
	}
	sort.SliceStable(ops, func(a, b int) bool { return ops[a].seq < ops[b].seq })
	return ops
}

func hex(s string) uint64 {
	v, _ := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 64)
	return v
}

func replay(ops []op) map[string]*Predictor {
	ps := map[string]*Predictor{}
	for _, o := range ops {
		p := ps[o.dev]
		if p == nil {
			p = NewPredictor(2, false)
			ps[o.dev] = p
		}
		if o.free {
			p.Free(o.at, o.cpu, o.pfn, o.pages)
		} else {
			p.Alloc(o.at, o.cpu, o.pages, o.pfn)
		}
	}
	return ps
}

// Replaying traces of real kernels, at least 99 % of the IOVAs that the trace saw freed before are predicted exactly.
// What is left are interrupts that freed something between an allocation and its record, and magazines that a
// depot's worker emptied before the trace began. DMAPATH_EVENTS names a directory with more traces.
func TestReplayOfRealTracesPredictsIOVAs(t *testing.T) {
	names, _ := filepath.Glob("../../workloads/testdata/events/*-strict-*.txt.gz")
	if dir := os.Getenv("DMAPATH_EVENTS"); dir != "" {
		more, _ := filepath.Glob(filepath.Join(dir, "*.txt.gz"))
		names = append(names, more...)
	}
	if len(names) == 0 {
		t.Fatal("no traces")
	}
	for _, n := range names {
		ps := replay(readTrace(t, n))
		for _, dev := range slices.Sorted(maps.Keys(ps)) {
			c := ps[dev].Count
			t.Logf("%s %s: exact %d, wrong %d, older than the trace %d, of these guessed %d", filepath.Base(n), dev, c[Exact],
				c[Wrong], c[Older]+c[OlderGuessed], c[OlderGuessed])
			if judged := c[Exact] + c[Wrong]; c[Exact]*100 < judged*99 {
				t.Errorf("%s %s: %d of %d predicted exactly, want 99 %%", filepath.Base(n), dev, c[Exact], judged)
			}
		}
	}
}
