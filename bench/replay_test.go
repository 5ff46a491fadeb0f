package bench

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dmapath/platform"
	"dmapath/results"
	"dmapath/workloads/ftrace"
)

var updateReplay = flag.Bool("update-replay", false, "rewrite testdata/replay/*.golden")

func replayFile(t *testing.T, x Replay, file string) *results.Record {
	t.Helper()
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Backends) == 0 {
		x.Backends = []string{"iommu-strict"}
	}
	x.Name, x.Cache, x.Seed = filepath.Base(file), "warm", 1
	r, err := ReplayFile(context.Background(), s, x, func() (io.ReadCloser, error) { return os.Open(file) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func written(t *testing.T, r *results.Record, f results.Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// cycles are the figures that change with the model; the golden files hold everything else exactly.
var cycles = regexp.MustCompile(`[-+~]*[0-9]+(\.[0-9]+)?( \([0-9.]+\))?`)

var rule = regexp.MustCompile("---+")

// maskCycles replaces the figures of tables whose titles speak of cycles, and of the IOMMU's.
func maskCycles(s string) string {
	parts := strings.Split(s, "\n\n")
	masking, steps := false, false
	for i, p := range parts {
		first, _, _ := strings.Cut(p, "\n")
		if strings.Contains(first, ": ") {
			masking = false
			for _, part := range []string{"cycles per", ": IOMMU", ": cost of its calls", ": differences, call by call", ": distribution", ": flush queues"} {
				masking = masking || strings.Contains(strings.ReplaceAll(p, "\n", " "), part)
			}
		}
		if strings.Contains(strings.ReplaceAll(p, "\n", " "), "by kernel function") {
			steps = true
			continue
		}
		if steps = steps && !strings.Contains(first, ": "); steps { // functions change with the model, too
			parts[i] = "(steps)"
			continue
		}
		if !masking {
			continue
		}
		ls := strings.Split(p, "\n")
		for k, l := range ls {
			if f := strings.Fields(l); strings.HasPrefix(l, "map_") {
				ls[k] = f[0] + " " + cycles.ReplaceAllString(strings.Join(f[1:], " "), "#")
			} else {
				ls[k] = rule.ReplaceAllString(strings.Join(f, " "), "---") // the columns are as wide as the figures
			}
		}
		parts[i] = strings.Join(ls, "\n")
	}
	return strings.Join(parts, "\n\n")
}

// Small traces of both kernels in the words of the three writers, with damaged lines, are replayed to what the golden files
// show; tables are at most 80 columns of ASCII.
func TestReplayGolden(t *testing.T) {
	files, _ := filepath.Glob("testdata/replay/*.txt")
	if len(files) < 4 {
		t.Fatalf("%d traces in testdata/replay", len(files))
	}
	for _, f := range files {
		var bad []string
		x := Replay{Variants: []string{"map_phys@7.3"}, Malformed: func(e *ftrace.SyntaxError) { bad = append(bad, e.Error()) }}
		if strings.HasPrefix(filepath.Base(f), "612") {
			x.Variants = []string{"map_page@6.12"}
		}
		if strings.Contains(f, "several") {
			x.Variants = []string{"map_page@7.3", "map_phys@7.3", "map_page@6.12"}
		}
		out := written(t, replayFile(t, x, f), results.ASCII)
		for i, l := range strings.Split(out, "\n") {
			if len(l) > results.Width || strings.ContainsFunc(l, func(r rune) bool { return r > 126 }) {
				t.Errorf("%s: line %d is no 80 columns of ASCII: %q", f, i+1, l)
			}
		}
		got := maskCycles(out)
		if len(bad) > 0 {
			got += "\nstderr:\n" + strings.Join(bad, "\n") + "\n"
		}
		golden := strings.TrimSuffix(f, ".txt") + ".golden"
		if *updateReplay {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s\n(go test ./bench -run ReplayGolden -update-replay)", f, got, want)
		}
	}
}

// The same bytes on a second run, compressed, and from a stream.
func TestReplayIsDeterministic(t *testing.T) {
	const file = "testdata/replay/612-trace-file.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x := Replay{Variants: []string{"map_page@6.12", "map_phys@7.3"}}
	want := written(t, replayFile(t, x, file), results.JSON)
	if got := written(t, replayFile(t, x, file), results.JSON); got != want {
		t.Error("a second run differs")
	}
	zipped := filepath.Join(t.TempDir(), filepath.Base(file))
	f, err := os.Create(zipped)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	z.Write(text)
	z.Close()
	f.Close()
	if got := written(t, replayFile(t, x, zipped), results.JSON); got != want {
		t.Error("the compressed trace gives other results")
	}
	s, _ := platform.Load("icelake-sp")
	x.Name, x.Backends, x.Cache, x.Seed = filepath.Base(file), []string{"iommu-strict"}, "warm", 1
	r, err := ReplayStream(context.Background(), s, x, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := written(t, r, results.JSON); got != want {
		t.Error("the same trace from a stream gives other results")
	}
}

// The kept traces of real kernels: at least 99 % of the IOVAs whose history they contain are predicted exactly.
func TestReplayOfRealTraces(t *testing.T) {
	for _, f := range []string{"612-strict-nvme.txt.gz", "73-strict-nic.txt.gz"} {
		r := replayFile(t, Replay{Limit: 6000, Backends: []string{"direct"}, Variants: []string{"map_phys@7.3"}}, "../workloads/testdata/events/"+f)
		rates := 0
		for _, m := range r.Measurements {
			if m.Metric == "iova_exact_rate" {
				rates++
				if m.Value < 99 {
					t.Errorf("%s: %.2f %% of %d IOVAs on %s are exact, want 99", f, m.Value, m.N, m.Dim("device"))
				}
			}
		}
		if rates == 0 {
			t.Errorf("%s: no prediction", f)
		}
	}
}

// What the machine cannot hold is said before anything is simulated, or done and said.
func TestReplayFitsTheMachineToTheTrace(t *testing.T) {
	s, _ := platform.Load("icelake-sp")
	line := func(cpu string, phys string) string {
		return "io-1 [" + cpu + "] d.h1. 1.500000: dma_map_phys: 0000:00:03.0 dir=TO_DEVICE dma_addr=" + phys + " size=4096 phys_addr=" + phys + " attrs=\n"
	}
	try := func(x Replay, text string) (*results.Record, error) {
		x.Name, x.Backends, x.Cache = "t", []string{"direct"}, "hot"
		return ReplayStream(context.Background(), s, x, strings.NewReader(text))
	}
	for _, c := range []struct {
		name string
		x    Replay
		text string
		want string
	}{
		{"more CPUs than cores", Replay{}, line("999", "5000"), "--set cpu.cores=1000"},
		{"CPUs given too low", Replay{CPUs: 1}, line("001", "5000"), "line 1 is of CPU 1"},
		{"nothing to replay", Replay{}, "hello\n", "no dma or iommu event"},
		{"binary trace", Replay{}, "PERFILE2\x68\x00\x00\x00", "perf script -F comm,tid,cpu,time,event,trace makes text of it"},
		{"another binary trace", Replay{}, "\x17\x08Dtracing6\x00", "trace-cmd report makes text of it"},
		{"unknown variant", Replay{Variants: []string{"map_fizz@7.3"}}, line("000", "5000"), "did you mean"},
	} {
		if _, err := try(c.x, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	r, err := try(Replay{}, line("000", "10000000000")) // 1 TiB
	if err != nil || !strings.Contains(strings.Join(r.Warnings, "\n"), "memory.ram is ") {
		t.Errorf("an address beyond RAM: %v, %v", err, r)
	}
	s, _ = platform.Load("icelake-sp")
	r, err = try(Replay{FixedRAM: true}, line("000", "10000000000"))
	if err != nil || !strings.Contains(strings.Join(r.Warnings, "\n"), "1 mappings lie another GiB up") {
		t.Errorf("an address beyond RAM that is fixed: %v, %v", err, r)
	}
}
