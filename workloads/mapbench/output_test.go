package mapbench

import (
	"strings"
	"testing"

	"dmapath/kernel"
)

const both = `root@host:~# ./dma_map_benchmark -t 4 -s 30 -d 2 -g 2
dma mapping benchmark: threads:4 seconds:30 node:-1 dir:FROM_DEVICE granule: 2
average map latency(us):0.4 standard deviation:0.1
average unmap latency(us):1.5 standard deviation:0.3

dma mapping benchmark(SG_MODE): threads:1 seconds:20 node:0 dir:BIDIRECTIONAL granule:16
average map latency(us):12.0 standard deviation:3.4
average unmap latency(us):7.1 standard deviation:0.0
`

// What the tools of both kernels print is read, and printed again as it was.
func TestReadOutputs(t *testing.T) {
	list, err := ReadOutputs("real.txt", strings.NewReader(both))
	if err != nil {
		t.Fatal(err)
	}
	want := []Output{{Line: 2, Version: kernel.V6_12, Threads: 4, Seconds: 30, Node: -1, Dir: kernel.FromDevice, Granule: 2, Figures: true, Map: 0.4, MapSD: 0.1, Unmap: 1.5, UnmapSD: 0.3},
		{Line: 6, Version: kernel.V7_3, Mode: 1, Threads: 1, Seconds: 20, Granule: 16, Figures: true, Map: 12, MapSD: 3.4, Unmap: 7.1}}
	if len(list) != 2 || list[0] != want[0] || list[1] != want[1] {
		t.Errorf("read %+v", list)
	}
	for _, o := range list {
		if !strings.Contains(both, o.String()) {
			t.Errorf("printed again:\n%s", o.String())
		}
	}
}

// An error says where, and what is wanted.
func TestBadOutputs(t *testing.T) {
	const head = "dma mapping benchmark: threads:4 seconds:30 node:-1 dir:FROM_DEVICE granule: 2\n"
	const m = "average map latency(us):0.4 standard deviation:0.1\n"
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "hello\n", "real.txt: no output of dma_map_benchmark"},
		{"a heading alone", head, "real.txt:1: the file ends before"},
		{"half of the figures", head + m, "real.txt:1: the file ends before"},
		{"two headings", head + m + head, "real.txt:3: the run before, of line 1"},
		{"figures alone", "\n" + m, "real.txt:2: figures without a heading"},
		{"twice the same", head + m + m, "real.txt:3: a second line for map"},
		{"a direction that does not exist", strings.Replace(head, "FROM", "ROUND", 1), "real.txt:1: \"dma mapping"},
		{"no number", head + strings.Replace(m, "0.4", "fast", 1), "real.txt:2: \"average"},
		{"a number too large", strings.Replace(head, ":4", ":99999999999999999999", 1), "real.txt:1: \"99999999999999999999\" is too large"},
		{"a line without end", strings.Repeat("x", maxLine+1), "real.txt:1: "},
	} {
		if _, err := ReadOutputs("real.txt", strings.NewReader(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s...", c.name, err, c.want)
		}
	}
}

// Whatever is read, prints and reads as the same.
func FuzzReadOutputs(f *testing.F) {
	f.Add(both)
	f.Add("average map latency(us):1e9 standard deviation:0.1")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ReadOutputs("f", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, o := range list {
			again, err := ReadOutputs("f", strings.NewReader(o.String()))
			if err != nil || len(again) != 1 || again[0].Threads != o.Threads || again[0].Mode != o.Mode || again[0].Dir != o.Dir {
				t.Fatalf("%q reads as %+v, %v", o.String(), again, err)
			}
		}
	})
}
