package figure

import (
	"bytes"
	"flag"
	"math"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

// examples are figures as the comparison draws them, and the awkward cases.
func examples(t *testing.T) map[string]*Plot {
	t.Helper()
	nan := math.NaN()
	out := map[string]*Plot{}
	add := func(name string, p *Plot, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = p
	}
	variants := []string{"map_page@6.12", "map_page@7.3", "map_phys@7.3", "map_phys_rederive@7.3"}
	p, err := NewBars(Axes{Title: "Cycles per map, NVMe 4 KiB random reads, dma-direct", Y: "map [cycles]", Note: "icelake-sp, seed 1; error bars are 95 % confidence intervals"},
		variants, []Series{{"hot", []float64{52, 61, 55, 70}, []float64{0.5, 0.7, 0.5, 2}}, {"warm", []float64{420, 480, 430, nan}, []float64{20, 18, 20, nan}}, {"cold", []float64{1900, 2100, 1950, 2500}, []float64{90, 80, 95, 120}}})
	add("bars", p, err)
	steps := []string{"dma_map_page_attrs", "iommu_dma_map_page", "alloc_iova_fast", "iommu_map", "intel_iommu_map_pages", "cache_tag_flush", "waiting for the IOMMU"}
	var ser []Series
	for i, s := range steps {
		ser = append(ser, Series{Name: s, Values: []float64{30 + float64(i)*20, 0, 25 + float64(i)*18, 28}})
	}
	p, err = NewStack(Axes{Title: "Where the cycles of a map and an unmap go, VT-d strict, a title that is long enough to be broken into two lines at this width", Y: "cycles"}, variants, ser)
	add("stack", p, err)
	var many []string
	var vals []float64
	for i := range 12 {
		many = append(many, "iommu_dma_map_phys.part.0 call "+string(rune('a'+i)))
		vals = append(vals, float64(i*i)*1000)
	}
	p, err = NewBars(Axes{Title: "Slanted names", Y: "events"}, many, []Series{{Name: "only", Values: vals}})
	add("slanted", p, err)
	var d1, d2 Distribution
	d1.Name, d2.Name = "map_page@6.12", "map_phys@7.3"
	for i := 1; i <= 400; i++ {
		x := float64(i) / 401
		d1.Values = append(d1.Values, 50*math.Pow(1/(1-x), 1.2))
		d2.Values = append(d2.Values, 60*math.Pow(1/(1-x), 1.1))
	}
	d2.Values = append(d2.Values, 0, nan)
	p, err = NewCDF(Axes{Title: "Distribution of map latency", X: "map [cycles]", LogX: true}, []Distribution{d1, d2})
	add("cdf", p, err)
	p, err = NewLines(Axes{Title: "Unmap against CPUs", X: "CPUs", Y: "unmap [ns]", LogX: true, LogY: true},
		[]Line{{Name: "strict", X: []float64{1, 2, 4, 8, 16, 32, 64}, Y: []float64{1956, 2300, 3100, nan, 8891, 22043, 60842}, CI: []float64{50, 60, 70, nan, 500, 900, 3000}},
			{Name: "lazy", X: []float64{1, 2, 4, 8, 16, 32, 64}, Y: []float64{300, 310, 305, 320, 330, 0, 360}}})
	add("lines", p, err)
	p, err = NewLines(Axes{Title: "All alike", X: "x", Y: "y"}, []Line{{Name: "a", X: []float64{1, 1, 1}, Y: []float64{0, 0, 0}}})
	add("flat", p, err)
	p, err = NewBars(Axes{Title: "Nothing at all", Y: "cycles"}, []string{"a"}, []Series{{Name: "x", Values: []float64{nan}}})
	add("nothing", p, err)
	p, err = NewLines(Axes{Title: "Nothing on a logarithmic axis", X: "x", Y: "y", LogX: true, LogY: true}, []Line{{Name: "a", X: []float64{0}, Y: []float64{-1}}})
	add("nothing-log", p, err)
	p, err = NewBars(Axes{Title: "Differences", Y: "difference [%]"}, []string{"a", "b", "c"}, []Series{{Name: "x", Values: []float64{-3, 2, 0}, CI: []float64{1, 1, 1}}})
	add("negative", p, err)
	return out
}

// TestSameDataSameBytes: two renderings of the same data are equal, in both formats.
func TestSameDataSameBytes(t *testing.T) {
	first, second := examples(t), examples(t)
	for name, p := range first {
		for _, f := range Formats {
			var a, b bytes.Buffer
			if err := p.Write(&a, f); err != nil {
				t.Fatalf("%s.%s: %v", name, f, err)
			}
			if err := second[name].Write(&b, f); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.Bytes(), b.Bytes()) || a.Len() == 0 {
				t.Errorf("%s.%s: %d and %d bytes that differ", name, f, a.Len(), b.Len())
			}
		}
	}
}

