package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads/ftrace"
)

// A trace of at most Most calls is kept as it is, call by call.
func TestAShortTraceIsKeptWhole(t *testing.T) {
	s := &Sample{Most: 4 * SampleWindow}
	var in []*Call
	for i := range 4 * SampleWindow {
		c := &Call{ID: uint64(i/2 + 1), Unmap: i%2 == 1, Size: 4096, Runs: []Piece{{0x1000, 4096}}, At: sim.Time(i)}
		in = append(in, c)
		s.Add(c)
	}
	out := s.Calls()
	if !s.Whole() || len(out) != len(in) {
		t.Fatalf("%d of %d calls", len(out), len(in))
	}
	for i, c := range out {
		if c.ID != in[i].ID || c.Unmap != in[i].Unmap || c.Unmeasured {
			t.Fatalf("call %d: %+v, want %+v", i, *c, *in[i])
		}
	}
}

// Whatever the calls: a player can perform what a sample returns (every unmap has a map before it, no mapping is made twice), measured calls are
// those of the windows, evenly spread, in the order of the trace; between half of Most and Most are kept; the same calls give the same sample.
func TestSampleIsPerformable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 40*SampleWindow).Draw(t, "calls")
		most := rapid.SampledFrom([]int{0, 4 * SampleWindow, 8 * SampleWindow}).Draw(t, "most")
		r := sim.NewRand(rapid.Uint64().Draw(t, "seed"), "sample")
		depth := rapid.IntRange(1, 2000).Draw(t, "live mappings")
		s, twin := &Sample{Most: most}, &Sample{Most: most}
		var live []*Call
		order := map[string]int{}
		var id uint64
		for i := range total {
			c := &Call{At: sim.Time(i) * sim.Microsecond, CPU: r.IntN(4), Size: 4096}
			if len(live) < depth && (len(live) == 0 || r.IntN(2) == 0) {
				id++
				c.ID, c.Runs = id, []Piece{{uint64(i) << 12, 4096}}
				if r.IntN(50) > 0 { // some are never unmapped
					live = append(live, c)
				}
			} else {
				k := r.IntN(len(live))
				m := live[k]
				live = append(live[:k], live[k+1:]...)
				c.Unmap, c.ID, c.Runs, c.MapCPU = true, m.ID, m.Runs, m.CPU
			}
			order[fmt.Sprint(c.ID, c.Unmap)] = i
			s.Add(c)
			twin.Add(c)
		}
		out := s.Calls()
		if s.Seen != int64(total) || s.Kept > s.Seen || s.Whole() != (s.Kept == s.Seen) {
			t.Fatalf("%d seen of %d, %d kept", s.Seen, total, s.Kept)
		}
		if limit := max(most, 4*SampleWindow); s.Kept > int64(limit) || !s.Whole() && s.Kept < int64(limit)/2-SampleWindow {
			t.Fatalf("%d of %d calls kept, at most %d", s.Kept, total, limit)
		}
		if len(out) > 4*int(s.Kept) {
			t.Fatalf("%d calls for %d that are kept", len(out), s.Kept)
		}
		held := map[uint64]bool{}
		last, at := -1, sim.Time(0)
		for _, c := range out {
			if c.Unmap && !held[c.ID] || !c.Unmap && (held[c.ID] || len(c.Runs) == 0) {
				t.Fatalf("%+v: held: %v", *c, held[c.ID])
			}
			held[c.ID] = !c.Unmap
			if c.At < at {
				t.Fatalf("%+v is before %v", *c, at)
			}
			at = c.At
			if c.Unmeasured {
				continue
			}
			n := order[fmt.Sprint(c.ID, c.Unmap)]
			if n <= last || int64(n/SampleWindow)%s.stride != 0 {
				t.Fatalf("call %d follows %d, every %d. window", n, last, s.stride)
			}
			last = n
		}
		if again := twin.Calls(); fmt.Sprint(len(again), at) != fmt.Sprint(len(out), at) {
			t.Fatal("the same calls give another sample")
		} else {
			for i := range out {
				if a, b := out[i], again[i]; a.ID != b.ID || a.Unmap != b.Unmap || a.Unmeasured != b.Unmeasured || a.At != b.At || a.CPU != b.CPU {
					t.Fatalf("call %d: %+v and %+v", i, *a, *b)
				}
			}
		}
	})
}

