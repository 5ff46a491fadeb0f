package results

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

// golden compares got with a file under testdata, or rewrites the file with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite it with -update):\n%s", file, got)
	}
}

// example is a record with everything that is awkward to print.
func example() *Record {
	r := &Record{Name: "Compare", Version: "v0.1.0", Command: "dmapath compare --seed 1", ConfigHash: strings.Repeat("ab", 32), Seed: math.MaxUint64,
		Warnings: []string{"77 of the platform's 212 values are guesses, among them all times of the IOMMU; see dmapath platform show icelake-sp"}}
	nan := math.NaN()
	for i, v := range []string{"map_page@6.12", "map_phys@7.3", "map_phys_rederive@7.3"} {
		dims := []Dim{{"variant", v}, {"backend", "iommu-strict"}, {"cache", "warm"}}
		r.Add(Measurement{dims, "map_mean", "cycles", 412.25 + float64(i)*10, 3.5, 20000})
		r.Add(Measurement{dims, "map_p99_9", "cycles", 98765, nan, 20000})
		r.Add(Measurement{dims, "inv_wait", "ns", 0.1, nan, 20000})
		r.Add(Measurement{dims, "difference", "%", []float64{nan, 2.4, 1e-12}[i], nan, 20})
	}
	r.Add(Measurement{[]Dim{{"variant", "map, \"quoted\" | µ"}, {"qd", "16"}}, "throughput", "GB/s", 6.5e21, nan, 1})
	t := &Table{ID: "map", Title: "NVMe, 4 KiB random reads, VT-d strict: cycles per map – simulated", Keys: 1, Columns: []Column{
		{Name: "variant", Text: true}, {Name: "map mean", Unit: "cycles", Decimals: 1}, {Name: "p50", Unit: "cycles"}, {Name: "p99", Unit: "cycles"},
		{Name: "p99.9", Unit: "cycles"}, {Name: "instructions"}, {Name: "difference from the first", Unit: "%", Decimals: 1, Signed: true},
		{Name: "interval", Unit: "%", Decimals: 1}, {Name: "loads from L1", Unit: "1/map", Decimals: 2}, {Name: "verdict", Text: true}},
		Notes: []string{"Differences are paired (common random numbers); an interval that contains 0 is no difference, whatever the number to its left. Kernels differ by compiler and options, too."}}
	t.Add("map_page@6.12", 412.25, 400, 900, 98765, 455, nil, nil, 112.5, "first")
	t.Add("map_phys@7.3 | µs", 422.25, 400, int64(900), 98765, uint64(460), 2.4, 0.3, 110.0, "dearer ± nothing")
	t.Add("a variant whose name nobody would ever want to type or to read in a table", nan, 400, 900, 98765, 999, -0.04, 0.3, 112.5, "-")
	r.Tables = append(r.Tables, t, &Table{ID: "steps", Title: "Steps", Columns: []Column{{Name: "function"}, {Name: "cycles"}}})
	r.Tables[1].Add("iommu_dma_map_phys", 31)
	return r
}

func render1(t *testing.T, r *Record, f Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, f := range formats {
		got := render1(t, example(), f)
		if again := render1(t, example(), f); again != got {
			t.Errorf("%s: two renderings differ", f)
		}
		golden(t, "record."+string(f), got)
	}
	var b bytes.Buffer
	if err := example().Tables[0].Write(&b, CSV); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.csv", b.String())
}

func checkASCII(t interface{ Errorf(string, ...any) }, text string) {
	for i, l := range strings.Split(text, "\n") {
		if len(l) > Width || strings.HasSuffix(l, " ") {
			t.Errorf("line %d has %d columns or ends in a space: %q", i+1, len(l), l)
		}
		for _, r := range l {
			if r < ' ' || r > '~' {
				t.Errorf("line %d contains %q", i+1, r)
			}
		}
	}
}

func TestASCIIFits(t *testing.T) { checkASCII(t, render1(t, example(), ASCII)) }