// TestGolden compares the SVG of the examples with the files under testdata. -update rewrites them.
func TestGolden(t *testing.T) {
	for name, p := range examples(t) {
		var b bytes.Buffer
		if err := p.Write(&b, "svg"); err != nil {
			t.Fatal(err)
		}
		file := "testdata/" + name + ".svg"
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, b.Bytes()) {
			t.Errorf("%s differs; look at it with FIGURE_DIR, then run with -update", file)
		}
	}
}

func TestBadInput(t *testing.T) {
	one := []Series{{Name: "s", Values: []float64{1}}}
	for _, c := range []struct {
		name string
		make func() (*Plot, error)
		want string
	}{
		{"no groups", func() (*Plot, error) { return NewBars(Axes{}, nil, one) }, "a bar chart needs groups and series\nseries \"s\" has 1 values and 0 intervals for 0 groups"},
		{"ragged", func() (*Plot, error) { return NewBars(Axes{}, []string{"a", "b"}, one) }, `series "s" has 1 values and 0 intervals for 2 groups`},
		{"log bars", func() (*Plot, error) { return NewBars(Axes{LogY: true}, []string{"a"}, one) }, "bars need an axis that begins at zero, not a logarithmic one"},
		{"negative piece", func() (*Plot, error) {
			return NewStack(Axes{}, []string{"a"}, []Series{{Name: "s", Values: []float64{-1}}})
		}, "s of a is -1: pieces of a stack are not negative"},
		{"no lines", func() (*Plot, error) { return NewLines(Axes{}, nil) }, "a figure needs at least one line"},
		{"X goes back", func() (*Plot, error) {
			return NewLines(Axes{}, []Line{{Name: "l", X: []float64{2, 1}, Y: []float64{0, 0}}})
		}, `line "l" goes back in X`},
		{"ragged counts", func() (*Plot, error) {
			return NewCDF(Axes{}, []Distribution{{Name: "d", Values: []float64{1}, Counts: []int64{1, 2}}})
		}, `distribution "d" has 1 values and 2 counts`},
	} {
		if _, err := c.make(); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
	p, err := NewBars(Axes{}, []string{"a"}, one)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(&bytes.Buffer{}, "pdf"); err == nil {
		t.Error("pdf is not byte-identical between runs and must be refused")
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		want   string
	}{
		{0, 1, "0.0 0.2 0.4 0.6 0.8 1.0"}, {0, 2625, "0 500 1000 1500 2000 2500"}, {0, 120000, "0 20k 40k 60k 80k 100k 120k"},
		{-4, 3, "-4 -3 -2 -1 0 1 2 3"}, {0, 3e7, "0 5M 10M 15M 20M 25M 30M"}, {5, 5, "5"},
	} {
		got := ""
		for i, k := range (ticks{7}).Ticks(c.lo, c.hi) {
			if i > 0 {
				got += " "
			}
			got += k.Label
		}
		if got != c.want {
			t.Errorf("%g..%g: %s, want %s", c.lo, c.hi, got, c.want)
		}
	}
	for _, c := range []struct {
		lo, hi float64
		want   string
	}{{1, 64, "1 2 5 10 20 50"}, {0.5, 1e4, "1 10 100 1000 10k"}, {0, 1, ""}} {
		got := ""
		for _, k := range (logTicks{}).Ticks(c.lo, c.hi) {
			if k.Label != "" {
				if got != "" {
					got += " "
				}
				got += k.Label
			}
		}
		if got != c.want {
			t.Errorf("log %g..%g: %s, want %s", c.lo, c.hi, got, c.want)
		}
	}
}

// FuzzLines: no data makes the drawing panic or run away.
func FuzzLines(f *testing.F) {
	f.Add(1.0, 2.0, 3.0, true, true)
	f.Add(0.0, -1.0, math.Inf(1), false, true)
	f.Add(1e-300, 1e300, math.NaN(), true, false)
	f.Fuzz(func(t *testing.T, a, b, c float64, logX, logY bool) {
		xs := []float64{min(a, b), max(a, b)}
		if math.IsNaN(xs[0]) {
			return
		}
		p, err := NewLines(Axes{LogX: logX, LogY: logY}, []Line{{Name: "l", X: xs, Y: []float64{c, a}, CI: []float64{b, c}}})
		if err != nil {
			return
		}
		if err := p.Write(&bytes.Buffer{}, "svg"); err != nil {
			t.Fatal(err)
		}
		q, err := NewBars(Axes{}, []string{"x", "y", "z"}, []Series{{Name: "s", Values: []float64{a, b, c}, CI: []float64{c, a, b}}})
		if err != nil {
			return
		}
		if err := q.Write(&bytes.Buffer{}, "svg"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestLook(t *testing.T) {
	dir := os.Getenv("FIGURE_DIR")
	if dir == "" {
		t.Skip("set FIGURE_DIR to write the figures there and look at them")
	}
	for name, p := range examples(t) {
		for _, f := range Formats {
			var b bytes.Buffer
			if err := p.Write(&b, f); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir+"/"+name+"."+f, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
