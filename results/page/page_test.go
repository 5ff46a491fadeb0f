package page

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dmapath/results"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

// hostile are names that try to be more than names.
var hostile = []string{`</script><script>alert(1)</script>`, `<img src=x onerror=alert(1)>`, `"quoted" 'too' & <!-- &amp;`, "a\x00b\x1b[31mred\x07", "right\u202eleft\u2066", "line\u2028separator", `{{.}} ${x} \u003c`, "tab\tnew\nline"}

// example is a run of two variants with everything a document can have.
func example() *results.Record {
	r := &results.Record{Name: "Compare", Version: "v0.1.0", Command: "dmapath compare", Seed: math.MaxUint64, ConfigHash: strings.Repeat("ab", 32), Warnings: []string{"the IOMMU's times are guesses"}}
	for i, v := range []string{"map_page@6.12", "map_phys@7.3"} {
		dims := []results.Dim{{Key: "platform", Value: "icelake-sp"}, {Key: "backend", Value: "iommu-strict"}, {Key: "variant", Value: v}}
		x := float64(i)
		r.Add(results.Measurement{Dims: dims, Metric: "map_mean", Unit: "cycles", Value: 800.123456789 - 90*x, CI95: 3.5, N: 600})
		r.Add(results.Measurement{Dims: dims, Metric: "unmap_mean", Unit: "cycles", Value: 3000, CI95: math.NaN(), N: 600})
		if i > 0 {
			r.Add(results.Measurement{Dims: dims, Metric: "map_vs_first", Unit: "cycles", Value: -90, CI95: 4, N: 600})
		}
		r.Add(results.Measurement{Dims: append(dims[:3:3], results.Dim{Key: "function", Value: "iommu_map"}), Metric: "map_step", Unit: "cycles", Value: 500 - x, CI95: 1, N: 600})
		r.AddDistribution(results.Distribution{Dims: dims, Metric: "map", Unit: "cycles", Buckets: []results.Bucket{{From: 640, To: 648, Count: 599}, {From: 1e6, To: 2e6, Count: 1}}})
		r.AddSeries(results.Series{Dims: dims, Metric: "iotlb_occupancy", Unit: "entries", Start: 0, Step: 1000, Values: []float64{0, 12.5, 64}})
	}
	t := &results.Table{ID: "map", Title: "cycles per map", Columns: []results.Column{{Name: "variant", Text: true}, {Name: "mean", Unit: "cyc"}, {Name: "vs first", Unit: "%", Signed: true}}, Notes: []string{"paired"}}
	t.Add("map_page@6.12", 800.123456789, nil)
	t.Add("map_phys@7.3", 710.123456789, "-11.2 (0.5)")
	r.Tables = append(r.Tables, t)
	return r
}

// poisoned is example with every text from outside replaced by each hostile name.
func poisoned(name string) *results.Record {
	r := example()
	r.Command, r.Version, r.Warnings = name, name, []string{name}
	t := &results.Table{ID: name, Title: name, Columns: []results.Column{{Name: name, Unit: name}}, Notes: []string{name}}
	t.Add(name)
	r.Tables = append(r.Tables, t)
	dims := []results.Dim{{Key: "trace", Value: name}, {Key: "variant", Value: name}}
	r.Add(results.Measurement{Dims: dims, Metric: "map_mean", Unit: name, Value: 1, CI95: 0, N: 1})
	r.AddDistribution(results.Distribution{Dims: dims, Metric: "map", Unit: name, Buckets: []results.Bucket{{From: 1, To: 2, Count: 1}}})
	return r
}