// TestAnyTableFits: whatever is in a table, no line is wider than 80 columns and every number is there.
func TestAnyTableFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := &Table{Title: rapid.StringN(0, 60, 100).Draw(t, "title"), Keys: 1, Columns: []Column{{Name: "key"}}}
		n := rapid.IntRange(0, 12).Draw(t, "columns")
		for i := range n {
			tab.Columns = append(tab.Columns, Column{Name: fmt.Sprint(rapid.SampledFrom([]string{"map", "map p99", "difference from the first", "x"}).Draw(t, "name"), " ", i),
				Unit: rapid.SampledFrom([]string{"", "cycles", "%", "GB/s"}).Draw(t, "unit"), Decimals: rapid.IntRange(0, 3).Draw(t, "decimals"),
				Signed: rapid.Bool().Draw(t, "signed"), Text: rapid.Bool().Draw(t, "text")})
		}
		var want []string
		for r := range rapid.IntRange(0, 5).Draw(t, "rows") {
			row := []any{rapid.StringN(0, 50, 90).Draw(t, "key")}
			for c := range n {
				v := float64(r*100 + c + 1000000)
				row = append(row, v)
				want = append(want, formatNumber(v, tab.Columns[c+1].Decimals, tab.Columns[c+1].Signed))
			}
			tab.Add(row...)
		}
		var b bytes.Buffer
		if err := tab.Write(&b, ASCII); err != nil {
			t.Fatal(err)
		}
		checkASCII(t, b.String())
		for _, w := range want {
			if !strings.Contains(b.String(), w) {
				t.Fatalf("%s is missing in\n%s", w, b.String())
			}
		}
	})
}

func TestNumbersInCells(t *testing.T) {
	for _, c := range []struct {
		v        float64
		decimals int
		signed   bool
		want     string
	}{
		{0, 1, true, "0.0"}, {-0.04, 1, true, "0.0"}, {0.04, 1, true, "0.0"}, {-0.06, 1, true, "-0.1"}, {12.345, 2, false, "12.35"}, {1e6, 0, true, "+1000000"},
		{math.Copysign(0, -1), 0, false, "0"}, {2.5, 0, false, "2"}, {-3, 1, false, "-3.0"},
	} {
		if got := formatNumber(c.v, c.decimals, c.signed); got != c.want {
			t.Errorf("%g with %d decimals is %s, want %s", c.v, c.decimals, got, c.want)
		}
	}
}

