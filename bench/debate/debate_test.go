package debate

import (
	"strings"
	"testing"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/sim"
	"dmapath/workloads"
)

// made returns an outcome whose calls cost so many cycles each, give or take noise.
func made(backend, cache, variant string, cycles, noise int64) *bench.Outcome {
	op := func() *workloads.Op {
		o := workloads.NewOp(400)
		r := sim.NewRand(uint64(cycles), backend+cache+variant)
		for range 400 {
			o.Series.Add(cycles + r.Int64N(2*noise+1) - noise)
		}
		o.N = 1
		return o
	}
	return &bench.Outcome{Point: bench.Point{Workload: "nvme", Backend: backend, Cache: cache, Variant: variant}, Result: &workloads.Result{Map: op(), Unmap: op()}}
}

// fake is a debate of one platform whose four calls cost what cycles says, in the order of the variants.
func fake(t *testing.T, noise int64, cycles ...int64) *Debate {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := bench.Default()
	c := &bench.Comparison{Platform: s, Exp: x}
	for _, b := range x.Backends {
		for _, state := range x.Caches {
			for i, v := range x.Variants {
				c.Outcomes = append(c.Outcomes, made(b, state, v, cycles[i], noise))
			}
		}
	}
	return &Debate{main: []*bench.Comparison{c}}
}

// TestStatementsFollowTheNumbers: the same sentences with other numbers say the opposite, or that there is nothing to say.
func TestStatementsFollowTheNumbers(t *testing.T) {
	for _, c := range []struct {
		cycles [4]int64
		noise  int64
		want   string
	}{
		{[4]int64{100, 1000, 900, 1500}, 1, "costs less everywhere"},
		{[4]int64{100, 900, 1000, 1500}, 1, "costs more everywhere"},
		{[4]int64{100, 1000, 1001, 1500}, 50, "no difference seen anywhere"},
	} {
		d := fake(t, c.noise, c.cycles[:]...)
		if got := d.over("map", page73, phys73); got.verdict() != c.want {
			t.Errorf("map_page %d, map_phys %d: %q, want %q", c.cycles[1], c.cycles[2], got.verdict(), c.want)
		}
	}
	d := fake(t, 1, 100, 1000, 900, 2500)
	if got, want := compare(d.main[0], "direct", "hot", "map", phys73, derive73).String(), "costs 2.8 times as much (2.8 to 2.8)"; got != want {
		t.Errorf("rederive %s, want %s", got, want)
	}
	if got := compare(d.main[0], "swiotlb-force", "hot", "map", phys73, derive73); got.ok || got.String() != "was not measured" {
		t.Errorf("what was not run %v", got)
	}
	if with, of := d.callers(phys73); with != 0 || of != 9 {
		t.Errorf("pfn_valid in %d of %d runs that execute nothing", with, of)
	}
}

// TestEffects: words, and what a table shows.
func TestEffects(t *testing.T) {
	for _, c := range []struct {
		effect
		words, want string
	}{
		{effect{1000, 93, 12, true}, "costs 9.3 % more (8.1 to 10.5)", "+93.0 (12.0)"},
		{effect{1000, -300, 12, true}, "costs 30 % less (29 to 31)", "-300 (12)"},
		{effect{1000, 5, 12, true}, "shows no difference (between -0.7 and +1.7 %)", "~+5.0 (12.0)"},
		{effect{1000, 5, 120, true}, "shows no clear difference (between -11.5 and +12.5 %)", "~+5.0 (120.0)"},
		{effect{1000, 0, 0, true}, "shows no difference (between +0.0 and +0.0 %)", "0"},
		{effect{}, "was not measured", "-"},
	} {
		if got := c.String(); got != c.words {
			t.Errorf("%+v: %q, want %q", c.effect, got, c.words)
		}
		if got := c.cell(); got != c.want {
			t.Errorf("%+v: cell %q, want %q", c.effect, got, c.want)
		}
	}
}

// TestVerdicts: every mix of signs has its words.
func TestVerdicts(t *testing.T) {
	up, down, zero := effect{100, 10, 1, true}, effect{100, -10, 1, true}, effect{100, 0, 1, true}
	for _, c := range []struct {
		up, down, zero int
		want           string
	}{
		{4, 0, 0, "costs more everywhere"}, {0, 4, 0, "costs less everywhere"}, {0, 0, 4, "no difference seen anywhere"}, {3, 0, 1, "costs more, or no difference is seen"},
		{0, 3, 1, "costs less, or no difference is seen"}, {1, 0, 3, "mostly no difference seen, more in some cases"}, {0, 1, 3, "mostly no difference seen, less in some cases"},
		{1, 3, 2, "mostly costs less"}, {3, 1, 2, "mostly costs more"}, {2, 2, 0, "goes both ways"}, {0, 0, 0, "not run"},
	} {
		var ta tally
		for _, x := range []struct {
			n int
			e effect
		}{{c.up, up}, {c.down, down}, {c.zero, zero}} {
			for range x.n {
				ta.add(x.e, "somewhere")
			}
		}
		if got := ta.verdict(); got != c.want {
			t.Errorf("%d more, %d less, %d neither: %q, want %q", c.up, c.down, c.zero, got, c.want)
		}
	}
}

// TestCensus: what became of a call on all backends.
func TestCensus(t *testing.T) {
	for _, c := range []struct {
		census
		want string
	}{
		{census{works: 8}, "works on all 8 backends"}, {census{impossible: 8}, "cannot be called: there is no page"}, {census{fails: 8}, "is refused on all 8 backends"},
		{census{wrong: 8}, "goes wrong on all 8 backends"}, {census{works: 5, wrong: 2, fails: 1}, "works on 5, is refused on 1, goes wrong on 2 of 8"},
	} {
		if got := c.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestWidth: paragraphs and items keep to 80 columns and lose no word.
func TestWidth(t *testing.T) {
	words := strings.Repeat("alpha beta gamma-delta ", 40)
	for _, indent := range []string{"", "- "} {
		got := wrap(words, indent, strings.Repeat(" ", len(indent)))
		for _, l := range strings.Split(got, "\n") {
			if len(l) > width {
				t.Errorf("%d columns: %q", len(l), l)
			}
		}
		if strings.Join(strings.Fields(strings.TrimPrefix(got, indent)), " ") != strings.TrimSpace(words) {
			t.Error("words were lost")
		}
	}
}