// directory writes records as NAME.json into a new directory, with a manifest of them if there is one.
func directory(t *testing.T, m *results.Manifest, records map[string]*results.Record) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	o, err := results.NewOutputDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Abort()
	if m == nil {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range records {
		var b bytes.Buffer
		if err := r.Write(&b, results.JSON); err != nil {
			t.Fatal(err)
		}
		if m == nil {
			err = os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644)
		} else {
			err = o.Create(name, func(w io.Writer) error { _, err := w.Write(b.Bytes()); return err })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if m != nil {
		if err := o.Commit(m); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func manifestOf() *results.Manifest {
	return &results.Manifest{Version: "v0.1.0", Seed: 7, Command: []string{"compare", "--out", "x y"}, Config: []results.Section{{Name: "experiment", Text: "seed: 7\n"}, {Name: "platform", Text: "name: icelake-sp\n"}}}
}

func render(t *testing.T, dir string) string {
	t.Helper()
	d, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	scriptBlock = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
	styleBlock  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	dataBlock   = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)
	policyMeta  = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`)
)

// TestGoldenPage: markup and data of a small page; style and scripts are the files beside this one.
func TestGoldenPage(t *testing.T) {
	text := render(t, directory(t, manifestOf(), map[string]*results.Record{"compare.json": example()}))
	text = scriptBlock.ReplaceAllString(text, "<script>...</script>")
	text = styleBlock.ReplaceAllString(text, "<style>...</style>")
	text = regexp.MustCompile(`sha256-.*?&#39;`).ReplaceAllString(text, "sha256-...&#39;")
	file := filepath.Join("testdata", "small.html")
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs (rewrite it with -update):\n%s", file, text)
	}
}

// TestPolicyAllowsExactlyThePage: the digests in the policy are those of the blocks in the page, and nothing else is allowed.
func TestPolicyAllowsExactlyThePage(t *testing.T) {
	text := render(t, directory(t, nil, map[string]*results.Record{"compare.json": example()}))
	m := policyMeta.FindStringSubmatch(text)
	if m == nil {
		t.Fatal("no policy")
	}
	policy := map[string]string{}
	for _, d := range strings.Split(html.UnescapeString(m[1]), "; ") {
		name, value, _ := strings.Cut(d, " ")
		policy[name] = value
	}
	var scripts []string
	for _, s := range scriptBlock.FindAllStringSubmatch(text, -1) {
		scripts = append(scripts, digest(s[1]))
	}
	styles := styleBlock.FindAllStringSubmatch(text, -1)
	if len(scripts) != 2 || len(styles) != 1 {
		t.Fatalf("%d scripts and %d styles", len(scripts), len(styles))
	}
	want := map[string]string{"default-src": "'none'", "script-src": strings.Join(scripts, " "), "style-src": digest(styles[0][1]), "base-uri": "'none'", "form-action": "'none'", "require-trusted-types-for": "'script'"}
	if fmt.Sprint(policy) != fmt.Sprint(want) {
		t.Errorf("the policy is\n%v, want\n%v", policy, want)
	}
}

// TestPageRefersToNothing: no address, no import, nothing that a browser would load, no handler or style in an attribute, and no way from text to markup.
func TestPageRefersToNothing(t *testing.T) {
	text := render(t, directory(t, nil, map[string]*results.Record{"compare.json": example()}))
	for _, bad := range []string{"http:", "https:", "//cdn", "src=", "@import", "url(", "<link", "<iframe", "<object", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "new Function",
		"fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "importScripts", "localStorage", "document.cookie"} {
		if i := strings.Index(text, bad); i >= 0 {
			t.Errorf("the page contains %q: ...%s...", bad, text[max(0, i-60):min(len(text), i+60)])
		}
	}
	markup := scriptBlock.ReplaceAllString(styleBlock.ReplaceAllString(text, ""), "")
	if m := regexp.MustCompile(`(?i)<[^>]*\s(on[a-z]+|style)\s*=[^>]*>`).FindString(markup); m != "" {
		t.Errorf("the markup contains %s", m)
	}
}

// TestNamesAreText: whatever a document says is in the data block and nowhere else, cannot end the block, and arrives with nothing invisible in it.
func TestNamesAreText(t *testing.T) {
	plain := render(t, directory(t, nil, map[string]*results.Record{"compare.json": example()}))
	for _, name := range hostile {
		text := render(t, directory(t, nil, map[string]*results.Record{"compare.json": poisoned(name)}))
		if got, want := dataBlock.ReplaceAllString(text, ""), dataBlock.ReplaceAllString(plain, ""); got != want {
			t.Errorf("%q changes the page outside of the data block", name)
		}
		m := dataBlock.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("%q: no data block", name)
		}
		if strings.ContainsAny(m[1], "<>&\u2028\u2029") {
			t.Errorf("%q: the data block contains markup", name)
		}
		var d struct {
			Docs []struct{ Warnings []string }
		}
		if err := json.Unmarshal([]byte(m[1]), &d); err != nil || len(d.Docs) != 1 || d.Docs[0].Warnings[0] != visible(name) {
			t.Errorf("%q: %v, reads as %+v", name, err, d)
		}
		for _, r := range m[1] {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f {
				t.Errorf("%q: %U is in the page", name, r)
			}
		}
	}
	for in, want := range map[string]string{"map_phys@7.3 – µs": "map_phys@7.3 – µs", "a\u202eb": `a\u202eb`, "\x1b[31m": `\x1b[31m`, "x\xffy": `x\xffy`} {
		if got := visible(in); got != want {
			t.Errorf("visible(%q) is %q, want %q", in, got, want)
		}
	}
}

// TestSamePage: the bytes depend on the documents only, not on where they lie.
func TestSamePage(t *testing.T) {
	records := map[string]*results.Record{"b.json": example(), "a.json": poisoned("x"), "c.json": example()}
	a, b := render(t, directory(t, manifestOf(), records)), render(t, directory(t, manifestOf(), records))
	if a != b {
		t.Error("two pages of equal directories differ")
	}
	for _, file := range []string{"a.json", "b.json", "c.json"} {
		if !strings.Contains(a, `"file":"`+file+`"`) {
			t.Errorf("%s is not in the page", file)
		}
	}
}

// TestNumbersKeepSixDigits pins what the page's data say of a number.
func TestNumbersKeepSixDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1: "1", -1: "-1", 123456789: "123456789", 816.0483333: "816.048", 1e-12: "1e-12", 1e300: "1e+300", -0.000123456789: "-0.000123457", math.Inf(1): "null", 0.5: "0.5", math.Copysign(0, -1): "0"} {
		got, err := json.Marshal(num(v))
		if err != nil || string(got) != want {
			t.Errorf("%v is written as %s, want %s (%v)", v, got, want, err)
		}
	}
	if got, _ := json.Marshal(num(math.NaN())); string(got) != "null" {
		t.Errorf("NaN is written as %s", got)
	}
}