func TestMarkdownEscapes(t *testing.T) {
	got := render1(t, example(), Markdown)
	for i, l := range strings.Split(got, "\n") {
		if strings.HasPrefix(l, "|") {
			bars := strings.Count(l, "|") - strings.Count(l, `\|`)
			if bars != 11 && bars != 3 {
				t.Errorf("line %d has %d column borders: %s", i+1, bars, l)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct{ name, unit, want string }{
		{"map p99", "cycles", "map_p99_cycles"}, {"map p99.9", "cycles", "map_p99_9_cycles"}, {"share", "%", "share_percent"}, {"loads", "count", "loads"},
		{"rate", "Gbit/s", "rate_gbit_per_s"}, {"loads L1", "1/map", "loads_l1_per_map"}, {"cycles", "cycles", "cycles"}, {"map_cycles", "cycles", "map_cycles"}, {"vs first", "", "vs_first"},
	} {
		if got := withUnit(c.name, c.unit); got != c.want {
			t.Errorf("%q in %q is %s, want %s", c.name, c.unit, got, c.want)
		}
	}
}

// TestCSVRoundTrip: what WriteCSV writes, ReadCSV reads as the same measurements.
func TestCSVRoundTrip(t *testing.T) {
	word := rapid.StringMatching(`[a-z][a-z0-9]{0,5}(_[a-z0-9]{1,4})?`)
	number := rapid.OneOf(rapid.Float64Range(-1e30, 1e30), rapid.Float64Range(-1e-15, 1e-15), rapid.Just(math.NaN()), rapid.Just(0.0), rapid.Just(1.0/3))
	rapid.Check(t, func(t *rapid.T) {
		var ms []Measurement
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			m := Measurement{Metric: word.Draw(t, "metric") + "_x", Unit: rapid.SampledFrom([]string{"", "cycles", "ns", "%", "count", "GB/s", "1/map"}).Draw(t, "unit"),
				Value: number.Draw(t, "value"), CI95: number.Draw(t, "ci"), N: rapid.Int64().Draw(t, "n")}
			for i := range rapid.IntRange(0, 3).Draw(t, "dims") {
				m.Dims = append(m.Dims, Dim{fmt.Sprint("d", i), rapid.StringMatching(`[ -~]{1,12}`).Draw(t, "v")})
			}
			ms = append(ms, m)
		}
		var b bytes.Buffer
		if err := WriteCSV(&b, ms); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		back, err := ReadCSV(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		var c bytes.Buffer
		if err := WriteCSV(&c, back); err != nil {
			t.Fatal(err)
		}
		if len(back) != len(ms) || len(ms) > 0 && len(DimKeys(ms)) == len(DimKeys(back)) && c.String() != text {
			t.Fatalf("%d measurements became %d:\n%s\n%s", len(ms), len(back), text, c.String())
		}
		for i := range back {
			if back[i].Metric != ms[i].Metric || back[i].Unit != ms[i].Unit || !alike(back[i].Value, ms[i].Value) || !alike(back[i].CI95, ms[i].CI95) ||
				back[i].N != ms[i].N || !reflect.DeepEqual(back[i].Dims, ms[i].Dims) {
				t.Fatalf("%+v became %+v", ms[i], back[i])
			}
		}
	})
}

func alike(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestReadCSVListsBadLines(t *testing.T) {
	_, err := ReadCSV(strings.NewReader("variant,metric,unit,value,ci95,n\na,m,ns,x,,1\na,m,ns,1,,1\na,M,ns,1,,y\n"))
	want := "line 2: strconv.ParseFloat: parsing \"x\": invalid syntax\nline 4: strconv.ParseInt: parsing \"y\": invalid syntax\nmetric \"M\" is not snake_case"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if _, err := ReadCSV(strings.NewReader("variant,metric,value,unit,ci95,n\n")); err == nil {
		t.Error("columns in another order are accepted")
	}
}

// roundTrip writes r as JSON and reads it back, which gives the same document.
func roundTrip(t *testing.T, r *Record) (string, *Document) {
	t.Helper()
	text := render1(t, r, JSON)
	d, err := ReadJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(d, r.Document()) {
		t.Errorf("reads as\n%+v\nwant\n%+v", d, r.Document())
	}
	return text, d
}

func TestJSONRoundTrip(t *testing.T) {
	text, d := roundTrip(t, example())
	if d.Seed != math.MaxUint64 || d.SchemaVersion != 1 || d.Measurements[0].Metric != "map_mean_cycles" || *d.Measurements[0].Value != 412.25 {
		t.Errorf("%+v", d)
	}
	if strings.Contains(text, "NaN") {
		t.Error("the document contains NaN")
	}
	for _, bad := range []string{strings.Replace(text, `"schema_version": 1`, `"schema_version": 2`, 1), strings.Replace(text, `"name"`, `"nmae"`, 1), text + "{}", ""} {
		if _, err := ReadJSON(strings.NewReader(bad)); err == nil {
			t.Errorf("accepted: %.60s", bad)
		}
	}
}

// TestBenchIsReadable: benchstat's reader finds every value under its own unit, not rescaled.
func TestBenchIsReadable(t *testing.T) {
	r := example()
	rd := benchfmt.NewReader(strings.NewReader(render1(t, r, Bench)), "x")
	got := map[string]float64{}
	for rd.Scan() {
		switch rec := rd.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(rec)
		case *benchfmt.Result:
			for _, v := range rec.Values {
				got[string(rec.Name)+" "+v.Unit] = v.Value
			}
			if rec.GetConfig("seed") != "18446744073709551615" {
				t.Errorf("seed is %q", rec.GetConfig("seed"))
			}
		}
	}
	if rd.Err() != nil {
		t.Fatal(rd.Err())
	}
	n := 0
	for i := range r.Measurements {
		m := &r.Measurements[i]
		if math.IsNaN(m.Value) {
			continue
		}
		n++
		if v, ok := got[benchName(r.Name, m.Dims)+" "+m.Name()]; !ok || v != m.Value {
			t.Errorf("%s %s is %g, want %g", benchName(r.Name, m.Dims), m.Name(), v, m.Value)
		}
	}
	if n != len(got) {
		t.Errorf("%d values, want %d", len(got), n)
	}
	r.Measurements = append(r.Measurements, r.Measurements[0])
	if err := r.Write(&bytes.Buffer{}, Bench); err == nil {
		t.Error("two values of one metric in one line are accepted")
	}
}

func TestSortIsNaturalAndStable(t *testing.T) {
	var ms []Measurement
	for _, q := range []string{"64", "8", "016", "16", "8"} {
		ms = append(ms, Measurement{Dims: []Dim{{"qd", q}}, Metric: "m", N: int64(len(ms))})
	}
	Sort(ms)
	got := ""
	for _, m := range ms {
		got += fmt.Sprint(m.Dim("qd"), ":", m.N, " ")
	}
	if want := "8:1 8:4 16:3 016:2 64:0 "; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
}

func TestAddRefuses(t *testing.T) {
	for name, m := range map[string]Measurement{
		"capital":  {Metric: "Map"},
		"reserved": {Metric: "m", Dims: []Dim{{"value", "x"}}},
		"twice":    {Metric: "m", Dims: []Dim{{"a", "x"}, {"a", "y"}}},
		"infinite": {Metric: "m", Value: math.Inf(1)},
	} {
		func() {
			defer func() {
				if e := recover(); e == nil || !strings.HasPrefix(fmt.Sprint(e), "results: ") {
					t.Errorf("%s: recovered %v", name, e)
				}
			}()
			new(Record).Add(m)
		}()
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range formats {
		if g, err := ParseFormat(string(f)); err != nil || g != f {
			t.Errorf("%s: %s, %v", f, g, err)
		}
	}
	want := `there is no format "html": allowed are ascii, markdown, csv, json, bench`
	if _, err := ParseFormat("html"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
