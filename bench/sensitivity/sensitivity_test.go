package sensitivity

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"dmapath/bench"
	"dmapath/platform"
	"dmapath/results"
	"dmapath/sim"
)

// TestWilson: the interval of textbooks (Newcombe, Statistics in Medicine 1998, table I, method 3), and its symmetry.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}} {
		low, high := Wilson(c.k, c.n)
		if math.Abs(low-c.low) > 5e-5 || math.Abs(high-c.high) > 5e-5 {
			t.Errorf("Wilson(%d, %d) = %.4f to %.4f, want %.4f to %.4f", c.k, c.n, low, high, c.low, c.high)
		}
		l, h := Wilson(c.n-c.k, c.n)
		if math.Abs(l-(1-high)) > 1e-12 || math.Abs(h-(1-low)) > 1e-12 {
			t.Errorf("Wilson(%d, %d) is not the mirror image", c.n-c.k, c.n)
		}
	}
}

// TestRanks: against the definition, with ties.
func TestRanks(t *testing.T) {
	r := sim.NewRand(1, "ranks")
	for range 100 {
		v := make([]float64, 1+r.IntN(20))
		for i := range v {
			v[i] = float64(r.IntN(8))
		}
		for i, got := range ranks(v) {
			less, same := 0, 0
			for _, x := range v {
				if x < v[i] {
					less++
				} else if x == v[i] {
					same++
				}
			}
			if want := float64(less) + float64(same+1)/2; got != want {
				t.Fatalf("rank of %v in %v is %v, want %v", v[i], v, got, want)
			}
		}
	}
	if got := spearman(ranks([]float64{1, 2, 3, 4}), ranks([]float64{1, 8, 27, 64})); math.Abs(got-1) > 1e-12 {
		t.Errorf("a monotonic relation has rank correlation %v", got)
	}
	if got := spearman(ranks([]float64{1, 2, 3}), ranks([]float64{5, 5, 5})); got != 0 {
		t.Errorf("what does not vary has rank correlation %v", got)
	}
}

// TestLeast: of m unrelated parameters the largest correlation exceeds the limit in about one run of twenty at most, and not never.
func TestLeast(t *testing.T) {
	const n, m, trials = 24, 20, 2000
	r, beyond := sim.NewRand(1, "least"), 0
	limit := least(n, m)
	column := func() []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = r.Float64()
		}
		return ranks(v)
	}
	for range trials {
		y, most := column(), 0.0
		for range m {
			most = max(most, math.Abs(spearman(column(), y)))
		}
		if most > limit {
			beyond++
		}
	}
	if share := float64(beyond) / trials; share > 0.07 || share < 0.02 {
		t.Errorf("the limit %.2f is exceeded in %.3f of the runs, want about 0.05", limit, share)
	}
}

// TestHypercube: every value is drawn once from each nth part of its range, and a value that is not varied any more leaves the others where they
// were.
func TestHypercube(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	machines := Hypercube(s, n, 7)
	r, _ := s.Range("pcie.link") // contradicts nothing, so it is never drawn again
	seen := make([]int, n)
	for _, m := range machines {
		u := math.Log(float64(m.PCIe.Link)/float64(r.Lo)) / math.Log(float64(r.Hi)/float64(r.Lo))
		seen[min(n-1, int(u*n))]++
	}
	if want := slices.Repeat([]int{1}, n); !slices.Equal(seen, want) {
		t.Errorf("parts of the range of pcie.link were hit %v times", seen)
	}
	if err := s.Set("dram.overhead", "38ns"); err != nil {
		t.Fatal(err)
	}
	for i, m := range Hypercube(s, n, 7) {
		if m.PCIe.Link != machines[i].PCIe.Link || m.DRAM.Overhead != s.DRAM.Overhead {
			t.Fatalf("sample %d moved", i)
		}
	}
}

// made returns facts of a map of so many cycles, with noise that pairing does not take away.
func made(cycles, noise int64) *facts {
	f := &facts{}
	c := &f.calls[0]
	c.made = true
	r := sim.NewRand(uint64(cycles), "noise")
	for range 400 {
		c.series.Add(cycles + r.Int64N(2*noise+1) - noise)
	}
	return f
}

