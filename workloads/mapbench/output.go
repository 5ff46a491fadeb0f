package mapbench

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"dmapath/kernel"
)

// Output is what the kernel's tool prints about one run: a heading with the parameters, and two lines of figures in microseconds with one
// decimal. tools/testing/selftests/dma/dma_map_benchmark.c of 6.12, tools/dma/dma_map_benchmark.c of 7.3.
type Output struct {
	Line    int            // of the heading in the file it was read from, 0 for our own
	Version kernel.Version // whose tool: the heading of 7.3 has the mode
	Mode    int            // 0 single, 1 scatterlist
	Threads int
	Seconds int
	Node    int
	Dir     kernel.Direction
	Granule int
	// Figures is false when no round was completed: the tool of the simulated machine then prints the heading alone.
	Figures                    bool
	Map, MapSD, Unmap, UnmapSD float64 // us
}

var modes = [...]string{"SINGLE_MODE", "SG_MODE"}

// String is the three lines.
func (o *Output) String() string {
	var b strings.Builder
	if o.Version == kernel.V7_3 {
		fmt.Fprintf(&b, "dma mapping benchmark(%s): threads:%d seconds:%d node:%d dir:%s granule:%d\n", modes[o.Mode], o.Threads, o.Seconds, o.Node, o.Dir, o.Granule)
	} else {
		fmt.Fprintf(&b, "dma mapping benchmark: threads:%d seconds:%d node:%d dir:%s granule: %d\n", o.Threads, o.Seconds, o.Node, o.Dir, o.Granule)
	}
	if o.Figures {
		fmt.Fprintf(&b, "average map latency(us):%.1f standard deviation:%.1f\n", o.Map, o.MapSD)
		fmt.Fprintf(&b, "average unmap latency(us):%.1f standard deviation:%.1f\n", o.Unmap, o.UnmapSD)
	}
	return b.String()
}

// Limits of what ReadOutputs accepts.
const (
	maxLine = 4096 // bytes
	maxRuns = 4096 // per file
)

var (
	heading = regexp.MustCompile(`^dma mapping benchmark(?:\((SINGLE_MODE|SG_MODE)\))?: threads:(\d+) seconds:(\d+) node:(-?\d+) dir:(BIDIRECTIONAL|TO_DEVICE|FROM_DEVICE) granule: ?(\d+)$`)
	figures = regexp.MustCompile(`^average (map|unmap) latency\(us\): ?(\d+(?:\.\d+)?) standard deviation: ?(\d+(?:\.\d+)?)$`)
)

// ReadOutputs reads what the tool printed, once or several times, from a file called name. Lines that are not the tool's (a shell's prompt, a
// comment) are passed over; a heading without both lines of figures, or figures without a heading, is an error with its line.
func ReadOutputs(name string, r io.Reader) ([]Output, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	var list []Output
	var open *Output // the run whose figures are still to come
	var seen [2]bool
	n := 0
	for s.Scan() {
		n++
		line := strings.TrimSpace(s.Text())
		if strings.HasPrefix(line, "dma mapping benchmark") {
			if open != nil {
				return nil, fmt.Errorf("%s:%d: the run before, of line %d, has no figures for map and unmap", name, n, open.Line)
			}
			f := heading.FindStringSubmatch(line)
			if f == nil {
				return nil, fmt.Errorf("%s:%d: %q is not a heading of dma_map_benchmark, such as \"dma mapping benchmark(SINGLE_MODE): threads:1 seconds:20 node:-1 dir:BIDIRECTIONAL granule:1\"", name, n, line)
			}
			o := Output{Line: n, Version: kernel.V6_12, Figures: true}
			if f[1] != "" {
				o.Version = kernel.V7_3
			}
			if f[1] == modes[1] {
				o.Mode = 1
			}
			for _, p := range []struct {
				to   *int
				text string
			}{{&o.Threads, f[2]}, {&o.Seconds, f[3]}, {&o.Node, f[4]}, {&o.Granule, f[6]}} {
				v, err := strconv.Atoi(p.text)
				if err != nil {
					return nil, fmt.Errorf("%s:%d: %q is too large", name, n, p.text)
				}
				*p.to = v
			}
			for d := range kernel.Direction(3) {
				if d.String() == f[5] {
					o.Dir = d
				}
			}
			open, seen = &o, [2]bool{}
			continue
		}
		if !strings.HasPrefix(line, "average ") {
			continue
		}
		f := figures.FindStringSubmatch(line)
		if f == nil {
			return nil, fmt.Errorf("%s:%d: %q is not a line of figures, such as \"average map latency(us):0.4 standard deviation:0.1\"", name, n, line)
		}
		if open == nil {
			return nil, fmt.Errorf("%s:%d: figures without a heading before them", name, n)
		}
		mean, err1 := strconv.ParseFloat(f[2], 64)
		sd, err2 := strconv.ParseFloat(f[3], 64)
		if err1 != nil || err2 != nil || mean > 1e9 || sd > 1e9 {
			return nil, fmt.Errorf("%s:%d: latencies up to 1e9 us are allowed", name, n)
		}
		at := 0
		if f[1] == "unmap" {
			at = 1
			open.Unmap, open.UnmapSD = mean, sd
		} else {
			open.Map, open.MapSD = mean, sd
		}
		if seen[at] {
			return nil, fmt.Errorf("%s:%d: a second line for %s", name, n, f[1])
		}
		seen[at] = true
		if seen[0] && seen[1] {
			if len(list) == maxRuns {
				return nil, fmt.Errorf("%s:%d: more than %d runs", name, n, maxRuns)
			}
			list, open = append(list, *open), nil
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the file ends before the figures for map and unmap", name, open.Line)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no output of dma_map_benchmark in it; wanted is a line \"dma mapping benchmark...\" and the two after it", name)
	}
	return list, nil
}
