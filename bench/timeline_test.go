package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
	"dmapath/workloads"
)

// picture is what a viewer makes of a timeline's file.
type picture struct {
	slices  []pictureSlice
	arrows  map[string]int // by name
	spans   map[string]int
	highest map[string]float64 // of a counter
	events  int
}

type pictureSlice struct {
	track, name, parent string
	start, dur          float64 // us
	args                map[string]any
}

// look reads a timeline as Perfetto does, which keeps nanoseconds and sorts by them, and checks what the format demands: times do not go back
// on a track, and after sorting begins and ends pair up and nest, ends of arrows are inside of slices and heads behind tails.
func look(t *testing.T, tl *results.Timeline) *picture {
	t.Helper()
	var b bytes.Buffer
	if err := tl.Write(&b); err != nil {
		t.Fatal(err)
	}
	type event struct {
		Ph, Name, Bp string
		Pid, Tid, ID int
		Ts           float64
		Args         map[string]any
	}
	var f struct {
		TraceEvents []event
		OtherData   map[string]string
	}
	if err := json.Unmarshal(b.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	p := &picture{arrows: map[string]int{}, spans: map[string]int{}, highest: map[string]float64{}}
	type line struct{ pid, tid int }
	names := map[line]string{}
	open := map[line][]int{}
	last := map[string]float64{}
	for _, e := range f.TraceEvents {
		at := line{e.Pid, e.Tid}
		if e.Ph == "M" && e.Name == "thread_name" {
			names[at] = e.Args["name"].(string)
		}
		key := fmt.Sprint(at)
		if e.Ph == "C" {
			key = fmt.Sprint(e.Pid, e.Name)
		}
		if !strings.Contains("Mbe", e.Ph) {
			if e.Ts < last[key] {
				t.Fatalf("%s: %s %q at %v behind %v", names[at], e.Ph, e.Name, e.Ts, last[key])
			}
			last[key] = e.Ts
		}
	}
	slices.SortStableFunc(f.TraceEvents, func(a, b event) int { return cmp.Compare(math.Floor(a.Ts*1000), math.Floor(b.Ts*1000)) })
	tails, heads, spans := map[int]float64{}, map[int]bool{}, map[int]float64{}
	for _, e := range f.TraceEvents {
		at := line{e.Pid, e.Tid}
		if e.Ph == "M" {
			continue
		}
		p.events++
		stack := open[at]
		switch e.Ph {
		case "B":
			s := pictureSlice{track: names[at], name: e.Name, start: e.Ts, dur: -1, args: e.Args}
			if len(stack) > 0 {
				s.parent = p.slices[stack[len(stack)-1]].name
			}
			p.slices = append(p.slices, s)
			open[at] = append(stack, len(p.slices)-1)
		case "E":
			if len(stack) == 0 {
				t.Fatalf("%s: an end at %v without a begin", names[at], e.Ts)
			}
			s := &p.slices[stack[len(stack)-1]]
			s.dur = e.Ts - s.start
			open[at] = stack[:len(stack)-1]
		case "s":
			if _, ok := tails[e.ID]; ok || len(stack) == 0 {
				t.Fatalf("%s: arrow %d (%s) begins twice or outside of a slice", names[at], e.ID, e.Name)
			}
			tails[e.ID] = e.Ts
			p.arrows[e.Name]++
		case "f":
			if len(stack) == 0 || e.Bp != "e" {
				t.Fatalf("%s: arrow %d (%s) ends outside of a slice", names[at], e.ID, e.Name)
			}
			if from, ok := tails[e.ID]; !ok || e.Ts < from || heads[e.ID] {
				t.Fatalf("%s: arrow %d (%s) leads from %v to %v (%v), or there twice", names[at], e.ID, e.Name, from, e.Ts, ok)
			}
			heads[e.ID] = true
		case "b":
			spans[e.ID] = e.Ts
			p.spans[e.Name]++
		case "e":
			if from, ok := spans[e.ID]; !ok || e.Ts < from {
				t.Fatalf("span %d ends at %v, begins at %v (%v)", e.ID, e.Ts, from, ok)
			}
			delete(spans, e.ID)
		case "C":
			for _, v := range e.Args {
				if v.(float64) < 0 {
					t.Fatalf("%s is %v at %v", e.Name, v, e.Ts)
				}
				p.highest[e.Name] = max(p.highest[e.Name], v.(float64))
			}
		}
	}
	for at, stack := range open {
		if len(stack) > 0 {
			t.Errorf("%s: %d slices without an end", names[at], len(stack))
		}
	}
	if len(spans) > 0 {
		t.Errorf("%d spans without an end", len(spans))
	}
	if len(heads) != len(tails) {
		t.Errorf("%d arrows begin, %d end", len(tails), len(heads))
	}
	if p.events != tl.Events() || f.OtherData["events"] != fmt.Sprint(p.events) && len(tl.Notes) > 0 {
		t.Errorf("%d events in the file, Events is %d, the notes say %s", p.events, tl.Events(), f.OtherData["events"])
	}
	return p
}

// recordWhole runs the one point of x and records it from its first event to its last.
func recordWhole(t *testing.T, s *platform.Spec, x Experiment, budget int) (*sim.Timeline, *Outcome) {
	tl, o, _ := recordTotals(t, s, x, budget)
	return tl, o
}

// totals are what a machine has counted while it was recorded.
type totals struct{ up, down, walkers sim.Time }

func recordTotals(t *testing.T, s *platform.Spec, x Experiment, budget int) (*sim.Timeline, *Outcome, totals) {
	t.Helper()
	var sum totals
	if err := x.Validate(s); err != nil {
		t.Fatal(err)
	}
	tl := sim.NewTimeline(budget)
	x.stacks = true
	o, err := x.Inspect(s, x.Points()[0], func(m *platform.Machine, d *platform.Device) (func(*workloads.Result) error, error) {
		m.Eng.Timeline = tl
		d.Port.Show(tl, "PCIe")
		tl.Begin(m.Eng.Now())
		up, down := d.Port.Up.Busy, d.Port.Down.Busy
		return func(*workloads.Result) error {
			tl.Finish(m.Eng.Now())
			sum.up, sum.down = d.Port.Up.Busy-up, d.Port.Down.Busy-down
			if m.Unit != nil {
				sum.walkers = m.Unit.WalkerBusy()
			}
			return nil
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tl, o, sum
}

func pictureOf(t *testing.T, tl *sim.Timeline) *picture {
	t.Helper()
	return look(t, &results.Timeline{Processes: []results.TimelineProcess{timelineProcess("run", tl)}})
}

func timelineExperiment(workload, variant, backend string, operations int64) Experiment {
	x := Default()
	x.Workloads, x.Variants, x.Backends, x.Caches = []string{workload}, []string{variant}, []string{backend}, []string{"warm"}
	x.Operations = operations
	return x
}

// What is shown of a run is what is measured of it, and showing it changes nothing.
func TestTimelineShowsWhatIsMeasured(t *testing.T) {
	for _, c := range []struct{ platform, workload, variant, backend, tlb string }{
		{"icelake-sp", "nvme", "map_phys@7.3", "iommu-strict", ""},
		{"icelake-sp", "nic", "map_page@6.12", "iommu-strict", ""},
		{"genoa", "nvme", "map_page@6.12", "iommu-strict", ""},
		{"kunpeng-920", "nvme", "map_phys@7.3", "iommu-strict", ""},
		{"icelake-sp", "map-benchmark", "map_phys@7.3", "direct", ""},
		{"icelake-sp", "nvme", "driver@7.3", "iommu-lazy", ""},
		{"icelake-sp", "nvme", "map_phys@7.3", "viommu-strict", ""},
		{"icelake-sp", "nvme", "map_page@7.3", "iommu-strict", "64"},
	} {
		t.Run(c.platform+"/"+c.workload+"/"+c.variant+"/"+c.backend, func(t *testing.T) {
			s, err := platform.Load(c.platform)
			if err != nil {
				t.Fatal(err)
			}
			if c.tlb != "" {
				err = errors.Join(s.Set("pcie.device_tlb.entries", c.tlb), s.Set("pcie.device_tlb.ways", "4"), s.Check())
			}
			if err != nil {
				t.Fatal(err)
			}
			x := timelineExperiment(c.workload, c.variant, c.backend, 64)
			tl, o, sum := recordTotals(t, s, x, 1<<30)
			p := pictureOf(t, tl)
			plain, err := x.Run(s, x.Points()[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range []struct {
				name     string
				op, same *workloads.Op
			}{{"map", o.Map, plain.Map}, {"unmap", o.Unmap, plain.Unmap}} {
				var cycles, us float64
				n := 0
				for _, s := range p.slices {
					if s.name == call.name {
						cycles += s.args["cycles"].(float64)
						us += s.dur
						n++
					}
				}
				if uint64(n) != call.op.Series.N || int64(cycles) != call.op.Total {
					t.Errorf("%d slices of %s have %v cycles, the run measured %d calls with %d", n, call.name, cycles, call.op.Series.N, call.op.Total)
				}
				// A call that begins between two edges of the clock takes a part of a cycle more.
				if cycle := 1e6 / float64(o.Clock.Hz()); math.Abs(us-float64(call.op.Total)*cycle) > float64(n)*cycle {
					t.Errorf("slices of %s take %v us, the calls %v cycles", call.name, us, call.op.Total)
				}
				if call.op.Total != call.same.Total || o.Elapsed != plain.Elapsed {
					t.Errorf("%s: %d cycles when shown, %d when not", call.name, call.op.Total, call.same.Total)
				}
			}
			shown := totals{}
			for i := range tl.Slices[1:] {
				switch s := &tl.Slices[i+1]; tl.Tracks[s.Track].Name {
				case "PCIe link up":
					shown.up += s.End - s.Start
				case "PCIe link down":
					shown.down += s.End - s.Start
				}
			}
			for _, s := range tl.Spans {
				if tl.Tracks[s.Track].Name == "IOMMU walks" {
					shown.walkers += s.End - s.Start
				}
			}
			if shown != sum {
				t.Errorf("links and walkers are shown for %v, the machine counted %v", shown, sum)
			}
			if n := int(o.IOMMU.Walks); n != p.spans["walk"] {
				t.Errorf("%d walks are shown, the unit made %d", p.spans["walk"], n)
			}
			if o.Walkers > 0 && p.highest["IOMMU walkers busy"] > float64(o.Walkers) {
				t.Errorf("%v walkers are busy of %d", p.highest["IOMMU walkers busy"], o.Walkers)
			}
			if c.backend == "iommu-strict" {
				// Each announcement has an arrow to its first command, and each unmap sees what it waited for.
				if got, want := p.arrows["command submitted"], int(o.IOMMU.TailWrites); got != want {
					t.Errorf("%d arrows to the IOMMU, %d writes of the tail", got, want)
				}
				if got, want := p.arrows["completion seen"], int(o.Unmap.Series.N); got != want {
					t.Errorf("%d arrows back from the IOMMU, %d unmaps", got, want)
				}
			}
			if c.backend == "viommu-strict" && (p.arrows["request submitted"] == 0 || p.arrows["completion seen"] == 0) {
				t.Errorf("arrows of a virtio-iommu: %v", p.arrows)
			}
		})
	}
}

// With several CPUs on one domain they wait for the lock of its caches, and an arrow leads from who had it.
func TestTimelineShowsWhoWaits(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := timelineExperiment("map-benchmark", "map_single@7.3", "iommu-strict", 64)
	x.CPUs, x.MapBench.Threads = 4, 4
	tl, _ := recordWhole(t, s, x, 1<<30)
	p := pictureOf(t, tl)
	cpus := map[string]int{}
	held := 0
	for _, s := range p.slices {
		if s.name == "waits for cache_lock" {
			cpus[s.track]++
			if by := s.args["held by"].(string); by == s.track || !strings.HasPrefix(by, "cpu ") || s.dur <= 0 || s.parent != "native_queued_spin_lock_slowpath" {
				t.Fatalf("%+v", s)
			}
		}
		if s.track == "lock cache_lock" {
			held++
		}
	}
	waits := 0
	for _, n := range cpus {
		waits += n
	}
	if len(cpus) != 4 || held < waits || p.arrows["lock handed over"] < waits*9/10 {
		t.Errorf("waits by CPU %v, %d slices of owners, arrows %v", cpus, held, p.arrows)
	}
}

// A budget is kept, wherever it ends, and what is left out is counted.
func TestTimelineKeepsItsBudget(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := timelineExperiment("nvme", "map_phys@7.3", "iommu-strict", 64)
	whole, _ := recordWhole(t, s, x, 1<<30)
	if whole.LeftOut != 0 || whole.Stopped != sim.Never {
		t.Fatalf("%d events left out without a bound", whole.LeftOut)
	}
	for budget := 0; budget < whole.Events(); budget = budget*5/2 + 7 {
		tl, _ := recordWhole(t, s, x, budget)
		p := pictureOf(t, tl)
		if p.events > budget || p.events != tl.Events() {
			t.Errorf("%d events with a budget of %d", p.events, budget)
		}
		if budget > 100 && p.events < budget-budget/50 {
			t.Errorf("only %d events with a budget of %d", p.events, budget)
		}
		if all := int64(p.events) + tl.LeftOut; math.Abs(float64(all)-float64(whole.Events())) > 0.01*float64(whole.Events()) {
			t.Errorf("budget %d: %d events and %d left out, without a bound %d", budget, p.events, tl.LeftOut, whole.Events())
		}
	}
}

// A grid's file has a process for each point, named by its coordinates, is bounded as a whole and says what is missing; it is the same
// each time.
func TestTimelineOfAGrid(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := timelineExperiment("nvme", "map_phys@7.3", "iommu-strict", 64)
	x.Variants, x.Backends = []string{"map_phys@7.3", "map_page@6.12"}, []string{"direct", "iommu-strict"}
	runs, err := x.Again(s, "")
	if err != nil {
		t.Fatal(err)
	}
	write := func(events int) (*results.Timeline, string) {
		tl, err := Timeline(context.Background(), runs, events, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := look(t, tl).events; n > events {
			t.Errorf("%d events, asked for %d", n, events)
		}
		var b bytes.Buffer
		if err := tl.Write(&b); err != nil {
			t.Fatal(err)
		}
		return tl, b.String()
	}
	tl, first := write(20_000)
	if _, again := write(20_000); first != again {
		t.Error("two runs give different files")
	}
	for i, p := range x.Points() {
		if tl.Processes[i].Name != p.String() {
			t.Errorf("process %d is %q, want %q", i, tl.Processes[i].Name, p)
		}
	}
	few, _ := write(2 * TimelineLeast)
	if len(few.Processes) != 2 || few.Notes[len(few.Notes)-1] != (results.Dim{Key: "runs_left_out", Value: "2"}) {
		t.Errorf("%d processes, notes %v", len(few.Processes), few.Notes)
	}
	if _, err := Timeline(context.Background(), runs, TimelineLeast-1, nil); err == nil {
		t.Error("a budget too small for one run is accepted")
	}
}