// TestConclusions: what a pair of calls leads to, and what other samples say to it.
func TestConclusions(t *testing.T) {
	for _, c := range []struct {
		a, b, noise int64
		want        []string
	}{
		{1000, 1002, 1, []string{"b ~ a (5 %)"}}, // certain, but nobody would notice
		{1000, 1020, 1, []string{"b > a"}},
		{1000, 980, 1, []string{"b < a"}},
		{1000, 1001, 100, []string{"b ~ a (5 %)"}},
		{1000, 1150, 1, []string{"b > a", "b > a by 10 %"}},
		{1000, 3500, 1, []string{"b > a", "b > a by 100 %"}},
		{1000, 600, 1, []string{"b < a", "b < a by 25 %"}},
		{1000, 1010, 2000, nil}, // nothing can be said
	} {
		list := []*facts{made(c.a, c.noise), made(c.b, c.noise)}
		var got []string
		for _, x := range (Conclusion{First: "a@7.3", Second: "b@7.3", first: 0, second: 1}).compare(list) {
			got = append(got, x.Text())
			x.judge(list)
			if x.Holds != 1 || x.Against != 0 || x.Judged != 1 {
				t.Errorf("%s does not hold where it comes from", x.Text())
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%d and %d with noise %d: %q, want %q", c.a, c.b, c.noise, got, c.want)
		}
	}
	order := (Conclusion{First: "a@7.3", Second: "b@7.3", second: 1}).compare([]*facts{made(1000, 1), made(1150, 1)})
	for _, s := range []struct {
		b              int64
		noise          int64
		holds, against [2]int // of b > a, of b > a by 10 %
	}{
		{1200, 1, [2]int{1, 1}, [2]int{0, 0}},
		{1050, 1, [2]int{1, 0}, [2]int{0, 1}},
		{900, 1, [2]int{0, 0}, [2]int{1, 1}},
		{998, 900, [2]int{0, 0}, [2]int{0, 1}},
	} {
		for i, o := range order {
			x := *o
			x.judge([]*facts{made(1000, s.noise), made(s.b, s.noise)})
			if x.Holds != s.holds[i] || x.Against != s.against[i] {
				t.Errorf("%s where b is %d: holds %d, against %d", x.Text(), s.b, x.Holds, x.Against)
			}
		}
	}
}

// small is an experiment of a second.
func small(backend, cache string, variants ...string) bench.Experiment {
	x := bench.Default()
	x.Workloads, x.Backends, x.Caches, x.Variants, x.Operations = []string{"map-benchmark"}, []string{backend}, []string{cache}, variants, 200
	return x
}

// only returns icelake-sp with one uncertain value.
func only(t *testing.T, key string) *platform.Spec {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.Uncertain() {
		if v, _ := s.Get(k); k != key {
			if err := s.Set(k, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// TestPlanted: when the only thing unknown is how long a read of its register takes, with which a CPU waits, then how much of a strict unmap is waiting goes
// with exactly that; and the result does not depend on how many runs there are at a time.
func TestPlanted(t *testing.T) {
	const key = "iommu.register_read"
	s := only(t, key)
	x := small("iommu-strict", "hot", "map_phys@7.3")
	var texts [2]bytes.Buffer
	for i := range texts {
		u, err := Vary(context.Background(), s, x, 12, 1+2*i, nil)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range u.Conclusions {
			if c.Kind == Half && c.Call == "unmap" {
				found = true
				if c.Second != "invalidation" || c.Holds != 12 || len(c.Goes) != 1 || c.Goes[0].Key != key || c.Goes[0].Rho < 0.9 {
					t.Errorf("%s: %s holds in %d and goes with %v", c.Call, c.Text(), c.Holds, c.Goes)
				}
			}
		}
		if !found {
			t.Errorf("nothing was concluded from %d conclusions about a strict unmap", len(u.Conclusions))
		}
		if err := u.Record().Write(&texts[i], results.JSON); err != nil {
			t.Fatal(err)
		}
		if err := u.WriteSamples(&texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0].Bytes(), texts[1].Bytes()) {
		t.Error("one and three runs at a time give different bytes")
	}
	if _, err := Vary(context.Background(), only(t, "none"), x, 12, 1, nil); err == nil {
		t.Error("varying nothing is no error")
	}
}

// TestEuler: cycles are a pure number, so if every time of the machine became one percent longer and every clock one percent slower, nothing would
// change. Elasticities of a call with no other time in it therefore add up: those to times are those to clocks.
func TestEuler(t *testing.T) {
	s, err := platform.Load("icelake-sp")
	if err != nil {
		t.Fatal(err)
	}
	x := small("direct", "warm", "map_phys@7.3")
	x.Operations = 800
	isClock := func(k string) bool { v, _ := s.Get(k); return strings.HasSuffix(v, "Hz") }
	isTime := func(k string) bool {
		v, _ := s.Get(k)
		return strings.HasSuffix(v, "s") && !strings.HasSuffix(v, "cycles")
	}
	var keys []string
	for _, k := range s.Numeric() {
		if isClock(k) || isTime(k) {
			keys = append(keys, k)
		}
	}
	e, err := Elast(context.Background(), s, x, 0, nil, append(keys, "iommu.walkers")...)
	if err != nil {
		t.Fatal(err)
	}
	var times, clocks float64
	for _, el := range e.List {
		switch {
		case isClock(el.Key):
			clocks += el.By[0]
		case isTime(el.Key):
			times += el.By[0]
		}
	}
	if math.Abs(times-clocks) > 0.002 || times < 0.1 {
		t.Errorf("elasticities to times add up to %.3f, those to clocks to %.3f", times, clocks)
	}
	// And the sizes of what the call never touches do not matter.
	for _, el := range e.List {
		if el.Key == "iommu.walkers" && el.By[0] != 0 {
			t.Errorf("a direct map depends on %s", el.Key)
		}
	}
}

// TestLeading: most first, none whose interval contains zero, guesses apart.
func TestLeading(t *testing.T) {
	e := Elasticities{List: []Elasticity{
		{Key: "a", By: [3]float64{0.1}, Half: [3]float64{0.01}, Confidence: platform.Guess},
		{Key: "b", By: [3]float64{-0.5}, Half: [3]float64{0.01}, Confidence: platform.Datasheet},
		{Key: "c", By: [3]float64{0.9}, Half: [3]float64{1}, Confidence: platform.Guess},
		{Key: "d", By: [3]float64{math.NaN()}, Half: [3]float64{math.NaN()}},
	}}
	keys := func(list []Elasticity) (k []string) {
		for _, el := range list {
			k = append(k, el.Key)
		}
		return k
	}
	if got := keys(e.Leading(0, 5)); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("leading: %v", got)
	}
	if got := keys(e.Guesses(0, 5)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("guesses: %v", got)
	}
}