// What a sample says of a long and even trace is what all of it says, within a few per cent.
func TestASampleCostsWhatTheTraceCosts(t *testing.T) {
	const events = 32_000
	mean := func(p *Player) [2]float64 {
		return [2]float64{p.Maps.Series.Steady().Mean, p.Unmaps.Series.Steady().Mean}
	}
	whole := player(t, "map_phys@7.3", platform.IommuStrict, 2)
	tr := run(t, &stream{n: events}, whole)
	s := &Sample{Most: 4 * SampleWindow}
	got, err := Collect(context.Background(), ftrace.NewReader(&stream{n: events}, "stream"), 0, 2, 2, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Counts != tr.Counts || got.Events != tr.Events || got.Lines != tr.Lines {
		t.Errorf("a sample reads the whole trace: %+v, want %+v", got.Counts, tr.Counts)
	}
	if s.Whole() || s.Kept > 4*SampleWindow {
		t.Fatalf("%d calls are kept", s.Kept)
	}
	p := player(t, "map_phys@7.3", platform.IommuStrict, 2)
	if err := p.Perform(s.Calls(), got.Names(), nil); err != nil {
		t.Fatal(err)
	}
	for i, want := range mean(whole) {
		if v := mean(p)[i]; v < 0.95*want || v > 1.05*want {
			t.Errorf("%s: %.1f cycles in the sample, %.1f in all", []string{"map", "unmap"}[i], v, want)
		}
	}
	if p.Failures != 0 || p.Maps.N()+p.Unmaps.N() >= s.Kept || p.Maps.N()+p.Unmaps.N() < s.Kept*3/4 {
		t.Errorf("%d of %d calls measured, %d refused", p.Maps.N()+p.Unmaps.N(), s.Kept, p.Failures)
	}
}

// A map that the machine refuses has no cost, its unmap is not performed, and two machines stay in step all the same.
func TestRefusedMapsStayInStep(t *testing.T) {
	const mib = "io-1 [000] d.h1. 1.%06d: dma_%s: 0000:00:03.0 dir=TO_DEVICE dma_addr=%x size=%d%s attrs=\n"
	var b strings.Builder
	for i := range 60 {
		size := 4096
		if i%6 == 0 {
			size = 1 << 20 // more than the bounce pool has in one piece
		}
		at := 0x1000000 + i<<21
		fmt.Fprintf(&b, mib, i*100, "map_phys", at, size, fmt.Sprintf(" phys_addr=%x", at))
		fmt.Fprintf(&b, mib, i*100+50, "unmap_phys", at, size, "")
	}
	bounce, direct := player(t, "map_phys@7.3", platform.SwiotlbForce, 1), player(t, "map_phys@7.3", platform.Direct, 1)
	if _, err := Run(context.Background(), ftrace.NewReader(strings.NewReader(b.String()), "trace"), 0, 1, []*Player{bounce, direct}, nil); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*Pool{"map": &bounce.Maps, "unmap": &bounce.Unmaps} {
		if p.Refused != 10 || p.N() != 50 || p.Pairs.N != 60 || p.Cycles.N != 50 {
			t.Errorf("%s: %d refused, %d measured, %d in step, %d in the distribution", name, p.Refused, p.N(), p.Pairs.N, p.Cycles.N)
		}
	}
	if direct.Maps.Pairs.N != bounce.Maps.Pairs.N || direct.Maps.Refused != 0 || bounce.Failures != 10 || bounce.First == nil {
		t.Errorf("direct: %d in step, %d refused; bounce: %d refused, first %v", direct.Maps.Pairs.N, direct.Maps.Refused, bounce.Failures, bounce.First)
	}
	if bounce.Map[Single][3] == nil || bounce.Map[Single][3].N != 0 {
		t.Errorf("refused maps have a cost: %+v", bounce.Map[Single][3])
	}
}
